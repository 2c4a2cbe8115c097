"""Arithmetic: read a sum or a difference among distracting letters, then write its value."""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from nas.tasks.base import Split
from nas.tasks.drawn import of_split
from nas.tasks.streams import Positions, StringStreams, Tokens, inside

SYMBOLS = string.ascii_lowercase + string.digits + "+-=."
"""The 40 symbols; a token is a place in this string."""
MOST_DIGITS = 18
"""Operands are drawn as 64-bit integers."""
DRAWN_AT_ONCE = 256


@dataclass(frozen=True)
class Arithmetic(StringStreams):
    """Streams like `3e36d9-h1h39f94eeh43keg3c=-13991064.`; the answer and its "." are scored.

    After Jozefowicz et al. 2015, section 3.5, which leaves the distributions open. Ours: the number
    of digits is uniform, no number but 0 starts with 0, and between two consecutive characters up
    to and including "=" stand 0 to `max_distractors` letters, uniformly. The space that the paper
    prints after "=" is not in its 40 symbols and not here. Splits differ by the expression without
    its letters.
    """

    name: ClassVar[str] = "arithmetic"
    perfect: ClassVar[float | None] = 1.0
    symbols: ClassVar[str] = SYMBOLS

    max_digits: Annotated[int, f"in [1, {MOST_DIGITS}]"] = 8
    """Most digits of an operand, 1 to 18. With 1, small cells are nearly perfect; 2 or 3 leave room
    above a GRU."""
    sign_probability: Annotated[float, "in [0, 1]"] = 0.5
    """Probability that an operand has a minus sign."""
    max_distractors: Annotated[int, "at least 0"] = 3
    """Most letters between two characters of an expression."""
    operators: Literal["+-", "+", "-"] = "+-"

    def positions(self, streams: Tokens) -> tuple[Positions, dict[str, Positions]]:
        return inside(streams[:-1], SYMBOLS.index("="), SYMBOLS.index(".")), {}

    def examples(self, split: Split, random: np.random.Generator) -> Iterator[str]:
        for expression in of_split(self._expressions(random), split, self):
            gaps = random.integers(self.max_distractors + 1, size=len(expression) - 1).tolist()
            letters = random.integers(ord("a"), ord("z") + 1, size=sum(gaps), dtype=np.uint8)
            noise = letters.tobytes().decode("ascii")
            pieces = [expression[0]]
            start = 0
            for character, gap in zip(expression[1:], gaps, strict=True):
                pieces += noise[start : start + gap], character
                start += gap
            yield f"{''.join(pieces)}{_value(expression)}."

    def _expressions(self, random: np.random.Generator) -> Iterator[str]:
        """Yield expressions such as "3369--13=" without end."""
        while True:
            n_digits = random.integers(1, self.max_digits + 1, size=(DRAWN_AT_ONCE, 2))
            smallest = np.where(n_digits == 1, 0, 10 ** (n_digits - 1))
            numbers = random.integers(smallest, 10**n_digits)
            negative = random.random(numbers.shape) < self.sign_probability
            operands = np.where(negative, -numbers, numbers).tolist()
            operators = random.integers(len(self.operators), size=DRAWN_AT_ONCE).tolist()
            for (left, right), operator in zip(operands, operators, strict=True):
                yield f"{left}{self.operators[operator]}{right}="


def _value(expression: str) -> int:
    """Return the value of "3369--13=": the operator is the first sign that follows a digit."""
    place = next(i for i in range(1, len(expression)) if expression[i] in "+-")
    left, right = int(expression[:place]), int(expression[place + 1 : -1])
    return left + right if expression[place] == "+" else left - right
