"""Hypothesis strategies: `cells()` draws any valid cell, from every op of the table."""

from typing import Any

from hypothesis import strategies as st

from nas.cell import OPS, Cell, Node, arrange, node
from nas.cell.graph import Width
from nas.cell.ops import INPUTS, MASKS

HIDDEN_SIZE = 4
NUMBERS = (0.0, 1.0, -1.0, 0.5, 2.0, -0.3, 1e-3)
NAMES = ("h", "c", "a", "b", "b_2", "v1", "v2", "_w", "_1", "tanh", "inf", "h_new", "ß", "match")
WIDTHS: tuple[Width, ...] = ("hidden", "hidden", "hidden", "input", 1, 2)
DOCS = st.text(st.sampled_from("ab \"'\\\n\t{%é\u2028"), max_size=12)
INTERIOR = (*(op for op in OPS if op not in INPUTS), *6 * ("linear",), *3 * ("add", "mul", "neg"))


def input_size(cell: Cell) -> int:
    """A size that the cell can have together with HIDDEN_SIZE."""
    return HIDDEN_SIZE if cell.needs_equal_widths else 6


@st.composite
def cells(draw: st.DrawFn, max_ops: int = 12, *, finite: bool = False) -> Cell:
    """A cell of 1 to 3 states; nodes may be dead, shared, named or not, of any width."""
    builder = _Builder(draw, finite)
    n_verticals = draw(st.sampled_from((0, 0, 0, 1, 2)))
    widths = draw(st.lists(st.sampled_from(WIDTHS), min_size=1, max_size=3))
    builder.add(node("input", name="x"), "input")
    for width in widths:
        initial = builder.pick(0.0, 0.0, 1.0, -0.25, float("-inf"))
        name = draw(st.sampled_from(NAMES))
        builder.add(node("state", width=width, initial=initial, name=name), width)
    for _ in range(n_verticals):
        builder.add(node("vertical", name=draw(st.sampled_from(NAMES))), "hidden")
    for op in draw(st.lists(st.sampled_from(INTERIOR), max_size=max_ops)):
        builder.add_op(op)
    new_states = [builder.any_of(width) for width in widths]
    above = [builder.any_of("hidden", 1) for _ in range(n_verticals)]
    y = new_states[0] if draw(st.booleans()) else builder.any_of(*builder.widths)
    name = draw(st.sampled_from(("cell", "f", "tanh")))
    return arrange(Cell(name, tuple(builder.nodes), y, tuple(new_states), tuple(above), draw(DOCS)))


class _Builder:
    def __init__(self, draw: st.DrawFn, finite: bool) -> None:
        self.draw = draw
        self.finite = finite
        self.nodes: list[Node] = []
        self.widths: list[Width] = []
        self.may_meet = draw(st.booleans())
        """Whether input and hidden values meet elementwise in this cell."""

    def pick(self, *choices: Any) -> Any:
        kept = [c for c in choices if not (self.finite and c in (float("inf"), -float("inf")))]
        return self.draw(st.sampled_from(kept))

    def add(self, new: Node, width: Width) -> int:
        self.nodes.append(new)
        self.widths.append(width)
        return len(self.nodes) - 1

    def any_of(self, *widths: Width) -> int:
        fitting = [i for i, width in enumerate(self.widths) if self._is_in(width, widths)]
        return self.draw(st.sampled_from(fitting))

    def _is_in(self, width: Width, wanted: tuple[Width, ...]) -> bool:
        both = {"input", "hidden"}
        return width in wanted or (self.may_meet and width in both and bool(both & set(wanted)))

    def joined(self, one: Width, other: Width) -> Width:
        if one == 1 or one == other:
            return other
        return one if other == 1 else "hidden"

    def add_op(self, op: str) -> None:
        attrs = {name: self.attribute(op, name) for name in OPS[op].attrs}
        args, width = self.arguments(op)
        if op == "linear" and (len(args) > 1 or self.widths[args[0]] != attrs["width"]):
            attrs["eye"] = 0.0
        name = self.draw(st.sampled_from((*30 * ("",), *NAMES)))
        self.add(node(op, *args, name=name, **attrs), attrs.get("width", width))

    def arguments(self, op: str) -> tuple[list[int], Width]:
        if op == "linear":
            return [self.any_of(*self.widths) for _ in range(self.draw(st.integers(1, 3)))], 1
        if op in ("block_diagonal", "masked"):
            arg = self.any_of("input", "hidden", 2)
            return [arg], self.widths[arg]
        args: list[int] = []
        width: Width = 1
        for _ in range(OPS[op].arity or 0):
            args.append(self.any_of(*(self.widths if width == 1 else (width, 1))))
            width = self.joined(width, self.widths[args[-1]])
        return args, width

    def attribute(self, op: str, name: str) -> Any:
        choices: dict[str, tuple[Any, ...]] = {
            "width": WIDTHS,
            "blocks": (1, 2, None) if op == "unit" else (1, 2),
            "window": (5.0, 100.0),
            "transpose": (-1.0, 1.0, 0.5),
            "mask": MASKS,
            "slope": (0.01, 0.2, 1 / 6),
            "eps": (1e-5, 1e-3),
            "eye": (0.0, 0.0, 1.0, 0.9),
            "value": (*NUMBERS, float("inf")),
        }
        if op == "unit" and name == "width":
            return self.pick("hidden", "hidden", "input", 2)
        optional = (op, name) in (("linear", "bias"), ("diagonal", "init"))
        numbers = (None, *NUMBERS) if optional else NUMBERS
        return self.pick(*choices.get(name, numbers))
