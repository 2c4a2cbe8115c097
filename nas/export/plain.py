"""The plain file: a cell, or a trained model, as one Python file that needs torch alone.

The file is meant to be read and changed: it says only what its cell needs. To change what every
file says, change the part that writes it, and the tests run all of the zoo's.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nas import __version__
from nas.cell.cell import Cell, renamed
from nas.export.check import main_block, self_test
from nas.export.expressions import LINE, equations
from nas.export.helpers import helpers
from nas.export.layer import layer_class
from nas.export.stack import class_name, stack_class, state_type
from nas.nn.stacking import Stacking
from nas.tasks.base import Head, Interface

SHOWN = 8
"""Steps, and scores of the last one, that a plain file checks its weights by."""
SCORES: dict[Head, str] = {
    "categorical": "logits of the classes",
    "bernoulli": "logits of the bits",
    "gaussian": "means",
}
MEANINGS: dict[Head, str] = {
    "categorical": "softmax gives the probability of each class",
    "bernoulli": "sigmoid gives the probability of each bit",
    "gaussian": "outputs are numbers, normalised as in training",
}


def example(interface: Interface) -> Tensor:
    """The input by which a plain file checks its weights."""
    if interface.tokens:
        return torch.arange(min(SHOWN, interface.inputs)).unsqueeze(1)
    n = interface.inputs
    return torch.linspace(-1, 1, SHOWN * n).view(SHOWN, 1, n)


@dataclass(frozen=True)
class Trained:
    """A trained model, for its description in the file."""

    task: str
    about: str
    """What the task predicts, a sentence."""
    symbols: str
    """The character of each token; empty if it is not known."""
    interface: Interface
    hidden_size: int
    num_layers: int
    scores: tuple[float, ...]
    """The first ones of the last step, after `example`."""
    legend: str = ""
    """What is known of the inputs and outputs, as lines."""
    stacking: Stacking = "plain"


def plain_file(cell: Cell, command: str, trained: Trained | None = None) -> str:
    """The file's text; `command` is how it is made again.

    Raises:
        CellError: if the cell has no small sizes to test it with.
    """
    name = class_name(cell)
    e = equations(cell)
    blocks = [
        *helpers(e),
        layer_class(cell, e, f"{name}Layer"),
        stack_class(cell, e, name, trained.stacking if trained else "plain"),
        *(_model(cell, name, trained) if trained else ()),
        self_test(cell, name),
        *([_check_weights(trained)] if trained else ()),
        "\n".join(main_block(name, trained=trained is not None)),
    ]
    body = "\n\n\n".join(block.strip("\n") for block in blocks)
    return f"{_docstring(cell, command, trained)}\n{_imports(body)}\n\n{body}\n"


def _imports(body: str) -> str:
    lines = ["import math"] if "math." in body else []
    lines.append("from collections.abc import Sequence")
    lines += ["from pathlib import Path"] if "Path(" in body else []
    lines += ["", "import torch", "import torch.nn.functional as F"]
    lines += ["from safetensors.torch import load_file"] if "load_file(" in body else []
    lines += ["from torch import Tensor, nn"]
    names = "PackedSequence, pack_sequence, unpack_sequence"
    return "\n".join([*lines, f"from torch.nn.utils.rnn import {names}", ""])


def _docstring(cell: Cell, command: str, trained: Trained | None) -> str:
    needs = "torch and safetensors" if trained else "torch"
    title = f"{class_name(cell)}: a recurrent module in the shape of torch.nn.LSTM; needs {needs}."
    lines = [title, "", *([*cell.doc.split("\n"), ""] if cell.doc else [])]
    lines += [f"    {line}" for line in str(renamed(cell, cell.name, doc="")).splitlines()]
    lines += ["", *_paragraphs(cell)]
    if trained:
        lines += ["", *_wrap(_about(trained)), *trained.legend.splitlines()]
    lines += ["", f"Written by nas {__version__}, for the cell {cell.key}:", f"    {command}"]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    # Equations stay whole, so that they can be read back.
    is_long = any(len(line) > LINE for line in text.splitlines())
    return f'"""{text}\n"""{"  # noqa: E501" if is_long else ""}\n'


def _paragraphs(cell: Cell) -> Iterator[str]:
    x, *states = [n.name for n in cell.nodes if n.op in ("input", "state")]
    said = (
        f"{x} is the input, {_listed(states)} {'are the states' if states[1:] else 'is the state'}"
    )
    said += " after the step before; the new values are returned in their order"
    if cell.y != cell.new_states[0]:
        said += ", the output in front of them"
    said += ". Every linear(…) has a matrix for each argument and one bias of its own."
    yield from _wrap(said)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else names[0]


def _about(trained: Trained) -> str:
    ends = trained.interface
    said = f"Trained on the task {trained.task}: {trained.about.rstrip('.')}. "
    said += (
        f"Tokens are 0 to {ends.inputs - 1}" if ends.tokens else f"It reads {ends.inputs} numbers"
    )
    said += ", places in SYMBOLS" if trained.symbols else ""
    said += "" if ends.predicts_next else f"; {MEANINGS[ends.head]}"
    return said + "; the weights are in the .safetensors file beside this one, load() reads them."


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, LINE, break_long_words=False, break_on_hyphens=False)


def _model(cell: Cell, name: str, trained: Trained) -> Iterator[str]:
    if trained.symbols:
        yield _symbols(trained.symbols)
    ends, width, layers = trained.interface, trained.hidden_size, trained.num_layers
    size = ends.outputs
    depth = f", num_layers={layers}" if layers > 1 else ""
    output = {"hidden": width, "input": width}.get(str(cell.widths[cell.y]), cell.widths[cell.y])
    kind = state_type(cell)
    what, embedding = "Tokens (time, batch)", f"nn.Embedding({ends.inputs}, {width})"
    if not ends.tokens:
        what = f"Features (time, batch, {ends.inputs})"
        embedding = f"nn.Linear({ends.inputs}, {width}, bias=False)"
    scores = "logits of the next token" if ends.predicts_next else SCORES[ends.head]
    given = "tokens" if ends.tokens else "features"
    yield f'''\
class {name}Model(nn.Module):
    """{what} to {scores} (time, batch, {size}), as trained."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = {embedding}
        self.rnn = {name}({width}, {width}{depth})
        self.head = nn.Linear({output}, {size})

    def forward(self, {given}: Tensor, state: {kind} | None = None) -> tuple[Tensor, {kind}]:
        y, state = self.rnn(self.embedding({given}), state)
        return self.head(y), state
'''
    yield f'''\
def load(path: str | Path = Path(__file__).with_suffix(".safetensors")) -> {name}Model:
    """The trained model, in evaluation mode."""
    model = {name}Model()
    model.load_state_dict(load_file(path))
    return model.eval()
'''


def _symbols(symbols: str) -> str:
    """The constant, in pieces of a line each."""
    pieces = [symbols[k : k + 40] for k in range(0, len(symbols), 40)]
    if len(pieces) == 1:
        return f"SYMBOLS = {_quoted(symbols)}"
    return "\n".join(["SYMBOLS = (", *(f"    {_quoted(piece)}" for piece in pieces), ")"])


def _quoted(text: str) -> str:
    """A string as a formatter writes it: in double quotes, unless that takes more escapes."""
    code = repr(text + "'")[1:-1] if '"' not in text else repr(text)[1:-1]
    if '"' not in text:
        return f'"{code[: -1 if code.endswith(chr(39)) else None]}"'
    plain = text.encode("unicode_escape").decode("ascii")
    if text.count('"') > text.count("'"):
        return "'" + plain.replace("'", "\\'") + "'"
    return '"' + plain.replace('"', '\\"') + '"'


def _check_weights(trained: Trained) -> str:
    shown = ", ".join(f"{value:.5f}" for value in trained.scores)
    ends = trained.interface
    n = min(SHOWN, ends.inputs)
    given = f"torch.arange({n}).unsqueeze(1)"
    if not ends.tokens:
        given = f"torch.linspace(-1, 1, {SHOWN * ends.inputs}).view({SHOWN}, 1, {ends.inputs})"
    return f'''\
def check_weights() -> None:
    """Raise AssertionError unless the weights give what they gave when this file was written."""
    with torch.no_grad():
        scores, _ = load()({given})
    expected = torch.tensor([{shown}])
    torch.testing.assert_close(scores[-1, 0, : len(expected)], expected, rtol=1e-3, atol=1e-3)
'''
