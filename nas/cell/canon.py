"""The canonical form of a cell, and its hash, the key.

Two cells have one key if they differ only by
- names, docs, dead nodes and the order of lines,
- the order of the arguments of add, mul, max, min and linear,
- duplicate subexpressions without parameters (two linear maps are never one: each has its own),
- the algebra over the real numbers below, where a, b, c are any values and k, m numbers:

      a + (b + c) = (a + b) + c     a - b = a + (-b)        a + 0 = a       a - a = 0
      a * (b * c) = (a * b) * c     a / b = a * (1 / b)     a * 1 = a       a * 0 = 0
      k * (a + b) = k*a + k*b       -(-a) = a               k*a + m*a = (k + m) * a
      square(a) = a * a             a / (k*b) = (1/k) * a/b f(k) = its value, f in FOLDED
      blend(a, b, c) = a*b + (1 - a)*c                      silu(a) = a * sigmoid(a)
      relu(a) = max(a, 0)           max, min: associative, max(a, a) = a
      linear(a, b, bias=k) = linear(a, bias=None) + linear(b, bias=None) + vector(k)

- and differ in key otherwise: initial values, attributes and the order of states count. (1 - a) * b
  is not multiplied out, so it differs from b - a*b. Of -(a - b) * c = (b - a) * c, the one identity
  above that is not complete: it is not seen where a and b are alike but for their parameters.

The form is a directed acyclic graph in which parameters carry identity. Its nodes are numbered by
colour refinement with individualisation, as in graph canonisation, since two gates may look alike
from below.
"""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from nas.cell.graph import Cell, Node
from nas.cell.label import Terms, canonical_text, reached
from nas.cell.ops import OPS

Term = int
"""Index into `_Algebra.terms`."""
Linear = dict[Term, float]

FOLDED: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "softplus": lambda a: math.log1p(math.exp(a)),
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
}


def key(cell: Cell) -> str:
    """Hash of the canonical form, 16 hexadecimal digits."""
    return hashlib.sha256(canonical_form(cell).encode()).hexdigest()[:16]


def canonical_form(cell: Cell) -> str:
    """A text that is equal for two cells exactly if they have one canonical form."""
    interface, rows, roots = terms(cell)
    return json.dumps(interface) + canonical_text(rows, roots)


def terms(cell: Cell) -> tuple[list[Any], Terms, list[Term]]:
    """What surrounds the canonical form, its terms in any order, and those that are the outputs."""
    algebra = _Algebra(cell)
    roots = [algebra.of_node[i] for i in cell.outputs]
    used = reached(algebra.terms, roots)
    place = {term: k for k, term in enumerate(used)}
    rows = [
        (label, tuple((edge, place[arg]) for edge, arg in args))
        for label, args in (algebra.terms[term] for term in used)
    ]
    states = [[state.width, _text(state.initial)] for state in cell.states]
    interface = [states, len(cell.verticals), cell.widths[cell.y]]
    return interface, rows, [place[root] for root in roots]


@dataclass(frozen=True)
class Meaning:
    """What the algebra above knows of a value."""

    term: Term
    """Equal for equal values of one cell."""
    inputs: frozenset[str]
    """What it depends on, of "input", "state 0", "state 1", …; x - x depends on nothing."""
    number: float | None
    """Its value, if that is always the same number."""


def meanings(cell: Cell, known: Mapping[int, float] | None = None) -> list[Meaning]:
    """What is known of each output, where the states `known` always have these values."""
    algebra = _Algebra(cell, known or {})
    inputs: list[frozenset[str]] = []
    for label, args in algebra.terms:
        own = {label} if label == "input" or label.startswith("state ") else set[str]()
        inputs.append(frozenset(own.union(*(inputs[arg] for _, arg in args))))
    roots = (algebra.of_node[i] for i in cell.outputs)
    return [Meaning(root, inputs[root], algebra.number(root)) for root in roots]


def _text(value: float) -> str:
    """Numbers that differ by rounding alone are one number."""
    rounded = float(f"{value:.12g}")
    return repr(rounded + 0.0)  # + 0.0 turns -0.0 into 0.0


def _total(a: float, b: float) -> float:
    """a + b, where the rest that rounding leaves of a difference is nothing."""
    total = a + b
    return 0.0 if abs(total) < 1e-12 * max(abs(a), abs(b)) else total


class _Algebra:
    """Terms of the canonical form, each made once.

    A term is a label, and (edge label, term) for each argument, in any order.
    """

    def __init__(self, cell: Cell, known: Mapping[int, float] | None = None) -> None:
        self.cell = cell
        self.terms: list[tuple[str, tuple[tuple[str, Term], ...]]] = []
        self._looks: list[str] = []
        self._made: dict[Hashable, Term] = {}
        self._sums: dict[Term, tuple[float, Linear]] = {}
        self._products: dict[Term, tuple[Term, ...]] = {}
        self.of_node: dict[int, Term] = {}
        n_states = 0
        for i, n in enumerate(cell.nodes):
            if n.op == "state":
                value = (known or {}).get(n_states)
                term = self._term(f"state {n_states}") if value is None else self._sum(value, {})
                self.of_node[i] = term
                n_states += 1
            elif i in cell.live:
                self.of_node[i] = self._node(i, n)

    def _term(self, label: str, *args: tuple[str, Term]) -> Term:
        made = (label, tuple(sorted(args)))
        if made not in self._made:
            self._made[made] = self._append(*made)
        return self._made[made]

    def _append(self, label: str, args: tuple[tuple[str, Term], ...]) -> Term:
        text = json.dumps([label, sorted(edge + self._looks[arg] for edge, arg in args)])
        self._looks.append(hashlib.sha256(text.encode()).hexdigest())
        self.terms.append((label, args))
        return len(self.terms) - 1

    def _learned(self, index: int, part: int, label: str, *arg: Term) -> Term:
        """A parameter and what it reads: its place in the cell keeps it apart from all others."""
        identity = ("learned", index, part)
        if identity not in self._made:
            edges = tuple(("", term) for term in arg)
            self._made[identity] = self._append(f"learned {label}", edges)
        return self._made[identity]

    def _node(self, index: int, n: Node) -> Term:
        args = [self.of_node[arg] for arg in n.args]
        if n.op == "input" or n.op == "step":
            return self._term(n.op)
        if n.op == "vertical":
            return self._term(f"vertical {index}")
        if n.op == "constant":
            return self._sum(n.number("value"), {})
        if n.op == "linear":
            return self._linear(index, n, args)
        if n.op == "vector":
            return self._learned(index, 0, f"vector {n.attr('width')} {_text(n.number('init'))}")
        if n.op in ("scalar", "diagonal", "block_diagonal", "masked"):
            return self._learned(index, 0, f"{n.op} {self._attrs(n)}", *args)
        return self._elementwise(n, args)

    def _attrs(self, n: Node) -> str:
        """Attributes, and the width where it counts: a row of zeros is longer than the number 0."""
        attrs = [_text(v) if isinstance(v, float) else str(v) for _, v in n.attrs]
        rows = n.args if OPS[n.op].kind in ("learned", "row") else ()
        return " ".join([*attrs, *(str(self.cell.widths[arg]) for arg in rows)])

    def _linear(self, index: int, n: Node, args: list[Term]) -> Term:
        sum_of = dict[Term, float]()
        for part, (place, arg) in enumerate(zip(n.args, args, strict=True), start=1):
            sizes = f"{n.attr('width')} {self.cell.widths[place]}"
            label = f"matrix {sizes} {_text(n.number('eye'))}"
            sum_of[self._learned(index, part, label, arg)] = 1.0
        if n.attr("bias") is not None:
            bias = f"vector {n.attr('width')} {_text(n.number('bias'))}"
            sum_of[self._learned(index, 0, bias)] = 1.0
        return self._sum(0.0, sum_of)

    def _elementwise(self, n: Node, args: list[Term]) -> Term:
        match n.op:
            case "add":
                return self._add((1.0, args[0]), (1.0, args[1]))
            case "sub":
                return self._add((1.0, args[0]), (-1.0, args[1]))
            case "neg":
                return self._add((-1.0, args[0]))
            case "mul":
                return self._product(args)
            case "square":
                return self._product([args[0], args[0]])
            case "silu":
                return self._product([args[0], self._function("sigmoid", args[0])])
            case "div":
                return self._product([args[0], self._inverse(args[1])])
            case "blend":
                a, b, c = args
                rest = self._add((1.0, self._sum(1.0, {})), (-1.0, a))
                return self._add((1.0, self._product([a, b])), (1.0, self._product([rest, c])))
            case "relu":
                return self._extreme("max", [args[0], self._sum(0.0, {})])
            case "max" | "min":
                return self._extreme(n.op, args)
        return self._function(f"{n.op} {self._attrs(n)}".strip(), args[0])

    # sums of numbers times terms

    def _as_sum(self, term: Term) -> tuple[float, Linear]:
        return self._sums.get(term, (0.0, {term: 1.0}))

    def number(self, term: Term) -> float | None:
        """The value of a term that is always the same number."""
        number, parts = self._as_sum(term)
        return number if not parts else None

    def _add(self, *scaled: tuple[float, Term]) -> Term:
        number, parts = 0.0, dict[Term, float]()
        for factor, term in scaled:
            more, its_parts = self._as_sum(term)
            number = _total(number, factor * more)
            for part, coefficient in its_parts.items():
                parts[part] = _total(parts.get(part, 0.0), factor * coefficient)
        return self._sum(number, parts)

    def _sum(self, number: float, parts: Linear) -> Term:
        parts = {term: k for term, k in parts.items() if _text(k) != "0.0"}
        if _text(number) == "0.0" and [_text(k) for k in parts.values()] == ["1.0"]:
            return next(iter(parts))
        edges = ((_text(k), term) for term, k in parts.items())
        term = self._term(f"sum {_text(number)}", *edges)
        self._sums.setdefault(term, (number, parts))
        return term

    # products of terms

    def _product(self, args: list[Term]) -> Term:
        number, factors = 1.0, list[Term]()
        for arg in args:
            constant = self.number(arg)
            if constant is not None:
                number *= constant
                continue
            scale, base = self._scaled(arg)
            number *= scale
            factors.extend(self._products.get(base, (base,)))
        if _text(number) == "0.0" or not factors:
            return self._sum(number if not factors else 0.0, {})
        if len(factors) == 1:
            return self._add((number, factors[0]))
        term = self._term("product", *(("", factor) for factor in factors))
        self._products.setdefault(term, tuple(factors))
        return self._add((number, term))

    def _inverse(self, term: Term) -> Term:
        constant = self.number(term)
        if constant:
            return self._sum(1 / constant, {})
        scale, base = self._scaled(term)
        return self._add((1 / scale, self._term("inverse", ("", base))))

    def _scaled(self, term: Term) -> tuple[float, Term]:
        """A sum as a number times a sum whose largest coefficient is 1."""
        number, parts = self._as_sum(term)
        if not number and len(parts) == 1:
            [(part, coefficient)] = parts.items()
            return coefficient, part
        scale = max(abs(k) for k in (number, *parts.values()))
        if not parts or math.isinf(scale) or math.isnan(scale):
            return 1.0, term
        looks = sorted((self._looks[part], k) for part, k in parts.items())
        mirrored = sorted((look, -k) for look, k in looks)
        if number < 0 or (not number and looks < mirrored):
            scale = -scale
        return scale, self._sum(number / scale, {part: k / scale for part, k in parts.items()})

    # functions

    def _function(self, label: str, arg: Term) -> Term:
        constant = self.number(arg)
        if constant is not None and label in FOLDED:
            try:
                return self._sum(FOLDED[label](constant), {})
            except (ValueError, OverflowError):
                pass  # outside the function's range: the cell gives NaN or inf, and so stands
        return self._term(label, ("", arg))

    def _extreme(self, op: str, args: list[Term]) -> Term:
        pick = max if op == "max" else min
        constants, terms = list[float](), set[Term]()
        for arg in args:
            label, inner = self.terms[arg]
            for term in [t for _, t in inner] if label == op else [arg]:
                constant = self.number(term)
                terms.update([term] if constant is None else [])
                constants.extend([] if constant is None else [constant])
        if constants:
            terms.add(self._sum(pick(constants), {}))
        if len(terms) == 1:
            return next(iter(terms))
        return self._term(op, *(("", term) for term in terms))
