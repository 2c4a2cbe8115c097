"""Searches with several objectives: fronts that a seed repeats, whatever times are measured."""

import json
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from nas.protocol.evaluation import Evaluation, Result
from nas.report import front
from nas.report.document import Figure, Table
from nas.report.facts import read_facts
from nas.report.front import at_cost, growth, hypervolume
from nas.report.recording import leaderboard_rows, summary
from nas.status import lines
from nas.study.front import front_of
from nas.study.leaderboard import leaderboard
from nas.study.location import find_study
from nas.study.study import Study
from nas.zoo import ZOO
from tests import fake_training, inline
from tests.inline import run_here
from tests.studies import stored, write_config

FAKE = "tests.fake_training"
OBJECTIVES = ("score", "step_time", "state_bytes")
FLAGS = (
    *("--objectives", *OBJECTIVES, "--constraint", "state_bytes <= 250"),
    *("--sampler", "regularized", "--evolution.population", "4"),
)
BASELINES = (ZOO["gru"].key, ZOO["lstm"].key)
CLOCK = random.Random()


def timed(evaluation: Evaluation) -> Result:
    """Made-up outcomes with another time of a step in every run."""
    result = fake_training.run(evaluation)
    if not evaluation.time_step:
        return result
    outcomes = [
        replace(o, cost=replace(o.cost, step_s=CLOCK.uniform(1e-6, 9e-6))) for o in result.outcomes
    ]
    return Result(tuple(outcomes), result.weights)


def searched(folder: Path, *flags: str, n_candidates: int = 14) -> Study:
    write_config(folder, n_candidates=n_candidates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_TEST_SLEEP_S", "0")
        patch.setitem(inline.COMMANDS, FAKE, ("nas.search:main", timed))
        done = run_here(FAKE, folder, *FLAGS, *flags)
    assert done.returncode == 0, done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return stored(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("objectives")
    searched(made)
    return made


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return stored(folder)


def told(study: Study) -> list[tuple[str, list[float] | None, dict[str, float]]]:
    """What the sampler knows of each trial, and its cell."""
    seen = optuna.load_study(study_name="small", storage=study.storage)
    trials = seen.get_trials()
    return [(str(t.user_attrs["key"]), t.values, t.constraints) for t in trials]


def named(study: Study) -> list[str]:
    return [row.name for row in front_of(leaderboard(study.finished(), BASELINES), OBJECTIVES)]


def test_a_seed_repeats_candidates_and_front_whatever_a_step_takes(
    study: Study, tmp_path: Path
) -> None:
    whole = study
    searched(tmp_path, "--run-budget", "40")
    part = len(stored(tmp_path).finished())
    resumed = searched(tmp_path)
    assert part < len(resumed.finished()) == len(whole.finished())
    assert told(whole) == told(resumed)
    assert named(whole) == named(resumed)
    times = [
        [v.judgement.sizes.get("step_time") for v in one.finished() if v.judgement]
        for one in (whole, resumed)
    ]
    assert times[0] != times[1]


def test_optuna_has_the_same_front(study: Study) -> None:
    seen = optuna.load_study(study_name="small", storage=study.storage)
    best = {trial.user_attrs["key"] for trial in seen.best_trials}
    rows = front_of(leaderboard(study.finished(), BASELINES), OBJECTIVES)
    assert {row.key for row in rows} == best
    assert 1 < len(rows) < len(study.finished())
    untrained = [v for v in study.finished() if not v.evaluated]
    assert untrained
    assert not best & {v.key for v in untrained}


def test_a_rejected_candidate_is_on_no_front(study: Study) -> None:
    trials = optuna.load_study(study_name="small", storage=study.storage).get_trials()
    for visit in study.finished():
        assert visit.judgement is not None
        constraints = trials[visit.number].constraints
        assert (constraints["score"] > 0) == (visit.judgement.score is None)
        assert trials[visit.number].values[0] == visit.judgement.value


def test_times_are_stored_with_the_trial_and_measured_once(folder: Path, study: Study) -> None:
    before = [v.judgement and v.judgement.sizes for v in study.finished()]
    scored = [v.judgement for v in study.finished() if v.judgement and v.judgement.score]
    assert all(1e-6 <= judgement.sizes["step_time"] <= 9e-6 for judgement in scored)
    again = searched(folder)
    assert [v.judgement and v.judgement.sizes for v in again.finished()] == before


def test_everybody_names_the_front(folder: Path, study: Study) -> None:
    names = named(study)
    seen = find_study("small", "", str(folder / "studies"))
    status = next(line for line in lines(seen) if line.startswith("Front of score, step_time"))
    output = (folder / "output.txt").read_text()
    facts = read_facts(seen)
    on_front = [row["cell"] for row in leaderboard_rows(facts) if row["front"]]
    tags = summary(facts, {}).beside
    assert on_front == names
    for name in names:
        assert f"{name} (score" in status
        assert f"{name} (score" in output
        key = next(v.key for v in study.finished() if v.name == name)
        assert tags[key]["nas.front"] == "on the front"
        place = folder / "studies" / "small" / "winner" / "front"
        assert (place / f"{name}.cell").is_file()
        compile((place / f"{name}.py").read_text(), name, "exec")
    assert len(list((folder / "studies/small/winner/front").glob("*.cell"))) == len(names)


def test_the_report_draws_the_front_and_two_arms_at_equal_cost(folder: Path, study: Study) -> None:
    facts = read_facts(find_study("small", "", str(folder / "studies")))
    section = front.front(facts, facts)
    tables = [part for part in section.parts if isinstance(part, Table)]
    figures = {part.name: part.svg for part in section.parts if isinstance(part, Figure)}
    assert [row[0] for row in tables[0].rows] == named(study)
    assert [row[2] for row in tables[1].rows] == [f"{hypervolume(facts):.4f}"] * 2
    assert set(figures) == {"front", "hypervolume"}
    for text in ("gru", "lstm", "step time, µs", "multiply-adds a step", "state, bytes"):
        assert text in figures["front"]


def test_the_hypervolume_grows_to_that_of_the_front(folder: Path) -> None:
    facts = read_facts(find_study("small", "", str(folder / "studies")))
    steps = list(growth(facts))
    volumes = [step.hypervolume for step in steps]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(hypervolume(facts))
    assert volumes[-1] == pytest.approx(_counted(facts), rel=0.03)
    assert at_cost(steps, steps[0].flops - 1) == 0


def _counted(facts: object) -> float:
    """The hypervolume by counting points of a grid below the reference point."""
    import numpy as np

    rows = front_of(facts.rows, OBJECTIVES)  # type: ignore[attr-defined]
    gru = next(row for row in facts.rows if row.name == "gru")  # type: ignore[attr-defined]
    unit = gru.visit.judgement.sizes
    grid = np.random.default_rng(0).uniform((0.9, 0, 0), (1.1, 2, 2), (400_000, 3))
    covered = np.zeros(len(grid), bool)
    for row in rows:
        sizes = row.visit.judgement.sizes
        cost = [sizes[name] / unit[name] for name in ("macs", "state_bytes")]
        covered |= (grid[:, 0] <= row.score) & (grid[:, 1:] >= cost).all(-1)
    return float(covered.mean() * 0.2 * 2 * 2)


def test_with_one_objective_nothing_new_is_stored(tmp_path: Path) -> None:
    write_config(tmp_path, n_candidates=1)
    run_here(FAKE, tmp_path)
    database = sqlite3.connect(tmp_path / "studies" / "small" / "study.db")
    keys = {key for (key,) in database.execute("select key from trial_system_attributes")}
    assert not any(key.startswith("constraints") for key in keys)
    (text,) = database.execute(
        "select value_json from study_user_attributes where key = 'definition'"
    ).fetchone()
    assert not {"objectives", "constraint"} & json.loads(text).keys()
    assert all(v.judgement and not v.judgement.sizes for v in stored(tmp_path).finished())


def test_other_objectives_are_another_study(folder: Path) -> None:
    other = run_here(FAKE, folder, *FLAGS[len(OBJECTIVES) + 1 :])
    assert other.returncode == 2
    assert "was begun with objectives = ['score', 'step_time', 'state_bytes']" in other.stderr
