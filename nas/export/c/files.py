"""The files of an export: NAME.c and NAME.h."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from torch import Tensor

from nas import __version__
from nas.cell.cell import renamed
from nas.errors import counted
from nas.export.c.data import CType, literal, wrapped
from nas.export.c.ends import number_type, rounded_to
from nas.export.c.model import Model
from nas.export.c.network import OUTPUT, Network, Running, Values, stored
from nas.export.c.ranges import Ranges, random_inputs
from nas.export.number_format import NumberFormat
from nas.nn.meaning import Meaning

N_STEPS = 6
"""Steps of the self-test."""
TOLERANCES: dict[NumberFormat, float] = {"float32": 1e-5, "int8": 1e-5, "int16x8": 4e-3}
"""How far the self-test may be from float64 with the same weights, relative to the largest value
(but at least 1); with whole numbers to the largest one that calibration saw."""
WORDS: dict[NumberFormat, str] = {
    "float32": "float32",
    "int8": "int8 with a scale for each row, and float32",
    "int16x8": "int8 with a scale for each row, and int16 in units of powers of 2",
}


@dataclass(frozen=True)
class Written:
    """The text of an export, and its numbers."""

    model: Model
    c: str
    h: str
    shared: dict[str, Any]
    """What all templates fill in."""
    test: "SelfTest"


def write(
    network: Network,
    ranges: Ranges,
    number_format: NumberFormat,
    name: str,
    command: str,
    tolerance: float = 0.0,
) -> Written:
    """The files of a network; `command` makes them again. The tolerance of the self-test is at
    least that of the format."""
    model = Model(network, number_format, ranges, name)
    about = _about(network)
    shared: dict[str, Any] = {
        "about": about,
        "version": __version__,
        "command": command.replace("*/", "* /"),
        "name": name,
        "macro": name.upper(),
        "tokens": network.tokens,
        "n_inputs": network.n_inputs,
        "n_outputs": network.n_outputs,
        "x_type": model.x_type,
        "y_type": model.y_type,
        "x_parameter": "int symbol" if network.tokens else f"const {model.x_type} *x",
        "symbols": _strings(network.meaning.symbols) if network.meaning else (),
        "classes": _strings(network.meaning.classes) if network.meaning else (),
        "states": model.states,
        "counts": model.counts,
        "state_bytes": model.state_bytes,
    }
    test = _self_test(model, max(tolerance, TOLERANCES[number_format]))
    h = template("model.h.jinja").render(interface=interface_lines(network), **shared)
    c = template("model.c.jinja").render(
        text=_text(network),
        key=network.cell.key,
        format_words=WORDS[number_format],
        whole=number_format == "int16x8",
        data="\n".join(model.data.lines).rstrip("\n"),
        helpers=model.helpers,
        functions=model.functions,
        init=_init(model),
        step=_declared(model),
        **_rendered(model, test),
        **shared,
    )
    c = re.sub(r"\n{3,}", "\n\n", c)
    return Written(model, c.strip("\n") + "\n", h.strip("\n") + "\n", shared, test)


@cache
def template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return environment.from_string(text)


def _about(network: Network) -> str:
    """The first line of both files."""
    layers = f", {len(network.layers)} layers" if len(network.layers) > 1 else ""
    sizes = f"{network.layers[0].hidden_size} units{layers}"
    if network.meaning is not None and network.meaning.task:
        return (
            f"The cell {network.cell.name} ({sizes}), trained on the task {network.meaning.task}."
        )
    return f"The cell {network.cell.name} ({sizes})."


def _text(network: Network) -> list[str]:
    """The paper and the equations of the cell."""
    cell = network.cell
    lines = [*cell.doc.split("\n"), ""] if cell.doc else []
    lines += [f"    {line}" for line in str(renamed(cell, cell.name, doc="")).splitlines()]
    return [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]


def interface_lines(network: Network) -> list[str]:
    """What goes into a step and what comes out of it, in words."""
    known = network.meaning
    if known is None:
        x, y = counted(network.n_inputs, "number"), counted(network.n_outputs, "number")
        sizes = f"x, {x}, and writes y, {y}"
        return [f"A step reads {sizes}."]
    lines = []
    if known.interface.tokens:
        lines.append(f"A step reads a symbol, from 0 to {known.interface.inputs - 1}.")
    else:
        x = counted(known.interface.inputs, "number")
        lines.append(f"A step reads x, {x} in the data's units{':' if known.columns else '.'}")
        lines += _listed("x", known.columns)
    ahead = f", {known.horizon} steps ahead" if known.horizon else ""
    n_outputs = known.interface.outputs
    what = {
        "gaussian": f"{counted(n_outputs, 'number')} in the data's units{ahead}",
        "categorical": f"the probabilities of {n_outputs} classes",
        "bernoulli": f"the probabilities that {n_outputs} bits are 1",
    }[known.interface.head]
    if known.answers == "next symbol":
        what = f"the probability of each of the {n_outputs} symbols to come next"
    names = known.targets or known.classes
    lines.append(f"It writes y, {what}{':' if names else '.'}")
    lines += _listed("y", names)
    if known.answers == "last step":
        lines.append("The answer for a sequence is that of its last step.")
    return [part for line in lines for part in textwrap.wrap(line, 96, subsequent_indent="    ")]


def _listed(array: str, names: Sequence[str]) -> list[str]:
    return [f"    {array}[{k}]  {_plain(name)}" for k, name in enumerate(names)]


def _plain(text: str) -> str:
    """A name for a comment."""
    return " ".join(text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").split())


def _strings(names: Sequence[str]) -> list[str]:
    """Texts as strings of C in UTF-8, a line each."""
    return [f"    {_string(name)}," for name in names]


def _string(text: str) -> str:
    pieces = []
    for byte in text.encode():
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        pieces.append(chr(byte) if plain else f"\\{byte:03o}")
    return f'"{"".join(pieces)}"'


def _init(model: Model) -> list[str]:
    """The statements that begin a sequence."""
    lines = ["int k;", ""]
    for state in model.states:
        starts = [(state.of(layer), text) for layer, text in enumerate(state.starts)]
        lines.append(f"for (k = 0; k < {state.size}; k++) {{")
        lines += [f"    {array}[k] = {text};" for array, text in starts]
        lines.append("}")
    return [*lines, *(["state->step = 0;"] if model.counts else [])]


def _declared(model: Model) -> list[str]:
    """The statements of the step, behind the arrays that they need."""
    lines = [f"{row.kind} {row.name}[{row.size}];" for row in model.ends.rows]
    uses_k = any("[k]" in line for line in model.step)
    lines += ["int k;"] if uses_k else []
    return [*lines, "", *model.step] if lines else model.step


@dataclass(frozen=True)
class SelfTest:
    """Steps of which the answers are known."""

    given: Values
    """Raw features (time, features), or symbols (time,)."""
    wanted: Values
    """What float64 gives for them with the weights of the file, (time, outputs)."""
    units: list[float]
    """What differences of the outputs are measured in; one number if all are alike."""
    tolerance: float
    """The largest difference that is right."""


def _self_test(model: Model, tolerance: float) -> SelfTest:
    network = model.network
    given = raw_inputs(network, random_inputs(network, 1, N_STEPS, 1)[:, 0])
    exact = network if model.number_format == "float32" else stored(network)
    wanted = answers(exact, normalised(network, given).unsqueeze(1))[:, 0]
    return SelfTest(given, wanted, _units(model, wanted), tolerance)


def _rendered(model: Model, test: SelfTest) -> dict[str, Any]:
    """What the template fills in of the self-test."""
    kind: CType = "int32_t" if model.network.tokens else model.x_type
    return {
        "n_steps": N_STEPS,
        "given": wrapped(literal(value, kind) for value in test.given.flatten().tolist()),
        "wanted": wrapped(f"{value:.9g}" for value in test.wanted.flatten().tolist()),
        "n_units": len(test.units),
        "unit": f"{test.units[0]:.9g}",
        "units": wrapped(f"{value:.9g}" for value in test.units),
        "tolerance": f"{test.tolerance:g}",
    }


def _units(model: Model, wanted: Values) -> list[float]:
    """What differences of the outputs are measured in."""
    known, largest = model.network.meaning, float(np.abs(wanted).max())
    if known is not None and known.interface.head == "gaussian":
        return list(known.outputs.scales)
    if known is None and model.number_format == "int16x8":
        largest = max(map(abs, model.ranges.found[len(model.layers) - 1, OUTPUT]))
    return [max(1.0, largest)]


def raw_inputs(network: Network, inputs: Tensor) -> Values:
    """Normalised features (…, features) in the data's units, as C reads them; symbols as they
    are."""
    values: Values = inputs.numpy()
    if network.tokens:
        return values
    if network.meaning is None:
        return rounded_to(values, "float")
    scale = network.meaning.inputs
    raw = np.array(scale.means) + np.array(scale.scales) * values
    return rounded_to(raw, number_type(scale))


def normalised(network: Network, raw: Values) -> Tensor:
    """Features in the data's units as the layers read them; symbols as they are."""
    if network.tokens or network.meaning is None:
        return torch.from_numpy(raw)
    scale = network.meaning.inputs
    return torch.from_numpy((raw - np.array(scale.means)) / np.array(scale.scales))


def answers(network: Network, inputs: Tensor) -> Values:
    """What the step of C writes, in float64: (time, batch, outputs)."""
    scores = Running(network, inputs.shape[1]).read(inputs)
    return _as_answers(network.meaning, scores).numpy()


def _as_answers(known: Meaning | None, scores: Tensor) -> Tensor:
    if known is None:
        return scores
    if known.interface.head == "gaussian":
        scales, means = (torch.tensor(v, dtype=torch.float64) for v in _both(known))
        return means + scales * scores
    return scores.softmax(-1) if known.interface.head == "categorical" else scores.sigmoid()


def _both(known: Meaning) -> Iterable[tuple[float, ...]]:
    return known.outputs.scales, known.outputs.means
