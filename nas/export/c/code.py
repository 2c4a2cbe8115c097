"""Values of a layer at one place of a row, as expressions of C: floats, or whole numbers.

To add an operation, write its function, the op's name and `_of`, in functions.c. One of a single
value becomes a table where values are whole numbers; others, and what needs no table, are a case of
`Expressions._whole_operation` and a name in `INTEGER` of formats.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nas.cell.graph import Node
from nas.cell.text import INFIX
from nas.compile.reference import FUNCTIONS, EagerCell, of_numbers
from nas.export.c.data import literal
from nas.export.c.formats import Formats

ATOM, UNARY, PRODUCT, SUM = 9, 8, 2, 1
"""How tightly code binds."""
K = "k"
"""The place in a row."""


@dataclass(frozen=True)
class Code:
    """An expression."""

    text: str
    binds: int
    exponent: int | None
    """Of a whole number; None is a float."""
    is_wide: bool = False
    """Whether a whole number may need more than 16 bits."""

    def within(self, least: int) -> str:
        """The text, in brackets if it binds less."""
        return self.text if self.binds >= least else f"({self.text})"


def power(exponent: int) -> str:
    """2 to a power of 0 or more, as a float of C."""
    return literal(2.0**exponent)


@dataclass
class Expressions:
    """What is known of a layer's values, and the functions that their code calls."""

    layer: EagerCell
    formats: Formats
    used: set[str]
    """Names of functions; added to."""
    step: str
    """The name of the index of the step, a float."""
    rounded: Mapping[int, int]
    """The exponents of floats where whole numbers are wanted of them."""
    arrays: dict[int, str] = field(default_factory=dict)
    """Nodes that have an array."""
    tables: dict[int, str] = field(default_factory=dict)
    """Nodes whose function of whole numbers is a table."""
    vectors: dict[int, Code] = field(default_factory=dict)
    """Learned vectors of diagonal maps, at one place."""

    def __post_init__(self) -> None:
        self.numbers: dict[int, float] = {}
        for i, n in enumerate(self.layer.cell.nodes):
            if n.op == "constant":
                self.numbers[i] = n.number("value")
            elif n.op in FUNCTIONS and all(arg in self.numbers for arg in n.args):
                self.numbers[i] = of_numbers(n, [self.numbers[arg] for arg in n.args])

    def at(self, i: int) -> Code:
        """The value of a node at place K, a float or a whole number as its format says."""
        n = self.layer.cell.nodes[i]
        if i in self.arrays:
            place = K if self.layer.sizes[i] > 1 else "0"
            return Code(f"{self.arrays[i]}[{place}]", ATOM, self.formats[i])
        if i in self.numbers:
            return self.number(i)
        if n.op == "step":
            return Code(self.step, ATOM, None)
        return self.computed(i)

    def computed(self, i: int) -> Code:
        """The operation of a node."""
        n, wanted = self.layer.cell.nodes[i], self.formats[i]
        if wanted is None:
            return self._float_operation(i, n)
        return self.whole(self._whole_operation(i, n, wanted), wanted)

    def floating(self, code: Code) -> Code:
        """A value as a float."""
        if code.exponent is None:
            return code
        if code.exponent == 0:
            return Code(f"(float){code.within(UNARY)}", UNARY, None)
        sign = "/" if code.exponent > 0 else "*"
        return Code(f"{code.within(PRODUCT)} {sign} {power(abs(code.exponent))}", PRODUCT, None)

    def whole(self, code: Code, exponent: int) -> Code:
        """A value as a whole number of 16 bits."""
        if code.exponent is None:
            one = power(exponent) if exponent >= 0 else literal(2.0**exponent)
            return self._call("to_fixed", f"{code.text}, {one}", exponent)
        if code.exponent == exponent:
            return self._call("cut", code.text, exponent) if code.is_wide else code
        shift = code.exponent - exponent
        name = "fit" if shift > 0 else "grown"
        # Further than 30 places a number of 31 bits is 0, or the largest one.
        return self._call(name, f"{code.text}, {min(abs(shift), 30)}", exponent)

    def _call(self, name: str, arguments: str, exponent: int | None) -> Code:
        self.used.add(name)
        return Code(f"{name}({arguments})", ATOM, exponent)

    def number(self, i: int, exponent: int | None = None) -> Code:
        """A number of the cell, as a float or as a whole number."""
        value = self.numbers[i]
        if exponent is not None:
            whole = max(-(2.0**30), min(2.0**30, value * 2.0**exponent))
            return Code(str(round(whole)), ATOM if value >= 0 else UNARY, exponent)
        if math.isinf(value):
            sign = "-" if value < 0 else ""
            self.used.add("infinity")
            return Code(f"{sign}infinity()", UNARY if sign else ATOM, None)
        return Code(literal(value), ATOM if math.copysign(1, value) > 0 else UNARY, None)

    # Floats.

    def _float_operation(self, i: int, n: Node) -> Code:
        if n.op == "diagonal":
            vector, row = self.vectors[i], self.floating(self.at(n.args[0]))
            return Code(f"{vector.text} * {row.within(UNARY)}", PRODUCT, None)
        args = [self.floating(self.at(arg)) for arg in n.args]
        if n.op in INFIX:
            sign, strength = INFIX[n.op]
            left, right = args
            return Code(
                f"{left.within(strength)} {sign} {right.within(strength + 1)}", strength, None
            )
        if n.op == "neg":
            return Code(f"-{args[0].within(ATOM)}", UNARY, None)
        numbers = [literal(n.number(name)) for name, _ in n.attrs]
        return self._call(f"{n.op}_of", ", ".join([*(arg.text for arg in args), *numbers]), None)

    # Whole numbers.

    def _whole_operation(self, i: int, n: Node, wanted: int) -> Code:
        """An operation with the exponent that comes of itself."""
        match n.op:
            case "add" | "sub":
                return self._sum(n)
            case "max" | "min":
                return self._extreme(n)
            case "mul":
                return self._product(self._value(n.args[0]), self._value(n.args[1]))
            case "diagonal":
                return self._product(self.vectors[i], self._value(n.args[0]))
            case "div":
                return self._quotient(n, wanted)
            case "blend":
                return self._blend(n, wanted)
        (argument,) = map(self._value, n.args)
        assert argument.exponent is not None
        match n.op:
            case "neg":
                return Code(f"-{argument.within(ATOM)}", UNARY, argument.exponent)
            case "abs":
                return self._call("abs_fixed", argument.text, argument.exponent)
            case "relu":
                return self._call("max_fixed", f"{argument.text}, 0", argument.exponent)
            case "square":
                square = self._call("square_fixed", argument.text, 2 * argument.exponent)
                return replace(square, is_wide=True)
            case "floor":
                return self._floor(argument)
            case "tanh":
                return self._call("tanh_fixed", self.whole(argument, 12).text, 15)
            case "sigmoid":
                return self._call("sigmoid_fixed", self.whole(argument, 11).text, 15)
        return self._call("lookup", f"{self.tables[i]}, {argument.text}", wanted)

    def _value(self, i: int) -> Code:
        """A value as a whole number; a number of the cell gets the exponent that is exact."""
        if i in self.numbers:
            return self.number(i, number_exponent(self.numbers[i]))
        code = self.at(i)
        return self.whole(code, self.rounded[i]) if code.exponent is None else code

    def _aligned(self, args: tuple[int, ...]) -> tuple[list[Code], int]:
        """Values of one exponent, at most 2^29 each."""
        codes = [None if i in self.numbers else self._value(i) for i in args]
        known = [code.exponent for code in codes if code and code.exponent is not None]
        common = min(max(known), min(known) + 14)
        aligned = []
        for i, code in zip(args, codes, strict=True):
            if code is None:
                aligned.append(self.number(i, common))
            elif code.exponent is not None and code.exponent < common:
                factor = 2 ** (common - code.exponent)
                aligned.append(Code(f"{code.within(PRODUCT)} * {factor}", PRODUCT, common))
            else:
                aligned.append(self.whole(code, common))
        return aligned, common

    def _sum(self, n: Node) -> Code:
        (left, right), common = self._aligned(n.args)
        sign, strength = INFIX[n.op]
        text = f"{left.within(strength)} {sign} {right.within(strength + 1)}"
        return Code(text, SUM, common, is_wide=True)

    def _extreme(self, n: Node) -> Code:
        (left, right), common = self._aligned(n.args)
        return self._call(f"{n.op}_fixed", f"{left.text}, {right.text}", common)

    def _product(self, left: Code, right: Code) -> Code:
        assert left.exponent is not None
        assert right.exponent is not None
        text = f"{left.within(PRODUCT)} * {right.within(UNARY)}"
        return Code(text, PRODUCT, left.exponent + right.exponent, is_wide=True)

    def _quotient(self, n: Node, wanted: int) -> Code:
        left, right = map(self._value, n.args)
        assert left.exponent is not None
        assert right.exponent is not None
        shift = max(0, min(15, wanted - left.exponent + right.exponent))
        text = f"{left.text}, {right.text}, {shift}"
        return self._call("quotient", text, left.exponent - right.exponent + shift)

    def _blend(self, n: Node, wanted: int) -> Code:
        share, first, second = map(self._value, n.args)
        assert share.exponent is not None
        share = self.whole(share, min(share.exponent, 15))
        assert share.exponent is not None
        one = round(2.0**share.exponent)
        rest = Code(f"{one} - {share.within(UNARY)}", SUM, share.exponent, is_wide=True)
        kept = self.whole(rest, min(share.exponent, 14))
        parts = [self._product(share, first), self._product(kept, second)]
        text = " + ".join(self.whole(part, wanted).text for part in parts)
        self.used.add("cut")
        return Code(f"cut({text})", ATOM, wanted)

    def _floor(self, argument: Code) -> Code:
        assert argument.exponent is not None
        if argument.exponent <= 0:
            return argument
        return Code(f"({argument.text}) >> {argument.exponent}", 0, 0)


def number_exponent(value: float) -> int:
    """The least exponent that keeps a number exactly, or the largest that it has room for."""
    if not value or math.isinf(value):
        return 0
    most = math.floor(math.log2(32767 / abs(value)))
    return next((e for e in range(min(0, most), most) if (value * 2.0**e).is_integer()), most)
