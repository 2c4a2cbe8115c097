"""Cells in the forms of other projects.

To add a form, write a file here that makes a cell of it, and a line in `imported` (and in
`imported_text`, if it has a form that is not JSON).
"""

import re
from collections.abc import Mapping

from nas.cell import Cell
from nas.errors import CellError
from nas.zoo.imports.genotype import FORMS, Genotype, darts, read_arc, read_genotype, traced
from nas.zoo.imports.recipe import read_entry, read_recipe

__all__ = ["Genotype", "darts", "imported", "imported_text", "read_arc", "read_recipe", "traced"]


def imported(data: Mapping[str, object]) -> Cell:
    """Make a cell of a mapping, as JSON gives one.

    The mapping is a recipe of NAS-Bench-NLP, a line of its logs, `{"recurrent": [["tanh", 0], …],
    "concat": [1, …]}` of DARTS, or an arc of ENAS, `{"enas": [0, …]}` or `{"enas_lm": [0, …]}`.

    Raises:
        CellError: if the mapping is none of these, or breaks a rule of its form.
    """
    if data and set(data) <= {"recurrent", "concat"}:
        return traced(darts(data.get("recurrent"), data.get("concat")))
    for form in FORMS:
        if set(data) == {form}:
            return traced(read_arc(data[form], form))
    if isinstance(entry := data.get("recipe", data.get("recepie")), str) or _is_recipe(entry):
        return read_entry(data)
    if not any(isinstance(v, Mapping) and {"op", "input"} & set(v) for v in data.values()):
        raise CellError(
            'a cell as a mapping has "format": "nas.cell/1", or is a recipe of NAS-Bench-NLP, '
            '{"h_new_0": {"op": …, "input": […]}, …}, or has one of the fields recurrent and '
            f"concat, {', '.join(FORMS)}; got the fields {', '.join(map(str, data))[:80] or None}."
        )
    return read_recipe(data)


def imported_text(text: str) -> Cell | None:
    """Make a cell of `Genotype(recurrent=[…], concat=…)` or `enas: 0 0 …`; None of other text.

    Raises:
        CellError: if the text breaks a rule of its form.
    """
    if re.match(r"\s*(\w+\s*=\s*)?Genotype\s*\(", text):
        return traced(read_genotype(text))
    form, colon, arc = text.strip().partition(":")
    if colon and form in FORMS:
        return traced(read_arc(arc, form))
    return None


def _is_recipe(entry: object) -> bool:
    """Whether a value is a recipe, and not one of its nodes."""
    return isinstance(entry, Mapping) and "op" not in entry
