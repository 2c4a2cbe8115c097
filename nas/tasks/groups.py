"""Word problems of groups: at every step, the product of all elements that were read.

Following a product is state tracking: a network must keep apart as many states as the group has
elements (Liu et al. 2023, arXiv:2210.10749; Merrill, Petty & Sabharwal 2024, arXiv:2404.08819;
Grazzi et al. 2025, arXiv:2411.12537). The word problem of A5, which is not solvable, is complete
for NC1 (Barrington 1989): transformers and linear recurrences such as Mamba, which lie in TC0, are
believed to be unable to solve it at any length, while a nonlinear recurrence can. These papers
train larger networks on longer strings; lengths and splits here are those of `strings.py`. Another
group is a subclass of `Group` that says what generates it.
"""

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from nas.tasks.base import Answers, Interface, Window
from nas.tasks.strings import Symbols, UniformStrings

Permutation = tuple[int, ...]
"""The images of 0, 1, …"""


@dataclass(frozen=True)
class Group(UniformStrings):
    """Strings of independent, equally likely elements of a group of permutations.

    The target of step t is the number of the product g_1 g_2 … g_t, in which g_1 acts first. The
    elements are numbered in ascending order of their images, so that 0 is the identity. All steps
    are scored, alike, so that short products count beside long ones; the mark "last" is the last
    step of each string alone.
    """

    tokens: Literal["elements", "generators"] = "elements"
    """What strings are made of: all elements, or those alone that generate the group."""

    @property
    @abstractmethod
    def generators(self) -> tuple[Permutation, ...]:
        """Permutations that generate the group; a token each with `tokens: generators`."""

    @property
    def elements(self) -> tuple[Permutation, ...]:
        """All products of the generators, ascending."""
        return _generated(self.generators)[0]

    @property
    def interface(self) -> Interface:
        n = len(self.elements)
        return Interface(n if self.tokens == "elements" else len(self.generators), n)

    @property
    def answers(self) -> Answers:
        return "each step"  # as many symbols are read as written, but none is the next one

    def labelled(self, symbols: Symbols) -> Window:
        elements, products = _generated(self.generators)
        read = symbols
        if self.tokens == "generators":
            read = np.array([elements.index(one) for one in self.generators])[symbols]
        targets = read.copy()
        for step in range(1, len(read)):
            targets[step] = products[targets[step - 1], read[step]]
        scored = np.ones(symbols.shape, dtype=np.bool_)
        last = np.zeros_like(scored)
        last[-1] = True
        return Window(symbols, targets, scored, fresh=True, marks={"last": last})

    def legend(self) -> dict[str, Any]:
        return {"classes": ["".join(map(str, element)) for element in self.elements]}


@dataclass(frozen=True)
class Cyclic(Group):
    """Z_m: the sum of numbers modulo m, which does not depend on their order. With m = 2 it is the
    parity at every step, with m = 60 it has as many states as A5. Its generators are 0 and 1."""

    name: ClassVar[str] = "cyclic"

    order: Annotated[int, "in [2, 100]"] = 5
    """The number of elements, m."""

    @property
    def generators(self) -> tuple[Permutation, ...]:
        points = tuple(range(self.order))
        return points, (*points[1:], 0)  # 1 alone would give one string of each length

    def legend(self) -> dict[str, Any]:
        return {"classes": [str(number) for number in range(self.order)]}


@dataclass(frozen=True)
class S3(Group):
    """The 6 permutations of three things, the smallest group in which the order of a product
    matters. Its generators are a swap of the first two and a turn of all three."""

    name: ClassVar[str] = "s3"

    @property
    def generators(self) -> tuple[Permutation, ...]:
        return (1, 0, 2), (1, 2, 0)


@dataclass(frozen=True)
class A5(Group):
    """The 60 even permutations of five things, the smallest group that is not solvable. Its
    generators are a turn of the first three and a turn of all five."""

    name: ClassVar[str] = "a5"

    @property
    def generators(self) -> tuple[Permutation, ...]:
        return (1, 2, 0, 3, 4), (1, 2, 3, 4, 0)


@functools.cache
def _generated(generators: tuple[Permutation, ...]) -> tuple[tuple[Permutation, ...], Symbols]:
    """Return the elements of a finite group, ascending, and at [a, b] of an array the number of the
    product of elements a and b, in which a acts first."""
    found = new = set(generators)
    while new:
        new = {_product(one, other) for one in new for other in generators} - found
        found = found | new
    elements = tuple(sorted(found))
    numbers = {element: number for number, element in enumerate(elements)}
    products = [[numbers[_product(one, other)] for other in elements] for one in elements]
    return elements, np.array(products)


def _product(first: Permutation, second: Permutation) -> Permutation:
    return tuple(second[image] for image in first)
