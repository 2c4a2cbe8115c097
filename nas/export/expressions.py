"""A cell's equations as lines of torch, with the names of the cell's text.

To print a new op, write a line in `CALLS`, or a case in `_Printer.code`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nas.cell.arrange import free_name
from nas.cell.cell import Cell
from nas.cell.graph import Node, Width, is_learned, returned
from nas.cell.ops import FIXED, INPUTS
from nas.cell.text import INFIX
from nas.compile.reference import of_numbers, parameter_labels

CALLS = {
    "tanh": "torch.tanh({})",
    "sigmoid": "torch.sigmoid({})",
    "relu": "torch.relu({})",
    "leaky_relu": "F.leaky_relu({}, {slope})",
    "softplus": "F.softplus({}, threshold=40.0)",
    "exp": "torch.exp({})",
    "log": "torch.log({})",
    "abs": "torch.abs({})",
    "sqrt": "torch.sqrt({})",
    "square": "torch.square({})",
    "floor": "torch.floor({})",
    "cumsum": "torch.cumsum({}, dim=-1)",
    "sin": "torch.sin({})",
    "cos": "torch.cos({})",
    "silu": "F.silu({})",
    "gelu": "F.gelu({})",
    "softmax": "torch.softmax({}, dim=-1)",
    "layer_norm": "layer_norm({}, {eps})",
    "rms_norm": "rms_norm({}, {eps})",
    "blend": "blend({}, {}, {})",
    "max": "torch.maximum({}, {})",
    "min": "torch.minimum({}, {})",
}
"""Ops that are one call of torch, with arguments by place and attributes by name."""

LINE = 100
"""Columns of the file."""
INDENT = 8
"""Columns before a line in a method."""
TAKEN = ("self", "torch", "math", "nn", "F", "Tensor")
"""Names that the file uses itself."""

ATOM, NEGATED = 9, 3
"""How tightly code binds, beside the strengths of `INFIX`."""
LEAVES = ("vector", "scalar", "unit")
Kind = Literal["number", "leaf", "row"]
"""A number, a learned value (width,) that is equal for all sequences, or (batch, width)."""


@dataclass(frozen=True)
class Equations:
    """A cell as code."""

    x: str
    states: tuple[str, ...]
    verticals: tuple[str, ...]
    step: str
    """Name of the step's index; empty if the cell does not read it."""
    lines: tuple[str, ...]
    returned: tuple[str, ...]
    """Code of y (if it is not the first state), of the new states and of the new verticals."""
    ops: frozenset[str]
    """All ops that occur in the code."""


def equations(cell: Cell) -> Equations:
    """Print a cell."""
    printer = _Printer(cell)
    for i, n in enumerate(cell.nodes):
        if i in cell.live and n.name and n.op not in INPUTS and printer.kinds[i] != "number":
            printer.define(i)
    outputs = printer.outputs()
    nodes = cell.nodes
    return Equations(
        printer.names[0],
        tuple(printer.names[i] for i, n in enumerate(nodes) if n.op == "state"),
        tuple(printer.names[i] for i, n in enumerate(nodes) if n.op == "vertical"),
        printer.step if any(nodes[i].op == "step" for i in cell.live) else "",
        tuple(printer.lines),
        outputs,
        frozenset(nodes[i].op for i in cell.live if printer.kinds[i] != "number"),
    )


def number(value: float) -> str:
    """A number as code; whole ones without a point."""
    if math.isnan(value) or math.isinf(value):
        return "math.nan" if math.isnan(value) else "math.inf" if value > 0 else "-math.inf"
    whole = value.is_integer() and abs(value) < 1e15 and not (value == 0 and repr(value)[0] == "-")
    return str(int(value)) if whole else repr(value)


def width_code(width: Width, x: str) -> str:
    """A width as code, where x is (batch, input)."""
    return {"hidden": "self.hidden_size", "input": f"{x}.shape[1]"}.get(str(width), str(width))


def legendre_name(n: Node) -> str:
    """The name of a Legendre memory's matrix in a class."""
    return f"legendre_{number(n.number('window'))}".replace(".", "_").replace("-", "m")


class _Printer:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.lines: list[str] = []
        self.labels = parameter_labels(cell)
        self.values: dict[int, float] = {}
        """Nodes whose value is a known number."""
        self.kinds: list[Kind] = []
        for i, n in enumerate(cell.nodes):
            self.kinds.append(self._kind(i, n))
        self.taken = set(TAKEN)
        self.names = {i: self.free(n.name) for i, n in enumerate(cell.nodes) if n.name}
        self.step = self.free("t")
        maps = (cell.nodes[i] for i in cell.live if cell.nodes[i].op == "linear")
        self.shared = {args for args, n in Counter(n.args for n in maps).items() if n > 1}
        self.joined: dict[tuple[int, ...], str] = {}

    def free(self, wish: str) -> str:
        name = free_name(wish, self.taken)
        self.taken.add(name)
        return name

    def _kind(self, i: int, n: Node) -> Kind:
        if n.op in (*INPUTS, "step"):
            return "row"
        if n.op == "constant":
            self.values[i] = n.number("value")
        elif self._is_number(n):
            self.values[i] = of_numbers(n, [self.values[arg] for arg in n.args])
        if i in self.values:
            return "number"
        joined = n.op == "linear" and len(n.args) > 1
        return "row" if joined or any(self.kinds[arg] == "row" for arg in n.args) else "leaf"

    def _is_number(self, n: Node) -> bool:
        """Whether an operation of numbers is one itself."""
        plain = n.op not in (*LEAVES, *FIXED) and not is_learned(n)
        return plain and all(arg in self.values for arg in n.args)

    def define(self, i: int) -> None:
        """Write the line of a node, and lines for its longest arguments if it is too long."""
        name = self.names.pop(i, "") or self.free("v1")
        line = f"{name} = {self.code(i)[0]}"
        while not (laid := _laid(line, self.cell.nodes[i])) and self._name_longest([i]):
            line = f"{name} = {self.code(i)[0]}"
        self.names[i] = name
        self.lines += laid or [line]

    def _name_longest(self, users: Sequence[int]) -> bool:
        """Give the longest argument of the nodes a line of its own, if there is one to name."""
        for user in users:
            n = self.cell.nodes[user]
            if n.op == "linear" and len(n.args) > 1 and n.args not in self.shared:
                self.shared.add(n.args)
                return True
        return self._name_one({arg for user in users for arg in self.cell.nodes[user].args})

    def _name_one(self, nodes: Iterable[int]) -> bool:
        """Give the longest of the nodes a line of its own, if there is one to name."""
        chosen = self._longest(nodes)
        if chosen is None:
            return False
        # Of a product or sum with a function in it, the function is what deserves a name.
        inner = self._longest(self.cell.nodes[chosen].args)
        if inner is not None and self.cell.nodes[chosen].op in INFIX:
            chosen = chosen if self.cell.nodes[inner].op in INFIX else inner
        self.define(chosen)
        return True

    def _longest(self, nodes: Iterable[int]) -> int | None:
        """The node without a name that takes most code."""
        compound = [
            i
            for i in sorted(nodes)
            if i not in self.names and i not in self.values and self.cell.nodes[i].args
        ]
        return max(compound, key=lambda i: len(self.code(i)[0]), default=None)

    def reference(self, i: int) -> tuple[str, int]:
        """The code of an argument, and how tightly it binds."""
        if i in self.values:
            value = self.values[i]
            return number(value), NEGATED if math.copysign(1, value) < 0 else ATOM
        return (self.names[i], ATOM) if i in self.names else self.code(i)

    def code(self, i: int) -> tuple[str, int]:
        n = self.cell.nodes[i]
        if n.op == "step":
            return self.step, ATOM
        if n.op == "unit":
            return self._unit(i, n)
        if is_learned(n):
            return self._learned(i, n)
        if n.op in FIXED:
            row = self._row(n.args[0])
            if n.op == "cumsum":
                return CALLS[n.op].format(row), ATOM
            return f"F.linear({row}, self.{legendre_name(n)}.to({self.names[0]}.dtype))", ATOM
        if n.op in INFIX:
            sign, strength = INFIX[n.op]
            (left, left_binds), (right, right_binds) = map(self.reference, n.args)
            left = left if left_binds >= strength else f"({left})"
            right = right if right_binds > strength else f"({right})"
            return f"{left} {sign} {right}", strength
        if n.op == "neg":
            text, binds = self.reference(n.args[0])
            return (f"-{text}" if binds > NEGATED else f"-({text})"), NEGATED
        if n.op == "hard_sigmoid":
            text, binds = self.reference(n.args[0])
            inner = text if binds >= 2 else f"({text})"
            slope = number(n.number("slope"))
            return f"F.hardtanh({slope} * {inner} + 0.5, 0.0, 1.0)", ATOM
        as_tensors = n.op in ("max", "min")
        arguments = [self._tensor(arg) if as_tensors else self.reference(arg)[0] for arg in n.args]
        return CALLS[n.op].format(*arguments, **{k: repr(v) for k, v in n.attrs}), ATOM

    def _tensor(self, i: int) -> str:
        code = self.reference(i)[0]
        return f"{self.names[0]}.new_tensor({code})" if i in self.values else code

    def _unit(self, i: int, n: Node) -> tuple[str, int]:
        x = self.names[0]
        width = width_code(self.cell.widths[i], x)
        return f"unit_index({x}, {width}, {n.attr('blocks') or 0})", ATOM

    def _learned(self, i: int, n: Node) -> tuple[str, int]:
        weight = f"self.{self.labels[i]}_weight"
        if not n.args:
            return weight, ATOM
        if n.op == "linear" and len(n.args) > 1:
            row = self._concatenated(n.args)
            binds = ATOM
        else:
            row, binds = self.reference(n.args[0])
        if n.args[0] in self.values and len(n.args) == 1:
            row, binds = f"{self.names[0]}.new_tensor([{row}])", ATOM
        if n.op == "diagonal":
            return f"{row if binds >= 2 else f'({row})'} * {weight}", 2
        if n.op == "block_diagonal":
            return f"block_diagonal({row}, {weight})", ATOM
        if n.op == "masked":
            return f"F.linear({row}, {weight} * self.{self.labels[i]}_mask)", ATOM
        if n.op == "skew":
            factor = n.number("transpose")
            other = f"{weight}.mT" if abs(factor) == 1 else f"{number(abs(factor))} * {weight}.mT"
            return f"F.linear({row}, {weight} {'-' if factor < 0 else '+'} {other})", ATOM
        bias = f", self.{self.labels[i]}_bias" if n.attr("bias") is not None else ""
        return f"F.linear({row}, {weight}{bias})", ATOM

    def _concatenated(self, args: tuple[int, ...]) -> str:
        """The arguments of a linear map side by side; one line where several maps read the same."""
        if args in self.joined:
            return self.joined[args]
        rows = f"[{', '.join(self._row(arg) for arg in args)}]"
        code = f"torch.cat({rows}, dim=-1)"
        if args not in self.shared:
            return code
        known = [self.names.get(arg, "") for arg in args]
        short = all(len(name) == 1 for name in known)
        name = self.free(("" if short else "_").join(known) if all(known) else "joined")
        if len(name) + 3 + len(code) + INDENT <= LINE:
            self.lines.append(f"{name} = {code}")
        elif len(rows) + len(", dim=-1") + INDENT + 4 <= LINE:
            self.lines += [f"{name} = torch.cat(", f"    {rows}, dim=-1", ")"]
        else:
            self.lines += [f"{name} = torch.cat(", f"    {rows},", "    dim=-1,", ")"]
        self.joined[args] = name
        return name

    def _row(self, i: int, width: Width | None = None) -> str:
        """A value as (batch, width)."""
        x, own = self.names[0], self.cell.widths[i]
        as_wide = own if width is None else width
        code, binds = self.reference(i)
        if self.kinds[i] == "number":
            return f"{x}.new_full(({x}.shape[0], {width_code(as_wide, x)}), {code})"
        if self.kinds[i] == "row" and (own != 1 or as_wide == 1):
            return code
        code = code if binds == ATOM else f"({code})"
        return f"{code}.expand({x}.shape[0], {width_code(as_wide, x)})"

    def outputs(self) -> tuple[str, ...]:
        """Code of all returned values; too long ones get lines of their own."""
        cell = self.cell
        nodes = returned(cell)
        widths: list[Width | None] = [None] * (len(nodes) - len(cell.verticals))
        widths += ["hidden"] * len(cell.verticals)
        while True:
            codes = tuple(self._row(i, width) for i, width in zip(nodes, widths, strict=True))
            if len(", ".join(codes)) + INDENT + 7 <= LINE:
                return codes
            inner = [i for i in nodes if i not in self.names and i not in self.values]
            named = len(inner) == 1 and self._name_longest(inner)
            if not named and not self._name_one(inner):
                return codes


def _laid(line: str, n: Node) -> list[str]:
    """A line, or a call over three lines; empty if neither fits."""
    if len(line) + INDENT <= LINE:
        return [line]
    start, _, rest = line.partition("(")
    is_call = n.op not in (*INFIX, "neg", "diagonal")
    if is_call and len(rest) - 1 + INDENT + 4 <= LINE and len(start) + 1 + INDENT <= LINE:
        return [f"{start}(", f"    {rest[:-1]}", ")"]
    return []
