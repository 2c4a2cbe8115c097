"""Searches with constraints: what breaks one is never trained, and everybody is told."""

from pathlib import Path

import optuna
import pytest

from nas.record.entry import entry
from nas.status import lines
from nas.study.leaderboard import leaderboard, winner
from nas.study.location import find_study
from nas.study.study import Study
from nas.tasks import Arithmetic, Xml
from nas.zoo import ZOO
from tests.inline import run_here
from tests.studies import essences, stored, write_config

FAKE = "tests.fake_training"
CONSTRAINTS = ("--constraint", "state_bytes <= 200", "stages <= 1")
BASELINES = (ZOO["gru"].key, ZOO["lstm"].key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 12 candidates in which some break one constraint, and some both."""
    made = tmp_path_factory.mktemp("constraints")
    write_config(made, n_candidates=12)
    run_here(FAKE, made, *CONSTRAINTS)
    return made


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return stored(folder)


def test_what_breaks_a_constraint_is_never_trained(study: Study) -> None:
    broken = [v for v in study.finished() if v.judgement and v.judgement.broken]
    drawn = [v for v in broken if v.kind == "drawn"]
    assert 2 <= len(drawn) < 12
    for visit in drawn:
        assert not visit.evaluated
        assert not visit.beside
        assert visit.judgement
        assert visit.judgement.stage == "constraints"
        assert visit.judgement.score is None
    whole = [v for v in study.finished() if v not in broken]
    assert whole
    assert all(v.evaluated for v in whole)


def test_optuna_knows_how_far_off_a_candidate_is(study: Study) -> None:
    seen = optuna.load_study(study_name="small", storage=study.storage)
    trials = seen.get_trials()
    for visit in study.finished():
        constraints = trials[visit.number].constraints
        assert set(constraints) == {"state_bytes <= 200", "stages <= 1"}
        over = {text for text, excess in constraints.items() if excess > 0}
        assert visit.judgement
        assert set(visit.judgement.broken) == over
        for text, size in visit.judgement.broken.items():
            assert constraints[text] == pytest.approx(size / float(text.split()[-1]) - 1)


def test_rejections_are_counted_by_constraint(folder: Path, study: Study) -> None:
    judged = [v.judgement for v in study.finished() if v.kind == "drawn" and v.judgement]
    counts = {
        text: sum(text in judgement.broken for judgement in judged)
        for text in ("state_bytes <= 200", "stages <= 1")
    }
    told = list(lines(find_study("small", "", str(folder / "studies"))))
    for text, count in counts.items():
        assert any(f"{count} {text}" in line for line in told if line.startswith("stages:"))
        assert any(line.split() == [str(count), "breaks", *text.split()] for line in told)


def test_a_given_cell_that_breaks_one_is_told_and_cannot_win(folder: Path, study: Study) -> None:
    again = run_here(FAKE, folder, *CONSTRAINTS)
    assert "Given cell gru: it breaks stages <= 1 (it has 2)" in again.stdout
    rows = leaderboard(study.finished(), BASELINES)
    assert next(row for row in rows if row.name == "gru").score == 1.0
    best = winner(rows)
    assert best
    assert best.visit.judgement
    assert not best.visit.judgement.broken


def test_mlflow_says_which_constraint_was_broken(study: Study) -> None:
    visit = next(
        v for v in study.finished() if v.kind == "drawn" and v.judgement and v.judgement.broken
    )
    assert visit.judgement
    made = entry(visit, "small", (Arithmetic(), Xml()), BASELINES)
    assert made.tags["nas.stage"] == ", ".join(visit.judgement.broken)
    assert made.tags["nas.status"] == "rejected"
    assert "**Not trained**" in made.note


def test_another_constraint_is_another_study(folder: Path) -> None:
    other = run_here(FAKE, folder, "--constraint", "stages <= 2")
    assert other.returncode == 2
    assert "was begun with constraint = " in other.stderr
    none = run_here(FAKE, folder)
    assert none.returncode == 2
    assert "was begun with constraint = " in none.stderr


def test_a_search_that_is_gone_on_with_is_the_undisturbed_one(
    folder: Path, study: Study, tmp_path: Path
) -> None:
    write_config(tmp_path, n_candidates=5)
    run_here(FAKE, tmp_path, *CONSTRAINTS)
    run_here(FAKE, tmp_path, *CONSTRAINTS, "--n-candidates", "12")
    assert essences(stored(tmp_path)) == essences(study)


@pytest.mark.parametrize("sampler", ["regularized", "lexicase"])
def test_a_search_in_which_all_break_one_ends(sampler: str, tmp_path: Path) -> None:
    write_config(tmp_path, n_candidates=6)
    more = ("--evolution.population", "2", "--sampler", sampler)
    done = run_here(FAKE, tmp_path, "--constraint", "params <= 100", *more)
    assert done.returncode == 0, done.stderr
    assert "6 not trained, which break constraints (6 params <= 100)" in done.stdout
    assert all(not v.evaluated for v in stored(tmp_path).finished() if v.kind == "drawn")
