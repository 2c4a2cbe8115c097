"""`nas.search --confirm N`: the best cells of a search, on seeds and tasks that it never saw."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.compare.confirm import confirming
from nas.search.search import main
from nas.study.leaderboard import BASELINES, leaderboard
from nas.study.parse import parse
from nas.zoo import ZOO
from tests.compare.test_compare import CONFIG
from tests.inline import finished_here
from tests.studies import stored

pytestmark = pytest.mark.usefixtures("undrawn")

SEARCH = [sys.executable, "-m", "tests.fake_comparing", "search", "small.yaml", "--workers", "2"]
CONFIRM = ["--confirm", "2", "--confirm-seeds", "6", "--confirm-tasks", "xml", "text"]
KEYS = tuple(ZOO[name].key for name in BASELINES)


def search(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "small.yaml").write_text(CONFIG, encoding="utf-8")
    return finished_here(
        [*SEARCH, "--tracking-uri", "off", *CONFIRM, *arguments],
        folder,
        NAS_TEST_LOG=str(folder / "log"),
    )


def numbers(folder: Path) -> dict[str, Any]:
    path = folder / "studies" / "small-confirm" / "comparison.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("confirmed")
    done = search(folder)
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout, encoding="utf-8")
    return folder


def test_the_best_cells_are_compared(confirmed: Path) -> None:
    rows = leaderboard(stored(confirmed).finished(), KEYS)
    best = [row.key for row in rows if row.kind != "baseline" and not row.rejected][:2]
    assert len(best) == 2
    found = numbers(confirmed)
    for task in ("xml", "text"):
        keys = [one["key"] for one in found["tasks"][task]["cells"].values()]
        assert keys == [*KEYS, *best]
    output = (confirmed / "output").read_text(encoding="utf-8")
    assert all(one in output for one in found["verdicts"])
    assert len(found["verdicts"]) == 2 * (3 + 2)


def test_seeds_and_tasks_are_not_those_of_the_search(confirmed: Path) -> None:
    def seeds(name: str) -> set[int]:
        visits = [visit for visit in stored(confirmed, name).visits if visit]
        return {one.seed for visit in visits for one in visit.evaluated.values()}

    assert seeds("small") == {0}
    assert len(seeds("small-confirm")) == 1 + 6
    assert 0 not in seeds("small-confirm")
    searched = {task for v in stored(confirmed).visits if v for task in v.tasks().values()}
    assert "text" not in searched
    assert "text" in numbers(confirmed)["tasks"]


def test_cells_are_tuned_as_much_as_in_the_search(confirmed: Path) -> None:
    config = parse([str(confirmed / "small.yaml"), *CONFIRM])
    assert confirming(config).config.tuning == config.protocol.n_settings == 2
    more = parse([str(confirmed / "small.yaml"), *CONFIRM, "--confirm-tuning", "5"])
    assert confirming(more).config.tuning == 5


def test_it_is_not_done_twice(confirmed: Path) -> None:
    before, started = numbers(confirmed), (confirmed / "log").read_text().count("start")
    done = search(confirmed)
    assert done.returncode == 0, done.stderr
    assert (confirmed / "log").read_text().count("start") == started
    assert numbers(confirmed) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--confirm", "-1"], "confirm must be at least 0, got -1."),
        (["--confirm", "1", "--confirm-tasks", "nope"], 'no task "nope".'),
        (
            ["--confirm", "1", "--confirm-tasks", "xml", "--tasks.xml.n_params", "9"],
            "n_params must be at least",
        ),
        (
            ["--confirm", "1", "--tasks.arithmetic.n_params", "9000", "8000"],
            "tasks.arithmetic.n_params must be one parameter budget in a comparison",
        ),
    ],
)
def test_what_cannot_be_confirmed_is_told_before_the_search(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "studies").exists()


def test_a_search_without_a_scored_cell_confirms_none(tmp_path: Path) -> None:
    done = search(tmp_path, "--n-candidates", "0")
    assert done.returncode == 0, done.stderr
    assert "No cell was scored, so there is none to confirm." in done.stdout
    assert not (tmp_path / "studies" / "small-confirm").exists()


def test_the_comparison_alone_goes_on(confirmed: Path) -> None:
    before = numbers(confirmed)
    done = finished_here(
        [sys.executable, "-m", "tests.fake_comparing", "--config", "studies/small-confirm"],
        confirmed,
    )
    assert done.returncode == 0, done.stderr
    assert numbers(confirmed) == before
