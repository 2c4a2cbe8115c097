"""A study on PostgreSQL: the same trials as Optuna's, whatever the network and the server do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas.errors import SearchError, UserError
from nas.study.lock import is_locked, lock
from nas.study.opening import load_or_create, open_storage
from nas.study.postgres import PAUSE_S, TAKE_WAIT_S, AdvisoryLock
from nas.study.storage import storage_of
from nas.study.storage_errors import Retrying
from tests.cluster.postgres import Postgres
from tests.cluster.proxy import Proxy, between
from tests.studies import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.process]

N_TRIALS = 4
RETRIES = "nas.study.storage_errors"


@pytest.fixture
def url(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    """Of an empty database."""
    return postgres.fresh(f"db{abs(hash(request.node.name))}")


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with between(postgres.port) as made:
        yield made


def through(proxy: Proxy, postgres: Postgres, url: str) -> str:
    return url.replace(f":{postgres.port}/", f":{proxy.port}/")


def fill(study: optuna.Study) -> None:
    """As a coordinator does: choices and attributes together, an attribute alone, a result."""
    storage = storage_of(study)
    for number in range(N_TRIALS):
        with storage.together():
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.suggest_categorical("way", ["a", None, 3])
            trial.set_user_attr("cell", f"cell {number}")
        study.set_user_attr("spent_s", number)
        storage.set_trial_user_attr(trial._trial_id, "judgement", {"value": number})
        study.tell(number, number / 7)
    study.ask()


def contents(url: str) -> list[dict[str, Any]]:
    """All of the trials, read by Optuna alone; two studies have other ids and times."""
    trials = optuna.load_study(study_name="small", storage=RDBStorage(url)).trials
    return [
        {
            "number": trial.number,
            "state": trial.state,
            "values": trial.values,
            "params": trial.params,
            "attrs": trial.user_attrs,
            "complete": trial.datetime_complete is not None,
        }
        for trial in trials
    ]


def sampled(study: optuna.Study) -> optuna.Study:
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    return study


@pytest.fixture
def undisturbed(tmp_path: Path) -> list[dict[str, Any]]:
    """What the same gives in SQLite."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fill(sampled(load_or_create("small", url)))
    found = contents(url)
    assert [one["number"] for one in found] == list(range(N_TRIALS + 1))
    return found


def test_trials_are_those_of_optuna(url: str, undisturbed: list[dict[str, Any]]) -> None:
    study = sampled(load_or_create("small", url))
    fill(study)
    assert contents(url) == undisturbed
    theirs = RDBStorage(url).get_all_trials(study._study_id)
    assert open_storage(url).get_all_trials(study._study_id) == theirs
    begun = theirs[-1]
    assert (begun.state, begun.datetime_complete) == (TrialState.RUNNING, None)
    assert begun.datetime_start is not None
    assert theirs[0].datetime_complete is not None
    assert theirs[0].datetime_complete <= begun.datetime_start, "one clock, one time zone"


def test_whatever_the_network_loses_each_thing_is_stored_once(
    postgres: Postgres, proxy: Proxy, url: str, undisturbed: list[dict[str, Any]]
) -> None:
    study = sampled(load_or_create("small", through(proxy, postgres, url)))
    proxy.lost_answers, proxy.lost_commits = 0.35, 0.15
    fill(study)
    assert proxy.n_lost >= 6
    assert contents(url) == undisturbed


def test_a_server_that_restarts_is_waited_for_and_both_are_said_once(
    postgres: Postgres, url: str, undisturbed: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    study = sampled(load_or_create("small", url))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    postgres.stop("immediate")  # as a crash
    caplog.clear()
    restart = threading.Timer(2.0, postgres.start)
    restart.start()
    fill(study)
    restart.join()
    assert contents(url) == undisturbed
    said = [record.getMessage() for record in caplog.records if record.name == RETRIES]
    assert len(said) == 2
    assert "does not answer (connection failed" in said[0]
    assert said[1].endswith("answers again.")
    assert postgres.password not in "".join(said)


def test_a_server_that_stays_away_is_an_error_in_the_end(
    postgres: Postgres, proxy: Proxy, url: str
) -> None:
    elsewhere = through(proxy, postgres, url)
    study = load_or_create("small", elsewhere, Retrying(elsewhere, 1.0))
    proxy.is_down = True
    proxy.cut()
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("a", 1)


def test_a_wrong_password_is_told_at_once(
    postgres: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(UserError, match=r"does not answer: .*password authentication failed"):
        load_or_create("small", url)
    with (
        pytest.raises(UserError, match=r"does not answer: .*password authentication failed"),
        lock(tmp_path, "small", url),
    ):
        pass


# --- the lock ---


def test_one_coordinator_holds_a_study_from_whatever_folder(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "small", tmp_path / "second" / "small"
    with lock(first, "small", url) as check:
        check()
        assert is_locked(second, "small", url)
        assert not is_locked(second, "other", url)
        with (
            pytest.raises(UserError, match="study small is being run by another process"),
            lock(second, "small", url),
        ):
            pass
        with lock(second, "other", url):
            pass
    until = time.monotonic() + TAKE_WAIT_S  # the server has to notice that the connection ended
    while is_locked(first, "small", url) and time.monotonic() < until:
        time.sleep(PAUSE_S)
    assert not is_locked(first, "small", url)
    with lock(second, "small", url):
        pass


HOLD = """
import sys, time
from nas.study.postgres import AdvisoryLock
held = AdvisoryLock(sys.argv[1], "small")
held.take()
print("held", flush=True)
time.sleep(600)
"""


def test_a_coordinator_that_is_killed_releases_the_lock(url: str) -> None:
    command = [sys.executable, "-c", HOLD, url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        own = AdvisoryLock(url, "small")
        assert own.is_held()
        holder.send_signal(signal.SIGKILL)
        own.take()
        own.release()
    assert not own.is_held()


def test_a_lock_that_went_with_its_connection_is_taken_again(
    postgres: Postgres, proxy: Proxy, url: str
) -> None:
    held = AdvisoryLock(through(proxy, postgres, url), "small")
    held.take()
    proxy.cut()
    held.check()
    assert held.is_held()
    held.release()
    assert not AdvisoryLock(url, "small").is_held()


def test_a_connection_that_only_the_server_believes_in_is_ended(
    postgres: Postgres, proxy: Proxy, url: str
) -> None:
    """The network was cut: the server would keep the lock until it notices."""
    held = AdvisoryLock(through(proxy, postgres, url), "small")
    held.take()
    proxy.cut(server_knows=False)
    assert AdvisoryLock(url, "small").is_held()
    held.check()
    held.release()


def test_who_lost_the_lock_to_another_writes_nothing_more(
    postgres: Postgres, url: str, undisturbed: list[dict[str, Any]]
) -> None:
    first, second = AdvisoryLock(url, "small"), AdvisoryLock(url, "small")
    first.take()
    study = sampled(load_or_create("small", url, Retrying(url, 60.0, first.check)))
    fill(study)
    postgres.stop()
    postgres.start()
    second.take()
    with pytest.raises(SearchError, match=r"study small was taken over by another process"):
        study.set_user_attr("a", 1)
    with pytest.raises(SearchError, match=r"taken over"):
        study.ask()
    second.release()
    with pytest.raises(SearchError, match=r"taken over"):
        study.set_user_attr("a", 1)  # what the other did is not known here
    assert contents(url) == undisturbed
    first.release()
