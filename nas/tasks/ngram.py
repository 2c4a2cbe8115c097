"""N-gram predictors over tokens: the baselines of the tasks that are streams of symbols.

Probabilities are interpolated after Witten and Bell (1991): with N(h) occurrences of a context h,
T(h) different symbols after it, and h' the context without its oldest symbol,

    P(w | h) = (N(h, w) + T(h) P(w | h')) / (N(h) + T(h)),    P(w) before all contexts = 1 / V.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.tasks.base import Baseline, Split, Task, Window

Tokens = NDArray[np.int64]

BEFORE = -1
"""The symbol of a history for steps before the start of a stream."""


@dataclass(frozen=True)
class Level:
    """The counts with contexts of one length. All arrays are 1-D.

    A context is numbered within its level; it is found by the number of the context that is one
    symbol shorter and the symbol before that one, and a continuation by its context and symbol.
    """

    contexts: Tokens
    """Codes of the known contexts, ascending."""
    totals: Tokens
    """N(h), and `kinds` T(h), of each context."""
    kinds: Tokens
    guesses: Tokens
    """The commonest symbol after each context."""
    continuations: Tokens
    """Codes of the known (context, symbol) pairs, ascending, and their counts N(h, w)."""
    counts: Tokens


@dataclass(frozen=True)
class NGram:
    """A fitted model of `len(levels)` tokens: it predicts the last one from those before."""

    vocabulary_size: int
    levels: tuple[Level, ...]

    def losses(self, histories: Tokens, targets: Tokens) -> NDArray[np.float64]:
        """Return -ln P(target) in nats: (n, order - 1) histories, (n,) targets -> (n,)."""
        probability = np.full(len(targets), 1 / self.vocabulary_size)
        for level, known, context in self._contexts(histories):
            place = _find(level.continuations, context * self.vocabulary_size + targets[known])
            count = np.where(place >= 0, level.counts[place], 0)
            total, kinds = level.totals[context], level.kinds[context]
            probability[known] = (count + kinds * probability[known]) / (total + kinds)
        losses: NDArray[np.float64] = -np.log(probability)
        return losses

    def guesses(self, histories: Tokens) -> Tokens:
        """Return the commonest symbol after the longest known context of each history: -> (n,)."""
        guess = np.zeros(len(histories), dtype=np.int64)
        for level, known, context in self._contexts(histories):
            guess[known] = level.guesses[context]
        return guess

    def _contexts(self, histories: Tokens) -> Iterator[tuple[Level, Tokens, Tokens]]:
        """Yield each level, the rows whose context is known, and the numbers of these contexts."""
        rows = np.arange(len(histories))
        numbers = np.zeros(len(histories), dtype=np.int64)
        for length, level in enumerate(self.levels):
            if length:
                older = histories[rows, length - 1]
                numbers = _find(level.contexts, _extend(numbers, older, self.vocabulary_size))
                rows, numbers = rows[numbers >= 0], numbers[numbers >= 0]
            yield level, rows, numbers


def fit(histories: Tokens, targets: Tokens, vocabulary_size: int) -> NGram:
    """Count all contexts of 0 to `histories.shape[1]` symbols; the nearest symbol comes first."""
    levels = []
    codes = np.zeros(len(targets), dtype=np.int64)
    for length in range(histories.shape[1] + 1):
        if length:
            codes = _extend(codes, histories[:, length - 1], vocabulary_size)
            whole = codes >= 0
            codes, histories, targets = codes[whole], histories[whole], targets[whole]
            if not whole.any():
                break
        contexts, codes = np.unique(codes, return_inverse=True)
        levels.append(_count(contexts, codes, targets, vocabulary_size))
    return NGram(vocabulary_size, tuple(levels))


def accuracy(task: Task, seed: int, split: Split, order: int) -> Baseline:
    """Fit a model to the first training epoch and measure its accuracy on a split."""
    histories, targets = examples(task.windows("train", seed), order)
    model = fit(histories, targets, task.interface.inputs)
    histories, targets = examples(task.windows(split, seed), order)
    return Baseline(f"{order}-gram", float(np.mean(model.guesses(histories) == targets)))


def examples(windows: Iterable[Window], order: int) -> tuple[Tokens, Tokens]:
    """Return the order - 1 inputs before each scored target, nearest first, and these targets.

    Histories reach back over windows, as a carried state does, but not over a fresh start.
    """
    histories, targets = [], []
    for run in _runs(windows):
        inputs = np.concatenate([window.inputs for window in run])
        scored = np.concatenate([window.scored for window in run])
        padded = np.pad(inputs, ((order - 1, 0), (0, 0)), constant_values=BEFORE)
        shifts = range(order - 1, 0, -1)
        past = [padded[shift : shift + len(inputs)][scored] for shift in shifts]
        targets.append(np.concatenate([window.targets for window in run])[scored])
        histories.append(np.array(past, dtype=np.int64).reshape(order - 1, len(targets[-1])).T)
    return np.concatenate(histories), np.concatenate(targets)


def _runs(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Group windows from one fresh start to the next."""
    run: list[Window] = []
    for window in windows:
        if window.fresh and run:
            yield run
            run = []
        run.append(window)
    if run:
        yield run


def _extend(contexts: Tokens, older: Tokens, vocabulary_size: int) -> Tokens:
    """Code contexts with one more symbol; BEFORE where the stream has none."""
    return np.where(older == BEFORE, BEFORE, contexts * vocabulary_size + older)


def _count(contexts: Tokens, numbers: Tokens, targets: Tokens, vocabulary_size: int) -> Level:
    continuations, counts = np.unique(numbers * vocabulary_size + targets, return_counts=True)
    owners = continuations // vocabulary_size
    # Sorted by context, then by rising count: the last of each context is its commonest symbol.
    by_count = np.lexsort((counts, owners))
    kinds = np.bincount(owners, minlength=len(contexts))
    guesses = continuations[by_count][np.cumsum(kinds) - 1] % vocabulary_size
    totals = np.bincount(numbers, minlength=len(contexts))
    return Level(contexts, totals, kinds, guesses, continuations, counts)


def _find(codes: Tokens, wanted: Tokens) -> Tokens:
    """Find the places of `wanted` in the ascending `codes`; -1 where absent."""
    places = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[places] == wanted, places, -1)
