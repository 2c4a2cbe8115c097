import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.tasks import ngram
from nas.tasks.base import Window

N_SYMBOLS = 3
SEQUENCES = st.lists(st.integers(0, N_SYMBOLS - 1), min_size=2, max_size=40)


def window(symbols: list[int], fresh: bool = True) -> Window:
    stream = np.array(symbols)[:, np.newaxis]
    return Window(stream[:-1], stream[1:], np.ones((len(symbols) - 1, 1), np.bool_), fresh)


class Plain:
    """The definition, counted in dictionaries."""

    def __init__(self, symbols: list[int], order: int) -> None:
        self.order = order
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for place in range(1, len(symbols)):
            for length in range(min(order - 1, place) + 1):
                self.counts[tuple(symbols[place - length : place])][symbols[place]] += 1

    def probability(self, symbol: int, context: tuple[int, ...]) -> float:
        shorter = self.probability(symbol, context[1:]) if context else 1 / N_SYMBOLS
        counts = self.counts.get(context)
        if counts is None:
            return shorter
        return (counts[symbol] + len(counts) * shorter) / (counts.total() + len(counts))


@given(train=SEQUENCES, held_out=SEQUENCES, order=st.integers(1, 4))
def test_losses_are_witten_and_bell(train: list[int], held_out: list[int], order: int) -> None:
    model = ngram.fit(*ngram.examples([window(train)], order), N_SYMBOLS)
    losses = model.losses(*ngram.examples([window(held_out)], order))
    plain = Plain(train, order)
    for place in range(1, len(held_out)):
        context = tuple(held_out[max(0, place - order + 1) : place])
        probability = plain.probability(held_out[place], context)
        assert losses[place - 1] == pytest.approx(-math.log(probability), rel=1e-12)


@given(train=SEQUENCES, held_out=SEQUENCES, order=st.integers(1, 4))
def test_guess_is_commonest_after_longest_known_context(
    train: list[int], held_out: list[int], order: int
) -> None:
    model = ngram.fit(*ngram.examples([window(train)], order), N_SYMBOLS)
    guesses = model.guesses(ngram.examples([window(held_out)], order)[0])
    counts = Plain(train, order).counts
    for place in range(1, len(held_out)):
        context = tuple(held_out[max(0, place - order + 1) : place])
        while context not in counts:
            context = context[1:]
        assert counts[context][int(guesses[place - 1])] == max(counts[context].values())


def test_histories_reach_over_windows_but_not_over_a_fresh_start() -> None:
    windows = [window([0, 1, 2]), window([2, 1], fresh=False), window([1, 0])]
    histories, targets = ngram.examples(windows, order=3)
    assert histories.tolist() == [[0, -1], [1, 0], [2, 1], [1, -1]]
    assert targets.tolist() == [1, 2, 1, 0]


def test_only_scored_positions_are_examples() -> None:
    whole = window([0, 1, 2, 0])
    scored = np.array([[False], [True], [False]])
    histories, targets = ngram.examples([Window(whole.inputs, whole.targets, scored, True)], 2)
    assert (histories.tolist(), targets.tolist()) == ([[1]], [2])
