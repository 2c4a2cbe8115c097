"""The four regular languages of Deletang et al. 2022, arXiv:2207.02098: a class at the end.

Definitions are those of the authors' code (google-deepmind/neural_networks_chomsky_hierarchy). It
reads one more, empty, symbol and predicts the class there; here the class is predicted at the last
symbol. It trains on 1 to 40 symbols in batches of 128 and tests on up to 500:
`test_lengths: [41, 500]`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nas.tasks.base import Interface, Window
from nas.tasks.strings import DRAWN_AT_ONCE, Strings, Symbols, UniformStrings, at_end

POSITIONS = 5
"""Positions on the cycle."""
MODULUS = 5
OPERATORS = "+-*"
"""Their tokens follow those of the numbers 0 to 4."""
MINUS, TIMES = (MODULUS + OPERATORS.index(operator) for operator in "-*")


@dataclass(frozen=True)
class Parity(UniformStrings):
    """Is the number of ones among uniform bits odd? Every bit matters, and none alone says
    anything."""

    name: ClassVar[str] = "parity"
    interface = Interface(2, 2)

    def labelled(self, symbols: Symbols) -> Window:
        return at_end(symbols, symbols.sum(0) % 2)


@dataclass(frozen=True)
class EvenPairs(UniformStrings):
    """Is the number of pairs 01 and 10 among uniform bits odd? It is where the first and the last
    bit differ, so a memory of one bit is enough."""

    name: ClassVar[str] = "even_pairs"
    interface = Interface(2, 2)

    def labelled(self, symbols: Symbols) -> Window:
        return at_end(symbols, symbols[0] ^ symbols[-1])


@dataclass(frozen=True)
class CycleNavigation(UniformStrings):
    """On which of 5 positions of a cycle does a walk of uniform steps from 0 end? The tokens 0, 1
    and 2 are a step back, none, and a step on."""

    name: ClassVar[str] = "cycle_navigation"
    interface = Interface(3, POSITIONS)

    def labelled(self, symbols: Symbols) -> Window:
        return at_end(symbols, (symbols - 1).sum(0) % POSITIONS)


@dataclass(frozen=True)
class ModularArithmetic(Strings):
    """What is an expression like `1+2*3-4` modulo 5, where * binds more tightly than + and -?

    Tokens are the numbers 0 to 4, then `+`, `-` and `*`; numbers and operators are uniform. Lengths
    are odd: the authors' code takes one symbol off even ones, which leaves odd ones equally likely.
    """

    name: ClassVar[str] = "modular_arithmetic"
    interface = Interface(MODULUS + len(OPERATORS), MODULUS)

    def n_strings(self, length: int) -> int:
        n_operators = length // 2
        return MODULUS * (MODULUS * len(OPERATORS)) ** n_operators if length % 2 else 0

    def strings(self, random: np.random.Generator, length: int) -> Iterator[bytes]:
        while True:
            symbols = random.integers(MODULUS, size=(DRAWN_AT_ONCE, length), dtype=np.uint8)
            n_operators = (DRAWN_AT_ONCE, length // 2)
            symbols[:, 1::2] = MODULUS + random.integers(len(OPERATORS), size=n_operators)
            for string in symbols:
                yield string.tobytes()

    def labelled(self, symbols: Symbols) -> Window:
        numbers, operators = symbols[::2], symbols[1::2]
        # The sum of the finished terms, and the term that a product may still go on.
        total, term = np.zeros_like(numbers[0]), numbers[0]
        for operator, number in zip(operators, numbers[1:], strict=True):
            is_product = operator == TIMES
            total = np.where(is_product, total, total + term)
            begun = np.where(operator == MINUS, -number, number)
            term = np.where(is_product, term * number, begun) % MODULUS
        return at_end(symbols, (total + term) % MODULUS)
