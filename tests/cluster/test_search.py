"""A search on a PostgreSQL server ends with what one in a file gives, whatever fails in between."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from nas.status import main as status
from nas.study.opening import open_storage
from nas.study.study import Study
from tests.cluster.postgres import Postgres
from tests.cluster.proxy import between
from tests.processes import Running
from tests.studies import command, essences, launched, run, stored, write_config

pytestmark = [pytest.mark.cluster, pytest.mark.process]

FAKE = "tests.fake_training"
SLEEP_S = "1"
"""Of an evaluation in a search that is disturbed: on a busy machine it must not end before that."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a SQLite file."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    done = run(FAKE, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path)
    return tmp_path


@pytest.fixture
def url(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    return postgres.fresh(f"search{abs(hash(request.node.name))}")


def begin(folder: Path, *arguments: str, fresh: bool = False) -> Running:
    return launched(
        command(FAKE, folder / "small.yaml", *arguments),
        folder,
        fresh=fresh,
        NAS_TEST_LOG=str(folder / "log"),
        NAS_TEST_SLEEP_S=SLEEP_S,
    )


def finish(process: Running) -> tuple[str, str]:
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return output, errors


def started(folder: Path) -> list[str]:
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith("start")]


def wait_for(folder: Path, n_started: int, process: Running) -> None:
    deadline = time.monotonic() + 60
    while len(started(folder)) < n_started:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stored_at(url: str, folder: Path) -> Study:
    study = optuna.load_study(study_name="small", storage=open_storage(url))
    return Study("small", folder, study)


def check_like_undisturbed(url: str, folder: Path, undisturbed: Path) -> None:
    assert essences(stored_at(url, folder)) == essences(stored(undisturbed))


def check_run_once(folder: Path) -> None:
    """Nothing that was finished is trained again."""
    assert max(Counter(started(folder)).values()) == 1


def test_a_search_gives_what_it_gives_in_a_file(
    url: str, folder: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    done = run(FAKE, folder, "--storage", url)
    assert done.returncode == 0, done.stderr
    check_like_undisturbed(url, folder, undisturbed)
    assert not (folder / "studies" / "small" / "study.db").exists()
    monkeypatch.chdir(folder)
    assert status(["small"]) == 0, "the URL is known from config.yaml"
    assert "small in studies/small: complete" in capsys.readouterr().out


def test_a_coordinator_that_is_killed_goes_on_from_another_folder(
    url: str, tmp_path: Path, undisturbed: Path
) -> None:
    """As on another machine: the same command, where there is nothing but the configuration."""
    first, second = tmp_path / "first", tmp_path / "second"
    for one in (first, second):
        one.mkdir()
        write_config(one)
    process = begin(first, "--storage", url)
    wait_for(first, 7, process)
    process.send_signal(signal.SIGSTOP)  # it holds its lock, however long the other takes
    refused = run(FAKE, second, "--storage", url)
    assert refused.returncode == 2, refused.stdout
    assert "study small is being run by another process" in refused.stderr
    process.kill()
    process.communicate()
    before = set(stored_at(url, first).cache)
    assert before
    finish(begin(second, "--storage", url))
    check_like_undisturbed(url, second, undisturbed)
    assert before.isdisjoint(started(second)), "a stored evaluation was run again"


def test_a_server_that_is_gone_for_a_while_stops_nothing(
    postgres: Postgres, url: str, folder: Path, undisturbed: Path
) -> None:
    process = begin(folder, "--storage", url)
    wait_for(folder, 5, process)
    postgres.stop("immediate")  # as a crash
    time.sleep(5)
    postgres.start()
    _, errors = finish(process)
    check_like_undisturbed(url, folder, undisturbed)
    check_run_once(folder)
    assert "Traceback" not in errors
    waiting = re.findall(r"storage \S+ does not answer \(.*\): waiting for it, .* lost\.\n", errors)
    assert len(waiting) == errors.count("answers again.\n") == 1, errors


def test_a_network_that_loses_answers_changes_nothing(
    postgres: Postgres, url: str, folder: Path, undisturbed: Path
) -> None:
    with between(postgres.port) as proxy:
        process = begin(folder, "--storage", url.replace(f":{postgres.port}/", f":{proxy.port}/"))
        wait_for(folder, 1, process)  # who begins without a storage is told so at once
        proxy.lost_answers, proxy.lost_commits = 0.2, 0.1
        finish(process)
        assert proxy.n_lost >= 5
    check_like_undisturbed(url, folder, undisturbed)
    check_run_once(folder)


def test_a_server_that_stays_away_ends_the_search_and_the_same_command_goes_on(
    postgres: Postgres, url: str, folder: Path, undisturbed: Path
) -> None:
    process = begin(folder, "--storage", url, "--storage-wait", "2s")
    wait_for(folder, 5, process)
    postgres.stop()
    output, errors = process.communicate(timeout=60)
    postgres.start()
    assert process.returncode == 1, output
    said = errors.strip().splitlines()[-1]
    assert re.match(r"nas\.search: storage .* cannot be used any more .*same command goes on", said)
    assert "Traceback" not in errors
    finish(begin(folder, "--storage", url))
    check_like_undisturbed(url, folder, undisturbed)


def test_an_interrupt_ends_the_wait(
    postgres: Postgres, url: str, folder: Path, undisturbed: Path
) -> None:
    process = begin(folder, "--storage", url)
    wait_for(folder, 5, process)
    postgres.stop()
    time.sleep(2)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    took_s = time.monotonic() - asked
    postgres.start()
    assert process.returncode == 130, errors
    assert took_s < 10
    assert "Interrupted" in output
    assert "Traceback" not in errors
    finish(begin(folder, "--storage", url))
    check_like_undisturbed(url, folder, undisturbed)


def command_lines() -> str:
    """Of all processes, as `ps` shows them to anybody."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(one.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(found)


def test_the_password_is_nowhere(postgres: Postgres, url: str, folder: Path) -> None:
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    # A command of its own, whose arguments `ps` shows: a fork has those of its server.
    process = begin(folder, "--storage", url, "--tracking-uri", tracking, fresh=True)
    wait_for(folder, 7, process)
    lines = command_lines()
    assert "small.yaml" in lines
    assert postgres.password not in lines
    postgres.stop()
    time.sleep(2)
    postgres.start()
    output, errors = finish(process)
    assert postgres.password not in output + errors
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"config.yaml", "mlflow.db", "report.html"} <= {path.name for path in files}
    assert not [path for path in files if postgres.password.encode() in path.read_bytes()]
    dump = {**os.environ, "PGPASSWORD": postgres.password}
    done = subprocess.run(
        ["pg_dump", "--data-only", url], env=dump, capture_output=True, text=True, check=True
    )
    assert "small" in done.stdout
    assert postgres.password not in done.stdout
