"""The levels that need no network: on the split that is asked for, and never fetched."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.errors import UserError
from nas.tasks import TASKS, Memorization, Music, Text, Xml, files
from nas.tasks.base import Baseline, Split, Task, Window
from nas.tasks.levels import BEST, BLIND, Levels, levels_of
from tests.tasks.own_data import EMBEDDED, write

OTHER: dict[Split, Split] = {"train": "train", "validation": "test", "test": "validation"}


@pytest.mark.parametrize("name", EMBEDDED)
def test_levels_of_a_split_are_those_of_its_windows(name: str, tmp_path: Path) -> None:
    """A task whose validation and test splits are exchanged has exchanged levels."""
    kind = TASKS[name]

    class Exchanged(kind):  # type: ignore[misc,valid-type]
        def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
            return super().windows(OTHER[split], seed, epoch)

    small: dict[str, Any] = {"batches_per_epoch": 4, "validation_batches": 4}
    if name in ("text", "words"):
        write(tmp_path)
        small |= {"path": str(tmp_path / "my.txt"), "batch_size": 4}
    task, exchanged = kind(**small), Exchanged(**small)
    for split in ("validation", "test"):
        other = OTHER[split]
        assert task.baseline(3, split) == exchanged.baseline(3, other)
        assert task.chance(split) == exchanged.chance(other)


def test_a_text_that_changes_has_other_levels_in_each_split(tmp_path: Path) -> None:
    """Digits in a circle up to the last part, which is one letter that was rare: a 5-gram is all
    but certain of the first and all but always wrong on the second, where it guesses a 0."""
    text = "0123456789" * 950 + "x" * 500
    (tmp_path / "text.txt").write_text(text[:200] + "x" + text[201:])
    task = Text(str(tmp_path / "text.txt"), "accuracy", batch_size=2)
    assert levels_of(task, 0, "validation") == Levels(1 / 11, Baseline("5-gram", 1.0))
    on_test = levels_of(task, 0, "test")
    assert on_test.baseline is not None
    assert on_test.baseline.value < 0.05


def test_what_is_best_possible_comes_first_and_blind_guessing_last_and_once() -> None:
    assert levels_of(Memorization(alphabet=25), 0).shown == (
        Baseline(BEST, 1.0),
        Baseline("one symbol always", 1 / 25),
        Baseline(BLIND, 1 / 26),
    )
    assert Levels(0.5, Baseline(BLIND, 0.5)).shown == (Baseline(BLIND, 0.5),)
    assert Levels(0.5, Baseline(BLIND, 0.5), best=0.9).shown == (
        Baseline(BEST, 0.9),
        Baseline(BLIND, 0.5),
    )
    assert Levels(None, None, "because").shown == ()


def test_what_is_best_possible_is_the_tasks_own() -> None:
    xml = Xml(max_name_length=4, batches_per_epoch=3, validation_batches=3)
    assert levels_of(xml, 0).best == xml.best_possible
    assert levels_of(xml, 0).best != Xml.perfect
    assert Music().best_possible is None


@pytest.mark.parametrize(
    ("task", "file"), [(Music(), "JSB_Chorales.mat"), (Text("tinyshakespeare"), "tinyshakespeare")]
)
def test_data_that_are_not_here_are_not_fetched(
    task: Task, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> str:
        raise AssertionError("nothing is fetched")

    monkeypatch.setattr("pooch.retrieve", fetch)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    monkeypatch.delenv(files.DATA_FOLDER, raising=False)
    found = levels_of(task, 0)
    assert found.chance is None
    assert found.baseline is None
    assert found.why.startswith(file)
    assert "is not here" in found.why
    (tmp_path / next(iter(found.why.split()))).touch()
    assert task.missing() == "", "now it is"


def test_a_task_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    found = levels_of(Text(str(tmp_path / "none.txt")), 0)
    assert found.shown == ()
    assert "there is no file" in found.why
    with pytest.raises(UserError, match="there is no file"):
        Text(str(tmp_path / "none.txt")).chance()


def test_they_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Xml(batches_per_epoch=3)
    first = levels_of(task, 5)
    monkeypatch.setattr(Xml, "baseline", None)
    assert levels_of(dataclasses.replace(task), 5) is first
    assert first.chance == 1 / task.interface.outputs
