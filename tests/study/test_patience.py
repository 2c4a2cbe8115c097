"""Waiting for a database server: for what may pass, so long and no longer, said once."""

import threading
from collections.abc import Callable

import optuna
import pytest
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage

from nas.errors import SearchError
from nas.study.patience import LONGEST_PAUSE_S, Patience, passes
from nas.study.remote import READS, WRITES, RemoteStorage

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


def patient(clock: Clock, limit_s: float = 600.0, **given: Callable[[], None]) -> Patience:
    return Patience(URL, limit_s, clock=clock, sleep=clock.sleep, **given)


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


def test_after_a_lost_answer_it_is_looked_what_became_of_it() -> None:
    clock = Clock()
    looked = failing(1)
    assert patient(clock).call(failing(1000), looked) == "done"
    assert len(clock.pauses) == 2


def test_before_each_try_to_write_the_lock_is_looked_at() -> None:
    clock, asked = Clock(), []

    def check() -> None:
        asked.append(clock.now)
        if len(asked) == 3:
            raise SearchError("taken over")

    patience = patient(clock, check=check)
    patience.call(failing(1))
    assert asked == [], "reading needs no lock"
    with pytest.raises(SearchError, match="taken over"):
        patience.call(failing(1000), writes=True)
    assert len(asked) == 3


def test_an_operation_inside_another_does_not_wait_for_itself() -> None:
    clock = Clock()
    patience = patient(clock, 60.0)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        patience.call(lambda: patience.call(failing(1000)))
    assert clock.now == pytest.approx(60.0)


def test_threads_that_wait_say_it_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Barrier(3)
    patience = Patience(URL, 60.0, sleep=lambda _: None)

    def operation() -> None:
        failing_once = failing(1)

        def work() -> str:
            gate.wait(10)
            return failing_once()

        patience.call(work)

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

    patience = Patience(URL, 600.0, clock=clock, sleep=interrupt)
    with pytest.raises(KeyboardInterrupt):
        patience.call(failing(1))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        patience.call(failing(1))


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


def test_every_operation_of_a_storage_is_patient() -> None:
    own = {"_create_new_trial", "set_trial_state_values", "set_trial_user_attr", "_set_trial_param"}
    patient_ones = {*READS, *WRITES, *own}
    assert all(name in vars(RemoteStorage) for name in patient_ones)
    # What they are made of, what asks no database, and heartbeats, which only `optimize` has.
    inner = {"create_new_trial", "set_trial_param", "check_trial_is_updatable", "remove_session"}
    every = {name for name in vars(BaseStorage) if not name.startswith("_")}
    assert every - inner <= patient_ones
    private = {"_create_new_trial", "_get_trials", "_set_trial_param", "_get_best_trial_id"}
    assert private <= patient_ones, "what Optuna's cache asks of the storage behind it"
    assert private <= set(vars(RDBStorage))
