"""A budget of training runs ends a search at the same candidate, whatever the workers' timing."""

import re
from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.session.coordinator import Coordinator
from nas.spaces import load_space
from nas.status import main as status
from nas.study.study import Study
from tests.fake_training import outcome
from tests.inline import run_here
from tests.plans import plan_of
from tests.session.test_coordinator import (
    CONFIG,
    GIVEN,
    Crash,
    CrashAfter,
    Shuffled,
    protocol,
    study,
)
from tests.studies import essences, stored, write_config

pytestmark = pytest.mark.usefixtures("undrawn")

N_CANDIDATES = 12
N_GIVEN_RUNS = len(GIVEN) * 5
"""Of each the filter, and two tasks with two settings."""
FLAT = ProtocolConfig(kind="flat", n_settings=2, settings_per_evaluation=1)


def search(
    opened: Study,
    run_budget: int = 0,
    seed: int = 0,
    n_workers: int = 3,
    config: ProtocolConfig = CONFIG,
    crash_after: int = 0,
) -> Coordinator:
    """Run a search to its end, or to its crash."""
    workers = Shuffled(n_workers, seed, outcome)
    plan = plan_of(
        load_space("gates"),
        protocol(config),
        GIVEN,
        "tpe",
        n_candidates=N_CANDIDATES,
        in_flight=4,
        run_budget=run_budget,
    )
    observers = (CrashAfter(crash_after),) if crash_after else ()
    made = Coordinator(plan, opened, workers, observers)
    try:
        made.run()
    finally:
        workers.close(wait=True)
    return made


def drawn(opened: Study) -> list[tuple[str, int]]:
    """Key and runs of each candidate."""
    visits = [visit for visit in opened.visits if visit and visit.kind == "drawn"]
    return [(v.key, sum(one.n_runs for one in v.all_summaries())) for v in visits]


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Study:
    opened = study(tmp_path_factory.mktemp("unlimited"))
    assert search(opened, n_workers=1).used_up == ""
    return opened


@pytest.mark.parametrize("run_budget", [1, 16, 25, 40])
def test_a_budget_leaves_the_first_candidates_of_the_search_without_one(
    tmp_path: Path, unlimited: Study, run_budget: int
) -> None:
    found = []
    for seed, n_workers in [(0, 1), (1, 2), (2, 4), (3, 4)]:
        opened = study(tmp_path / str(seed))
        assert search(opened, run_budget, seed, n_workers).used_up == "runs"
        found.append(essences(opened))
    assert all(one == found[0] for one in found)
    n_visits = len(found[0])
    told = {visit.number for visit in opened.visits if visit and visit.told}
    assert len(GIVEN) <= n_visits < len(GIVEN) + N_CANDIDATES
    expected = essences(unlimited)[:n_visits]
    for one, other in zip(found[0], expected, strict=True):
        assert {**one, "told": True} == other
    assert told == set(range(n_visits - 3)), "as many as the sampler would know by then"


def test_a_budget_is_not_missed_by_more_than_what_is_in_flight(
    tmp_path: Path, unlimited: Study
) -> None:
    each = [runs for _, runs in drawn(unlimited)]
    for run_budget in (1, 18, 29, 37):
        opened = study(tmp_path / str(run_budget))
        search(opened, run_budget)
        n_drawn = len(drawn(opened))
        spent = N_GIVEN_RUNS + sum(each[:n_drawn])
        assert sum(runs for _, runs in drawn(opened)) == sum(each[:n_drawn])
        assert spent >= run_budget
        # Certain before the last was begun: all but what three in flight take after their filter.
        certain = sum(each[: max(0, n_drawn - 4)]) + min(3, n_drawn - 1)
        assert n_drawn == 0 or N_GIVEN_RUNS + certain < run_budget


@pytest.mark.parametrize("run_budget", range(12, 48, 5))
def test_a_flat_search_is_over_by_less_than_a_candidate(tmp_path: Path, run_budget: int) -> None:
    """There a candidate asks for all at once, so that all is certain."""
    opened = study(tmp_path)
    search(opened, run_budget, config=FLAT)
    n_given = len(GIVEN) * 4
    each = [runs for _, runs in drawn(opened)]
    assert n_given + sum(each) >= run_budget
    if each:
        assert n_given + sum(each[:-1]) < run_budget


def test_a_larger_budget_goes_on_as_if_it_had_been_so_from_the_start(
    tmp_path: Path, unlimited: Study
) -> None:
    for run_budget in (16, 30, 41):
        assert search(study(tmp_path / "steps"), run_budget).used_up == "runs"
    search(study(tmp_path / "once"), 41)
    assert essences(study(tmp_path / "steps")) == essences(study(tmp_path / "once"))
    search(opened := study(tmp_path / "steps"))
    assert essences(opened) == essences(unlimited)


def test_a_smaller_budget_finishes_what_was_begun(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        search(study(tmp_path), 40, crash_after=60)
    n_begun = len(study(tmp_path).visits)
    assert search(study(tmp_path), 1).used_up == "runs"
    visits = study(tmp_path).visits
    assert len(visits) == n_begun
    assert all(visit and visit.judgement for visit in visits)


@pytest.mark.parametrize("crash_after", [9, 23, 41, 57])
def test_a_crash_does_not_move_the_end(tmp_path: Path, crash_after: int) -> None:
    with pytest.raises(Crash):
        search(study(tmp_path / "crashed"), 40, seed=5, crash_after=crash_after)
    search(study(tmp_path / "crashed"), 40, seed=6)
    search(study(tmp_path / "whole"), 40)
    assert essences(study(tmp_path / "crashed")) == essences(study(tmp_path / "whole"))


def test_the_command_says_which_budget_ended_it_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tmp_path)
    done = run_here("tests.fake_training", tmp_path, "--run-budget", "20")
    assert done.returncode == 0, done.stderr
    visits = [visit for visit in stored(tmp_path).visits if visit]
    n_runs = sum(len(one.outcomes) for visit in visits for one in visit.evaluated.values())
    assert n_runs >= 20
    sentence = r"The run budget of 20 is used up \((\d+) runs\).*: (python .*)\n"
    said = re.search(sentence, done.stdout)
    assert said
    assert int(said[1]) == n_runs
    assert said[2] == "python -m nas.search studies/small/config.yaml --run-budget 40"
    monkeypatch.chdir(tmp_path)
    assert status(["small"]) == 0
    shown = capsys.readouterr().out
    assert f"run budget: {n_runs} of 20 training runs" in shown
    assert shown.endswith(f"To go on: {said[2]}\n")
    whole = run_here("tests.fake_training", tmp_path, "--run-budget", "400")
    assert whole.returncode == 0, whole.stderr
    assert "is used up" not in whole.stdout
    assert status(["small"]) == 0
    assert ": complete" in capsys.readouterr().out
