"""A network as C: its state, a function for each layer, the step, and what they need of memory."""

import re
import textwrap
from dataclasses import dataclass, field

import numpy as np

from nas.cell.ops import INPUTS
from nas.cell.text import expression
from nas.export.c.code import Expressions
from nas.export.c.data import BYTES, CType, Data
from nas.export.c.depends import still
from nas.export.c.ends import Ends, Row, number_type
from nas.export.c.formats import formats_of, output_format
from nas.export.c.functions import functions, needed
from nas.export.c.layer import LayerCode
from nas.export.c.names import KEYWORDS, identifier
from nas.export.c.network import MAPS, Network, matrix_of, stored
from nas.export.c.ranges import Ranges
from nas.export.number_format import NumberFormat


@dataclass(frozen=True)
class StateArray:
    """An array of the state: of each layer, the values of a state of the cell."""

    name: str
    kind: CType
    size: int
    n_layers: int
    starts: tuple[str, ...]
    """What each layer's values begin at."""

    def of(self, layer: int) -> str:
        """The code of a layer's array."""
        return f"state->{self.name}[{layer}]" if self.n_layers > 1 else f"state->{self.name}"

    @property
    def declared(self) -> str:
        """Its line in the struct."""
        layers = f"[{self.n_layers}]" if self.n_layers > 1 else ""
        return f"{self.kind} {self.name}{layers}[{self.size}];"

    @property
    def n_bytes(self) -> int:
        """The memory that it takes."""
        return self.n_layers * self.size * BYTES[self.kind]


@dataclass
class Model:
    """The parts of a file of C."""

    network: Network
    number_format: NumberFormat
    ranges: Ranges
    name: str
    data: Data = field(default_factory=Data)
    used: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    """The functions of the layers."""

    def __post_init__(self) -> None:
        network, cell = self.network, self.network.cell
        if self.number_format != "float32":
            network = stored(network)  # rounding once more changes nothing
        self.formats = formats_of(network, self.number_format, self.ranges)
        self.counts = any(cell.nodes[i].op == "step" for i in cell.live)
        self.ends = Ends(network, self.number_format, self.ranges, self.data, self.used)
        taken = {*KEYWORDS, *functions(), "k", "state", "symbol", "x", "y", *ENDS, self.name}
        taken -= {"x", "y"}
        n_layers = len(network.layers)
        self.layers = [
            LayerCode(
                layer, place, f"layer_{place + 1}_" if n_layers > 1 else "", self.number_format,
                self.formats[place], self.ranges, self.data, self.used, taken,
            )
            for place, layer in enumerate(network.layers)
        ]  # fmt: skip
        for written in self.layers:
            written.write()
        self.states = [self._state(i) for i in self.layers[0].inputs("state")]
        self.functions = [self._function(written) for written in self.layers]
        self.step = self._step()
        if "tanh_fixed" in self.used or "sigmoid_fixed" in self.used:
            self.data.lines = [*tanh_table(self.data), *self.data.lines]
        self.helpers = needed(self.used)

    # State.

    def _state(self, i: int) -> StateArray:
        cell = self.network.cell
        n, place = cell.nodes[i], self.formats[0][i]
        name = identifier(n.name)
        starts = [self._start(written, i) for written in self.layers]
        kind: CType = "float" if place is None else "int16_t"
        name = name if name not in (*KEYWORDS, "step") else f"{name}_state"
        return StateArray(name, kind, self.layers[0].sizes[i], len(self.layers), tuple(starts))

    def _start(self, written: LayerCode, i: int) -> str:
        value = written.cell.nodes[i].number("initial")
        code: Expressions = written.code
        code.numbers[-1] = value
        place = written.formats[i]
        if place is None:
            return code.number(-1).text
        whole = max(-32767, min(32767, round(value * 2.0**place)))
        return str(whole)

    @property
    def float_lines(self) -> list[str]:
        """What is a float among whole numbers, as lines of the cell's text."""
        cell, found = self.network.cell, dict[str, None]()
        for formats in self.formats if self.number_format == "int16x8" else ():
            for i in sorted(cell.live):
                n = cell.nodes[i]
                if formats[i] is None and n.op != "constant" and i not in still(cell):
                    found[n.name or expression(cell, i)] = None
        return list(found)

    # Functions.

    def _function(self, written: LayerCode) -> str:
        cell, lines = self.network.cell, written.lines
        parameters = [f"const {written.kind(0)} *{written.names[0]}"]
        for i in (*written.inputs("state"), *written.inputs("vertical")):
            parameters.append(f"{written.kind(i)} *{written.names[i]}")
        names = [written.names[i] for i, n in enumerate(cell.nodes) if n.op in INPUTS]
        if self._has_y:
            parameters.append(f"{written.kind(cell.y)} *{written.y}")
        if self.counts:
            parameters.append(f"float {written.step}")
            names.append(written.step)
        start = f"static void layer_{written.place + 1}("
        text = _wrapped(start, parameters)
        body = [*self._declared(written), *_unused(names, lines), *_trimmed(lines)]
        return "\n".join([f"/* {self._about(written)} */", text, "{", *_indented(body), "}"])

    def _about(self, written: LayerCode) -> str:
        """What stands above a layer's function."""
        start = f"One step of layer {written.place + 1}: {written.names[0]} is read"
        states = " and ".join(written.names[i] for i in written.inputs("state"))
        text = (
            f"{start}, {states} {'are' if ' and ' in states else 'is'} replaced by the new values"
        )
        if self._has_y:
            text += f", {written.y} is the output"
        if self.number_format != "int16x8":
            return _comment(f"{text}.")
        arrays = {name: written.formats[i] for i, name in written.code.arrays.items()}
        units = [f"{name} 2^{-e}" for name, e in arrays.items() if e is not None]
        floats = [name for name, e in arrays.items() if e is None]
        told = [f"units are {', '.join(units)}"] if units else []
        told += [f"floats are {', '.join(floats)}"] if floats else []
        return _comment(f"{text}; {'; '.join(told)}.")

    @property
    def _has_y(self) -> bool:
        cell = self.network.cell
        return cell.y != cell.new_states[0]

    def _declared(self, written: LayerCode) -> list[str]:
        by_kind: dict[str, list[str]] = {}
        for name, (kind, n) in written.scratch.items():
            by_kind.setdefault(kind, []).append(f"{name}[{n}]")
        lines = [_wrapped_list(kind, names) for kind, names in by_kind.items()]
        if written.has_sum:
            lines.append(f"int64_t {written.sum};")
        if any("[k]" in line or "k++" in line for line in written.lines):
            lines.append("int k;")
        return [*lines, ""] if lines else []

    def _step(self) -> list[str]:
        ends, cell = self.ends, self.network.cell
        row = ends.begin(self.formats[0][0])
        first = self.layers[0]
        for i in first.inputs("vertical"):
            ends.rows.append(Row(f"from_{first.names[i]}", self.formats[0][i], first.sizes[i]))
            zero = "0.0f" if self.formats[0][i] is None else "0"
            ends._loop(first.sizes[i], f"from_{first.names[i]}[k] = {zero};")
        for place, written in enumerate(self.layers):
            formats = self.formats[place]
            under = row
            row = ends.between(place, row, formats[0]) if place else row
            arguments = [row.name, *(state.of(place) for state in self.states)]
            arguments += [f"from_{first.names[i]}" for i in first.inputs("vertical")]
            width = written.sizes[cell.y]
            y = Row(self.states[0].of(place), output_format(cell, formats), width)
            if self._has_y:
                y = Row(f"y_{place + 1}", formats[cell.y], width)
                ends.rows.append(y)
                arguments.append(y.name)
            if self.counts:
                arguments.append("(float)state->step")
            ends.lines.append(f"layer_{place + 1}({', '.join(arguments)});")
            row = ends.joined(place, under, y)
        if self.counts:
            ends.lines.append("state->step++;")
        ends.end(row)
        return ends.lines

    # Numbers of the README.

    @property
    def state_bytes(self) -> int:
        """The memory of a state."""
        return sum(state.n_bytes for state in self.states) + 4 * self.counts

    @property
    def scratch_bytes(self) -> int:
        """The arrays on the stack while a step runs."""
        layers = [
            sum(n * BYTES[kind] for kind, n in written.scratch.values()) for written in self.layers
        ]
        return max(layers) + sum(row.size * BYTES[row.kind] for row in self.ends.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the matrices in a step."""
        network, total = self.network, 0
        for layer in network.layers:
            for i in network.cell.live:
                op = network.cell.nodes[i].op
                if op in MAPS:
                    total += matrix_of(layer, i).size
                elif op in ("diagonal", "legendre"):
                    total += layer.sizes[i] ** (2 if op == "legendre" else 1)
        if network.head is not None and network.embedding is not None:
            total += network.head[0].size + (0 if network.tokens else network.embedding.size)
        return total

    @property
    def x_type(self) -> CType:
        """The type of raw features."""
        known = self.network.meaning
        return number_type(known.inputs) if known else "float"

    @property
    def y_type(self) -> CType:
        """The type of the answers."""
        known = self.network.meaning
        return number_type(known.outputs) if known else "float"


ENDS = (
    *("embedding", "embedding_scale", "embedded", "embedded_float", "normalised", "head", "score"),
    *("head_scale", "head_bias", "input_mean", "input_scale", "target_mean", "target_scale"),
    *("tanh_table", "normalised_float", "t_in"),
)
"""Names of arrays around the layers."""


def tanh_table(data: Data) -> list[str]:
    """The table of the hyperbolic tangent."""
    own = Data()
    values = np.rint(32768 * np.tanh(np.arange(257) / 32)).clip(0, 32767)
    own.add("tanh_table", "int16_t", values, "tanh(k / 32), times 32768.")
    data.n_bytes += own.n_bytes
    return own.lines


def _unused(names: list[str], lines: list[str]) -> list[str]:
    """Statements that tell a compiler that parameters may be unused."""
    text = "\n".join(line for line in lines if not line.startswith("/*"))
    return [f"(void){name};" for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]


def _trimmed(lines: list[str]) -> list[str]:
    """Lines without blank ones at their ends."""
    text = "\n".join(lines).strip("\n")
    return text.split("\n") if text else []


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _comment(text: str) -> str:
    return "\n * ".join(textwrap.wrap(text, 94))


def _wrapped(start: str, items: list[str]) -> str:
    line = f"{start}{', '.join(items)})"
    if len(line) <= 100:
        return line
    lines = textwrap.wrap(", ".join(items), 100 - len(start))
    return f"{start}" + f"\n{' ' * len(start)}".join(lines) + ")"


def _wrapped_list(kind: str, names: list[str]) -> str:
    lines = textwrap.wrap(", ".join(names), 86)
    return f"{kind} " + "\n        ".join(lines) + ";"
