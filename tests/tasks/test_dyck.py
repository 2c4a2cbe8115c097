"""Dyck words, read back by a stack machine, and their distribution against the grammar's."""

import itertools
from collections import Counter, defaultdict
from math import sqrt

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.dyck import Dyck
from nas.testing import check_task

SMALL = {"batches_per_epoch": 10, "validation_batches": 5}
TASKS = [Dyck(), Dyck(1), Dyck(3, 3), Dyck(2, 1), Dyck(4, 30)]


def allowed(task: Dyck, word: list[int]) -> list[list[int]]:
    """The bits after each step, by a stack machine; the word must be well nested."""
    stack: list[int] = []
    found = []
    for symbol in word:
        if symbol < task.kinds:
            stack.append(symbol)
        else:
            assert stack.pop() == symbol - task.kinds
        assert not task.max_depth or len(stack) <= task.max_depth
        may_open = not task.max_depth or len(stack) < task.max_depth
        closing = [int(bool(stack) and stack[-1] == kind) for kind in range(task.kinds)]
        found.append([int(may_open)] * task.kinds + closing)
    assert not stack
    return found


def words(windows: list[Window]) -> list[list[int]]:
    return [word for window in windows for word in window.inputs.T.tolist()]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_bits_are_what_a_stack_machine_allows(task: Dyck) -> None:
    for split in ("train", "validation", "test"):
        for window in task.windows(split, seed=0):
            assert window.scored.all()
            bits = window.targets.transpose(1, 0, 2).tolist()
            for word, found in zip(window.inputs.T.tolist(), bits, strict=True):
                assert found == allowed(task, word)
            closing = window.marks["after_closing"]
            assert closing.sum() == window.inputs.size / 2
            assert (window.inputs[closing] >= task.kinds).all()


def shapes(n_pairs: int) -> list[str]:
    """All words of one kind."""
    every = map("".join, itertools.product("()", repeat=2 * n_pairs))

    def is_nested(word: str) -> bool:
        depths = list(itertools.accumulate(1 if symbol == "(" else -1 for symbol in word))
        return min(depths) >= 0 and depths[-1] == 0

    return [word for word in every if is_nested(word)]


def depth(word: str) -> int:
    return max(itertools.accumulate(1 if symbol == "(" else -1 for symbol in word))


def weight(word: str) -> float:
    """The sum over derivations, but for the factor of the pairs: the product over all brackets,
    and the whole, of the coefficient of t^m, m the brackets directly inside, in

        S(t) = 1/4 + t + S(t)^2 / 4 = 2 - 2 sqrt(3/4 - t).
    """
    inside, start, n_open = [], 0, 0
    for place, symbol in enumerate(word):
        n_open += 1 if symbol == "(" else -1
        if n_open == 0:
            inside.append(word[start + 1 : place])
            start = place + 1
    binomial = 1.0
    for i in range(len(inside)):
        binomial *= (0.5 - i) / (i + 1)
    coefficient = -2 * sqrt(3 / 4) * binomial * (-4 / 3) ** len(inside)
    coefficient += 2 if not inside else 0
    return coefficient * float(np.prod([weight(one) for one in inside]))


def test_the_weights_are_those_of_the_grammar() -> None:
    """The oracle itself: what the grammar gives when it is simply followed."""
    random = np.random.default_rng(0)

    def grammar() -> str:
        todo, word = ["S"], ""
        while todo and len(word) <= 6:
            if (what := todo.pop()) != "S":
                word += what
                continue
            rule = random.random()
            todo += [")", "S", "("] if rule < 0.5 else ["S", "S"] if rule < 0.75 else []
        return word if not todo else ""

    counts = Counter(word for word in (grammar() for _ in range(100_000)) if len(word) == 6)
    _check_shares(counts, {word: weight(word) for word in shapes(3)})


def _check_shares(counts: Counter[str], weights: dict[str, float]) -> None:
    assert set(counts) == set(weights)
    n, total = counts.total(), sum(weights.values())
    for word, one in weights.items():
        share = one / total
        assert counts[word] / n == pytest.approx(share, abs=5 * sqrt(share * (1 - share) / n))


@pytest.mark.parametrize(("n_pairs", "max_depth"), [(3, 0), (4, 0), (4, 2), (4, 3), (5, 2), (4, 1)])
def test_words_are_those_of_the_grammar_given_length_and_depth(n_pairs, max_depth) -> None:
    task = Dyck(1, max_depth)
    drawn = itertools.islice(task.strings(np.random.default_rng(0), 2 * n_pairs), 20_000)
    counts = Counter("".join("()"[symbol] for symbol in word) for word in drawn)
    fitting = [word for word in shapes(n_pairs) if not max_depth or depth(word) <= max_depth]
    _check_shares(counts, {word: weight(word) for word in fitting})
    assert task.n_strings(2 * n_pairs) == len(fitting)
    assert Dyck(3, max_depth).n_strings(2 * n_pairs) == 3**n_pairs * len(fitting)
    assert task.n_strings(2 * n_pairs + 1) == 0


def test_kinds_are_uniform_and_lengths_evenly_spread() -> None:
    task = Dyck(3, validation_batches=50)
    counts = np.zeros(6)
    for window in task.windows("train", seed=0):
        counts += np.bincount(window.inputs.reshape(-1), minlength=6)
    assert (counts[:3] == counts[3:]).all()
    n = counts[:3].sum()
    assert np.abs(counts[:3] / n - 1 / 3).max() < 5 * sqrt(2 / 9 / n)
    # 3^4 * 14 = 1,134 words of 8 symbols, and 3^3 * 5 of 6: too few to share out.
    wanted = {"train": range(2, 51, 2), "validation": range(8, 51, 2), "test": range(52, 101, 2)}
    for split, lengths in wanted.items():
        found = Counter(len(window.inputs) for window in task.windows(split, seed=0))
        assert sorted(found) == list(lengths)
        assert max(found.values()) - min(found.values()) <= 1


@pytest.mark.parametrize("task", [Dyck(), Dyck(3, 3)], ids=str)
def test_the_baseline_knows_the_last_symbol(task: Dyck) -> None:
    seen: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for word in words(list(task.windows("train", seed=0))):
        for symbol, bits in zip(word, allowed(task, word), strict=True):
            seen[symbol][tuple(bits)] += 1
    hits = [
        seen[symbol].most_common(1)[0][0] == tuple(bits)
        for word in words(list(task.windows("validation", seed=0)))
        for symbol, bits in zip(word, allowed(task, word), strict=True)
    ]
    baseline = task.baseline(0)
    assert baseline.name == "last symbol"
    assert baseline.value == pytest.approx(np.mean(hits), rel=1e-12)
    assert task.chance() == 0.5 ** (2 * task.kinds)
    if not task.max_depth:
        assert baseline.value > 0.5, "after an opening bracket it is always right"


def test_the_longest_words_can_be_drawn() -> None:
    for max_depth in (0, 1):
        task = Dyck(2, max_depth, test_lengths=(1000, 1000), batch_size=1)
        (word,) = words(list(itertools.islice(task.windows("test", seed=0), 1)))
        assert len(allowed(task, word)) == 1000


@pytest.mark.parametrize("task", [Dyck(1, **SMALL), Dyck(2, 3, **SMALL)], ids=str)
def test_conforms(task: Dyck) -> None:
    check_task(task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kinds": 0}, r"dyck.kinds must be in \[1, 100\], got 0"),
        ({"kinds": 101}, r"dyck.kinds must be in \[1, 100\], got 101"),
        ({"max_depth": -1}, "dyck.max_depth must be at least 0, got -1"),
        ({"test_lengths": (52, 1002)}, "words must have at most 1000 symbols, got 1002"),
        ({"max_length": 8}, "max_length: validation needs a length with at least 1000 .* 1 to 8"),
        ({"kinds": 1, "max_depth": 1}, "max_length: validation needs a length with at least 1000"),
        ({"test_lengths": (61, 61)}, "test_lengths: test needs a length .* none of 61 to 61"),
        ({"max_length": 1, "validation_lengths": (20, 30)}, "train needs a length with at least 1"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Dyck(**fields).check()  # type: ignore[arg-type]
