"""A cell as LaTeX: an `align` environment with the names of the literature.

    i_t &= \\sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i)

A line of the text is a line here. The indices of a matrix are what it reads and the line it stands
in, and a second one of the same name gets a number; peepholes are vectors w. It needs amsmath.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nas.cell.graph import Graph, Node
from nas.cell.ops import INPUTS

FUNCTIONS = {
    "tanh": r"\tanh",
    "sigmoid": r"\sigma",
    "exp": r"\exp",
    "log": r"\log",
    "sin": r"\sin",
    "cos": r"\cos",
    "max": r"\max",
    "min": r"\min",
    "layer_norm": r"\operatorname{LN}",
    "rms_norm": r"\operatorname{RMSNorm}",
    "hard_sigmoid": r"\operatorname{hardsigmoid}",
    "leaky_relu": r"\operatorname{leakyrelu}",
}
"""Names of operations in LaTeX, where they are not those of the text."""
AROUND = {
    "abs": r"\left| {} \right|",
    "floor": r"\left\lfloor {} \right\rfloor",
    "sqrt": r"\sqrt{{{}}}",
    "square": "({})^2",
}
"""Operations that are written around their argument."""
LEAVES = {"vector": "v", "scalar": "s"}
ATOM, PRODUCT, SUM = 9, 2, 1
"""Strengths with which pieces of LaTeX bind."""

Bound = tuple[str, int]


@dataclass(frozen=True)
class Equation:
    """One line of the align environment."""

    left: str
    right: str
    node: int
    """The node whose value it says, or in whose line the parameter stands that it says more of."""
    relation: str = " &= "

    def __str__(self) -> str:
        return f"{self.left}{self.relation}{self.right}"


def latex(cell: Graph) -> str:
    """The cell as an `align` environment, ending in a newline."""
    lines = map(str, equations(cell))
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}\n"


def equations(cell: Graph) -> list[Equation]:
    """The lines of the cell: its values and outputs, initial states, then initial parameters."""
    return list(_Equations(cell).lines())


def symbol(name: str, time: str = "") -> str:
    """A name with its step as an index: h_{t-1}, v_{1,t}."""
    stem, index = name, time
    if re.fullmatch(r"[A-Za-z]\d+", name):
        stem, index = name[0], ",".join(filter(None, (name[1:], time)))
    elif len(name) > 1 or name == "t":  # a gate of that name is not the time
        stem = rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"
    return f"{stem}_{_braced(index)}" if index else stem


def _braced(index: str) -> str:
    return index if len(index) == 1 else f"{{{index}}}"


def _number(value: float) -> str:
    text = f"{value:.6g}".replace("inf", r"\infty")
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else text


class _Equations:
    def __init__(self, cell: Graph) -> None:
        self.cell = cell
        self.state_of: dict[int, str] = {}
        for state, new in zip(cell.states, cell.new_states, strict=True):
            if cell.nodes[new].op not in INPUTS:
                self.state_of.setdefault(new, state.name)
        self.line, self.node = "", 0
        """The name of the line that is written, and its node."""
        self.notes: list[Equation] = []
        self.called: dict[tuple[int, int], str] = {}
        """Symbols of parameters, by their node and their place in it."""
        self.taken: set[str] = set()

    def lines(self) -> Iterator[Equation]:
        written: set[int] = set()
        for i, n in enumerate(self.cell.nodes):
            if n.name and i in self.cell.live and n.op not in (*INPUTS, *LEAVES):
                self.line, self.node = self.state_of.get(i, n.name), i
                yield Equation(self._symbol(i), self._bound(i)[0], i)
                written.add(i)
        for left, i in self._outputs():
            if self._symbol(i) != left or i not in written:
                inline = not self.cell.nodes[i].name and i not in written
                yield Equation(left, (self._bound(i) if inline else self._of(i))[0], i)
                written.update({i} if inline else ())
        for state, new in zip(self.cell.states, self.cell.new_states, strict=True):
            if state.initial:
                yield Equation(symbol(state.name, "0"), _number(state.initial), new)
        yield from self.notes

    def _outputs(self) -> Iterator[tuple[str, int]]:
        """The left side and the node of each output; without y if it is the first new state."""
        cell = self.cell
        for state, new in zip(cell.states, cell.new_states, strict=True):
            self.line, self.node = state.name, new
            yield symbol(state.name, "t"), new
        if cell.y != cell.new_states[0]:
            self.line, self.node = "y", cell.y
            used = {n.name for n in cell.nodes}
            yield symbol("y" if "y" not in used else "output", "t"), cell.y
        for vertical, new in zip(cell.verticals, cell.new_verticals, strict=True):
            self.line, self.node = vertical, new
            yield symbol(vertical, "t") + r"^{\uparrow}", new

    # names

    def _symbol(self, i: int) -> str:
        n = self.cell.nodes[i]
        if n.op in LEAVES and n.name:
            return symbol(n.name)  # the same at all steps
        return symbol(self.state_of.get(i, n.name), "t-1" if n.op == "state" else "t")

    def _reads(self, i: int) -> str:
        """The index of a matrix that reads a value: a state in it, else x, else the first name."""
        n = self.cell.nodes[i]
        if n.name or i in self.state_of:
            return symbol(self.state_of.get(i, n.name))
        names = [self._reads(arg) for arg in n.args]
        for wanted in ("state", "input"):
            for node in self.cell.nodes:
                if node.op == wanted and symbol(node.name) in names:
                    return symbol(node.name)
        return next(filter(None, names), "")

    def _parameter(self, i: int, place: int, letter: str, *parts: str) -> str:
        """The symbol of a parameter; a second one of this name gets a number."""
        if (i, place) not in self.called:
            names = [part for part in (*parts, symbol(self.line)) if part]
            index = ("" if all(len(name) == 1 for name in names) else ",").join(names)
            full = f"{letter}_{_braced(index)}"
            number = 2
            while full in self.taken:
                full = f"{letter}_{{{index},{number}}}"
                number += 1
            self.taken.add(full)
            self.called[i, place] = full
        return self.called[i, place]

    def _starts(self, what: str, value: str) -> None:
        if all(note.left != what for note in self.notes):
            self.notes.append(Equation(what, value, self.node, r" &\text{ starts at } "))

    # expressions

    def _of(self, i: int) -> Bound:
        n = self.cell.nodes[i]
        return (self._symbol(i), ATOM) if n.name else self._bound(i)

    def _in(self, i: int, least: int) -> str:
        text, binds = self._of(i)
        return text if binds >= least else f"({text})"

    def _bound(self, i: int) -> Bound:
        n = self.cell.nodes[i]
        match n.op:
            case "input" | "state" | "vertical":
                return self._symbol(i), ATOM
            case "constant":
                value = n.number("value")
                return _number(value), ATOM if value >= 0 else SUM
            case "step":
                return "t", ATOM
            case "unit":
                blocks = n.attr("blocks")
                return rf"k^{{({blocks})}}" if blocks else "k", ATOM
            case "add" | "sub":
                a, b = n.args
                sign, least = ("+", SUM) if n.op == "add" else ("-", PRODUCT)
                left, right = self._in(a, SUM), self._in(b, least)
                right = f"({right})" if right.startswith("-") else right
                return f"{left} {sign} {right}", SUM
            case "mul":
                return self._product(n.args[0], n.args[1]), PRODUCT
            case "div":
                return rf"\frac{{{self._of(n.args[0])[0]}}}{{{self._of(n.args[1])[0]}}}", ATOM
            case "neg":
                return f"-{self._in(n.args[0], PRODUCT)}", SUM
            case "blend":
                a, b, c = n.args
                rest = rf"(1 - {self._in(a, PRODUCT)}) \odot {self._in(c, PRODUCT)}"
                return f"{self._product(a, b)} + {rest}", SUM
            case "abs" | "floor" | "sqrt" | "square":
                return AROUND[n.op].format(self._of(n.args[0])[0]), ATOM
            case _:
                return self._learned(i, n) or self._function(n)

    def _product(self, a: int, b: int) -> str:
        sign = r"\odot"
        if 1 in (self.cell.widths[a], self.cell.widths[b]):
            sign = r"\cdot"  # a number times a vector
        return f"{self._in(a, PRODUCT)} {sign} {self._in(b, PRODUCT)}"

    def _function(self, n: Node) -> Bound:
        name = FUNCTIONS.get(n.op, rf"\operatorname{{{n.op}}}")
        for index, _ in n.attrs:
            if index in ("slope", "window"):
                name += f"_{{{_number(n.number(index))}}}"
        return f"{name}({', '.join(self._of(arg)[0] for arg in n.args)})", ATOM

    def _learned(self, i: int, n: Node) -> Bound | None:
        if n.op == "linear":
            return self._linear(i, n)
        if n.op in LEAVES:
            what = self._symbol(i) if n.name else self._parameter(i, 0, LEAVES[n.op])
            if n.number("init"):
                self._starts(what, _number(n.number("init")))
            return what, ATOM
        if n.op == "diagonal":
            w = self._parameter(i, 0, "w", self._reads(n.args[0]))
            if n.attr("init") is not None:
                self._starts(w, _number(n.number("init")))
            return rf"{w} \odot {self._in(n.args[0], PRODUCT)}", PRODUCT
        if n.op in ("block_diagonal", "masked"):
            kind = str(n.attr("mask")).removeprefix("block_") if n.op == "masked" else "block"
            matrix = rf"W^{{\mathrm{{{kind}}}}}"
            what = self._parameter(i, 0, matrix, self._reads(n.args[0]))
            return f"{what} {self._in(n.args[0], ATOM)}", PRODUCT
        if n.op == "skew":
            what = self._parameter(i, 0, "W", self._reads(n.args[0]))
            factor = n.number("transpose")
            sign = "-" if factor < 0 else "+"
            scale = "" if abs(factor) == 1 else _number(abs(factor)) + " "
            return rf"({what} {sign} {scale}{what}^\top) {self._in(n.args[0], ATOM)}", PRODUCT
        return None

    def _linear(self, i: int, n: Node) -> Bound:
        terms = []
        for place, arg in enumerate(n.args, start=1):
            matrix = self._parameter(i, place, "W", self._reads(arg))
            terms.append(f"{matrix} {self._in(arg, ATOM)}")
            if eye := n.number("eye"):
                self._starts(matrix, f"{'' if eye == 1 else _number(eye) + ' '}I")
        if n.attr("bias") is not None:
            reads = () if self._biases_in_line(i) == 1 else tuple(map(self._reads, n.args))
            bias = self._parameter(i, 0, "b", *reads)
            terms.append(bias)
            if value := n.number("bias"):
                self._starts(bias, _number(value))
        return " + ".join(terms), PRODUCT if len(terms) == 1 else SUM

    def _biases_in_line(self, i: int) -> int:
        """The number of linear maps with a bias in the line of this one."""
        users: dict[int, int] = {}
        for k, n in enumerate(self.cell.nodes):
            for arg in n.args:
                if not self.cell.nodes[arg].name:
                    users[arg] = k

        def line_of(k: int) -> int:
            while k in users and not self.cell.nodes[k].name:
                k = users[k]
            return k

        home = line_of(i)
        return sum(
            n.op == "linear" and n.attr("bias") is not None and line_of(k) == home
            for k, n in enumerate(self.cell.nodes)
            if k in self.cell.live
        )
