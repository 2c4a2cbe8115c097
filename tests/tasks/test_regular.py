"""The regular languages, read back by other means, and the lengths of their strings."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks import CycleNavigation, EvenPairs, ModularArithmetic, Parity
from nas.tasks.base import split_of
from nas.tasks.strings import Strings
from nas.testing import check_task

LANGUAGES: list[type[Strings]] = [Parity, EvenPairs, CycleNavigation, ModularArithmetic]
FLOORS = {"parity": 10, "even_pairs": 10, "cycle_navigation": 7, "modular_arithmetic": 5}
"""The first lengths with 1,000 strings: 2^10 = 1,024, 3^7 = 2,187, 5^3 3^2 = 1,125."""
SMALL = {"batches_per_epoch": 20, "validation_batches": 5, "batch_size": 20}


def parity(string: list[int]) -> int:
    odd = False
    for bit in string:
        odd = odd != bool(bit)
    return int(odd)


def even_pairs(string: list[int]) -> int:
    return sum(one != other for one, other in itertools.pairwise(string)) % 2


def cycle_navigation(string: list[int]) -> int:
    position = 0
    for action in string:
        position = (position, position + 1, position - 1)[action - 1] % 5
    return position


def modular_arithmetic(string: list[int]) -> int:
    value = eval("".join("01234+-*"[symbol] for symbol in string))
    assert isinstance(value, int)
    return value % 5


LABELS = [parity, even_pairs, cycle_navigation, modular_arithmetic]


@pytest.mark.parametrize(("kind", "label"), list(zip(LANGUAGES, LABELS, strict=True)))
def test_the_class_at_the_last_symbol_is_that_of_the_definition(kind, label) -> None:
    task = kind(batches_per_epoch=40, validation_batches=10, batch_size=20)
    assert label.__name__ == task.name
    for split in ("train", "validation", "test"):
        for window in task.windows(split, seed=0):
            assert window.fresh
            assert window.scored[-1].all()
            assert window.scored.sum() == task.batch_size
            for string, target in zip(window.inputs.T, window.targets[-1], strict=True):
                assert label(string.tolist()) == target, string


def test_all_short_expressions_have_the_value_of_python() -> None:
    numbers, operators = range(5), range(5, 8)
    every = list(itertools.product(numbers, operators, numbers, operators, numbers))
    window = ModularArithmetic().labelled(np.array(every).T)
    assert window.targets[-1].tolist() == [modular_arithmetic(list(one)) for one in every]
    assert len(every) == ModularArithmetic().n_strings(5) == 1125


def test_the_examples_of_the_authors_have_their_classes() -> None:
    def of(task: Strings, string: str, symbols: str) -> int:
        column = np.array([[symbols.index(symbol)] for symbol in string])
        return int(task.labelled(column).targets[-1, 0])

    assert of(EvenPairs(), "001110", "01") == 0
    assert of(EvenPairs(), "0101001", "01") == 1
    assert of(CycleNavigation(), "+-0--", "-0+") == 3
    assert of(CycleNavigation(), "+++-", "-0+") == 2
    assert of(ModularArithmetic(), "1+2*3", "01234+-*") == 2
    assert of(ModularArithmetic(), "1-1-1", "01234+-*") == 4
    assert of(ModularArithmetic(), "0*1+4*3-2", "01234+-*") == 0


@pytest.mark.parametrize("kind", LANGUAGES)
def test_strings_are_uniform(kind) -> None:
    """All strings of 3 symbols (of 5, a sum of two numbers, for arithmetic 3) alike often."""
    task, n = kind(), 40_000
    drawn = task.strings(np.random.default_rng(0), 3)
    counts = Counter(itertools.islice(drawn, n))
    kinds = task.n_strings(3)
    assert len(counts) == kinds
    expected = n / kinds
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < kinds - 1 + 5 * np.sqrt(2 * (kinds - 1))


@pytest.mark.parametrize("length", [2, 3, 6])
def test_positions_are_those_of_a_random_walk(length: int) -> None:
    """P(c) = 1/5 sum_j ((1 + 2 cos(2 pi j / 5)) / 3)^n cos(2 pi j c / 5)."""
    task, n = CycleNavigation(), 40_000
    drawn = b"".join(itertools.islice(task.strings(np.random.default_rng(0), length), n))
    symbols = np.frombuffer(drawn, np.uint8).astype(np.int64).reshape(n, length).T
    shares = np.bincount(task.labelled(symbols).targets[-1], minlength=5) / n
    turns = 2 * np.pi * np.arange(5) / 5
    closed = ((1 + 2 * np.cos(turns)) / 3) ** length @ np.cos(np.outer(turns, np.arange(5))) / 5
    assert (np.abs(shares - closed) < 5 * np.sqrt(closed * (1 - closed) / n)).all()


@pytest.mark.parametrize("kind", LANGUAGES)
def test_lengths_are_evenly_spread(kind) -> None:
    task = kind(validation_batches=70, batch_size=20)
    step = 2 if kind is ModularArithmetic else 1
    wanted = {
        "train": range(1, 41, step),
        "validation": range(FLOORS[task.name], 41, step),
        "test": range(41, 101, step),
    }
    for split, lengths in wanted.items():
        found = [len(window.inputs) for window in task.windows(split, seed=0)]
        counts = Counter(found)
        assert sorted(counts) == list(lengths)
        assert max(counts.values()) - min(counts.values()) <= 1
    orders = [[len(w.inputs) for w in task.windows("train", 0, epoch)] for epoch in (0, 1)]
    assert orders[0] != orders[1], "in a random order"
    assert sorted(orders[0]) == sorted(orders[1]), "epochs are equally long"
    few = kind(test_lengths=(41, 500), validation_batches=10)
    middles = [len(window.inputs) for window in few.windows("test", seed=0)]
    assert np.mean(middles) == pytest.approx(270.5, abs=2)


def test_validation_may_be_longer_than_training() -> None:
    task = Parity(validation_lengths=(30, 60), **SMALL)
    lengths = [len(window.inputs) for window in task.windows("validation", seed=0)]
    assert min(lengths) > 29
    assert max(lengths) > 55
    check_task(task)


@pytest.mark.parametrize("kind", LANGUAGES)
def test_a_split_has_the_strings_of_its_hash_but_training_all_short_ones(kind) -> None:
    task = kind(**SMALL)
    for split in ("train", "validation", "test"):
        for window in task.windows(split, seed=0):
            if len(window.inputs) >= FLOORS[task.name]:
                for string in window.inputs.T.astype(np.uint8):
                    assert split_of(string.tobytes()) == split
    (short,) = kind(max_length=1, validation_lengths=(20, 30), batches_per_epoch=1).windows(
        "train", seed=0
    )
    assert short.inputs.shape == (1, 128)
    assert len(np.unique(short.inputs)) == task.n_strings(1)


@pytest.mark.parametrize("kind", LANGUAGES)
def test_the_baseline_knows_the_last_symbol(kind) -> None:
    task = kind(batches_per_epoch=50, validation_batches=60, batch_size=20)
    seen: dict[int, Counter[int]] = defaultdict(Counter)
    for window in task.windows("train", seed=0):
        for symbol, target in zip(window.inputs[-1], window.targets[-1], strict=True):
            seen[int(symbol)][int(target)] += 1
    hits = [
        seen[int(symbol)].most_common(1)[0][0] == target
        for window in task.windows("validation", seed=0)
        for symbol, target in zip(window.inputs[-1], window.targets[-1], strict=True)
    ]
    baseline = task.baseline(0)
    assert baseline.value == max(np.mean(hits), task.chance())
    assert task.chance() == (0.5 if kind in (Parity, EvenPairs) else 0.2)
    # One uniform number that is added, or one bit that is not seen, makes all classes alike likely.
    deviation = np.sqrt(task.chance() * (1 - task.chance()) / len(hits))
    assert baseline.value == pytest.approx(task.chance(), abs=5 * deviation)


@pytest.mark.parametrize("kind", LANGUAGES)
def test_conforms(kind) -> None:
    check_task(kind(max_length=12, test_lengths=(5, 20), **SMALL))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_length": 0}, "parity.max_length must be at least 1, got 0"),
        ({"max_length": 9}, "max_length: validation needs .* 1000 .* none of 1 to 9 has: raise it"),
        (
            {"test_lengths": (50, 41)},
            "test_lengths: 1 <= shortest <= longest must hold, got 50 and",
        ),
        ({"test_lengths": (0, 41)}, "test_lengths: 1 <= shortest <= longest must hold, got 0 and"),
        ({"test_lengths": (1, 9)}, "test_lengths: test needs a length with at least 1000"),
        ({"validation_lengths": (3, 2)}, "validation_lengths: 1 <= shortest .* got 3 and 2"),
        ({"validation_lengths": (3, 4)}, "validation_lengths: validation needs a length"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Parity(**fields).check()  # type: ignore[arg-type]
