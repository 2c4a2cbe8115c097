"""The algebra over the real numbers that decides which cells are equal: terms, each made once.

A term is a label, and (edge label, term) for each argument, in any order. Sums of numbers times
terms, products, functions of numbers and extremes get one form, however they were made; `canon.py`
lists the identities.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Hashable
from functools import lru_cache

Term = int
"""Index into `Algebra.terms`."""
Linear = dict[Term, float]
WRITTEN_OUT = 64
"""The highest power that is written as a product of equal factors, as all were in the first keys; a
higher one, which 22 lines of v = v * v raise to four million, is one factor with its power."""

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


@lru_cache(maxsize=1 << 12)  # a cell has few numbers, and asks often
def text_of(value: float) -> str:
    """A number as text, the same for numbers that differ by rounding alone."""
    rounded = float(f"{value:.12g}")
    return repr(rounded + 0.0)  # + 0.0 turns -0.0 into 0.0


def _total(a: float, b: float) -> float:
    """a + b, or 0 where rounding alone keeps the two from cancelling."""
    total = a + b
    return 0.0 if abs(total) < 1e-12 * max(abs(a), abs(b)) else total


class Algebra:
    """The terms of one cell, arguments before their readers."""

    def __init__(self) -> None:
        self.terms: list[tuple[str, tuple[tuple[str, Term], ...]]] = []
        self._looks: list[str] = []
        self._made: dict[Hashable, Term] = {}
        self._sums: dict[Term, tuple[float, Linear]] = {}
        self._products: dict[Term, Counter[Term]] = {}

    def term(self, label: str, *args: tuple[str, Term]) -> Term:
        """The term of this label and these arguments, in any order; a new one if there is none."""
        made = (label, tuple(sorted(args)))
        if made not in self._made:
            self._made[made] = self._append(*made)
        return self._made[made]

    def _append(self, label: str, args: tuple[tuple[str, Term], ...]) -> Term:
        self.terms.append((label, args))
        return len(self.terms) - 1

    def _look(self, term: Term) -> str:
        """A digest of a term and all below it; few are asked for."""
        for label, args in self.terms[len(self._looks) : term + 1]:
            text = json.dumps([label, sorted(edge + self._looks[arg] for edge, arg in args)])
            self._looks.append(hashlib.sha256(text.encode()).hexdigest())
        return self._looks[term]

    def learned(self, index: int, part: int, label: str, *arg: Term) -> Term:
        """A parameter and its argument, apart from all others by its node and its part in it."""
        identity = ("learned", index, part)
        if identity not in self._made:
            edges = tuple(("", term) for term in arg)
            self._made[identity] = self._append(f"learned {label}", edges)
        return self._made[identity]

    # sums of numbers times terms

    def _as_sum(self, term: Term) -> tuple[float, Linear]:
        return self._sums.get(term, (0.0, {term: 1.0}))

    def number(self, term: Term) -> float | None:
        """The number that a term always is; None if it varies."""
        number, parts = self._as_sum(term)
        return number if not parts else None

    def add(self, *scaled: tuple[float, Term]) -> Term:
        """The sum of terms times numbers."""
        number, parts = 0.0, dict[Term, float]()
        for factor, term in scaled:
            more, its_parts = self._as_sum(term)
            number = _total(number, factor * more)
            for part, coefficient in its_parts.items():
                parts[part] = _total(parts.get(part, 0.0), factor * coefficient)
        return self.sum(number, parts)

    def sum(self, number: float, parts: Linear) -> Term:
        """A number plus terms that are no sums themselves, each times its coefficient."""
        parts = {term: k for term, k in parts.items() if text_of(k) != "0.0"}
        if text_of(number) == "0.0" and [text_of(k) for k in parts.values()] == ["1.0"]:
            return next(iter(parts))
        edges = ((text_of(k), term) for term, k in parts.items())
        term = self.term(f"sum {text_of(number)}", *edges)
        self._sums.setdefault(term, (number, parts))
        return term

    # products of terms

    def product(self, args: list[Term]) -> Term:
        """The product as one number times a product of terms without numbers."""
        number, factors = 1.0, Counter[Term]()
        for arg in args:
            constant = self.number(arg)
            if constant is not None:
                number *= constant
                continue
            scale, base = self._scaled(arg)
            number *= scale
            factors.update(self._products.get(base, {base: 1}))
        if text_of(number) == "0.0" or not factors:
            return self.sum(number if not factors else 0.0, {})
        if factors.total() == 1:
            return self.add((number, next(iter(factors))))
        edges = list[tuple[str, Term]]()
        for factor, power in factors.items():
            edges += [("", factor)] * power if power <= WRITTEN_OUT else [(f"to {power}", factor)]
        term = self.term("product", *edges)
        self._products.setdefault(term, factors)
        return self.add((number, term))

    def inverse(self, term: Term) -> Term:
        """1 / term."""
        constant = self.number(term)
        if constant:
            return self.sum(1 / constant, {})
        scale, base = self._scaled(term)
        return self.add((1 / scale, self.term("inverse", ("", base))))

    def _scaled(self, term: Term) -> tuple[float, Term]:
        """A sum as a number times a sum whose largest coefficient is 1."""
        number, parts = self._as_sum(term)
        if not number and len(parts) == 1:
            [(part, coefficient)] = parts.items()
            return coefficient, part
        scale = max(abs(k) for k in (number, *parts.values()))
        if not parts or math.isinf(scale) or math.isnan(scale):
            return 1.0, term
        looks = sorted((self._look(part), k) for part, k in parts.items())
        mirrored = sorted((look, -k) for look, k in looks)
        if number < 0 or (not number and looks < mirrored):
            scale = -scale
        return scale, self.sum(number / scale, {part: k / scale for part, k in parts.items()})

    # functions

    def function(self, label: str, arg: Term) -> Term:
        """A function of a term; if that is a number, the value of a function in `FOLDED`."""
        constant = self.number(arg)
        if constant is not None and label in FOLDED:
            try:
                return self.sum(FOLDED[label](constant), {})
            except (ValueError, OverflowError):
                pass  # outside the function's range: the cell gives NaN or inf, so the term stays
        return self.term(label, ("", arg))

    def extreme(self, op: str, args: list[Term]) -> Term:
        """The maximum or minimum; `op` is "max" or "min"."""
        pick = max if op == "max" else min
        constants, terms = list[float](), set[Term]()
        for arg in args:
            label, inner = self.terms[arg]
            for term in [t for _, t in inner] if label == op else [arg]:
                constant = self.number(term)
                terms.update([term] if constant is None else [])
                constants.extend([] if constant is None else [constant])
        if constants:
            terms.add(self.sum(pick(constants), {}))
        if len(terms) == 1:
            return next(iter(terms))
        return self.term(op, *(("", term) for term in terms))
