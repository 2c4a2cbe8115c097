"""The benchmark of studies: it fills a study like a search's, and measures what it says."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nas.bench.study import Measured, fill, main, make_protocol, measure
from nas.spaces import load_space
from nas.study.leaderboard import leaderboard
from nas.study.study import Study, open_study
from tests.refusals import assert_refused


def reopened(folder: Path) -> Study:
    return open_study("bench", folder, "", {})


@pytest.mark.parametrize("name", ["gates", "graph"])
def test_it_fills_a_study_that_reads_back(tmp_path: Path, name: str) -> None:
    space, made = load_space(name), reopened(tmp_path)
    fill(made, space, 12, n_epochs=3)
    again = reopened(tmp_path)
    assert again.visits == made.visits
    assert all(visit and visit.told and visit.judgement for visit in again.visits)
    assert leaderboard(again.finished(), ()) == leaderboard(made.finished(), ())
    runs = [o for v in again.finished() for e in v.evaluated.values() for o in e.outcomes]
    assert {len(outcome.curve) for outcome in runs} == {3}
    counted = sum(one.n_runs for v in again.finished() for one in v.summaries())
    assert counted == len(runs) >= 12
    stages = {v.judgement.stage for v in again.finished() if v.judgement}
    assert len(stages) >= 2, "some are rejected early, some go on"
    assert stages <= {"scored", *(t.name for t in make_protocol().tasks), "memorization"}


def test_a_study_without_summaries_reads_alike(tmp_path: Path) -> None:
    space, made = load_space("gates"), reopened(tmp_path)
    fill(made, space, 6, n_epochs=2)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        found = database.execute("delete from trial_user_attributes where key like 'summary %'")
        assert found.rowcount == len(made.cache) >= 6
    again = reopened(tmp_path)
    assert again.visits == made.visits
    assert [v.summaries() for v in again.finished()] == [v.summaries() for v in made.finished()]


def test_it_measures_what_it_says(tmp_path: Path) -> None:
    space = load_space("gates")
    fill(reopened(tmp_path), space, 5, n_epochs=1)
    samplers = ("random", "tpe")
    found = measure(lambda: reopened(tmp_path), space, samplers, rounds=2, n_epochs=1)
    by_name = {one.what: one for one in found}
    assert {"open", "ask random", "ask tpe", "leaderboard", "judge and tell"} <= set(by_name)
    assert [len(by_name[what].seconds) for what in ("open", "ask tpe", "leaderboard")] == [1, 2, 2]
    assert len(reopened(tmp_path).finished()) == 5 + 2 * 2
    assert all(second > 0 for one in found for second in one.seconds)


def test_a_missed_goal_is_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--candidates", "3", "--samplers", "random", "--rounds", "1", "--epochs", "1"]
    monkeypatch.setattr("nas.bench.study.ASK_S", 60.0)
    assert main([*few, "--folder", str(tmp_path)]) == 0
    assert "missed" not in capsys.readouterr().out
    monkeypatch.setattr("nas.bench.study.ASK_S", 1e-9)
    assert main([*few, "--folder", str(tmp_path)]) == 1
    assert "missed" in capsys.readouterr().out
    assert Measured("x", (1.0, 1.0, 9.0), 2.0).missed is False, "the median counts"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--candidates", "0"], "candidates must be at least 1, got 0"),
        (["--samplers", "randum"], 'no sampler "randum". Did you mean "random"?'),
        (["--space", "gate"], 'Did you mean "gates"?'),
    ],
    ids=str,
)
def test_wrong_arguments_are_one_sentence(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(main, wrong, "nas.bench.study", message, capsys)
