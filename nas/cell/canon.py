"""The canonical form of a cell, and its hash, the key.

Two cells have one key if they differ only by
- names, docs, dead nodes and the order of lines,
- the order of the arguments of add, mul, max, min and linear,
- duplicate subexpressions without parameters (two linear maps are never one: each has its own),
- the algebra over the real numbers below, where a, b, c are any values and k, m numbers
  (`nas/cell/algebra.py` holds it):

      a + (b + c) = (a + b) + c     a - b = a + (-b)        a + 0 = a       a - a = 0
      a * (b * c) = (a * b) * c     a / b = a * (1 / b)     a * 1 = a       a * 0 = 0
      k * (a + b) = k*a + k*b       -(-a) = a               k*a + m*a = (k + m) * a
      square(a) = a * a             a / (k*b) = (1/k) * a/b f(k) = its value, f in FOLDED
      blend(a, b, c) = a*b + (1 - a)*c                      silu(a) = a * sigmoid(a)
      relu(a) = max(a, 0)           max, min: associative, max(a, a) = a
      linear(a, b, bias=k) = linear(a, bias=None) + linear(b, bias=None) + vector(k)

- and differ in key otherwise: initial values, attributes and the order of states count. (1 - a) * b
  is not multiplied out, so it differs from b - a*b. One identity that follows from those above is
  incomplete: -(a - b) * c = (b - a) * c fails where a and b differ in their parameters alone.

The form is a directed acyclic graph in which parameters carry identity. `labelling.py` numbers its
nodes canonically, since two gates may look alike from below.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.cell.algebra import Algebra, Term, text_of
from nas.cell.graph import Graph, Node
from nas.cell.labelling import Terms, canonical_text, reached
from nas.cell.ops import OPS


def key(cell: Graph) -> str:
    """Hash of the canonical form, 16 hexadecimal digits."""
    return hashlib.sha256(canonical_form(cell).encode()).hexdigest()[:16]


def canonical_form(cell: Graph) -> str:
    """A text that is equal for two cells exactly if they have one canonical form."""
    interface, rows, roots = terms(cell)
    return json.dumps(interface) + canonical_text(rows, roots)


def terms(cell: Graph) -> tuple[list[Any], Terms, list[Term]]:
    """The interface of a cell, the terms of its canonical form in any order, and its outputs."""
    algebra, roots = _read(cell, {})
    used = reached(algebra.terms, roots)
    place = {term: k for k, term in enumerate(used)}
    rows = [
        (label, tuple((edge, place[arg]) for edge, arg in args))
        for label, args in (algebra.terms[term] for term in used)
    ]
    states = [[state.width, text_of(state.initial)] for state in cell.states]
    interface = [states, len(cell.verticals), cell.widths[cell.y]]
    return interface, rows, [place[root] for root in roots]


@dataclass(frozen=True)
class Meaning:
    """A value, as far as the algebra above can tell."""

    term: Term
    """Equal for equal values of one cell."""
    inputs: frozenset[str]
    """The inputs it depends on, of "input", "state 0", "state 1", …; x - x depends on none."""
    number: float | None
    """The number that it always is; None if it varies."""


def meanings(cell: Graph, known: Mapping[int, float] | None = None) -> list[Meaning]:
    """The meaning of each output, if the states `known` always have these values."""
    algebra, roots = _read(cell, known or {})
    inputs: list[frozenset[str]] = []
    for label, args in algebra.terms:
        own = {label} if label == "input" or label.startswith("state ") else set[str]()
        inputs.append(frozenset(own.union(*(inputs[arg] for _, arg in args))))
    return [Meaning(root, inputs[root], algebra.number(root)) for root in roots]


def _read(cell: Graph, known: Mapping[int, float]) -> tuple[Algebra, list[Term]]:
    """The terms of a cell, and those of its outputs."""
    reader = _Reader(cell)
    n_states = 0
    for i, n in enumerate(cell.nodes):
        if n.op == "state":
            reader.of_node[i] = reader.state(n_states, known.get(n_states))
            n_states += 1
        elif i in cell.live:
            reader.of_node[i] = reader.node(i, n)
    return reader.algebra, [reader.of_node[i] for i in cell.outputs]


class _Reader:
    """Translates the nodes of a cell into terms of the algebra."""

    def __init__(self, cell: Graph) -> None:
        self.cell = cell
        self.algebra = Algebra()
        self.of_node: dict[int, Term] = {}

    def state(self, number: int, value: float | None) -> Term:
        """A state, or the number that it always is."""
        if value is None:
            return self.algebra.term(f"state {number}")
        return self.algebra.sum(value, {})

    def node(self, index: int, n: Node) -> Term:
        args, algebra = [self.of_node[arg] for arg in n.args], self.algebra
        if n.op == "input" or n.op == "step":
            return algebra.term(n.op)
        if n.op == "vertical":
            return algebra.term(f"vertical {index}")
        if n.op == "constant":
            return algebra.sum(n.number("value"), {})
        if n.op == "linear":
            return self._linear(index, n, args)
        if n.op == "vector":
            return algebra.learned(
                index, 0, f"vector {n.attr('width')} {text_of(n.number('init'))}"
            )
        if n.op == "unit":
            return algebra.term(f"unit {self._attrs(n)}")
        if n.op in ("scalar", "diagonal", "block_diagonal", "masked", "skew"):
            return algebra.learned(index, 0, f"{n.op} {self._attrs(n)}", *args)
        return self._elementwise(n, args)

    def _attrs(self, n: Node) -> str:
        """Attributes, and widths where they count: a row of zeros is longer than the number 0."""
        attrs = [text_of(v) if isinstance(v, float) else str(v) for _, v in n.attrs]
        rows = n.args if OPS[n.op].kind in ("learned", "fixed", "row") else ()
        return " ".join([*attrs, *(str(self.cell.widths[arg]) for arg in rows)])

    def _linear(self, index: int, n: Node, args: list[Term]) -> Term:
        sum_of = dict[Term, float]()
        for part, (place, arg) in enumerate(zip(n.args, args, strict=True), start=1):
            sizes = f"{n.attr('width')} {self.cell.widths[place]}"
            label = f"matrix {sizes} {text_of(n.number('eye'))}"
            sum_of[self.algebra.learned(index, part, label, arg)] = 1.0
        if n.attr("bias") is not None:
            bias = f"vector {n.attr('width')} {text_of(n.number('bias'))}"
            sum_of[self.algebra.learned(index, 0, bias)] = 1.0
        return self.algebra.sum(0.0, sum_of)

    def _elementwise(self, n: Node, args: list[Term]) -> Term:
        algebra = self.algebra
        match n.op:
            case "add":
                return algebra.add((1.0, args[0]), (1.0, args[1]))
            case "sub":
                return algebra.add((1.0, args[0]), (-1.0, args[1]))
            case "neg":
                return algebra.add((-1.0, args[0]))
            case "mul":
                return algebra.product(args)
            case "square":
                return algebra.product([args[0], args[0]])
            case "silu":
                return algebra.product([args[0], algebra.function("sigmoid", args[0])])
            case "div":
                return algebra.product([args[0], algebra.inverse(args[1])])
            case "blend":
                a, b, c = args
                rest = algebra.add((1.0, algebra.sum(1.0, {})), (-1.0, a))
                return algebra.add(
                    (1.0, algebra.product([a, b])), (1.0, algebra.product([rest, c]))
                )
            case "relu":
                return algebra.extreme("max", [args[0], algebra.sum(0.0, {})])
            case "max" | "min":
                return algebra.extreme(n.op, args)
        return algebra.function(f"{n.op} {self._attrs(n)}".strip(), args[0])
