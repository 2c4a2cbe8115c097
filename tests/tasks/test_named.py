"""A task of a user's own, by import path: its data, metric, loss, identity, and what is wrong."""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Result
from nas.study.moving import without_code
from nas.tasks.code import source_of
from nas.tasks.config import TasksConfig
from nas.tasks.named import Named, named
from nas.training.heads import HEADS, differentiated
from nas.training.train import train
from nas.zoo import ZOO
from tests import fake_training
from tests.inline import workers_here
from tests.studies import write_config
from tests.tasks import own_tasks

HERE = "tests.tasks.own_tasks"
SETTINGS = Settings(n_params=2000, learning_rate=0.03, clip_norm=5.0, optimizer="adamw")


def same_data(one: Named, other: Named) -> bool:
    return one.data.sha256 == other.data.sha256


def test_loaders_datasets_arrays_and_functions_give_the_same_data() -> None:
    signs, loaded = named(f"{HERE}:signs"), named(f"{HERE}:loaded")
    assert same_data(signs, loaded)
    assert signs.content() == loaded.content()
    assert not same_data(signs, named(f"{HERE}:overlapping"))
    _, y = own_tasks.arrays(60, 1)
    held_out = [window.targets[-1] for window in signs.windows("validation", seed=0)]
    assert np.sort(np.concatenate(held_out)).tolist() == np.sort(y).tolist()


def test_a_metric_function_is_measured_on_all_positions_of_the_split() -> None:
    """A share of right answers is the accuracy, epoch by epoch and on test, to the last bit."""
    own, usual = named(f"{HERE}:signs"), named(f"{HERE}:usual")
    # The same minibatches: a task's name is a part of their seed.
    for task in (own, usual):
        object.__setattr__(task, "name", "same")
    cell = ZOO["rnn"]
    (found,), (known,) = (train(cell, task, [SETTINGS], 0, on_test=True) for task in (own, usual))
    assert len(found.curve) == 2
    for epoch in found.curve:
        assert epoch.marks == {"share_right": epoch.accuracy}
    assert found.best == max(epoch.accuracy for epoch in found.curve)
    assert found.test == found.test_marks["share_right"]
    # And the loss, which is torch's cross entropy here, trains as the head's own.
    assert [e.loss for e in found.curve] == pytest.approx([e.loss for e in known.curve], rel=1e-4)
    assert (found.best, found.test) == (known.best, known.test)


def test_the_loss_is_differentiated_by_autograd() -> None:
    scores, targets = torch.randn(7, 3), torch.randint(3, (7,))
    own = differentiated(own_tasks.entropy, "here")(scores, targets)
    for mine, known in zip(own, HEADS["categorical"].loss(scores, targets), strict=True):
        torch.testing.assert_close(mine, known)


def test_the_direction_of_the_metric_is_the_users() -> None:
    right, wrong = named(f"{HERE}:signs").metric, named(f"{HERE}:errors").metric
    assert right.better(0.9, than=0.8)
    assert wrong.better(0.1, than=0.2)
    assert wrong.ratio(0.1, 0.2) == 2
    simple = named(f"{HERE}:errors").baseline(0)
    assert simple.value <= named(f"{HERE}:errors").chance() <= 0.6


def test_blind_guesses_of_a_metric_function_are_those_of_chance() -> None:
    assert named(f"{HERE}:signs").chance() == pytest.approx(0.5, abs=0.06)


# --- identity ---


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that writes and imports a module."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(text: str) -> Any:
        made.append(f"own_module_{len(made)}_{os.getpid()}")
        (tmp_path / f"{made[-1]}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module(made[-1])

    yield make
    for name in made:
        sys.modules.pop(name, None)


CODE = """\
import math
LEVEL = 0.5
def helper(x): return x + 1
def other(x): return x
class Kept:
    def __call__(self, scores, targets): return helper(LEVEL)
def metric(scores, targets): return math.sqrt(helper(scores) * LEVEL)
"""


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ("math.sqrt", "math.exp", False),
        ("return x + 1", "return x + 2", False),
        ("LEVEL = 0.5", "LEVEL = 0.6", False),
        ("def other(x): return x", "def other(x): return 3", True),
    ],
)
def test_the_identity_of_a_function_covers_what_it_uses_of_its_module(
    module: Any, before: str, after: str, is_same: bool
) -> None:
    one, other = module(CODE), module(CODE.replace(before, after))
    assert (source_of(one.metric) == source_of(other.metric)) == is_same
    if "sqrt" not in before:
        texts = [source_of(each.Kept()).replace(each.__name__, "") for each in (one, other)]
        assert (texts[0] == texts[1]) == is_same


def with_metric(evaluation: Evaluation) -> Result:
    """Made-up outcomes, whose epochs have the metric function's value."""
    made = fake_training.run(evaluation)
    marked = (
        replace(one, curve=tuple(replace(e, marks={"share_right": e.accuracy}) for e in one.curve))
        for one in made.outcomes
    )
    return replace(made, outcomes=tuple(marked))


def test_a_study_is_not_gone_on_with_after_the_metric_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, n_candidates=1)
    given: dict[str, Any] = {"tasks": [f"{HERE}:signs"], "tracking_uri": "off"}
    with workers_here(tmp_path, with_metric) as workers:
        result = nas.search("small.yaml", **given)
        nas.search("small.yaml", **given)
        assert not workers[1].submitted
        assert "ratio signs" in result.leaderboard
        assert (tmp_path / "studies" / "small" / "winner" / "signs.safetensors").is_file()
        changed = replace(own_tasks.signs, metric=own_tasks.moody)
        monkeypatch.setattr(own_tasks, "signs", changed)
        with pytest.raises(UserError, match=r"study small was begun with tasks\.signs"):
            nas.search("small.yaml", **given)


def test_a_file_that_was_changed_after_its_import_is_refused(module: Any) -> None:
    made = module("import nas\ntask = nas.Task(train=([], []), validation=(), test=())\n")
    path = f"{made.__name__}:task"
    assert named(path).name == "task"
    os.utime(made.__file__, (1, 1))
    with pytest.raises(UserError, match="was changed since it was imported"):
        named(path)
    importlib.reload(made)
    assert named(path).name == "task"


def test_code_of_a_packed_study_is_not_imported() -> None:
    fields = without_code({"tasks": {"use": ["text", "evil:task"], "module": {"path": "a:B"}}})
    assert fields["tasks"]["use"] == ["text", "unpacked evil:task"]
    with pytest.raises(UserError, match='"evil:task" is code that a packed study names'):
        TasksConfig(use=("unpacked evil:task",)).check()


# --- what is wrong ---


@pytest.mark.process
@pytest.mark.parametrize("name", ["signs", "errors", "loaded", "usual"])
def test_a_right_task_has_no_faults(name: str) -> None:
    assert nas.check_task(f"{HERE}:{name}") == []


@pytest.mark.process
def test_a_task_that_another_process_reads_otherwise() -> None:
    (fault,) = nas.check_task(f"{HERE}:of_process")
    assert "another process must read the same data and code" in fault


WRONG = [
    ("overlapping", "no example may be in two splits, 60 of 60 are in train and validation."),
    ("wrong_way", "is higher_is_better=False the wrong way round"),
    ("below_zero", "the metric negative must be a finite number of at least 0"),
    ("moods", "must give the same number each time"),
    ("guessed", "must be better than that of blind guesses, got 0.5 and 0.5"),
    ("too_perfect", "perfect is 0.9, which right answers surpass"),
    ("short_loss", "the loss must be a tensor of one number a position, (60,)"),
    ("flat_loss", "the loss must depend on the scores by torch's operations alone"),
    ("wrong_loss", "the loss must be smaller for right answers than for guesses"),
    ("drawn_anew", "gives other data each time that it is read: fix its seeds"),
    ("without_labels", "must be (x, y) or (x, y, lengths)"),
    ("no_task", "must be an object of nas.Task, got str"),
    ("missing", "cannot be imported"),
]


@pytest.mark.parametrize(("name", "sentence"), WRONG, ids=[name for name, _ in WRONG])
def test_check_task_says_what_is_wrong(
    name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.testing.own._in_process", lambda task: iter(()))
    faults = nas.check_task(f"{HERE}:{name}")
    assert any(sentence in fault for fault in faults), faults
    assert all("\n" not in fault and fault.endswith((".", "?")) for fault in faults)


def test_a_task_must_be_named_by_its_path() -> None:
    (fault,) = nas.check_task(own_tasks.signs)  # type: ignore[arg-type]
    assert "takes the import path of a task" in fault
    (fault,) = nas.check_task("__main__:signs")
    assert "put the task into a file beside it" in fault


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": own_tasks.share_right}, "higher_is_better must be True or False"),
        ({"metric": "f1"}, 'metric must be a function, "accuracy" or "loss"'),
        ({"metric": lambda s, t: 0.0, "higher_is_better": True}, "cannot be <lambda>"),
        ({"loss": own_tasks.entropy, "head": "gaussian"}, "with a loss of your own the metric"),
    ],
)
def test_a_definition_that_cannot_be_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        nas.Task(**own_tasks.GIVEN, **fields)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (("my:text",), "has the name of a task that comes with nas"),
        ((f"{HERE}:signs", "other:signs"), "tasks names each task once"),
        (("nothing",), "One of your own is module:name of a nas.Task"),
        ((f"{HERE}:a:b",), "must be package.module:Class of a nas.Task"),
    ],
)
def test_wrong_names_of_tasks(use: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TasksConfig(use=use).check()
