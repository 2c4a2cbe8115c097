"""The plain file: a cell, or a trained model, as one Python file that needs torch alone.

The file is meant to be read and changed: it has only the parts that its cell needs. To change every
file, change `plain.py.jinja`; the tests run the files of the whole zoo.
"""

import keyword
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from nas import __version__
from nas.cell.cell import Cell, renamed
from nas.cell.count import size
from nas.export.expressions import LINE, Equations, equations, number
from nas.export.parameters import docstring, parameters, reset, size_code, wrapped
from nas.export.sizes import fits, small_sizes
from nas.export.trained import Trained, rendered
from nas.nn.settings import Stacking

TAKEN = ("Tensor", "Sequence", "PackedSequence", "Path", "F", "None", "True", "False")
"""Names that the file uses itself."""


def class_name(cell: Cell) -> str:
    """The cell's name as that of a class: lstm_b is LstmB."""
    name = "".join(part[:1].upper() + part[1:] for part in cell.name.split("_"))
    is_free = name.isidentifier() and name not in TAKEN and not keyword.iskeyword(name)
    return name if is_free else f"{name}Cell"


def plain_file(cell: Cell, command: str, trained: Trained | None = None) -> str:
    """The file's text; `command` makes it again.

    Raises:
        CellError: if the cell has no small sizes to test it with.
    """
    body = classes(cell, trained.stacking if trained else "plain", trained)
    return f"{_docstring(cell, command, trained)}\n{_imports(body)}\n\n{body}\n"


def classes(cell: Cell, stacking: Stacking, trained: Trained | None = None) -> str:
    """The classes and functions of a cell, without the imports that they need."""
    e = equations(cell)
    text = _template("plain.py.jinja").render(
        cell=cell,
        name=class_name(cell),
        stacking=stacking,
        equations=e,
        ops=e.ops,
        parameters=parameters(cell),
        reset=reset(cell),
        step=_step(e),
        shapes=_shapes(cell),
        test=_test_sizes(cell),
        size_code=size_code,
        wrapped=wrapped,
        trained=_model(cell, trained) if trained else "",
        **_states(cell, e),
        **(rendered(trained) if trained else {}),
    )
    return text.strip("\n")


def _model(cell: Cell, trained: Trained) -> str:
    """The part of the file that a trained model has."""
    states = _states(cell, equations(cell))
    width = states["y_width"]
    return (
        _template("trained.py.jinja")
        .render(
            name=class_name(cell),
            state_type=states["state_type"],
            output_width=trained.hidden_size if width in ("hidden", "input") else width,
            **rendered(trained),
        )
        .strip("\n")
    )


@cache
def _template(name: str) -> jinja2.Template:
    path = Path(__file__).with_name(name)
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    return environment.from_string(path.read_text(encoding="utf-8"))


def _step(e: Equations) -> dict[str, str]:
    """The signature, the docstring and the result of the method that computes one step."""
    states = [*e.states, *e.verticals]
    names = [e.x, *states, *([e.step] if e.step else [])]
    result = "Tensor" if len(e.returned) == 1 else "tuple[Tensor, ...]"
    arguments = ["self", *(f"{name}: Tensor" for name in names)]
    counter = f" {e.step} (batch, 1) counts its steps from 0." if e.step else ""
    shapes = f"One step: {e.x} (batch, input) and {', '.join(states)} (batch, width).{counter}"
    returned = ", ".join(e.returned)
    if len(returned) + 8 + 7 > LINE and len(e.returned) > 1:
        returned = "(\n" + "".join(f"            {code},\n" for code in e.returned) + "        )"
    return {
        "signature": wrapped("def step(", arguments, f") -> {result}:", 4),
        "doc": docstring(shapes),
        "result": returned,
    }


def _states(cell: Cell, e: Equations) -> dict[str, Any]:
    """How many states there are, how wide they are, and how they begin."""
    n_states, is_single = len(cell.states), len(cell.states) == 1
    own = {"hidden": "self.hidden_size", "input": "self.input_size"}
    are_alike = len({(state.width, state.initial) for state in cell.states}) == 1
    fresh = "tuple(map(steps[0].new_full, shapes, start))"
    if are_alike:
        value = cell.states[0].initial
        filled = f"new_full(shape, {number(value)})" if value else "new_zeros(shape)"
        parts = ", ".join([f"steps[0].{filled}"] * n_states)
        fresh = parts if is_single else f"({parts})"
        if not is_single and len(fresh) > 70:
            fresh = f"(steps[0].{filled},) * {n_states}"
    return {
        "n_states": n_states,
        "single": is_single,
        "state_type": "Tensor" if is_single else "tuple[Tensor, ...]",
        "takes_one": is_single and len(e.returned) == 1 and not e.step,
        "states_alike": are_alike,
        "state_widths": [own.get(str(s.width), str(s.width)) for s in cell.states],
        "fresh_state": fresh,
        "has_state_of_input": any(state.width == "input" for state in cell.states),
        "n_below": len(cell.verticals),
        "y_width": cell.widths[cell.y],
        "has_own_y": cell.y != cell.new_states[0],
    }


def _shapes(cell: Cell) -> list[str]:
    """The lines that describe the shapes of input, output and states."""
    short = {"hidden": "H", "input": "I"}
    widths = {short.get(str(state.width), str(state.width)) for state in cell.states}
    shape = f"(L * D, B, {widths.pop() if len(widths) == 1 else 'width'})"
    y = short.get(str(cell.widths[cell.y]), str(cell.widths[cell.y]))
    names = ", ".join(state.name for state in cell.states)
    states = f"The states ({names}), each {shape}, are a tuple and start"
    if len(cell.states) == 1:
        states = f"The state {names} is {shape} and starts"
    initial = {state.initial for state in cell.states}
    values = ", ".join(f"{s.name} at {number(s.initial)}" for s in cell.states)
    start = f"at {number(initial.pop())}" if len(initial) == 1 else f"with {values}"
    text = (
        "With L layers, D directions, time T, batch B, input size I and hidden size H: the input "
        "is (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence; the "
        f"output (T, B, D * {y}) likewise. {states} {start} unless given."
    )
    return textwrap.wrap(text, LINE - 4, break_long_words=False)


def _test_sizes(cell: Cell) -> dict[str, int]:
    """The sizes of the modules that the self-test makes."""
    n_inputs, hidden = sizes = small_sizes(cell)
    return {
        "inputs": n_inputs,
        "hidden": hidden,
        "layers": 2 if fits(cell, sizes, 2, 1) else 1,
        "layers_of_both": 2 if fits(cell, sizes, 2, 2) else 1,
        "outputs": size(cell.widths[cell.y], n_inputs, hidden),
    }


def _imports(body: str) -> str:
    lines = [f"import {n}" for n, use in (("math", "math."), ("re", "re.findall(")) if use in body]
    lines.append("from collections.abc import Sequence")
    lines += ["from pathlib import Path"] if "Path(" in body else []
    lines += ["", "import torch", "import torch.nn.functional as F"]
    lines += ["from safetensors.torch import load_file"] if "load_file(" in body else []
    lines += ["from torch import Tensor, nn"]
    known = ("pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence")
    names = ["PackedSequence", *(n for n in known if f"{n}(" in body), "unpack_sequence"]
    return "\n".join([*lines, wrapped_import("torch.nn.utils.rnn", names), ""])


def _docstring(cell: Cell, command: str, trained: Trained | None) -> str:
    needs = "torch and safetensors" if trained else "torch"
    shape = f"torch.nn.{'GRU' if len(cell.states) == 1 else 'LSTM'}"
    title = f"{class_name(cell)}: a recurrent module in the shape of {shape}; needs {needs}."
    lines = [title, "", *([*cell.doc.split("\n"), ""] if cell.doc else [])]
    lines += [f"    {line}" for line in str(renamed(cell, cell.name, doc="")).splitlines()]
    lines += ["", *_paragraphs(cell)]
    if trained:
        lines += ["", *_about(trained)]
    lines += ["", f"Written by nas {__version__}, for the cell {cell.key}:", f"    {command}"]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    # Equations stay whole, so that they can be read back.
    is_long = any(len(line) > LINE for line in text.splitlines())
    return f'"""{text}\n"""{"  # noqa: E501" if is_long else ""}\n'


def _paragraphs(cell: Cell) -> Iterator[str]:
    x, *states = [n.name for n in cell.nodes if n.op in ("input", "state")]
    are = "are the states" if states[1:] else "is the state"
    text = f"{x} is the input, {_listed(states)} {are} after the step before; the new values are "
    text += "returned in their order"
    if cell.y != cell.new_states[0]:
        text += ", the output in front of them"
    yield from _wrap(
        f"{text}. Every linear(…) has a matrix for each argument and one bias of its own."
    )


def wrapped_import(module: str, names: list[str]) -> str:
    """An import on one line, or a name a line."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= LINE:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else names[0]


def _about(trained: Trained) -> Iterator[str]:
    """What a trained model was trained on, what goes in and what comes out."""
    known = trained.meaning
    text = f"Trained on the task {known.task}: {trained.about.rstrip('.')}. "
    n = known.interface.inputs
    if known.symbols:
        text += "A text goes in as it is, its symbols are SYMBOLS"
    elif known.interface.tokens:
        text += f"Symbols 0 to {n - 1} go in"
    else:
        text += f"Rows of {'COLUMNS' if known.columns else f'{n} numbers'} go in as they are"
    if known.interface.head == "gaussian":
        text += f"; {'TARGETS' if known.targets else 'numbers'} come out in their units"
        text += f", {known.horizon} steps ahead" if known.horizon else ""
    elif known.classes:
        text += "; CLASSES come out"
    yield from _wrap(
        f"{text}. The weights are in the .safetensors file beside this one, load() reads them."
    )
    if trained.note:
        yield from ("", *_wrap(trained.note))


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, LINE, break_long_words=False, break_on_hyphens=False)
