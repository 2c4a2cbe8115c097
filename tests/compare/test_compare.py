"""`python -m nas.compare` from the command to its files, on made-up metrics with known effects."""

import csv
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from nas.compare.command import parse
from nas.compare.config import CompareConfig, drawn_seed
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.status import status
from nas.zoo import ZOO
from tests.fake_comparing import EFFECTS, outcome
from tests.inline import finished_here
from tests.studies import compared, essences, finished, launched, stored

pytestmark = pytest.mark.usefixtures("undrawn")

FAKE = "tests.fake_comparing"
CONFIG = """\
space: gates
n_candidates: 6
tasks:
  use: [arithmetic, xml]
  memorization: {epochs: 2, batches_per_epoch: 5, n_params: [3000], n_symbols: 3}
  arithmetic: {epochs: 2, batches_per_epoch: 5, n_params: [4000], max_digits: 1}
  xml: {epochs: 2, batches_per_epoch: 5, n_params: [4000]}
  text: {epochs: 2, batches_per_epoch: 5, n_params: [4000]}
protocol: {filter_accuracy: 0.1, n_settings: 2}
settings: {init_scale: [1.0], learning_rate: [0.1, 0.2, 0.5, 1.0], num_layers: [1]}
"""
TASKS = ("arithmetic", "xml", "text")
CELLS = ("mut1", "rnn", "mgu")


def command(*arguments: str) -> list[str]:
    """A comparison of three cells on three tasks."""
    common = ["--config", "small.yaml", "--study", "test", "--workers", "2"]
    common += ["--tasks", *TASKS, "--tuning", "8", "--tracking-uri", "off"]
    return [sys.executable, "-m", FAKE, *CELLS, *common, *arguments]


def run(
    folder: Path, *arguments: str, given: list[str] | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    (folder / "small.yaml").write_text(CONFIG, encoding="utf-8")
    return finished_here(given or command(*arguments), folder, **extra)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(folder, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout, encoding="utf-8")
    return folder


def numbers(folder: Path, study: str = "test") -> dict[str, Any]:
    return compared(folder, study)


def test_known_effects_are_found_and_none_is_invented(undisturbed: Path) -> None:
    said = numbers(undisturbed)["verdicts"]
    output = (undisturbed / "output").read_text(encoding="utf-8")
    for task in TASKS:
        for baseline in ("gru", "lstm"):
            assert any(one.startswith(f"mut1 is better than {baseline} on {task}") for one in said)
            assert any(one.startswith(f"rnn is worse than {baseline} on {task}") for one in said)
            nothing = f"mgu and {baseline} on {task}: no evidence of a difference"
            assert any(one.startswith(nothing) for one in said)
        assert any(one.startswith(f"lstm and gru on {task}: no evidence") for one in said)
    assert len(said) == len(TASKS) * (4 + 3)
    assert all("n = 10 seeds" in one for one in said)
    assert all(one in output for one in said)


def test_the_differences_are_those_of_the_test_split_with_the_tuned_setting(
    undisturbed: Path,
) -> None:
    """The fake's validation grows with the learning rate and its test falls, so that what is best
    on validation is worst on test: nothing was chosen by test."""
    config = parsed(undisturbed)
    for on in config.compared:
        found = numbers(undisturbed)["tasks"][on.name]
        settings = Settings(**found["cells"]["gru"]["settings"])
        drawn = config.settings.draw(on, 8, config.tuning_seed)
        assert settings.learning_rate == max(one.learning_rate for one in drawn)
        expected = {
            name: [
                outcome(
                    Evaluation("", ZOO[name].key, on, (settings,), config_seed, measure_test=True),
                    settings,
                ).test
                for config_seed in config.fresh_seeds
            ]
            for name in ("gru", "mut1")
        }
        assert found["cells"]["mut1"]["values"] == expected["mut1"]
        sign = 1 if on.metric.higher_is_better else -1
        pairs = zip(expected["mut1"], expected["gru"], strict=True)
        mean = statistics.mean(sign * ((a or 0) - (b or 0)) for a, b in pairs)
        gain = found["against"]["gru"]["mut1"]["gain"]
        assert gain["mean"] == pytest.approx(mean)
        assert gain["low"] < EFFECTS[ZOO["mut1"].key] < gain["high"]


def parsed(folder: Path) -> CompareConfig:
    return parse(
        [*CELLS, "--config", str(folder / "small.yaml"), "--tasks", *TASKS, "--tuning", "8"]
    )


def test_budgets_are_equal(undisturbed: Path) -> None:
    """As many runs, on the same settings, seeds and parameter budget, for every cell."""
    for visit in stored(undisturbed, "test").visits:
        assert visit is not None
        evaluated = list(visit.evaluated.values())
        tuning = {e.task: e for e in evaluated if len(e.settings) > 1}
        fresh = {(e.task, e.seed) for e in evaluated if len(e.settings) == 1}
        assert set(tuning) == set(TASKS)
        assert len(fresh) == len(TASKS) * 10
        assert len(evaluated) == len(TASKS) * 11
        config = parsed(undisturbed)
        for on in config.compared:
            assert tuning[on.name].settings == config.settings.draw(on, 8, config.tuning_seed)
            assert tuning[on.name].seed == config.tuning_seed
            assert all(one.test is None for one in tuning[on.name].outcomes)
            assert {seed for task, seed in fresh if task == on.name} == set(config.fresh_seeds)
        for one in evaluated:
            assert {settings.n_params for settings in one.settings} == {4000}
            assert all(o.n_params <= 4000 for o in one.outcomes)


def test_seeds_are_fresh() -> None:
    config = CompareConfig(seeds=30)
    seeds = {*config.fresh_seeds, config.tuning_seed}
    assert len(seeds) == 31
    assert all(seed > 1000 for seed in seeds), "searches have small ones"
    assert CompareConfig(seeds=5).fresh_seeds == config.fresh_seeds[:5]
    assert drawn_seed(0, "0") != drawn_seed(1, "0")


def test_files_say_the_same(undisturbed: Path) -> None:
    folder = undisturbed / "studies" / "test"
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert len(rows) == len(TASKS) * 5 * 10
    found = numbers(undisturbed)
    own = [float(r["test"]) for r in rows if (r["task"], r["cell"]) == ("xml", "mut1")]
    assert own == pytest.approx(found["tasks"]["xml"]["cells"]["mut1"]["values"])
    page = unescape((folder / "comparison.md").read_text(encoding="utf-8"))
    assert all(f"- {one}" in page for one in found["verdicts"])
    assert str(ZOO["mut1"]).strip() in page
    beginnings = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "tex": b"% Needs"}
    for kind, first in beginnings.items():
        assert (folder / f"comparison.{kind}").read_bytes().startswith(first)
    paper = (folder / "comparison.tex").read_text(encoding="utf-8")
    # Of each task where cells end and how fast they learn, and of all how well one run ranks.
    assert paper.count(r"\begin{table}") == 2 * len(TASKS) + 1


@pytest.mark.process
def test_killed_at_random_moments(tmp_path: Path, undisturbed: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG, encoding="utf-8")
    generator, log = random.Random(0), tmp_path / "log"
    for _ in range(4):
        n_before = n_started(log)
        process = launched(command(), tmp_path, NAS_TEST_LOG=str(log), NAS_TEST_SLEEP_S="0.1")
        deadline = time.monotonic() + 60
        while n_started(log) < n_before + generator.randint(2, 30):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    kept = set(stored(tmp_path, "test").cache)
    assert kept
    n_before = n_started(log)
    done = finished(command(), tmp_path, NAS_TEST_LOG=str(log))
    assert done.returncode == 0, done.stderr
    begun = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("start")]
    assert kept.isdisjoint(begun[n_before:]), "a stored evaluation was run again"
    assert essences(stored(tmp_path, "test")) == essences(stored(undisturbed, "test"))
    assert numbers(tmp_path) == numbers(undisturbed)


def n_started(log: Path) -> int:
    return log.read_text().count("start") if log.exists() else 0


@pytest.mark.process
def test_interrupted(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG, encoding="utf-8")
    log = tmp_path / "log"
    process = launched(command(), tmp_path, NAS_TEST_LOG=str(log), NAS_TEST_SLEEP_S="0.5")
    deadline = time.monotonic() + 60
    while n_started(log) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert re.search(r"Interrupted: \d+ training runs are finished and kept in", output)
    assert "Traceback" not in errors


def test_a_finished_comparison_trains_nothing_more(undisturbed: Path) -> None:
    log = undisturbed / "log"
    n_before, before = n_started(log), numbers(undisturbed)
    done = run(undisturbed, NAS_TEST_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert n_started(log) == n_before
    assert len(re.findall(r"start (\S+)", log.read_text())) == 5 * len(TASKS) * 11
    assert numbers(undisturbed) == before


def test_a_further_cell_joins_and_none_can_be_left_out(tmp_path: Path, undisturbed: Path) -> None:
    def compared(*cells: str) -> list[str]:
        place = command().index(CELLS[0])
        given = command("--seeds", "6")
        return [*given[:place], *cells, *given[place + len(CELLS) :]]

    assert run(tmp_path, given=compared("mut1")).returncode == 0
    first = numbers(tmp_path)
    assert run(tmp_path, given=compared("rnn")).returncode == 0
    second = numbers(tmp_path)
    assert list(second["cells"]) == ["gru", "lstm", "mut1", "rnn"]
    on = [one["tasks"]["xml"] for one in (first, second)]
    assert on[0]["cells"]["mut1"]["values"] == on[1]["cells"]["mut1"]["values"]
    corrected = [one["against"]["gru"]["mut1"]["corrected"] for one in on]
    assert corrected[0] < corrected[1], "the correction is over more cells"


def test_few_seeds_claim_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--seeds", "4")
    assert done.returncode == 0, done.stderr
    assert "4 seeds cannot show a difference: the rank test of 4 cells" in done.stdout
    assert "needs at least 8" in done.stdout
    assert all("no claim from fewer than 5 seeds" in one for one in numbers(tmp_path)["verdicts"])


def test_the_same_cell_twice_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.cell").write_text(str(ZOO["gru"]).replace("gru", "mine"), encoding="utf-8")
    (tmp_path / "other.cell").write_text(
        str(ZOO["mgu"]).replace("def mgu", "def mut1"), encoding="utf-8"
    )
    given = command("--seeds", "2", "--tasks", "xml")
    place = given.index(CELLS[0])
    given[place : place + len(CELLS)] = ["mine.cell", "mut1", "other.cell"]
    assert run(tmp_path, given=given).returncode == 0
    names = list(numbers(tmp_path)["cells"])
    assert names == ["gru", "lstm", f"mut1 {ZOO['mut1'].key[:6]}", f"mut1 {ZOO['mgu'].key[:6]}"]


def test_other_seeds_are_another_study(undisturbed: Path) -> None:
    done = run(undisturbed, "--seeds", "9")
    assert done.returncode == 2
    assert "study test was begun with seeds = 10, not 9: use another --study" in done.stderr


@pytest.mark.process
def test_time_budget(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG, encoding="utf-8")
    short = finished(command("--time-budget", "3s"), tmp_path, NAS_TEST_SLEEP_S="0.5")
    assert short.returncode == 0, short.stderr
    assert "The time budget of 3s is used up" in short.stdout
    assert not (tmp_path / "studies" / "test" / "comparison.json").exists()


def test_its_own_configuration_goes_on(undisturbed: Path) -> None:
    n_before = n_started(undisturbed / "log")
    given = [sys.executable, "-m", FAKE, "--config", "studies/test/config.yaml"]
    done = run(undisturbed, given=given, NAS_TEST_LOG=str(undisturbed / "log"))
    assert done.returncode == 0, done.stderr
    assert "comparison test: 5 cells" in done.stdout
    assert "going on after 5 finished cells" in done.stdout
    assert n_started(undisturbed / "log") == n_before


def test_status_of_a_comparison(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("test", studies=str(undisturbed / "studies")) == 0
    assert "python -m nas.compare --config" in capsys.readouterr().out
