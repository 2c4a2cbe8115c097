"""Whatever stops a search, the same command ends with what an undisturbed run gives."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.inline import run_here
from tests.processes import Running
from tests.studies import command, essences, launched, run, stored, write_config

FAKE = "tests.fake_training"
SLOW_S = "0.5"
"""An evaluation of a search that is stopped: on a busy machine it must not end before that."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    done = run_here(FAKE, folder)
    assert done.returncode == 0, done.stderr
    return folder


def leaderboard(output: str) -> list[list[str]]:
    """The rows of the printed table, less the seconds."""
    rows = [line.split() for line in output.splitlines() if re.match(r" *\d+ ", line)]
    assert len(rows) >= 3, output
    for row in rows:
        del row[-1 if row[-1].isdigit() else -2]
    return rows


def started(folder: Path) -> list[str]:
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith("start")]


def begin(folder: Path) -> Running:
    return launched(
        command(FAKE, folder / "small.yaml"),
        folder,
        NAS_TEST_LOG=str(folder / "log"),
        NAS_TEST_SLEEP_S=SLOW_S,
    )


def wait_for(folder: Path, n_started: int, process: Running) -> None:
    deadline = time.monotonic() + 60
    while len(started(folder)) < n_started and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(folder: Path) -> str:
    done = run_here(FAKE, folder, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_coordinator_after(folder: Path, n_started: int) -> set[str]:
    """Kill -9 the coordinator; the digests that were stored by then."""
    process = begin(folder)
    wait_for(folder, n_started, process)
    process.kill()
    process.communicate()
    return set(stored(folder).cache)


def check_like_undisturbed(folder: Path, undisturbed: Path) -> None:
    assert essences(stored(folder)) == essences(stored(undisturbed))


@pytest.mark.process
@pytest.mark.parametrize("n_started", [1, 7, 16])
def test_killed_coordinator(tmp_path: Path, undisturbed: Path, n_started: int) -> None:
    write_config(tmp_path)
    before = kill_coordinator_after(tmp_path, n_started)
    n_before = len(started(tmp_path))
    output = finish(tmp_path)
    check_like_undisturbed(tmp_path, undisturbed)
    assert before.isdisjoint(started(tmp_path)[n_before:]), "a stored evaluation was run again"
    assert leaderboard(output) == leaderboard(finish(undisturbed))


@pytest.mark.process
def test_killed_coordinator_at_random_moments(tmp_path: Path, undisturbed: Path) -> None:
    """Twenty times in a row: what was stored stays, and is not run again."""
    generator = random.Random(0)
    write_config(tmp_path)
    seen: set[str] = set()
    n_grown = 0
    for _ in range(20):
        n_before = len(started(tmp_path))
        process = begin(tmp_path)
        if generator.random() < 0.5:
            wait_for(tmp_path, n_before + 1, process)
        time.sleep(generator.uniform(0, 0.8))
        process.kill()
        process.communicate()
        assert seen.isdisjoint(started(tmp_path)[n_before:])
        if (tmp_path / "studies" / "small" / "config.yaml").is_file():
            kept = set(stored(tmp_path).cache)
            assert seen <= kept, "something that was stored is lost"
            n_grown += len(kept) > len(seen)
            seen = kept
    assert n_grown >= 3
    finish(tmp_path)
    check_like_undisturbed(tmp_path, undisturbed)


@pytest.mark.process
def test_killed_worker(tmp_path: Path, undisturbed: Path) -> None:
    write_config(tmp_path)
    process = begin(tmp_path)
    for n_started in (3, 8):
        wait_for(tmp_path, n_started, process)
        pid = int((tmp_path / "log").read_text().splitlines()[-1].split()[2])
        os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    check_like_undisturbed(tmp_path, undisturbed)
    assert leaderboard(output) == leaderboard(finish(undisturbed))


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, undisturbed: Path, number: signal.Signals) -> None:
    write_config(tmp_path)
    process = begin(tmp_path)
    wait_for(tmp_path, 6, process)
    asked = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert time.monotonic() - asked < 5
    assert "The same command goes on" in output
    assert "Traceback" not in errors
    finish(tmp_path)
    check_like_undisturbed(tmp_path, undisturbed)


def test_finished_search_trains_nothing_more(tmp_path: Path, undisturbed: Path) -> None:
    write_config(tmp_path)
    first = finish(tmp_path)
    n_before = len(started(tmp_path))
    assert leaderboard(finish(tmp_path)) == leaderboard(first)
    assert len(started(tmp_path)) == n_before
    assert len(set(started(tmp_path))) == n_before, "an evaluation was run twice"


@pytest.mark.process
def test_number_of_workers_changes_nothing(tmp_path: Path, undisturbed: Path) -> None:
    write_config(tmp_path)
    done = run(FAKE, tmp_path, "--workers", "1")
    assert done.returncode == 0, done.stderr
    check_like_undisturbed(tmp_path, undisturbed)


def test_more_candidates_go_on(tmp_path: Path, undisturbed: Path) -> None:
    write_config(tmp_path)
    finish(tmp_path)
    done = run_here(FAKE, tmp_path, "--n-candidates", "7")
    assert done.returncode == 0, done.stderr
    longer = essences(stored(tmp_path))
    assert longer[:8] == essences(stored(undisturbed))
    assert len(longer) == 3 + 7


@pytest.mark.process
def test_time_budget_ends_the_search_and_more_of_it_goes_on(
    tmp_path: Path, undisturbed: Path
) -> None:
    write_config(tmp_path)
    short = run(FAKE, tmp_path, "--time-budget", "4s", NAS_TEST_SLEEP_S="0.8")
    assert short.returncode == 0, short.stderr
    assert "The time budget of 4s is used up; with a larger one the search goes on" in short.stdout
    assert 0 < len(stored(tmp_path).cache) < len(stored(undisturbed).cache)
    finish(tmp_path)
    check_like_undisturbed(tmp_path, undisturbed)


@pytest.mark.process
def test_second_coordinator_is_refused(tmp_path: Path) -> None:
    write_config(tmp_path)
    process = begin(tmp_path)
    wait_for(tmp_path, 2, process)
    second = run(FAKE, tmp_path)
    process.kill()
    process.communicate()
    assert second.returncode == 2
    assert "is being run by another process" in second.stderr


def test_other_seed_is_another_study(tmp_path: Path, undisturbed: Path) -> None:
    write_config(tmp_path)
    done = run_here(FAKE, tmp_path, "--seed", "1", "--study", "small")
    assert done.returncode == 0, done.stderr
    assert essences(stored(tmp_path)) != essences(stored(undisturbed))
