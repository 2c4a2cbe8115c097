"""Dyck languages: well-nested brackets of several kinds, and which may come next."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import comb, sqrt
from typing import Annotated, ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks.base import Interface, Window
from nas.tasks.strings import Strings, Symbols

MOST_KINDS = 100
"""A symbol is a byte."""
MOST_SYMBOLS = 1000
"""The weights of words twice as long leave the range of floating point, 2^n n^-1.5 for n pairs."""
EMPTY = 2 - sqrt(3)
"""The grammar's share e of empty words: e = 1/4 + e^2 / 4."""


@dataclass(frozen=True)
class Dyck(Strings):
    """Words like `([])[]`; at every step, the brackets that may come next are bits.

    After Suzgun et al. 2019, arXiv:1911.03329. Words are those of the grammar S -> (_i S )_i with
    probability 1/2k for each of k kinds, S S with 1/4, the empty word with 1/4, given their length:
    lengths alone would fall off as n^-1.5. A word that is deeper than `max_depth` is never drawn
    (Dyck-(k, m) of Hewitt et al. 2020, whose own generator is another one), and there an opening
    bracket is not allowed next. No bit tells that the length of a word is limited.

    Tokens, and bits, are the k opening brackets and then their k closing ones. A step is right if
    all 2k bits are; the paper counts words all of whose steps are right, which is stricter. After
    an opening bracket, that bracket and its depth decide all bits: the mark "after_closing" is the
    other steps.
    """

    name: ClassVar[str] = "dyck"
    kinds: Annotated[int, f"in [1, {MOST_KINDS}]"] = 2
    """Kinds of brackets, k."""
    max_depth: Annotated[int, "at least 0"] = 0
    """Most brackets that are open at once, m; 0: any number."""
    max_length: int = field(default=50, kw_only=True)
    test_lengths: tuple[int, int] = field(default=(52, 100), kw_only=True)
    epochs: int = field(default=10, kw_only=True)
    batch_size: int = field(default=20, kw_only=True)

    @property
    def interface(self) -> Interface:
        return Interface(2 * self.kinds, 2 * self.kinds, "bernoulli")

    def n_strings(self, length: int) -> int:
        n_pairs = length // 2
        return 0 if length % 2 else self.kinds**n_pairs * _n_shapes(n_pairs, self.max_depth)

    def strings(self, random: np.random.Generator, length: int) -> Iterator[bytes]:
        n_pairs = length // 2
        rules = _rules(n_pairs, self.max_depth)
        while True:
            kinds = random.integers(self.kinds, size=n_pairs).tolist()
            yield _word(rules, n_pairs, kinds, self.kinds, random.random(2 * n_pairs).tolist())

    def labelled(self, symbols: Symbols) -> Window:
        time, batch = symbols.shape
        stack = np.zeros((time + 1, batch), dtype=np.int64)
        depth, streams = np.zeros(batch, dtype=np.int64), np.arange(batch)
        targets = np.zeros((time, batch, 2 * self.kinds), dtype=np.float32)
        for step, symbol in enumerate(symbols):
            opens = symbol < self.kinds
            depth += np.where(opens, 1, -1)
            stack[depth[opens], streams[opens]] = symbol[opens]
            is_open = depth > 0
            targets[step, is_open, self.kinds + stack[depth, streams][is_open]] = 1
            targets[step, :, : self.kinds] = not self.max_depth
            targets[step, depth < self.max_depth, : self.kinds] = 1
        scored = np.ones(symbols.shape, dtype=np.bool_)
        return Window(
            symbols, targets, scored, fresh=True, marks={"after_closing": symbols >= self.kinds}
        )

    def check(self) -> None:
        longest = max(self.max_length, *self.test_lengths, *(self.validation_lengths or ()))
        if longest > MOST_SYMBOLS:
            raise UserError(
                f"tasks.{self.name}: words must have at most {MOST_SYMBOLS} symbols, got "
                f"{longest}: lower max_length, validation_lengths or test_lengths."
            )
        super().check()


@lru_cache(maxsize=4096)
def _n_shapes(n_pairs: int, max_depth: int) -> int:
    """Count the words of one kind of brackets: a Catalan number, or paths below a ceiling."""
    if not 0 < max_depth < n_pairs:
        return comb(2 * n_pairs, n_pairs) // (n_pairs + 1)
    ways = [1, *[0] * max_depth]
    for _ in range(2 * n_pairs):
        lower, upper = [0, *ways[:-1]], [*ways[1:], 0]
        ways = [down + up for down, up in zip(lower, upper, strict=True)]
    return ways[0]


Rules = dict[tuple[int, int], list[float]]


@lru_cache(maxsize=256)
def _rules(n_pairs: int, max_depth: int) -> Rules:
    """Tabulate the cumulative probabilities of the rules for S, by its pairs and its room in depth.

    The first rule is (S), then come S S with 1, 2, … pairs in the first S. Empty words beside
    others are summed out. A pair weighs 1 instead of 1/2, which changes no probability given the
    length. Without a limit, the room is always 0.
    """
    limit = max_depth if 0 < max_depth < n_pairs else 0
    rules: Rules = {}
    inner = np.zeros(n_pairs + 1)
    inner[0] = EMPTY
    for room in range(1, limit + 1) if limit else [0]:
        weights = np.zeros(n_pairs + 1)
        weights[0] = EMPTY
        for n in range(1, n_pairs + 1):
            bracket = (inner if limit else weights)[n - 1]
            ways = np.concatenate([[bracket], weights[1:n] * weights[n - 1 : 0 : -1] / 4])
            weights[n] = ways.sum() / (1 - EMPTY / 2)
            rules[n, room] = (np.cumsum(ways) / ways.sum()).tolist()
        inner = weights
    return rules


def _word(rules: Rules, n_pairs: int, kinds: list[int], n_kinds: int, draws: list[float]) -> bytes:
    """Write a word of `n_pairs`; `draws` has a number in [0, 1) for each applied rule."""
    is_limited = (n_pairs, 0) not in rules
    room = next(reversed(rules))[1]  # the largest comes last
    symbols: list[int] = []
    # The rest of the word, last part first: an S of (pairs, room), or a bracket.
    todo: list[tuple[int, int] | int] = [(n_pairs, room)]
    while todo:
        if isinstance(part := todo.pop(), int):
            symbols.append(part)
            continue
        n, room = part
        if n == 0:
            continue
        first = bisect_right(rules[n, room], draws.pop())
        if first:
            todo += [(n - first, room), (first, room)]
        else:
            kind = kinds.pop()
            symbols.append(kind)
            todo += [n_kinds + kind, (n - 1, room - is_limited)]
    return bytes(symbols)
