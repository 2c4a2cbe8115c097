"""The conformance suite passes on every task of the table and fails on each kind of broken task."""

import dataclasses
import hashlib
import inspect
import itertools
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest

import nas.tasks
from nas.tasks import TASKS
from nas.tasks.arithmetic import Arithmetic
from nas.tasks.base import Baseline, Interface, Split, Task, Window, generator
from nas.tasks.kinds import StornKind
from nas.tasks.memorization import Memorization
from nas.tasks.named import Named
from nas.testing import check_task
from tests.tasks.own_data import EMBEDDED

SMALL = {"batches_per_epoch": 5, "validation_batches": 5}


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_task_conforms(name: str) -> None:
    check_task(TASKS[name](**SMALL))


def test_every_task_is_listed() -> None:
    found: set[type[Task]] = set()
    for module in pkgutil.iter_modules(nas.tasks.__path__, "nas.tasks."):
        kinds = vars(import_module(module.name)).values()
        found |= {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Task)}
    final = {kind for kind in found if not inspect.isabstract(kind)}
    # One of a user's own is named by its import path.
    assert final == {*TASKS.values(), Named}
    assert {name: kind.name for name, kind in TASKS.items()} == {name: name for name in TASKS}


@pytest.mark.process
def test_import_is_light() -> None:
    heavy = {"torch", "pooch", "lightning", "scipy", "pydoc_data", "pandas", "pyarrow", "sklearn"}
    code = f"import sys, nas.tasks, nas.testing; print({heavy!r} & set(sys.modules))"
    assert run(code) == "set()"


def run(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.process
def test_version_and_data_are_the_same_in_every_process() -> None:
    code = (
        "from nas.tasks import TASKS\n"
        f"for name in {EMBEDDED}:\n"
        "    task = TASKS[name]()\n"
        "    print(task.version, [w.inputs.sum() for w in task.windows('validation', 0)])"
    )
    assert run(code, PYTHONHASHSEED="1") == run(code, PYTHONHASHSEED="2")


@pytest.mark.parametrize(
    ("task", "digest"),
    [
        (Memorization(), "c14f436fbde866c4"),
        (Arithmetic(), "3f80914724c64ff2"),
        (TASKS["xml"](), "89a5ab0b8026deae"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_data_of_this_revision(task: Task, digest: str) -> None:
    """If this fails on purpose, raise the task's `revision`: stored outcomes no longer apply."""
    data = hashlib.sha256()
    for split in ("train", "validation", "test"):
        for window in task.windows(split, seed=3, epoch=2):
            for array in (window.inputs, window.targets, window.scored, *window.marks.values()):
                data.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    assert data.hexdigest()[:16] == digest


class WrongChance(Memorization):
    def chance(self, split: Split = "validation") -> float:
        return 1 / self.alphabet + 0.001


class WorseBaseline(Memorization):
    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return Baseline("always go", 0.0)


class NoSplits(Memorization):
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        count = self.batches_per_epoch if split == "train" else self.validation_batches
        random = generator(self, split, seed, epoch)
        for _ in range(count):
            symbols = random.integers(self.alphabet, size=(self.n_symbols, self.batch_size))
            steps = np.concatenate([symbols, np.full((1, self.batch_size), self.alphabet), symbols])
            scored = np.ones(steps[1:].shape, dtype=np.bool_)
            yield Window(steps[:-1], steps[1:], scored, fresh=True)


class SameSeeds(Memorization):
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return super().windows(split, 0, epoch)


class SameEpochs(Memorization):
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return super().windows(split, seed)


class ValidationOfEpoch(Memorization):
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return super().windows(split, seed + epoch)


class Unseeded(Memorization):
    count = itertools.count()

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return super().windows(split, next(self.count), epoch)


class OneWindowShort(Memorization):
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return itertools.islice(super().windows(split, seed, epoch), 1, None)


class ConstantVersion(Memorization):
    @property
    def version(self) -> str:
        return "memorization-1"


class UnstableVersion(Memorization):
    @property
    def version(self) -> str:
        return f"memorization-{id(self)}"


class Unequal(Memorization):
    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = Memorization.__hash__


@dataclasses.dataclass(frozen=True)
class Changed(Memorization):
    """Each window changed in one way."""

    change: str = ""

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        for window in super().windows(split, seed, epoch):
            yield dataclasses.replace(window, **self._change(window))  # type: ignore[arg-type]

    def _change(self, window: Window) -> dict[str, object]:
        inputs, targets, scored = window.inputs, window.targets, window.scored
        return {
            "dtype": {"inputs": inputs.astype(np.int32)},
            "scored dtype": {"scored": scored.astype(np.int64)},
            "range": {"inputs": inputs + 1},
            "negative": {"targets": targets - 27},
            "targets": {"targets": np.roll(targets, 1, axis=0)},
            "shape": {"targets": targets[1:]},
            "time first": {"inputs": inputs[:, :5]},
            "mark": {"marks": {"first": scored[:1]}},
            "stale": {"fresh": False},
            "unscored": {"scored": np.zeros_like(scored)},
        }[self.change]


@dataclasses.dataclass(frozen=True)
class Torn(Arithmetic):
    """Streams that lose a step between two windows."""

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        for window in super().windows(split, seed, epoch):
            arrays = (window.inputs, window.targets, window.scored)
            yield Window(*(array[1:] for array in arrays), fresh=window.fresh)


class Streams(Arithmetic):
    """A model of whole examples is asked for, and gets streams."""

    @property
    def interface(self) -> Interface:
        return dataclasses.replace(super().interface, kind=StornKind(2))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Streams(), "train window 1: a model with latent variables reads whole examples"),
        (WrongChance(), r"chance\(\) must be the accuracy of blind guesses, .* got 0.0395"),
        (WorseBaseline(), 'baseline "always go" must not be worse than chance, .* 0.0000 against'),
        (NoSplits(n_symbols=3), "no example may be in two splits"),
        (SameSeeds(), "seeds 0 and 1 must give different train data"),
        (SameEpochs(), "epochs 0 and 1 must give different train data"),
        (ValidationOfEpoch(), "the validation split must not depend on the epoch"),
        (Unseeded(), "the same seed and epoch must give the same train data"),
        (OneWindowShort(), "must have exactly batches_per_epoch windows, got 99"),
        (ConstantVersion(), "version must change with every field, got memorization-1"),
        (UnstableVersion(), "version must depend on the fields and the data alone"),
        (Unequal(), "a pickled copy must equal the task"),
        (Changed(change="dtype"), "inputs must have the dtype int64, got int32"),
        (Changed(change="scored dtype"), "scored must have the dtype bool, got int64"),
        (Changed(change="range"), r"inputs must lie in \[0, 27\), got 1 to 27"),
        (Changed(change="negative"), "targets must lie in .* got -27 to -1"),
        (Changed(change="targets"), r"must be the next input \(teacher forcing\); \d+ are not"),
        (Changed(change="shape"), r"targets must have the shape \(10, 20\), got \(9, 20\)"),
        (Changed(change="time first"), r"inputs must have the shape \(10, 20\), got \(10, 5\)"),
        (Changed(change="mark"), r'mark "first" must have the shape .* got \(1, 20\)'),
        (Changed(change="stale"), "the first train window must be fresh"),
        (Changed(change="unscored"), "no position of the train split is scored"),
        (Torn(), "train window 1 carries the state over and must begin with the scored last"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Task) else "",
)
def test_broken_task_is_found(task: Task, message: str) -> None:
    with pytest.raises(AssertionError, match=f"{task.name}: .*{message}"):
        check_task(task)
