"""The coordinator with workers that answer in any order: the study does not depend on it."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.cell.cell import Cell
from nas.errors import SearchError, UserError
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.session.coordinator import Coordinator
from nas.spaces import load_space
from nas.spaces.base import Space
from nas.study.lock import lock
from nas.study.study import Study, open_study
from nas.study.visit import Visit
from nas.tasks import Arithmetic, Memorization, Xml
from nas.workers.local import Workers
from nas.zoo import ZOO
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.shares import every_eighth
from tests.studies import essences

GRID = SettingsGrid(init_scale=(1.0,), learning_rate=(0.5, 1.0), clip_norm=(5.0,), num_layers=(1,))
CONFIG = ProtocolConfig(filter_accuracy=0.9, n_settings=2, settings_per_evaluation=1)
GIVEN = (ZOO["gru"], ZOO["lstm"], ZOO["rnn"])


class Shuffled(Workers):
    """Threads that answer after random waits; counts what they were asked."""

    def __init__(self, n: int, seed: int, make: Callable[[Evaluation, int], Outcome]) -> None:
        self.n_slots = n
        self.counts: Counter[str] = Counter()
        self._generator, self._make = random.Random(seed), make
        self._threads = ThreadPoolExecutor(n)

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        self.counts[evaluation.digest()] += 1
        return self._threads.submit(self._run, evaluation, self._generator.uniform(0, 0.02))

    def _run(self, evaluation: Evaluation, wait_s: float) -> Result:
        threading.Event().wait(wait_s)
        members = range(len(evaluation.settings))
        return Result(tuple(self._make(evaluation, member) for member in members))

    def close(self, *, wait: bool) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=not wait)


class Crash(Exception):
    """What an observer raises to end a coordinator in the middle."""


class CrashAfter:
    """An observer that ends the coordinator at its `count`-th event."""

    def __init__(self, count: int) -> None:
        self.left = count

    def _event(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash

    def started(self, visit: Visit, evaluation: Evaluation) -> None:
        self._event()

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        self._event()

    def judged(self, visit: Visit) -> None:
        self._event()

    def tick(self, coordinator: Coordinator) -> None:
        pass


def protocol(config: ProtocolConfig = CONFIG) -> Staged:
    tasks = (Arithmetic(max_digits=1), Xml())
    return Staged(Memorization(n_symbols=3), tasks, config, GRID, seed=0)


def study(folder: Path) -> Study:
    folder.mkdir(exist_ok=True)
    return open_study("test", folder, "", {"seed": 0})


def coordinator(
    opened: Study,
    workers: Workers,
    crash_after: int = 0,
    space: Space | None = None,
    n_candidates: int = 8,
    **limits: Any,
) -> Coordinator:
    observers = (CrashAfter(crash_after),) if crash_after else ()
    space = space or load_space("gates")
    plan = plan_of(space, protocol(), GIVEN, "tpe", n_candidates=n_candidates, in_flight=4)
    return Coordinator(plan, opened, workers, observers, **limits)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The study with one worker, which answers in order."""
    workers = Shuffled(1, 0, outcome)
    opened = study(tmp_path_factory.mktemp("expected"))
    assert coordinator(opened, workers).run()
    assert max(workers.counts.values()) == 1
    workers.close(wait=True)
    return essences(opened)


def test_an_interrupt_that_got_lost_still_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.command_line.ending._was_interrupted", True)
    with pytest.raises(KeyboardInterrupt):
        coordinator(study(tmp_path), Shuffled(1, 0, outcome)).run()


@pytest.mark.parametrize("seed", range(4))
def test_order_of_answers_changes_nothing(
    tmp_path: Path, expected: list[dict[str, object]], seed: int
) -> None:
    workers = Shuffled(4, seed, outcome)
    opened = study(tmp_path)
    assert coordinator(opened, workers).run()
    assert essences(opened) == expected
    assert max(workers.counts.values()) == 1


def run_through_crashes(
    folder: Path,
    make: Callable[[Study, Workers, int], Coordinator],
    seed: int,
    answering: Callable[[Evaluation, int], Outcome] = outcome,
) -> None:
    """Run a study to its end, by coordinators that end at a random event each; nothing that was
    stored may be lost, or be trained again."""
    generator = random.Random(seed)
    stored: set[str] = set()
    while True:
        opened = study(folder)
        assert stored <= set(opened.cache), "a stored evaluation was lost"
        workers = Shuffled(3, generator.randrange(100), answering)
        try:
            make(opened, workers, generator.randint(1, 25)).run()
        except Crash:
            continue
        finally:
            workers.close(wait=True)
            assert stored.isdisjoint(workers.counts), "a stored evaluation was run again"
            stored = set(opened.cache)
        return


@pytest.mark.parametrize("seed", every_eighth(range(3)))
def test_crashes_at_random_events_lose_nothing(
    tmp_path: Path, expected: list[dict[str, object]], seed: int
) -> None:
    run_through_crashes(tmp_path, coordinator, seed)
    reopened = study(tmp_path)
    assert essences(reopened) == expected


class OneCell(Space):
    """A space of one point, so that every candidate is the one before."""

    name = "one"

    @classmethod
    def read(cls, name: str, fields: object) -> "OneCell":
        return cls()

    @property
    def version(self) -> str:
        return "one"

    def propose(self, trial: optuna.trial.BaseTrial) -> Cell:
        trial.suggest_categorical("choice", [1])
        return ZOO["mgu"]

    def contains(self, cell: Cell) -> bool:
        return cell.key == ZOO["mgu"].key

    def params_of(self, cell: Cell) -> None:
        return None

    def size(self) -> int:
        return 1

    def describe(self) -> str:
        return "one"


def test_known_cells_are_not_trained_again(tmp_path: Path) -> None:
    workers = Shuffled(2, 0, outcome)
    opened = study(tmp_path)
    assert coordinator(opened, workers, space=OneCell()).run()
    assert max(workers.counts.values()) == 1
    judgements = [v.judgement for v in opened.visits if v and v.kind == "drawn"]
    assert len(judgements) == 8
    assert all(judgement == judgements[0] for judgement in judgements)


def test_reference_that_does_not_learn_ends_the_search(tmp_path: Path) -> None:
    def never(evaluation: Evaluation, member: int) -> Outcome:
        return Outcome("diverged")

    with pytest.raises(SearchError, match=r"gru reaches no finite metric on memorization.*raise"):
        coordinator(study(tmp_path), Shuffled(2, 0, never)).run()


def test_deadline_leaves_a_study_that_goes_on(
    tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    opened = study(tmp_path)
    ticks = iter(range(1000))
    limits = {"deadline": 12, "clock": lambda: next(ticks)}
    assert not coordinator(opened, Shuffled(2, 0, outcome), **limits).run()
    reopened = study(tmp_path)
    assert 0 < len(reopened.cache)
    assert coordinator(reopened, Shuffled(2, 0, outcome)).run()
    assert essences(reopened) == expected


def test_study_of_another_definition_is_refused(tmp_path: Path) -> None:
    open_study("test", tmp_path, "", {"protocol": {"n_settings": 2}})
    with pytest.raises(UserError, match=r"begun with protocol.n_settings = 2, not 3: use another"):
        open_study("test", tmp_path, "", {"protocol": {"n_settings": 3}})


def test_lock_is_held_once(tmp_path: Path) -> None:
    with lock(tmp_path, "test"):
        with pytest.raises(UserError, match="is being run by another process"):
            with lock(tmp_path, "test"):
                pass
    with lock(tmp_path, "test"):
        pass


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite:///{}?timeout=3"])
def test_a_shared_storage_has_one_coordinator_a_study(tmp_path: Path, url: str) -> None:
    """Begun from two folders, as two people would."""
    shared = url.format(tmp_path / "shared.db")
    with lock(tmp_path / "mine", "test", shared):
        with pytest.raises(UserError, match=r"it holds .*shared\.db\.test\.lock"):
            with lock(tmp_path / "yours", "test", shared):
                pass
        with lock(tmp_path / "yours", "other", shared):
            pass
    with lock(tmp_path / "yours", "test", shared):
        pass


@pytest.mark.parametrize("n_choices", [1, 4, 9, 30])
def test_crash_between_two_choices_of_a_candidate(
    tmp_path: Path,
    expected: list[dict[str, object]],
    n_choices: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suggest = optuna.Trial.suggest_categorical
    left = iter(range(n_choices, -1, -1))

    def dying(trial: optuna.Trial, name: str, choices: list[object]) -> object:
        if next(left) == 0:
            raise Crash
        return suggest(trial, name, choices)

    monkeypatch.setattr(optuna.Trial, "suggest_categorical", dying)
    with pytest.raises(Crash):
        coordinator(study(tmp_path), Shuffled(2, 0, outcome)).run()
    monkeypatch.undo()
    reopened = study(tmp_path)
    assert reopened.visits[-1] is None
    assert coordinator(reopened, Shuffled(2, 0, outcome)).run()
    assert essences(reopened) == expected
