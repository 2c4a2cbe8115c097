"""The table of the known cells, docs/zoo.md: `python -m tests.zoo.table` measures and writes it."""

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import torch

from nas.cell import Cell
from nas.cell.count import width_unit
from nas.cell.recurrence import recurrence
from nas.show import n_stages
from nas.zoo import ZOO
from nas.zoo.missing import MISSING
from tests.zoo import test_packages
from tests.zoo.oracles import compared
from tests.zoo.oracles_packages import ORACLES
from tests.zoo.transcriptions import difference

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
OTHERS = {"cfc": "ncps", "minlstm": "minGRU-pytorch", "slstm": "flashrnn"}
"""What the cells of `test_packages` come from, by the start of their names."""
PARALLEL = {"scan": "yes", "elementwise": "by unit", "sequential": "no"}
HEAD = """# What is in the zoo

Written by `python -m tests.zoo.table`; [the gallery](gallery.md) has the picture of each cell, its
exact number of parameters and its nearest relative. A cell's docstring in `nas/zoo/` says what was
chosen where sources differ.

Stages are matrix products of a step that wait for one another. H² is the factor of H² in the number
of parameters where x is as wide as the state, H. Steps can be computed in parallel over time where
the new state is affine in the old one, unit by unit (yes: an associative scan); where it is not, it
may at least be one unit apart from all others (by unit), or go through a matrix (no). Each cell is
compared with its paper's equations, written down once more in `tests/zoo/papers*.py` for one
example, and with the packages named, with the same random parameters, over some steps: the
differences are the largest of all outputs and states, in float64, or in float32 where the package
rounds to it.

| cell | paper | year | states | stages | H² | parallel | compared with | differences |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
NOT_HERE = """
## What is not in it

| cell | why |
| --- | --- |
"""


def sources(name: str) -> list[str]:
    """What a cell is compared with, beside the paper's equations."""
    found = [oracle.package for oracle in ORACLES.get(name, [])]
    if name in test_packages.PACKAGES:
        found += [package for start, package in OTHERS.items() if name.startswith(start)] or [
            "torchrecurrent 0.2.5"
        ]
    return found


def measured(name: str) -> list[str]:
    """The differences, in the order of the sources, that of the paper's equations first."""
    found = [difference(name)]
    for oracle in ORACLES.get(name, []):
        found.append(compared(name, oracle, max(oracle.dtypes, key=lambda t: torch.finfo(t).bits)))
    if name in test_packages.PACKAGES:
        found.append(test_packages.difference(name, torch.float64))
    return [f"{value:.0e}" if value else "0" for value in found]


def written(text: str) -> dict[str, list[str]]:
    """The differences in a page, by cell."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ["))
    return {re.findall(r"\[(\w+)\]", row[0])[0]: row[-1].split(", ") for row in rows}


def page(differences: Mapping[str, list[str]]) -> str:
    """The page with these differences."""
    rows = [f"| {' | '.join(_row(cell, differences[name]))} |" for name, cell in ZOO.items()]
    absent = [f"| {name} | {reason} |" for name, reason in MISSING.items()]
    return HEAD + "\n".join(rows) + "\n" + NOT_HERE + "\n".join(absent) + "\n"


def _row(cell: Cell, differences: list[str]) -> Iterator[str]:
    unit = math.lcm(width_unit(cell), 64)
    paper, year = _paper(cell.doc)
    yield f"[{cell.name}](gallery.md#{cell.name})"
    yield paper
    yield year
    yield ", ".join(state.name for state in cell.states)
    yield str(n_stages(cell, unit, unit))
    yield _factor(cell)
    yield PARALLEL[recurrence(cell)]
    yield ", ".join(["equations", *sources(cell.name)])
    yield ", ".join(differences)


def _paper(doc: str) -> tuple[str, str]:
    """The authors, with a link where there is one, and the year."""
    head = re.split(r": |\.\s|\.$", " ".join(doc.split()).replace("et al. ", "et al@ "))[0]
    found = re.search(r"\b(19|20)\d\d\b", head)
    assert found, doc
    authors = head[: found.start()].replace("et al@", "et al.").split(" (")[0].strip(" ,")
    link = re.search(r"arXiv:(\d{4}\.\d{4,5}(v\d+)?)", head)
    return f"[{authors}](https://arxiv.org/abs/{link[1]})" if link else authors, found[0]


def _factor(cell: Cell) -> str:
    """Half of the second difference of the number of parameters where x is as wide as h."""
    unit = width_unit(cell)
    one, two, three = (cell.n_params(k * unit, k * unit) for k in (1, 2, 3))
    return str(Fraction(three - 2 * two + one, 2 * unit**2))


if __name__ == "__main__":
    PAGE.write_text(page({name: measured(name) for name in ZOO}), encoding="utf-8")
    print(f"written: {PAGE}")
