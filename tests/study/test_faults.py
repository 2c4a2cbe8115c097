"""What goes wrong around a search is one sentence, and nothing that was finished is lost.

Processes that die are in test_resume.py, workers that do in test_workers.py.
"""

import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.status import main as status
from tests.faulty_training import full_disk, is_poison
from tests.inline import run_here
from tests.privileges import as_a_user, needs_modes
from tests.processes import Running
from tests.studies import command, essences, launched, run, stored, write_config

FAULTY = "tests.faulty_training"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    assert run_here(FAULTY, folder).returncode == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path)
    return tmp_path


def check_like_undisturbed(folder: Path, undisturbed: Path) -> None:
    assert essences(stored(folder)) == essences(stored(undisturbed))


def check_sentence(errors: str, sentence: str) -> None:
    """The last line of the standard error; the workers' warnings are not in it."""
    assert "Traceback" not in errors
    said = errors.strip().splitlines()[-1]
    assert re.fullmatch(rf"nas\.search: {sentence}.*\.", said), said


def begin(folder: Path, *arguments: str, fresh: bool = False, **extra: str) -> Running:
    return launched(
        command(FAULTY, folder / "small.yaml", *arguments),
        folder,
        fresh=fresh,
        NAS_TEST_LOG=str(folder / "log"),
        **extra,
    )


def starts(folder: Path) -> list[list[str]]:
    """Digest and process of every evaluation that was begun."""
    lines = text(folder / "log").splitlines()
    return [line.split()[1:] for line in lines if line.startswith("start")]


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(folder: Path, n_started: int, process: Running) -> None:
    deadline = time.monotonic() + 60
    while len(starts(folder)) < n_started and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- the disk ---


@pytest.mark.parametrize("n_pages", [5, 28, 34, 40])
def test_a_full_storage_ends_the_search_and_room_lets_it_go_on(
    folder: Path, undisturbed: Path, n_pages: int
) -> None:
    with full_disk(n_pages):
        full = run_here(FAULTY, folder)
    assert full.returncode == 1, full.stdout
    sentence = r"storage .*small/study\.db .*\(database or disk is full\): make room .* goes on"
    check_sentence(full.stderr, sentence)
    again = run_here(FAULTY, folder, NAS_TEST_LOG=str(folder / "log"))
    assert again.returncode == 0, again.stderr
    check_like_undisturbed(folder, undisturbed)


@pytest.mark.process
@pytest.mark.parametrize("n_bytes", [20_000, 200_000, 400_000])
def test_files_that_cannot_grow_end_the_search(
    folder: Path, undisturbed: Path, n_bytes: int
) -> None:
    """The system's own limit, which meets every file: the log of the database comes first."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    limited = run(FAULTY, folder, before=limit)
    assert limited.returncode == 1, limited.stdout
    check_sentence(limited.stderr, r".*(study\.db|\.yaml).* \(.*\): .* the same command goes on")
    again = run_here(FAULTY, folder)
    assert again.returncode == 0, again.stderr
    check_like_undisturbed(folder, undisturbed)


def test_weights_that_find_no_room_end_the_search(folder: Path, undisturbed: Path) -> None:
    """A folder that is no folder stands for any error of the system beside the database."""
    assert run_here(FAULTY, folder, "--n-candidates", "0").returncode == 0
    weights = folder / "studies" / "small" / "weights"
    shutil.rmtree(weights)
    weights.symlink_to("/proc/1")  # where nothing can be made, not even by the administrator
    failed = run_here(FAULTY, folder)
    assert failed.returncode == 1, failed.stdout
    assert "Traceback" not in failed.stderr
    weights.unlink()
    assert run_here(FAULTY, folder).returncode == 0


@pytest.mark.process
@needs_modes
@pytest.mark.parametrize("name", ["study.db", "."])
def test_a_study_that_cannot_be_written_is_one_sentence(folder: Path, name: str) -> None:
    assert run_here(FAULTY, folder, "--n-candidates", "1").returncode == 0
    place = folder / "studies" / "small" / name
    mode = place.stat().st_mode
    place.chmod(mode & ~0o222)
    refused = run(FAULTY, folder, before=as_a_user)
    place.chmod(mode)
    assert refused.returncode in (1, 2), refused.stdout
    assert re.search(r"nas\.search: .*(writable|cannot be written).*\.\n$", refused.stderr)
    assert "Traceback" not in refused.stderr
    assert run_here(FAULTY, folder).returncode == 0


def test_a_database_that_may_only_be_read_is_one_sentence(folder: Path) -> None:
    """Whoever runs the test: SQLite itself refuses, as it does for a file without the right."""
    assert run_here(FAULTY, folder, "--n-candidates", "1").returncode == 0
    url = f"sqlite:///file:{folder / 'studies/small/study.db'}?mode=ro&uri=true"
    refused = run_here(FAULTY, folder, "--storage", url)
    assert refused.returncode == 1, refused.stdout
    check_sentence(refused.stderr, r"storage .*readonly database\): make it and its folder writ")


# --- damage ---


def in_one_file(database: Path) -> None:
    """What lies beside a database is written into it."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def overwritten(start: float, n_bytes: int) -> Callable[[bytes], bytes]:
    """Random bytes from a share of the file's length on."""

    def damage(data: bytes) -> bytes:
        first = int(len(data) * start)
        return data[:first] + random.Random(0).randbytes(n_bytes) + data[first + n_bytes :]

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "header": overwritten(0.0, 50),
    "schema": overwritten(0.02, 3000),
    "middle": overwritten(0.5, 20_000),
    "truncated": lambda data: data[: len(data) // 2],
    "a part of a page": lambda data: data[: len(data) - 1000],
    "emptied": lambda data: b"",
    "another file": lambda data: b"study: small\n" * 400,
}


@pytest.mark.parametrize(
    "name",
    DAMAGES,
)
def test_a_damaged_storage_is_one_sentence_and_is_not_written(
    folder: Path, undisturbed: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed / "studies", folder / "studies")
    database = folder / "studies" / "small" / "study.db"
    in_one_file(database)
    sound = database.read_bytes()
    database.write_bytes(DAMAGES[name](sound))
    damaged = database.read_bytes()
    refused = run_here(FAULTY, folder)
    assert refused.returncode == 2, refused.stdout
    check_sentence(refused.stderr, r"storage .*small/study\.db is damaged \(.*\): put back a copy")
    assert database.read_bytes() == damaged
    assert status(["small", "--studies", str(folder / "studies")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    database.write_bytes(sound)
    assert run_here(FAULTY, folder).returncode == 0
    check_like_undisturbed(folder, undisturbed)


def test_damaged_outcomes_are_one_sentence(folder: Path, undisturbed: Path) -> None:
    """Where the database is sound and what is in it is not; those of the GRU are always read."""
    shutil.copytree(undisturbed / "studies", folder / "studies")
    connection = sqlite3.connect(folder / "studies" / "small" / "study.db")
    connection.execute(
        "UPDATE trial_user_attributes SET value_json = substr(value_json, 1, 40) "
        "WHERE key LIKE 'evaluation %'"
    )
    connection.commit()
    connection.close()
    refused = run_here(FAULTY, folder, "--n-candidates", "7")
    assert refused.returncode == 2, refused.stdout
    check_sentence(refused.stderr, r"storage .*small/study\.db is damaged \(.*\): put back a copy")


# --- the clock ---


@pytest.mark.process
def test_a_wall_clock_that_jumps_changes_nothing(folder: Path, undisturbed: Path) -> None:
    jumping = {"NAS_TEST_CLOCK": "100000", "NAS_TEST_SLEEP_S": "0.05"}
    limits = ("--time-budget", "10m", "--evaluation-time-limit", "30s")
    done = run(FAULTY, folder, *limits, **jumping)
    assert done.returncode == 0, done.stderr
    assert "time budget" not in done.stdout
    check_like_undisturbed(folder, undisturbed)


# --- workers that hang ---


def hold(folder: Path, n_started: int, process: Running) -> int:
    wait_for(folder, n_started, process)
    pid = int(starts(folder)[-1][1])
    os.kill(pid, signal.SIGSTOP)
    return pid


@pytest.mark.process
def test_a_worker_that_hangs_for_a_while_changes_nothing(folder: Path, undisturbed: Path) -> None:
    process = begin(folder, NAS_TEST_SLEEP_S="0.3")
    pid = hold(folder, 9, process)
    time.sleep(1.0)
    os.kill(pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    check_like_undisturbed(folder, undisturbed)


@pytest.mark.process
def test_a_worker_that_hangs_is_replaced_and_its_evaluation_timed_out(
    folder: Path, undisturbed: Path
) -> None:
    limit = ("--evaluation-time-limit", "2s", "--workers", "2")
    process = begin(folder, *limit, NAS_TEST_SLEEP_S="0.3")
    pid = hold(folder, 16, process)
    digest = starts(folder)[-1][0]
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "timed out, took more than 2 s" in output
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    study, expected = stored(folder), stored(undisturbed)
    [outcome] = study.cache[digest].outcomes
    assert outcome.status == "timed out"
    others = {one for one in study.cache if one != digest}
    assert all(o.status == "ok" for one in others for o in study.cache[one].outcomes)
    assert len(study.finished()) == len(expected.finished())
    again = run(FAULTY, folder, NAS_TEST_LOG=str(folder / "log"))
    assert again.returncode == 0, again.stderr
    assert Counter(one for one, _ in starts(folder))[digest] == 1, (
        "what timed out is not tried again"
    )


# --- candidates that kill their workers ---


@pytest.mark.process
def test_poison_is_set_aside_for_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison = {"NAS_TEST_POISON": "arithmetic", "NAS_TEST_LOG": str(folder / "log")}
    done = run(FAULTY, folder, "--n-candidates", "6", **poison)
    assert done.returncode == 0, done.stderr
    visits = [v for v in stored(folder).visits if v and v.kind == "drawn"]
    aside = [v for v in visits if v.judgement and v.judgement.set_aside]
    assert aside
    assert {v.key for v in aside} == {v.key for v in visits if is_poison(v.key)}
    tries = Counter(digest for digest, _ in starts(folder))
    for visit in aside:
        assert visit.judgement
        assert (visit.judgement.stage, visit.judgement.value) == ("arithmetic", 0.0)
        assert visit.judgement.score is None
        assert {e.task for e in visit.evaluated.values()} == {"memorization", "arithmetic"}
        for digest, evaluated in visit.evaluated.items():
            is_fatal = evaluated.task == "arithmetic"
            assert tries[digest] == (3 if is_fatal else 1)
            assert {o.status for o in evaluated.outcomes} == {"crashed" if is_fatal else "ok"}
    said = rf"{aside[0].name} on arithmetic: the worker was killed by SIGKILL"
    counted = rf"{len(aside)} candidates? (was|were) set aside, because each try ended a worker"
    assert re.search(counted, done.stdout)
    assert re.search(said, done.stdout)
    monkeypatch.chdir(folder)
    assert status(["small"]) == 0
    shown = capsys.readouterr().out
    assert re.search(counted, shown)
    assert re.search(said, shown)

    again = run(FAULTY, folder, "--n-candidates", "8", **poison)
    assert again.returncode == 0, again.stderr
    after = Counter(digest for digest, _ in starts(folder))
    assert {digest: after[digest] for digest in tries} == tries, "something was tried again"


# --- several coordinators ---


@pytest.mark.process
def test_of_coordinators_that_begin_at_once_one_runs(folder: Path, undisturbed: Path) -> None:
    extra = {"NAS_TEST_SLEEP_S": "0.2", "NAS_TEST_DOOR": "3"}
    processes = [begin(folder, **extra) for _ in range(3)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [0, 2, 2]
    for (_, errors), code in ended:
        if code:
            check_sentence(errors, "study small is being run by another process")
    assert max(Counter(digest for digest, _ in starts(folder)).values()) == 1
    check_like_undisturbed(folder, undisturbed)


# --- interrupts ---


def ended(pid: int) -> bool:
    """Whether a process ends within two seconds."""
    deadline = time.monotonic() + 2
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.process
def test_an_interrupt_at_any_moment_is_no_traceback(folder: Path, undisturbed: Path) -> None:
    """From the first look at the arguments to the last line; some while it still imports."""
    generator = random.Random(1)
    for k in range(20):
        process = begin(folder, fresh=k < 8, NAS_TEST_SLEEP_S="0.1")
        while f"main - {process.pid}\n" not in text(folder / "log"):
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 2))
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - asked < 5
        # Both are 130 in a shell. If the interrupt comes while a string is executed, as dataclasses
        # do when they are imported, `python -m` ends by the signal, though it was caught and told.
        assert process.returncode in (0, 130, -signal.SIGINT), errors
        assert "Traceback" not in errors
    assert run_here(FAULTY, folder).returncode == 0
    check_like_undisturbed(folder, undisturbed)


@pytest.mark.process
def test_a_second_interrupt_ends_it_at_once(folder: Path, undisturbed: Path) -> None:
    """Whatever the first one was about to do: end the workers, or say how to go on."""
    for wait_s in (0.0, 0.05, 0.1, 0.2):
        process = begin(folder, NAS_TEST_SLEEP_S="60")
        wait_for(folder, len(starts(folder)) + 1, process)
        pid = int(starts(folder)[-1][1])
        process.send_signal(signal.SIGINT)
        time.sleep(wait_s)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - asked < 5
        assert process.returncode in (130, -signal.SIGINT), errors  # both are 130 in a shell
        assert "Traceback" not in errors
        assert ended(pid), "a worker outlives its coordinator"
    assert run_here(FAULTY, folder).returncode == 0
    check_like_undisturbed(folder, undisturbed)
