"""Values of a cell in words: what others call them, and what they are made of.

Names of values stand between asterisks.
"""

from collections.abc import Iterable, Sequence

from nas.cell.graph import Graph
from nas.cell.ops import INPUTS
from nas.cell.walk.steps import MATRICES, Graphs, Step
from nas.cell.walk.uses import SUMS
from nas.cell.walk.values import Factor, Term, terms_of

NORMS = ("layer_norm", "rms_norm")
FUNCTIONS = {
    "tanh": "the tanh of {}",
    "sigmoid": "the sigmoid of {}",
    "hard_sigmoid": "the hard sigmoid of {}",
    "relu": "the relu of {}",
    "leaky_relu": "the leaky relu of {}",
    "softplus": "the softplus of {}",
    "exp": "the exponential of {}",
    "log": "the logarithm of {}",
    "abs": "the absolute value of {}",
    "sqrt": "the square root of {}",
    "square": "the square of {}",
    "floor": "the whole part of {}",
    "sin": "the sine of {}",
    "cos": "the cosine of {}",
    "silu": "the silu of {}",
    "gelu": "the gelu of {}",
    "layer_norm": "the layer norm of {}",
    "rms_norm": "the rms norm of {}",
    "softmax": "the softmax of {}",
    "cumsum": "the running sum over the units of {}",
    "legendre": "what a memory of Legendre polynomials, here {}, is a step later",
    "max": "the larger of {} and {}",
    "min": "the smaller of {} and {}",
    "div": "{} divided by {}",
    "linear": "a learned map of {}",
    "diagonal": "a learned weight for each unit times {}",
    "block_diagonal": "a learned map, block by block, of {}",
    "masked": "a learned map, block-triangular, of {}",
    "skew": "a learned map, of a matrix and its transpose, of {}",
    "vector": "a learned vector",
    "scalar": "a learned number",
    "step": "the index of the step",
    "unit": "the index of the unit",
}
"""How a value is described; sums, products and constants apart."""
LAYERS = {"abs": "the absolute value", "exp": "an exponential", "square": "the square"}
"""Functions of a learned map, where "a" and their name are not enough."""


def listed(parts: Iterable[str], joint: str = "and") -> str:
    """A list in words: a, b and c."""
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} {joint} {last}" if first else last


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class Phrases:
    """Values of a cell in words."""

    def __init__(self, cell: Graph, steps: Sequence[Step]) -> None:
        self.cell, self.steps = cell, steps
        self.graphs = Graphs(cell)
        self.step_of = {step.root: step for step in steps}

    # --- names ---

    def state(self, place: int) -> str:
        """The name of a state."""
        return f"*{self.cell.states[place].name}*"

    def states(self, places: Iterable[int]) -> str:
        return listed(map(self.state, places))

    def call(self, i: int) -> str:
        """What other steps call a value."""
        n = self.cell.nodes[i]
        if n.op == "state":
            return f"the old *{n.name}*"
        if n.op in ("input", "vertical"):
            return f"*{n.name}*"
        if i in self.cell.new_states:
            return f"the new {self.state(self.cell.new_states.index(i))}"
        return f"*{n.name}*" if n.name else "it"

    def named(self, i: int) -> bool:
        return i in self.step_of or self.cell.nodes[i].op in INPUTS

    # --- descriptions ---

    def of(self, i: int) -> str:
        """A value as others read it: its name, or its description."""
        return self.call(i) if self.named(i) else self.described(i)

    def described(self, i: int) -> str:
        """What a node computes."""
        n = self.cell.nodes[i]
        if n.op == "constant":
            return f"{n.number('value'):g}".replace("-", "−")
        if (reads := self._layer(i)) is not None:
            return f"{LAYERS.get(n.op, 'a ' + n.op.replace('_', ' '))} of {reads}"
        if n.op in SUMS:
            return self.sum_of(terms_of(self.cell, i, self._own(i)))
        if n.op == "linear":
            return FUNCTIONS[n.op].format(listed(map(self._argument, n.args)))
        if self.graphs.is_function(i) and (product := self._of_two(n.args[0])):
            return FUNCTIONS[n.op].format(product)
        return FUNCTIONS[n.op].format(*map(self._argument, n.args))

    def _of_two(self, i: int) -> str:
        """The product of two values in words that end where it ends; empty for anything else."""
        if self.named(i) or self.graphs.op(i) != "mul":
            return ""
        [term] = terms_of(self.cell, i, self._own(i))
        is_plain = all(
            f.form == "plain" and self.graphs.op(f.node) != "constant" for f in term.factors
        )
        if len(term.factors) != 2 or not is_plain or term.negative:
            return ""
        return f"the product of {listed(map(self.factor, term.factors))}"

    def _argument(self, i: int) -> str:
        """A value inside of another description, where a sum would be misread."""
        if self.named(i) or self.cell.nodes[i].op not in SUMS:
            return self.of(i)
        terms = terms_of(self.cell, i, self._own(i))
        if len(terms) > 1 and not any(term.negative for term in terms):
            return f"the sum of {listed(map(self.product, terms))}"
        return f"({self.described(i)})" if len(terms) > 1 or terms[0].negative else self.of(i)

    def _own(self, i: int) -> frozenset[int]:
        """A node and all that is computed for it without a name."""
        found, waiting = {i}, [i]
        while waiting:
            for arg in self.cell.nodes[waiting.pop()].args:
                if not self.named(arg) and arg not in found:
                    found.add(arg)
                    waiting.append(arg)
        return frozenset(found)

    def sum_of(self, terms: Sequence[Term]) -> str:
        """A sum of products in words, what is added before what is taken away."""
        text = ""
        for term in sorted(terms, key=lambda term: term.negative):
            if not text:
                text = ("minus " if term.negative else "") + self.product(term)
            else:
                text += (" minus " if term.negative else " plus ") + self.product(term)
        return text

    def product(self, term: Term) -> str:
        above = [self.factor(factor) for factor in term.factors if factor.form != "inverse"]
        inverses = [factor.node for factor in term.factors if factor.form == "inverse"]
        below = [self.factor(Factor(node)) for node in inverses]
        return " divided by ".join([" times ".join(above) or "1", *below])

    def factor(self, factor: Factor) -> str:
        if factor.form == "rest":
            return f"(1 − {self.of(factor.node)})"
        n = self.cell.nodes[factor.node]
        is_sum = n.op in SUMS and not self.named(factor.node)
        return f"({self.described(factor.node)})" if is_sum else self.of(factor.node)

    def _layer(self, i: int) -> str | None:
        """What a function of a sum of learned maps reads; None if it is no such function."""
        maps = self._maps(self._args(i)[0]) if self.graphs.is_function(i) else None
        if not maps:
            return None
        read = list(dict.fromkeys(self._argument(arg) for arg, dense in maps if dense))
        seen = listed(dict.fromkeys(self._argument(arg) for arg, dense in maps if not dense))
        norms = {self.graphs.op(k) for k in self._own(i)} & set(NORMS)
        end = ", normalised" if norms else ""
        by = "" if norms else "by one weight for each unit"
        if not read:
            return f"{seen}{end}" + (f", {by}" if by else "")
        if not seen:
            return listed(read) + end
        if not by:
            return listed([*read, seen]) + end
        return f"{', '.join(read)}{',' if len(read) > 1 else ''} and, {by}, {seen}"

    def _maps(self, i: int) -> list[tuple[int, bool]] | None:
        """What a sum of learned maps, normalised or not, reads, and whether by a matrix.

        None if a value is anything else.
        """
        op = self.graphs.op(i)
        if self.named(i):
            return None
        if op in ("vector", "scalar"):
            return []
        if op in MATRICES:
            return [(arg, True) for arg in self._args(i)]
        if op == "diagonal" or op in NORMS:
            [arg] = self._args(i)
            return self._maps(arg) or [(arg, False)]
        sides = [self._maps(arg) for arg in self._args(i)] if op == "add" else [None]
        found: list[tuple[int, bool]] = []
        for side in sides:
            if side is None:
                return None
            found += side
        return found

    def _args(self, i: int) -> tuple[int, ...]:
        return self.cell.nodes[i].args
