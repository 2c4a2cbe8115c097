"""What is known of the values of a cell before any number: ranges, and sums of products."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from nas.cell.graph import Graph, Node

Range = tuple[float, float]
ALL: Range = (-math.inf, math.inf)
SHARE: Range = (0.0, 1.0)


def ranges(cell: Graph) -> list[Range]:
    """The smallest and the largest value that each node can have, whatever x and the states are.

    Interval arithmetic: a range may be wider than need be, and never is narrower.
    """
    known: list[Range] = []
    for n in cell.nodes:
        known.append(_range(n, [known[arg] for arg in n.args], [cell.nodes[a] for a in n.args]))
    return known


def is_share(known: Range) -> bool:
    """Whether a value is a gate's: a number from 0 to 1 that is not always the same."""
    return 0 <= known[0] < known[1] <= 1


def _range(n: Node, of: list[Range], args: Sequence[Node]) -> Range:
    match n.op:
        case "constant":
            return n.number("value"), n.number("value")
        case "step" | "unit":
            return 0.0, math.inf
        case "add":
            return _ordered(of[0][0] + of[1][0], of[0][1] + of[1][1])
        case "sub":
            return _ordered(of[0][0] - of[1][1], of[0][1] - of[1][0])
        case "neg":
            return -of[0][1], -of[0][0]
        case "mul":
            return _product(of[0], of[1])
        case "div":
            (a, b), (low, high) = of
            within = a >= 0 and low > 0
            return (_quotient(a, high), _quotient(b, low)) if within else ALL
        case "max" | "min":
            pick = max if n.op == "max" else min
            return pick(of[0][0], of[1][0]), pick(of[0][1], of[1][1])
        case "blend":
            within = 0 <= of[0][0] and of[0][1] <= 1
            ends = (min(of[1][0], of[2][0]), max(of[1][1], of[2][1]))
            return ends if within else ALL
        case "softmax":
            return SHARE
        case "cumsum":
            return (
                SHARE
                if args[0].op == "softmax"
                else (0.0 if of[0][0] >= 0 else -math.inf, math.inf)
            )
        case _:
            return _function(n, of)


def _function(n: Node, of: list[Range]) -> Range:
    if n.op in ("abs", "square"):
        low, high = of[0]
        ends = (0.0, max(-low, high)) if low < 0 < high else tuple(sorted((abs(low), abs(high))))
        return ends[0] ** (1 + (n.op == "square")), ends[1] ** (1 + (n.op == "square"))
    if n.op in BETWEEN:
        return BETWEEN[n.op]
    if n.op in RISING:
        low, high = (RISING[n.op](end) for end in of[0])
        return low, high
    if n.op == "hard_sigmoid":
        return SHARE
    return ALL


def _exp(a: float) -> float:
    return math.exp(a) if a < 700 else math.inf


def _sigmoid(a: float) -> float:
    return 1 / (1 + _exp(-a))


RISING: dict[str, Callable[[float], float]] = {
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "exp": _exp,
    "relu": lambda a: max(a, 0.0),
    "softplus": lambda a: a if a > 30 else math.log1p(_exp(a)),
    "sqrt": lambda a: math.sqrt(max(a, 0.0)),
    "floor": lambda a: float(math.floor(a)) if math.isfinite(a) else a,
    "log": lambda a: math.log(a) if 0 < a < math.inf else math.inf if a > 0 else -math.inf,
}
"""Functions that never fall."""
BETWEEN = {
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "silu": (-0.2785, math.inf),
    "gelu": (-0.17, math.inf),
}


def _ordered(low: float, high: float) -> Range:
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def _product(a: Range, b: Range) -> Range:
    ends = [0.0 if 0 in (p, q) else p * q for p in a for q in b]
    return min(ends), max(ends)


def _quotient(a: float, b: float) -> float:
    return 0.0 if math.isinf(b) else a / b if a < math.inf else a


# --- sums of products ---


@dataclass(frozen=True)
class Factor:
    """A factor of a product: a node, 1 minus it (rest), or its inverse."""

    node: int
    form: Literal["plain", "rest", "inverse"] = "plain"


@dataclass(frozen=True)
class Term:
    """A product of a sum."""

    factors: tuple[Factor, ...]
    negative: bool = False

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(factor.node for factor in self.factors)


def terms_of(cell: Graph, i: int, inner: frozenset[int]) -> tuple[Term, ...]:
    """The terms whose sum is node i, written out as far as the `inner` nodes go.

    Products of sums stay products, but for 1 - a, which is a factor of its own.
    """
    return _mixed(cell, _terms(cell, i, inner | {i}), inner)


def _mixed(cell: Graph, terms: tuple[Term, ...], inner: frozenset[int]) -> tuple[Term, ...]:
    """Write a + g * (b - a) as (1 - g) * a + g * b."""
    for product in terms:
        for gate, factor in (product.factors, product.factors[::-1]) if _is_pair(product) else ():
            n = cell.nodes[factor.node]
            if n.op != "sub" or factor.node not in inner or factor.form != "plain":
                continue
            first, second = (_terms(cell, arg, inner) for arg in n.args)
            if len(first) == len(second) == 1 and second[0] in terms and gate.form != "inverse":
                rest = Factor(gate.node, "rest" if gate.form == "plain" else "plain")
                new = list(terms)
                new[new.index(product)] = _times(Term((gate,)), first[0])
                new[new.index(second[0])] = _times(Term((rest,)), second[0])
                return tuple(new)
    return terms


def _is_pair(term: Term) -> bool:
    return len(term.factors) == 2 and not term.negative


def _terms(cell: Graph, i: int, inner: frozenset[int]) -> tuple[Term, ...]:
    n = cell.nodes[i]
    if i not in inner:
        return (Term((Factor(i),)),)
    match n.op:
        case "add":
            return _terms(cell, n.args[0], inner) + _terms(cell, n.args[1], inner)
        case "sub":
            return _terms(cell, n.args[0], inner) + _negated(_terms(cell, n.args[1], inner))
        case "neg":
            return _negated(_terms(cell, n.args[0], inner))
        case "mul":
            return (_times(*(_factors(cell, arg, inner) for arg in n.args)),)
        case "div":
            above, below = (_factors(cell, arg, inner) for arg in n.args)
            inverse = tuple(Factor(f.node, "inverse") for f in below.factors)
            if any(factor.form != "plain" for factor in below.factors):
                inverse = (Factor(n.args[1], "inverse"),)
            return (_times(above, Term(inverse, below.negative)),)
        case "blend":
            a, b, c = n.args
            return (
                _times(Term((Factor(a),)), _factors(cell, b, inner)),
                _times(Term((Factor(a, "rest"),)), _factors(cell, c, inner)),
            )
    return (Term((Factor(i),)),)


def _factors(cell: Graph, i: int, inner: frozenset[int]) -> Term:
    """One term: the only one of a value, 1 - a as a factor, or the value itself."""
    n = cell.nodes[i]
    if i in inner and n.op == "sub" and is_one(cell.nodes[n.args[0]]):
        return Term((Factor(n.args[1], "rest"),))
    terms = _terms(cell, i, inner)
    return terms[0] if len(terms) == 1 else Term((Factor(i),))


def is_one(n: Node) -> bool:
    return n.op == "constant" and n.number("value") == 1


def _times(a: Term, b: Term) -> Term:
    return Term(a.factors + b.factors, a.negative != b.negative)


def _negated(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(Term(term.factors, not term.negative) for term in terms)
