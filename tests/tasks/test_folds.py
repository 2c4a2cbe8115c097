"""Folds of a user's own sequences, against scikit-learn's."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from nas.errors import UserError
from nas.tasks import Arrays, Csv, Module, Task
from nas.tasks.base import SPLITS, Split
from nas.tasks.levels import levels_of
from nas.tasks.resolution import resolution_of
from nas.tasks.sequences import SequenceTask
from tests.tasks.own_data import DATA_MODULE, ramps

N, STEPS = 40, 3


def numbered(folder: Path, **fields: object) -> Arrays:
    """Sequences whose first number is their place in the file; one label in four is 1."""
    x = np.repeat(np.arange(N, dtype=float), STEPS).reshape(N, STEPS)
    path = folder / "numbered.npz"
    np.savez(path, x=x, y=(np.arange(N) % 4 == 0).astype(int))
    return Arrays(str(path), normalise=False, **fields)  # type: ignore[arg-type]


def places(task: Task, split: Split) -> list[int]:
    """The places in the file of the sequences of a split, by what is read of them."""
    assert isinstance(task, SequenceTask)
    pieces = task.data.parts[split]
    return sorted(int(pieces.inputs[start].flat[0]) for start in pieces.starts)


def test_each_fold_is_that_of_scikit_learn_with_the_labels_in_equal_shares(tmp_path: Path) -> None:
    single = numbered(tmp_path)
    rest = np.array(sorted(places(single, "train") + places(single, "validation")))
    assert len(rest) == 36
    dealer = StratifiedKFold(4, shuffle=True, random_state=0)
    folds = numbered(tmp_path, folds=4).in_folds()
    assert len(folds) == 4
    for fold, (train, held) in zip(folds, dealer.split(rest, rest % 4 == 0), strict=True):
        assert places(fold, "train") == rest[train].tolist()
        assert places(fold, "validation") == rest[held].tolist()
        assert places(fold, "test") == places(single, "test")


def test_numbers_are_dealt_without_labels_and_in_order_if_the_task_says_so(tmp_path: Path) -> None:
    task = numbered(tmp_path, head="gaussian", folds=3, split="order")
    rest = np.arange(36)
    for fold, (_, held) in zip(task.in_folds(), KFold(3).split(rest), strict=True):
        assert places(fold, "validation") == held.tolist() == list(range(held[0], held[0] + 12))
    shuffled = KFold(3, shuffle=True, random_state=0)
    single = numbered(tmp_path, head="gaussian")
    rest = np.array(sorted(places(single, "train") + places(single, "validation")))
    task = replace(task, split="random")
    for fold, (_, held) in zip(task.in_folds(), shuffled.split(rest), strict=True):
        assert places(fold, "validation") == rest[held].tolist()


def of_groups(folder: Path) -> Csv:
    ramps(folder / "ramps.csv")
    return Csv(str(folder / "ramps.csv"), goal="classify", label="kind", group="id", folds=5)


def of_a_module(folder: Path) -> Module:
    (folder / "my_data.py").write_text(DATA_MODULE, encoding="utf-8")
    return Module("my_data:MyData", folds=5)


@pytest.mark.parametrize("make", [of_groups, of_a_module])
def test_each_sequence_is_validated_on_once_and_never_trained_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Task]
) -> None:
    monkeypatch.chdir(tmp_path)
    task = make(tmp_path)
    assert isinstance(task, Csv | Module)
    task.check()
    single = replace(task, folds=0)

    def starts(of: Task, split: Split) -> set[int]:
        assert isinstance(of, SequenceTask)
        return set(of.data.parts[split].starts.tolist())

    everything = starts(single, "train") | starts(single, "validation")
    held = [starts(fold, "validation") for fold in task.in_folds()]
    assert sorted(start for part in held for start in part) == sorted(everything)
    for fold, part in zip(task.in_folds(), held, strict=True):
        assert starts(fold, "train") == everything - part
        assert starts(fold, "test") == starts(single, "test")
        assert abs(len(part) - len(everything) / 5) < 1
        codes = fold.data.parts["validation"].targets
        ends = fold.data.parts["validation"]
        labels = codes[ends.starts + ends.lengths - 1]
        assert len(set(labels.tolist())) > 1, "each fold has all labels"


def test_a_task_that_stands_for_all_folds_reads_as_the_first(tmp_path: Path) -> None:
    task = numbered(tmp_path, folds=4)
    first = task.in_folds()[0]
    for split in SPLITS:
        assert places(task, split) == places(first, split)
    assert first.in_folds() == (first,), "one fold alone"
    assert numbered(tmp_path).in_folds() == (numbered(tmp_path),)


def test_versions_from_before_there_were_folds_stay(tmp_path: Path) -> None:
    task = numbered(tmp_path)
    fields = asdict(task)
    del fields["folds"], fields["fold"]
    for name in [name for name, f in task.__dataclass_fields__.items() if f.metadata.get("added")]:
        fields.pop(name, None)
    parts = ["arrays", 1, fields, task.content()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    assert task.version == f"arrays-{digest}"
    versions = {replace(task, folds=5, fold=fold).version for fold in range(6)}
    assert len(versions | {task.version}) == 7


def test_levels_and_examples_are_of_all_folds(tmp_path: Path) -> None:
    """30 of 40 labels are 0; the four of test by themselves, the rest in folds of 9."""
    task = numbered(tmp_path, folds=4)
    found = resolution_of(task, 0)
    assert found is not None
    assert (found.n_examples, found.step) == (36, 1 / 36)
    on_test = resolution_of(task, 0, "test")
    assert on_test is not None
    assert on_test.n_examples == 4
    simple = levels_of(task, 0)
    assert simple.baseline is not None
    n_zeros = sum(place % 4 != 0 for place in range(N) if place not in places(task, "test"))
    assert simple.baseline.value == pytest.approx(n_zeros / 36)
    assert simple.baseline.name == "majority class"
    assert simple.chance == 0.5


def test_folds_of_unequal_size_are_weighted_by_their_examples(tmp_path: Path) -> None:
    task = numbered(tmp_path, folds=5)  # 36 sequences: one fold of 8 and four of 7
    sizes = [len(places(fold, "validation")) for fold in task.in_folds()]
    assert sorted(sizes) == [7, 7, 7, 7, 8]
    simple = levels_of(task, 0)
    assert simple.baseline is not None
    n_zeros = sum(place % 4 != 0 for place in range(N) if place not in places(task, "test"))
    assert simple.baseline.value == pytest.approx(n_zeros / 36)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"folds": 1}, "folds must be 0, for one validation split, or at least 2, got 1"),
        ({"folds": -1}, "folds must be at least 0, got -1"),
        ({"fold": 1}, "fold must be 0 to the number of folds, 0, got 1"),
        ({"folds": 3, "fold": 4}, "fold must be 0 to the number of folds, 3, got 4"),
        ({"folds": 37}, "folds must be at most the number of sequences that are not of test, 36"),
    ],
    ids=str,
)
def test_wrong_numbers_of_folds_are_one_sentence(
    tmp_path: Path, fields: dict[str, int], rule: str
) -> None:
    with pytest.raises(UserError, match=f"^tasks.arrays.{rule}"):
        numbered(tmp_path, **fields).check()


def test_as_many_folds_as_sequences_leave_one_out(tmp_path: Path) -> None:
    task = numbered(tmp_path, head="gaussian", folds=36)
    task.check()
    assert [len(places(fold, "validation")) for fold in task.in_folds()] == [1] * 36


def test_rows_are_split_by_time_and_not_into_folds(tmp_path: Path) -> None:
    task = replace(of_groups(tmp_path), label_of="row")
    with pytest.raises(UserError, match=r"^tasks\.csv\.folds must be 0 where rows are split by"):
        task.check()
