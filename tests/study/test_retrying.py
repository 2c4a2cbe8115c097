"""Waiting for a database server: for what may pass, so long and no longer, said once."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.errors import SearchError
from nas.study.storage import StudyStorage
from nas.study.storage_errors import LONGEST_PAUSE_S, Retrying, passes
from nas.study.visit import EVALUATION

URL = "postgresql://me@host/db"


def lost(reason: str = "connection refused") -> Exception:
    """As Optuna raises it."""
    error = optuna.exceptions.StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = sqlalchemy.exc.OperationalError("", None, Exception(reason))
    return error


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now += pause_s


def failing(n_times: int, error: Callable[[], Exception] = lost) -> Callable[[], str]:
    left = [n_times]

    def operation() -> str:
        if left[0]:
            left[0] -= 1
            raise error()
        return "done"

    return operation


def patient(clock: Clock, limit_s: float = 600.0, **given: Callable[[], None]) -> Retrying:
    return Retrying(URL, limit_s, clock=clock, sleep=clock.sleep, **given)


def test_a_server_is_waited_for_with_growing_pauses_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    assert patient(clock).call(failing(12)) == "done"
    assert clock.pauses[:3] == [0.2, 0.4, 0.8]
    assert max(clock.pauses) == LONGEST_PAUSE_S
    assert len(clock.pauses) == 12
    assert [record.getMessage() for record in caplog.records] == [
        "storage postgresql://me@host/db does not answer (connection refused): waiting for it, up "
        "to 600 s; nothing is lost.",
        "storage postgresql://me@host/db answers again.",
    ]


def test_a_server_is_waited_for_so_long_and_no_longer() -> None:
    clock = Clock()
    with pytest.raises(optuna.exceptions.StorageInternalError):
        patient(clock, 60.0).call(failing(1000))
    assert clock.now == pytest.approx(60.0)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        patient(clock, 0.0).call(failing(1))
    assert clock.now == pytest.approx(60.0)


def test_what_was_written_before_an_answer_was_lost_is_there_once(tmp_path: Path) -> None:
    url, clock, lose = f"sqlite:///{tmp_path / 'study.db'}", Clock(), [True]

    def once_more(*_: object) -> None:
        lose[0] = not lose[0]
        if not lose[0]:
            raise lost()

    def fill(name: str, retrying: Retrying | None) -> list[FrozenTrial]:
        storage = StudyStorage(RDBStorage(url), retrying)
        if retrying is not None:
            for method in ("add_trial", "write"):
                setattr(storage.tables, method, _then(getattr(storage.tables, method), once_more))
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(study_name=name, storage=storage, sampler=sampler)
        for value in (0.5, 0.25):
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("a", [1])
            study.tell(trial, value)
        return optuna.load_study(study_name=name, storage=RDBStorage(url)).get_trials()

    def content(trial: FrozenTrial) -> object:
        return trial.number, trial.state, trial.values, trial.params, trial.user_attrs

    undisturbed = [content(trial) for trial in fill("undisturbed", None)]
    assert [content(trial) for trial in fill("disturbed", patient(clock))] == undisturbed
    assert len(undisturbed) == 2
    assert len(clock.pauses) == 8, "each was written twice"


def _then(method: Callable[..., Any], after: Callable[[], None]) -> Callable[..., Any]:
    def both(*given: Any) -> Any:
        result = method(*given)
        after()
        return result

    return both


def test_before_each_try_to_write_the_lock_is_looked_at() -> None:
    clock, asked = Clock(), []

    def check() -> None:
        asked.append(clock.now)
        if len(asked) == 3:
            raise SearchError("taken over")

    retrying = patient(clock, check=check)
    retrying.call(failing(1))
    assert asked == [], "reading needs no lock"
    with pytest.raises(SearchError, match="taken over"):
        retrying.call(failing(1000), writes=True)
    assert len(asked) == 3


def test_threads_that_wait_say_it_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Barrier(3)
    retrying = Retrying(URL, 60.0, sleep=lambda _: None)

    def operation() -> None:
        failing_once = failing(1)

        def work() -> str:
            gate.wait(10)
            return failing_once()

        retrying.call(work)

    threads = [threading.Thread(target=operation) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said


def test_who_interrupts_the_wait_does_not_wait_again() -> None:
    clock = Clock()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    retrying = Retrying(URL, 600.0, clock=clock, sleep=interrupt)
    with pytest.raises(KeyboardInterrupt):
        retrying.call(failing(1))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        retrying.call(failing(1))


@pytest.mark.parametrize(
    ("reason", "waits"),
    [
        ("connection failed: Connection refused", True),
        ("server closed the connection unexpectedly", True),
        ("terminating connection due to administrator command", True),
        ('connection failed: connection to server on socket "/run/s": No such file', True),
        ("FATAL: the database system is starting up", True),
        ("FATAL: sorry, too many clients already", True),
        ('connection failed: FATAL: password authentication failed for user "me"', False),
        ('FATAL: database "db" does not exist', False),
        ("could not extend file: No space left on device", False),
        ("attempt to write a readonly database", False),
    ],
)
def test_only_what_may_pass_is_waited_for(reason: str, waits: bool) -> None:
    assert passes(URL, lost(reason)) is waits


def test_errors_of_the_statement_are_not_waited_for() -> None:
    assert not passes(URL, sqlalchemy.exc.IntegrityError("", None, Exception("duplicate key")))
    assert not passes(URL, sqlalchemy.exc.ProgrammingError("", None, Exception("no column x")))
    assert not passes(URL, ValueError("connection"))


OPERATIONS: dict[str, Callable[[StudyStorage], object]] = {
    "set_study_user_attr": lambda s: s.set_study_user_attr(1, "a", 1),
    "set_study_system_attr": lambda s: s.set_study_system_attr(1, "a", 1),
    "get_study_id_from_name": lambda s: s.get_study_id_from_name("study"),
    "get_study_name_from_id": lambda s: s.get_study_name_from_id(1),
    "get_study_directions": lambda s: s.get_study_directions(1),
    "get_study_user_attrs": lambda s: s.get_study_user_attrs(1),
    "get_study_system_attrs": lambda s: s.get_study_system_attrs(1),
    "get_all_studies": lambda s: s.get_all_studies(),
    "create_new_study": lambda s: s.create_new_study([StudyDirection.MAXIMIZE], "other"),
    "get_all_trials": lambda s: s.get_all_trials(1),
    "evaluations": lambda s: s.evaluations(1),
    "evaluation": lambda s: s.evaluation(1, "d"),
    "create_new_trial": lambda s: s.create_new_trial(1),
    "set_trial_param": lambda s: s.set_trial_param(2, "y", 0.5, FloatDistribution(0, 1)),
    "set_trial_user_attr": lambda s: s.set_trial_user_attr(2, "a", 1),
    "set_trial_system_attr": lambda s: s.set_trial_system_attr(2, "a", 1),
    "set_trial_state_values": lambda s: s.set_trial_state_values(2, TrialState.COMPLETE, [1.0]),
    "delete_study": lambda s: s.delete_study(1),
}
IN_MEMORY = {
    "get_trial", "get_trial_id_from_study_id_trial_number", "get_trial_number_from_id",
    "get_trial_param", "get_trial_params", "get_trial_user_attrs", "get_trial_system_attrs",
    "get_n_trials", "get_best_trial", "check_trial_is_updatable", "remove_session",
}  # fmt: skip
"""They are made of others, or ask no database."""
WRITES = ("set_", "create_", "delete_")


def test_every_operation_of_a_storage_is_repeated(tmp_path: Path) -> None:
    clock, checked = Clock(), [0]

    def check() -> None:
        checked[0] += 1

    storage = StudyStorage(RDBStorage(f"sqlite:///{tmp_path / 'study.db'}"), None)
    study = optuna.create_study(study_name="study", storage=storage)
    study.ask().set_user_attr(EVALUATION + "d", {})
    study.ask()
    down = [False]

    @sqlalchemy.event.listens_for(storage.engine, "before_cursor_execute")
    def _fail(*_: object) -> None:
        if down[0]:
            down[0] = False
            raise sqlalchemy.exc.OperationalError("", None, Exception("connection refused"))

    storage = StudyStorage(storage.database, patient(clock, check=check))
    for name, operation in OPERATIONS.items():
        down[0], before, n_checked = True, len(clock.pauses), checked[0]
        operation(storage)
        assert len(clock.pauses) == before + 1, f"{name} is tried once more"
        assert (checked[0] == n_checked + 2) is name.startswith(WRITES), name
    every = {name for name in vars(BaseStorage) if not name.startswith("_")}
    unused = {"set_trial_intermediate_value"}
    assert every - IN_MEMORY - unused == set(OPERATIONS) - {"evaluations", "evaluation"}
