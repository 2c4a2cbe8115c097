"""A step of one layer as a function of C: the lines of the cell's text, a loop for each.

A matrix, and an operation over a row, is a statement of its own; what is computed place by place is
one expression. New states are written when all has been read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nas.cell.arrange import free_name
from nas.cell.graph import Node
from nas.cell.ops import INPUTS, OPS
from nas.cell.text import dumps, expression
from nas.compile.reference import EagerCell
from nas.export.c.code import Code, Expressions
from nas.export.c.data import CType, Data
from nas.export.c.depends import still
from nas.export.c.formats import Formats, exponent, table_of
from nas.export.c.names import identifier
from nas.export.c.network import MAPS, Int8, Values, int8, matrix_of
from nas.export.c.ranges import Ranges
from nas.export.number_format import NumberFormat

ROWS = ("softmax", "layer_norm", "rms_norm", "cumsum", "legendre")
"""Operations over a whole row, which are computed in floats."""
LONGEST = 516
"""The most products of 8 and 16 bits whose sum an int32_t holds."""


@dataclass
class LayerCode:
    """Writes one layer; `lines` are the function, and the arrays go into `data`."""

    layer: EagerCell
    place: int
    prefix: str
    number_format: NumberFormat
    formats: Formats
    ranges: Ranges
    data: Data
    used: set[str]
    taken: set[str]
    """Names that must not be used; names of arrays are added."""
    lines: list[str] = field(default_factory=list)
    scratch: dict[str, tuple[CType, int]] = field(default_factory=dict)
    """Types and sizes of the arrays on the stack."""
    has_sum: bool = False
    """Whether sums of 64 bits occur."""

    def __post_init__(self) -> None:
        self.cell, self.sizes = self.layer.cell, self.layer.sizes
        self.local = set(self.taken)
        self.names = {
            i: self._free(identifier(n.name)) for i, n in enumerate(self.cell.nodes) if n.name
        }
        self.line_names: dict[int, str] = {}
        self.step, self.sum = self._free("t"), self._free("sum")
        rounded = {
            i: found
            for i, given in self.formats.items()
            if given is None and (found := exponent(*self.ranges.found[self.place, i])) is not None
        }
        self.code = Expressions(self.layer, self.formats, self.used, self.step, rounded)
        for i, n in enumerate(self.cell.nodes):
            if n.op in INPUTS:
                self.code.arrays[i] = self.names[i]
        self.still = still(self.cell) - set(self.code.numbers)
        self.texts = dict(_lines(dumps(self.cell)))

    def _free(self, wish: str) -> str:
        name = free_name(wish, self.local)
        self.local.add(name)
        return name

    def _global(self, wish: str) -> str:
        name = free_name(f"{self.prefix}{wish}", self.taken | self.local)
        self.taken.add(name)
        return name

    def kind(self, i: int) -> CType:
        """The type of a node's numbers."""
        return "float" if self.formats[i] is None else "int16_t"

    # The function.

    def write(self) -> None:
        """Write all statements."""
        self._constants()
        last = self._last_lines()
        for i in sorted(self.cell.live):
            n = self.cell.nodes[i]
            known = i in self.code.arrays or i in self.code.numbers or i in self.still
            if not known and n.op != "step" and self._has_array(i, n):
                if text := last.pop(self._line_of(i), ""):
                    self.lines += ["", f"/* {text} */"]
                self._compute(i, n)
        self._finish()

    def _has_array(self, i: int, n: Node) -> bool:
        """Whether a value is kept in an array of its own."""
        readers = [self.cell.nodes[k] for k in self.cell.live if i in self.cell.nodes[k].args]
        is_read_whole = any(reader.op in (*MAPS, *ROWS) for reader in readers)
        return bool(n.name) or n.op in (*MAPS, *ROWS) or is_read_whole or i in self.cell.outputs

    def _line_of(self, i: int) -> int:
        """The node whose line of the text a node stands in."""
        while not self.cell.nodes[i].name and i not in self.cell.outputs:
            i = next(k for k in sorted(self.cell.live) if i in self.cell.nodes[k].args)
        return i

    def _last_lines(self) -> dict[int, str]:
        """The text of each line, by its node."""
        found = {}
        for i in sorted(self.cell.live):
            n = self.cell.nodes[i]
            if n.name and n.name in self.texts:
                found[i] = f"{n.name} = {self.texts[n.name]}"
            elif i in self.cell.outputs and not n.name:
                found[i] = f"{self._output_name(i)} = {expression(self.cell, i)}"
        return {i: text.replace("*/", "* /") for i, text in found.items()}

    def _constants(self) -> None:
        """Arrays of what learned values decide alone, where something else reads it."""
        for i in sorted(self.still):
            readers = [k for k in self.cell.live if i in self.cell.nodes[k].args]
            if not set(readers) <= self.still or i in self.cell.outputs:
                value = self.layer.values(*_nothing(self.layer))[i]
                row = self.layer.row(value, i, torch.zeros(1, 1, dtype=torch.float64))[0]
                name, text = self.names.get(i, ""), expression(self.cell, i)
                if not name:
                    name = f"{self.names.get(self._line_of(i)) or 'y'}_constant"
                elif f"{self.prefix}{name}" not in self.taken:
                    self.local.discard(name)  # nothing else in the function has this name
                code = self._vector(name, row.detach().numpy(), self.formats[i], text)
                self.code.arrays[i] = code
        for i in self.cell.live - self.still:
            n = self.cell.nodes[i]
            if n.op == "diagonal":
                values = self.layer.weight_at(i).detach().numpy()
                given = self.formats[i]
                place = None if given is None else exponent(values.min(), values.max())
                about = f"the factors of {expression(self.cell, n.args[0])}"
                name = self._vector(f"{self.layer.labels[i]}_factor", values, place, about)
                index = "k" if len(values) > 1 else "0"
                self.code.vectors[i] = Code(f"{name}[{index}]", 9, place)
            elif self._is_table(i, n):
                self.code.tables[i] = self._table(i, n)

    def _vector(self, name: str, values: Values, place: int | None, about: str) -> str:
        if place is None:
            return self.data.add(self._global(name), "float", values, f"{about}.")
        whole = np.rint(values * 2.0**place).clip(-32767, 32767)
        about = f"{about}, times 2^{place}."
        return self.data.add(self._global(name), "int16_t", whole, about)

    def _is_table(self, i: int, n: Node) -> bool:
        """Whether whole numbers need a table for a node's function."""
        plain = OPS[n.op].kind == "elementwise" and len(n.args) == 1 and i not in self.code.numbers
        direct = ("neg", "abs", "relu", "square", "floor", "tanh", "sigmoid")
        return plain and self.formats[i] is not None and n.op not in direct

    def _table(self, i: int, n: Node) -> str:
        low, high = self.ranges.found[self.place, n.args[0]]
        taken, given = self.formats[n.args[0]], self.formats[i]
        assert given is not None
        if taken is None:
            taken = self.code.rounded[n.args[0]]
        table = table_of(n, taken, given, low, high)
        about = (
            f"{n.op} of 16-bit numbers times 2^-{taken}, times 2^{given}, at 257 places; within "
            f"{table.error:.1g} from {low:.4g} to {high:.4g}."
        )
        name = self._global(f"{n.op}_table")
        return self.data.add(name, "int16_t", table.values, about)

    # Statements.

    def _array(self, i: int, n: Node) -> str:
        """A name for the array of a node, which may be that of a matrix in the same line."""
        owner = self._line_of(i)
        line = self._line_name(owner)
        alike = (self.kind(i), self.sizes[i]) == (self.kind(owner), self.sizes[owner])
        if i == owner or (alike and self._waits_for(owner, i) and line not in self.scratch):
            name = line
        else:
            name = self._free(f"{line}_sum" if n.op in MAPS else f"{line}_part")
        self.scratch[name] = (self.kind(i), self.sizes[i])
        return name

    def _line_name(self, owner: int) -> str:
        """The name of the array of a line."""
        if owner not in self.line_names:
            self.line_names[owner] = self.names.get(owner) or self._free(self._output_name(owner))
        return self.line_names[owner]

    def _waits_for(self, owner: int, i: int) -> bool:
        """Whether a line reads a sum place by place as it writes its own array."""
        is_row = self.cell.nodes[owner].op not in (*MAPS, "legendre")
        return is_row and self.cell.nodes[i].op in MAPS

    def _output_name(self, i: int) -> str:
        for state, new in zip(self.cell.states, self.cell.new_states, strict=True):
            if new == i:
                return f"{identifier(state.name)}_new"
        return "y_new"

    def _compute(self, i: int, n: Node) -> None:
        name = self._array(i, n)
        if n.op in MAPS:
            self._map(i, n, name)
        elif n.op in ROWS:
            self._row_operation(i, n, name)
        else:
            self._assign(name, self.sizes[i], self._stored(self.code.computed(i)))
        self.code.arrays[i] = name

    def _stored(self, code: Code) -> str:
        """Code as what is stored; int16_t of whole numbers."""
        return code.text if code.exponent is None else f"(int16_t){code.within(8)}"

    def _assign(self, name: str, size: int, text: str) -> None:
        if text == f"{name}[k]":
            return
        if size == 1:
            self.lines.append(f"{name}[0] = {text};")
        else:
            self.lines += [
                f"for (k = 0; k < {size}; k++) {{", f"    {name}[k] = {text};", "}"
            ]  # fmt: skip

    def _row(self, i: int, place: int | None) -> str:
        """The name of an array that has the whole row of a value: floats, or whole numbers of an
        exponent."""
        if i in self.code.arrays and self.formats[i] == place:
            return self.code.arrays[i]
        name = self._free(f"{self.code.arrays[i]}_row" if i in self.code.arrays else "row")
        self.scratch[name] = ("float" if place is None else "int16_t", self.sizes[i])
        code = self.code.number(i, place) if i in self.code.numbers else self.code.at(i)
        code = self.code.floating(code) if place is None else self.code.whole(code, place)
        self._assign(name, self.sizes[i], self._stored(code))
        return name

    def _row_operation(self, i: int, n: Node, name: str) -> None:
        size, (arg,) = self.sizes[i], n.args
        if n.op == "legendre":
            row = self._row(arg, None)
            empty = torch.empty(0, dtype=torch.float64)
            matrix = self.layer.square(i, n, empty).numpy()
            weight = self.data.add(
                self._global("legendre"), "float", matrix.T, "The matrix of the Legendre memory.",
                f"{size} * {size}",
            )  # fmt: skip
            self._assign(name, size, "0.0f")
            self.used.add("add_product")
            self.lines.append(f"add_product({name}, {weight}, {row}, {size}, {size});")
            return
        self._assign(name, size, self.code.floating(self.code.at(arg)).text)
        more = "".join(f", {value!r}f" for _, value in n.attrs)
        self.used.add(n.op)
        self.lines.append(f"{n.op}({name}, {size}{more});")

    # Matrices.

    def _map(self, i: int, n: Node, name: str) -> None:
        matrix, bias = matrix_of(self.layer, i), None
        if n.op == "linear" and (tensor := self.layer.bias_of(i)) is not None:
            bias = tensor.detach().numpy()
        label = self.layer.labels[i]
        widths = [self.sizes[arg] if n.op == "linear" else matrix.shape[1] for arg in n.args]
        parts = np.split(matrix, np.cumsum(widths)[:-1], axis=1)
        if self.formats[i] is not None:
            self._whole_map(i, n, name, label, int8(matrix), bias, widths)
        elif self.number_format == "float32":
            start = self._float_vector(f"{label}_bias", bias, f"The bias of {label}.")
            self._assign(name, self.sizes[i], start or "0.0f")
            for arg, part in zip(n.args, parts, strict=True):
                self._add(name, arg, label, part, "float")
        else:
            self._int8_map(i, n, name, label, int8(matrix), bias, widths)

    def _int8_map(
        self, i: int, n: Node, name: str, label: str, matrix: Int8, bias: Values | None,
        widths: Sequence[int],
    ) -> None:  # fmt: skip
        self._assign(name, self.sizes[i], "0.0f")
        parts = np.split(matrix.values, np.cumsum(widths)[:-1], axis=1)
        for arg, part in zip(n.args, parts, strict=True):
            self._add(name, arg, label, part, "int8_t")
        scale = self._float_vector(f"{label}_scale", matrix.scales, f"The scales of {label}.")
        start = self._float_vector(f"{label}_bias", bias, f"The bias of {label}.")
        begin = f"{start} + " if start else ""
        at = f"{name}[{'k' if self.sizes[i] > 1 else '0'}]"
        self._assign(name, self.sizes[i], f"{begin}{scale} * {at}")

    def _float_vector(self, name: str, values: Values | None, about: str) -> str:
        if values is None:
            return ""
        array = self.data.add(self._global(name), "float", values, about)
        return f"{array}[{'k' if len(values) > 1 else '0'}]"

    def _add(self, name: str, arg: int, label: str, part: np.ndarray, kind: CType) -> None:
        """Add the product of one argument with its part of a matrix."""
        row = self._row(arg, None)
        weight, blocks = self._weight(arg, label, part, kind, is_row_first=False)
        function = "add_product" if kind == "float" else "add_product_int8"
        self.used.add(function)
        size, columns = len(part) // blocks, part.shape[1]
        if blocks == 1:
            self.lines.append(f"{function}({name}, {weight}, {row}, {columns}, {size});")
            return
        self.lines += [
            f"for (k = 0; k < {blocks}; k++) {{",
            f"    {function}({name} + {size} * k, {weight} + {size * size} * k, "
            f"{row} + {size} * k, {size}, {size});",
            "}",
        ]

    def _weight(
        self, arg: int, label: str, part: np.ndarray, kind: CType, *, is_row_first: bool
    ) -> tuple[str, int]:
        """The array of a matrix, and how many independent blocks it has."""
        rows, columns = part.shape
        blocks = rows // columns if columns != self.sizes[arg] else 1
        laid = part if is_row_first else np.concatenate(
            [block.T for block in np.split(part, blocks)]
        )  # fmt: skip
        of = self.cell.nodes[arg].name or expression(self.cell, arg)
        about = f"{label}: the factors of {of}, those of each output in turn"
        if not is_row_first:
            about = f"{label}: the factors of {of}; a line has those of one input"
        wish = f"{label}_{identifier(self.cell.nodes[arg].name or 'part')}"
        shape = f"{len(laid)} * {laid.shape[1]}"
        return self.data.add(self._global(wish), kind, laid, f"{about}.", shape), blocks

    def _whole_map(
        self, i: int, n: Node, name: str, label: str, matrix: Int8, bias: Values | None,
        widths: Sequence[int],
    ) -> None:  # fmt: skip
        given = self.formats[i]
        assert given is not None
        places = [self._place(arg) for arg in n.args]
        common = min(max(places), min(places) + 12)
        parts = np.split(matrix.values, np.cumsum(widths)[:-1], axis=1)
        terms = []
        for arg, place, part in zip(n.args, places, parts, strict=True):
            terms.append(self._dot(arg, place, label, part, common - place))
        factor, shift = self._factors(label, matrix.scales, given - common)
        k = "k" if self.sizes[i] > 1 else "0"
        start = ""
        if bias is not None:
            whole = np.rint(bias * 2.0**given).clip(-(2**29), 2**29)
            about = f"The bias of {label}, times 2^{given}."
            array = self.data.add(self._global(f"{label}_bias"), "int32_t", whole, about)
            start = f" + {array}[{k}]"
        self.used |= {"scaled", "cut"}
        body = [
            f"{self.sum} = {terms[0]};",
            *(f"{self.sum} += {term};" for term in terms[1:]),
            f"{name}[{k}] = (int16_t)cut(scaled({self.sum}, {factor}[{k}], {shift}){start});",
        ]
        self.has_sum = True
        if self.sizes[i] == 1:
            self.lines += body
        else:
            self.lines += [
                f"for (k = 0; k < {self.sizes[i]}; k++) {{", *(f"    {line}" for line in body), "}"
            ]  # fmt: skip

    def _place(self, arg: int) -> int:
        """The exponent with which a matrix reads a value."""
        if arg in self.code.numbers:
            value = self.code.numbers[arg]
            found = exponent(value, value)
        elif (given := self.formats[arg]) is not None:
            return given
        else:
            found = self.code.rounded[arg]
        assert found is not None, "formats.py makes a float of a matrix that reads infinity"
        return found

    def _dot(self, arg: int, place: int, label: str, part: np.ndarray, shift: int) -> str:
        """The term of an argument in a sum whose unit is 2^shift times as fine."""
        row = self._row(arg, place)
        weight, blocks = self._weight(arg, label, part, "int8_t", is_row_first=True)
        columns = part.shape[1]
        function = "dot" if columns <= LONGEST else "long_dot"
        self.used.add(function)
        start = f" + {columns} * (k / {columns})" if blocks > 1 else ""
        at = f" + {columns} * k" if len(part) > 1 else ""
        call = f"{function}({weight}{at}, {row}{start}, {columns})"
        if shift > 0:
            return f"{2**shift} * (int64_t){call}"
        return call if not shift else f"{call} / {2**-shift}"

    def _factors(self, label: str, scales: Values, distance: int) -> tuple[str, int]:
        """An array of factors that turn sums into results, and the shift that belongs to them."""
        wanted = scales * 2.0**distance
        shift = max(1, int(np.floor(np.log2(32767 / wanted.max()))))
        whole = np.rint(wanted * 2.0**shift).clip(0, 2**31 - 1)
        kind: CType = "int16_t" if whole.max() <= 32767 else "int32_t"
        about = f"The scales of {label}'s rows, times 2^{shift} in the units of its result."
        return self.data.add(self._global(f"{label}_scale"), kind, whole, about), shift

    # The end.

    def _finish(self) -> None:
        """Write y, the new states and the values for the layer above."""
        cell = self.cell
        nodes = cell.nodes
        pairs = [(i, new) for i, new in zip(self.inputs("state"), cell.new_states, strict=True)]
        pairs += list(zip(self.inputs("vertical"), cell.new_verticals, strict=True))
        self.lines.append("")
        if cell.y != cell.new_states[0]:
            size = self.sizes[cell.y]
            self._assign(self.y, size, self._into(cell.y, self.formats[cell.y]))
        waiting = []
        for i, new in pairs:
            if nodes[new].op in INPUTS and new != i:  # it may be overwritten first
                name = self._free(f"{self.names[new]}_before")
                self.scratch[name] = (self.kind(i), self.sizes[i])
                self._assign(name, self.sizes[i], self._into(new, self.formats[i]))
                waiting.append((i, f"{name}[{'k' if self.sizes[i] > 1 else '0'}]"))
            elif new != i:
                waiting.append((i, self._into(new, self.formats[i])))
        for i, text in waiting:
            self._assign(self.names[i], self.sizes[i], text)

    @property
    def y(self) -> str:
        """The name of the array that y is written into, if it is not the first state."""
        return "y" if "y" not in self.names.values() and "y" not in self.scratch else "output"

    def inputs(self, op: str) -> list[int]:
        """The nodes that are states, or verticals."""
        return [i for i, n in enumerate(self.cell.nodes) if n.op == op]

    def _into(self, i: int, place: int | None) -> str:
        """A value in the format of an array that it is written into."""
        if place is not None and i in self.code.numbers:
            return f"(int16_t){self.code.number(i, place).within(8)}"
        code = self.code.at(i)
        code = self.code.floating(code) if place is None else self.code.whole(code, place)
        return self._stored(code)


def _nothing(layer: EagerCell) -> tuple[Tensor, list[Tensor], list[Tensor], int]:
    """Zeros as the arguments of a step."""
    entering = {
        op: [
            torch.zeros(1, layer.sizes[i], dtype=torch.float64)
            for i, n in enumerate(layer.cell.nodes)
            if n.op == op
        ]
        for op in INPUTS
    }
    return entering["input"][0], entering["state"], entering["vertical"], 0


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The names that a cell's text defines, and what they are."""
    for line in text.splitlines():
        name, equals, value = line.strip().partition(" = ")
        if equals and name.isidentifier():
            yield name, value
