"""The trained model of a plain file: its names and units, and methods that take data as they are.

`trained.py.jinja` beside this file is its code, `plain.py` puts it behind the layers.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas.export.expressions import LINE
from nas.nn.meaning import Meaning
from nas.nn.settings import Stacking
from nas.nn.trained import BUFFERS
from nas.tasks.base import Head
from nas.tasks.words import word_pattern

SHOWN = 8
"""Steps, and scores, by which a plain file checks its weights."""
SCORES: dict[Head, str] = {
    "categorical": "logits of the classes",
    "bernoulli": "logits of the bits",
    "gaussian": "numbers",
}


@dataclass(frozen=True)
class Trained:
    """A trained model, for its part of the file."""

    about: str
    """A sentence on what the task predicts."""
    meaning: Meaning
    hidden_size: int
    num_layers: int
    scores: tuple[float, ...]
    """The first scores that `example` gives, a Gaussian head's in normalised units."""
    stacking: Stacking = "plain"
    note: str = ""
    """A paragraph on what the search measured."""


def example(meaning: Meaning) -> Tensor:
    """The input by which a plain file checks its weights."""
    ends = meaning.interface
    if ends.tokens:
        return torch.arange(min(SHOWN, ends.inputs)).unsqueeze(1)
    normalised = torch.linspace(-1, 1, SHOWN * ends.inputs, dtype=torch.float64)
    rows = normalised.view(SHOWN, 1, ends.inputs)
    means, scales = (torch.tensor(v, dtype=torch.float64) for v in _both(meaning))
    return means + scales * rows


def _both(meaning: Meaning) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return meaning.inputs.means, meaning.inputs.scales


def buffers_of(meaning: Meaning) -> list[tuple[str, int]]:
    """The buffers of the plain module, and how many numbers each has."""
    kept = (meaning.inputs, meaning.inputs, meaning.outputs, meaning.outputs)
    return [
        (name, len(scale.means))
        for name, scale in zip(BUFFERS, kept, strict=True)
        if not scale.is_identity
    ]


def rendered(trained: Trained) -> Mapping[str, Any]:
    """What the template fills in, but for what is the cell's."""
    known = trained.meaning
    ends = known.interface
    reads_text = bool(known.symbols)
    sequence = "text" if reads_text else "tokens" if ends.tokens else "rows"
    named = "CLASSES" if known.classes else ""
    if reads_text and known.answers == "next symbol":
        named = "SYMBOLS"
    return {
        "constants": _constants(known),
        "sequence": sequence,
        "encode_doc": _encode_doc(known),
        "class_doc": _class_doc(trained),
        "reads_text": reads_text,
        "words": _words(known),
        "tokens": ends.tokens,
        "columns": known.columns,
        "categories": _categories(known),
        "inputs": ends.inputs,
        "outputs": ends.outputs,
        "head": ends.head,
        "answers": known.answers,
        "named": named,
        "hidden": trained.hidden_size,
        "num_layers": trained.num_layers,
        "given": "tokens" if ends.tokens else "rows",
        "buffers": buffers_of(known),
        "scales_inputs": not known.inputs.is_identity,
        "scales_outputs": not known.outputs.is_identity,
        "scores_doc": f"({'outputs' if known.answers != 'each step' else 'time, outputs'})",
        "predict_doc": _predict_doc(known),
        "one_doc": {"text": "A text", "tokens": "An array"}.get(sequence, "A table"),
        "is_one": _is_one(sequence),
        "example": _example_code(known),
        "expected": ", ".join(f"{value:.5f}" for value in trained.scores),
    }


def _categories(known: Meaning) -> dict[str, tuple[str, str]]:
    """The column and the word of each feature of COLUMNS that is 1 where the column has the word.

    A word that training did not see is "", which no row is.
    """
    made = known.recipe.categories if known.recipe else {}
    return {
        f"{column}={word}": (column, word if learned else "")
        for column, words in made.items()
        for word, learned in words.items()
    }


def _example_code(known: Meaning) -> str:
    """The code of `example`, with normalised rows."""
    ends = known.interface
    if ends.tokens:
        return f"torch.arange({min(SHOWN, ends.inputs)}).unsqueeze(1)"
    rows = f"torch.linspace(-1, 1, {SHOWN * ends.inputs}, dtype=torch.float64)"
    return f"{rows}.view({SHOWN}, 1, {ends.inputs})"


def _constants(known: Meaning) -> list[str]:
    """The names of the data, as assignments."""
    lines = []
    if known.symbols:
        text = "".join(known.symbols) if known.words is None else ""
        lines.append(f"SYMBOLS = {quoted_text(text)}" if text else _tuple("SYMBOLS", known.symbols))
    for name in ("columns", "targets", "classes"):
        if values := getattr(known, name):
            lines.append(_tuple(name.upper(), values))
    if words := _categories(known):
        pairs = (f"    {quoted(k)}: ({quoted(c)}, {quoted(w)})," for k, (c, w) in words.items())
        lines.append("\n".join(["CATEGORIES = {", *pairs, "}"]))
    if known.horizon:
        lines.append(f"HORIZON = {known.horizon}")
    return lines


def _tuple(name: str, values: tuple[str, ...]) -> str:
    """An assignment of names, on one line or a name a line."""
    line = f"{name} = ({', '.join(map(quoted, values))}{',' if len(values) == 1 else ''})"
    if len(line) <= LINE:
        return line
    return "\n".join([f"{name} = (", *(f"    {quoted(value)}," for value in values), ")"])


def _words(known: Meaning) -> str:
    """The code that cuts a text into words; empty where symbols are characters."""
    if known.words is None:
        return ""
    text = "text.lower()" if known.words.lower_case else "text"
    if known.words.split_at == "space":
        return f"{text}.split()"
    return f"re.findall({word_pattern()!r}, {text})"


def _encode_doc(known: Meaning) -> str:
    if known.symbols:
        kind = "character" if known.words is None else "word"
        return f"The token of each {kind} of a text, (time,): its place in SYMBOLS."
    if known.interface.tokens:
        return "Symbols, whole numbers, as a tensor (time,)."
    if known.columns:
        gaps = " without gaps" if known.recipe else ""
        return f"Rows of COLUMNS{gaps} as a tensor (time, columns), from numbers or a DataFrame."
    return f"Rows of {known.interface.inputs} numbers, in their units, as a tensor (time, numbers)."


def _is_one(sequence: str) -> str:
    """The code that tells one sequence from several; a DataFrame has two dimensions, too."""
    if sequence == "text":
        return "isinstance(sequences, str)"
    return f'getattr(sequences, "ndim", 0) == {1 if sequence == "tokens" else 2}'


def _predict_doc(known: Meaning) -> str:
    head = known.interface.head
    what = {
        "gaussian": "TARGETS, in their units" if known.targets else "numbers, in their units",
        "bernoulli": "bits",
        "categorical": "classes",
    }[head]
    if known.answers == "next symbol":
        return "The likeliest symbol after each sequence."
    where = "at each step" if known.answers == "each step" else "after its last step"
    ahead = f", {known.horizon} steps ahead" if known.horizon else ""
    return f"The {what}{ahead}, of each sequence {where}."


def _class_doc(trained: Trained) -> str:
    """The docstring of the model's class."""
    known = trained.meaning
    ends = known.interface
    read = "Tokens (time, batch)" if ends.tokens else f"Rows (time, batch, {ends.inputs})"
    units = "" if ends.tokens else " in the data's units"
    wrote = "logits of the next token" if known.answers == "next symbol" else SCORES[ends.head]
    wrote += " in the data's units" if ends.head == "gaussian" else ""
    steps = "(batch, " if known.answers == "last step" else "(time, batch, "
    text = f"{read}{units} to {wrote} {steps}{ends.outputs}), as trained."
    lines = textwrap.wrap(text, LINE - 7)
    return "\n    ".join([f'"""{lines[0]}', *lines[1:]]) + '"""'


def quoted(text: str) -> str:
    """A string as a formatter writes it: in double quotes, unless that takes more escapes."""
    code = repr(text + "'")[1:-1] if '"' not in text else repr(text)[1:-1]
    if '"' not in text:
        return f'"{code[: -1 if code.endswith(chr(39)) else None]}"'
    plain = text.encode("unicode_escape").decode("ascii")
    if text.count('"') > text.count("'"):
        return "'" + plain.replace("'", "\\'") + "'"
    return '"' + plain.replace('"', '\\"') + '"'


def quoted_text(text: str) -> str:
    """A text as code, in pieces of a line each."""
    pieces = [text[k : k + 40] for k in range(0, len(text), 40)]
    if len(pieces) == 1:
        return quoted(text)
    return "\n".join(["(", *(f"    {quoted(piece)}" for piece in pieces), ")"])
