"""Slots of a Ray cluster keep what `Workers` promises, as processes of one machine do."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_targets import evaluation, eventually

from nas.errors import SearchError
from nas.workers.local import THREADS, Workers
from tests.cluster.nodes import Cluster
from tests.cluster.remote import TIME_LIMIT_S, made, only

pytestmark = [pytest.mark.cluster, pytest.mark.process]


@pytest.fixture(scope="module")
def workers(connected: Cluster) -> Iterator[Workers]:
    with made() as workers:
        yield workers


def test_nothing_but_the_loopback_is_listened_on(workers: Workers) -> None:
    said = subprocess.run(["ss", "-Hltnu"], capture_output=True, text=True, check=True).stdout
    places = [line.split()[4].rpartition(":")[0] for line in said.splitlines()]
    assert len(places) >= 4
    assert set(places) <= {"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"}
    devices = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert re.findall(r"^\d+: (\w+):", devices.stdout, re.MULTILINE) == ["lo"]


def test_each_evaluation_gets_its_own_result(workers: Workers) -> None:
    futures = {seed: workers.submit(evaluation(seed=seed, n=1 + seed % 3)) for seed in range(40)}
    results = {seed: future.result(timeout=60) for seed, future in futures.items()}
    assert all(o.best == seed for seed, r in results.items() for o in r.outcomes)
    assert [len(results[seed].outcomes) for seed in range(3)] == [1, 2, 3]


def test_the_code_travels(workers: Workers) -> None:
    """Both nodes have another `nas` in front of their path, which cannot even be imported."""
    outcomes = [only(workers.submit(evaluation("code", seed=seed))) for seed in range(4)]
    assert all("py_modules" in outcome.message for outcome in outcomes)


def test_workers_are_single_threaded(workers: Workers) -> None:
    assert only(workers.submit(evaluation("environment"))).message == " ".join("1" for _ in THREADS)


@pytest.mark.parametrize("action", ["sleep", "stop"])
def test_the_time_limit_kills(workers: Workers, tmp_path: Path, action: str) -> None:
    started, takes = time.monotonic(), 60
    result = workers.submit(evaluation(action, tmp_path / "pid", takes, n=3)).result(timeout=takes)
    assert [outcome.status for outcome in result.outcomes] == ["timed out"] * 3
    assert result.outcomes[0].message == "took more than 2 s"
    assert TIME_LIMIT_S < time.monotonic() - started < takes, "killed, not waited for"


def test_a_death_is_retried(workers: Workers, tmp_path: Path) -> None:
    outcome = only(workers.submit(evaluation("die", tmp_path / "tries", amount=2, seed=7)))
    assert (outcome.status, outcome.best) == ("ok", 7)
    assert (tmp_path / "tries").read_text() == "xxx"


def test_deaths_end_as_crashed(workers: Workers, tmp_path: Path) -> None:
    result = workers.submit(evaluation("die", tmp_path / "tries", amount=9, n=2)).result(timeout=60)
    assert [outcome.status for outcome in result.outcomes] == ["crashed"] * 2
    assert "killed by SIGKILL" in result.outcomes[0].message
    assert (tmp_path / "tries").read_text() == "xxx"


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        ("fail", "failed", "ValueError: no luck at all"),
        ("leave", "failed", "SystemExit: 3"),
    ],
)
def test_exceptions_become_outcomes(
    workers: Workers, action: str, status: str, message: str
) -> None:
    outcome = only(workers.submit(evaluation(action)))
    assert outcome.status == status
    assert outcome.message.startswith(message)


def test_evaluations_of_nothing_are_quick(workers: Workers) -> None:
    n_evaluations, began = 400, time.monotonic()
    for future in [workers.submit(evaluation(seed=seed)) for seed in range(n_evaluations)]:
        assert only(future).status == "ok"
    per_s = n_evaluations / (time.monotonic() - began)
    print(f"{per_s:.0f} evaluations a second")
    assert per_s >= 50


def test_slots_do_not_wait_for_the_coordinator(workers: Workers, tmp_path: Path) -> None:
    """Its one thread is held up, and each slot ends what it runs and does what waits there."""
    held_up = threading.Event()
    futures = [workers.submit(evaluation("sleep", tmp_path / f"{n}", 0.2, n)) for n in range(6)]
    workers._events.put(lambda: held_up.wait(60))  # type: ignore[attr-defined]
    try:
        begun = [tmp_path / f"{n}" for n in range(4)]
        assert eventually(lambda: all(path.exists() for path in begun), 20)
    finally:
        held_up.set()
    assert [only(future).best for future in futures] == list(range(6))


def test_the_time_that_slots_are_busy_is_measured(workers: Workers, tmp_path: Path) -> None:
    """The share is printed and not asserted: it is that of the machine's other work, too."""
    n_evaluations, began = 20, time.monotonic()
    slept = [evaluation("sleep", tmp_path / f"{n}", 1.0, seed=n) for n in range(n_evaluations)]
    before_s = workers.busy_s
    for future in [workers.submit(one) for one in slept]:
        assert only(future).status == "ok"
    took_s = time.monotonic() - began
    print(f"{n_evaluations / (2 * took_s):.1%} busy")
    assert workers.busy_s - before_s == pytest.approx(2 * took_s, rel=0.1)


def test_an_evaluation_that_cannot_be_pickled_raises_in_submit(workers: Workers) -> None:
    lock: Any = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        workers.submit(evaluation(lock))


def test_memory_that_a_node_lacks_is_held_against_no_evaluation(workers: Workers) -> None:
    """The last of this file, since no node is used afterwards."""
    with pytest.raises(SearchError, match="memory ran out, so free some"):
        only(workers.submit(evaluation("deny")))
