"""Discarded cells that are proposed again: when they come back on fresh settings, and as what."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from nas.cell.mutation.rules import Mutations
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.point import PointSampler
from nas.samplers.propose import PROPOSED
from nas.samplers.registry import Repeatable, find_sampler
from nas.session.coordinator import Coordinator
from nas.spaces import Gates, Graph, load_space
from nas.study.config import SearchConfig, definition
from nas.study.study import Study
from nas.zoo import ZOO
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.session.test_coordinator import Crash, CrashAfter, Shuffled, study
from tests.session.test_revisit import GRU, LSTM, STAGED
from tests.studies import essences

# Two cells, the plain RNN with tanh and with relu: a mutant of one is the other.
TWO = Gates(
    states=("merged",),
    candidate_activation=("tanh", "relu"),
    forget_bias=(0,),
    update_gate=("none",),
    reset_place=("none",),
)
CHOICES = CategoricalDistribution(TWO.candidate_activation)
REJECTED = {"score": None, "value": 0.2}
UNTOLD = {"score": None, "value": 0.1}
SCORED = {"score": 1.0, "value": 1.0}
Visit = tuple[str, dict[str, Any] | None, int]
"""Activation, judgement, turn."""


def proposed(*visits: Visit, n_turns: int = 2, **fields: Any) -> dict[str, Any]:
    """What is noted of the trial after these, in which a mutant of the scored cells is drawn."""
    drawn = optuna.create_study(direction="maximize")
    for activation, judgement, turn in visits:
        told = judgement is not None and judgement != UNTOLD
        params = {"candidate_activation": activation}
        attrs = {"kind": "drawn", "key": TWO.at(params).key, "turn": turn, "judgement": judgement}
        made = create_trial(
            state=TrialState.COMPLETE if told else TrialState.RUNNING,
            value=judgement["value"] if judgement and told else None,
            params=params,
            distributions={"candidate_activation": CHOICES},
            user_attrs=attrs,
        )
        drawn.add_trial(made)
    config = EvolutionConfig(**{"propose": 1.0, "n_redraws": 5, "reexamine": True} | fields)
    make = find_sampler("jozefowicz", TWO, config, n_turns)
    drawn.sampler = Repeatable(make, 0, len(visits))
    trial = drawn.ask()
    TWO.propose(trial)
    noted = drawn.trials[-1].user_attrs[PROPOSED]
    assert isinstance(noted, dict)
    return {**noted, **trial.params}


TANH: Visit = ("tanh", SCORED, 0)


def test_a_rejected_mutant_comes_back_once_it_is_drawn() -> None:
    found = proposed(TANH, ("relu", REJECTED, 0))
    assert found == {"n_draws": 1, "parent": 0, "again": True, "candidate_activation": "relu"}


@pytest.mark.parametrize(
    ("visits", "fields"),
    [
        ([("relu", REJECTED, 0)], {"reexamine": False}),
        ([("relu", REJECTED, 0)], {"n_turns": 1}),
        ([("relu", REJECTED, 0), ("relu", REJECTED, 1)], {"n_turns": 2}),
        ([("relu", REJECTED, 0), ("relu", REJECTED, 1), ("relu", REJECTED, 0)], {"n_turns": 2}),
        ([("relu", SCORED, 0)], {}),
        ([("relu", REJECTED, 0), ("relu", SCORED, 1)], {"n_turns": 3}),
        ([("relu", None, 0)], {}),
        ([("relu", UNTOLD, 0)], {}),
        ([("relu", REJECTED, 0), ("relu", None, 1)], {"n_turns": 3}),
        ([("relu", {**REJECTED, "set_aside": "its worker died"}, 0)], {}),
    ],
    ids=[
        "not wanted",
        "one turn",
        "no settings left",
        "none left, and drawn in vain since",
        "scored",
        "scored the second time",
        "not judged",
        "not told",
        "on its way again",
        "ends its workers",
    ],
)
def test_others_are_drawn_anew(visits: list[Visit], fields: dict[str, Any]) -> None:
    found = proposed(TANH, *visits, **fields)
    assert not found["again"]
    assert found["n_draws"] == 6, "until no further draw is allowed"


def test_a_cell_comes_back_while_it_has_settings() -> None:
    found = proposed(TANH, ("relu", REJECTED, 0), ("relu", REJECTED, 1), n_turns=3)
    assert found["again"]


def test_it_comes_back_as_it_was_written() -> None:
    """Other seeds lead to the same cell, described in another way."""
    changed, few = ("change_activation",), ("tanh", "relu")
    rules = Mutations(operators=changed, activations=few, most=1, min_matrices=2)
    space = Graph(start=(ZOO["rnn"],), max_generation=2, rules=rules)
    drawn = optuna.create_study(direction="maximize")
    for params, score in (({"generation": 1}, 1.0), ({"generation": 2, "mutation_2": 5}, None)):
        drawn.sampler = PointSampler(params)
        trial = drawn.ask()
        cell = space.propose(trial)
        judged = {"key": cell.key, "judgement": {"score": score}}
        for name, value in judged.items():
            trial.set_user_attr(name, value)
        drawn.tell(trial, score or 0.1)
    config = EvolutionConfig(propose=1.0, reexamine=True)
    drawn.sampler = Repeatable(find_sampler("jozefowicz", space, config, 2), 0, 2)
    trial = drawn.ask()
    assert space.propose(trial).key == cell.key
    assert trial.params == {"generation": 2, "mutation_2": 5}


def test_only_this_sampler_does_so() -> None:
    config = EvolutionConfig(population=1, tournament=1, n_redraws=3, reexamine=True)
    drawn = optuna.create_study(direction="maximize")
    for number in range(4):
        drawn.sampler = Repeatable(find_sampler("regularized", TWO, config, 5), 0, number)
        trial = drawn.ask()
        trial.set_user_attr("key", TWO.propose(trial).key)
        trial.set_user_attr("judgement", REJECTED)
        drawn.tell(trial, 0.2)
    assert [t.user_attrs[PROPOSED]["again"] for t in drawn.trials] == [False] * 4


def test_a_study_of_before_goes_on() -> None:
    """What a study was begun with names the field only where it is set."""
    config = SearchConfig(sampler="jozefowicz")
    space = load_space("gates")
    assert "reexamine" not in definition(config, space)["evolution"]
    other = SearchConfig(sampler="jozefowicz", evolution=EvolutionConfig(reexamine=True))
    assert definition(other, space)["evolution"]["reexamine"] is True


# --- the coordinator ---

FEW = Gates(
    states=("merged",),
    candidate_activation=("tanh", "relu", "sigmoid"),
    forget_bias=(0,),
    update_gate=("xh", "x"),
    reset_place=("none", "before"),
    shared_gate=(True,),
    beta=(0,),
)


def run(opened: Study, workers: Shuffled, crash_after: int = 0) -> None:
    config = EvolutionConfig(propose=0.9, n_redraws=10, reexamine=True)
    plan = plan_of(
        FEW,
        STAGED,
        (GRU, LSTM),
        "jozefowicz",
        seed=1,
        n_candidates=26,
        in_flight=3,
        evolution=config,
    )
    observers = (CrashAfter(crash_after),) if crash_after else ()
    Coordinator(plan, opened, workers, observers).run()


def test_a_search_judges_them_again_and_a_crash_changes_nothing(tmp_path: Path) -> None:
    workers = Shuffled(1, 0, outcome)
    opened = study(tmp_path / "whole")
    run(opened, workers)
    workers.close(wait=True)
    assert max(workers.counts.values()) == 1, "nothing is trained twice"
    visits = [visit for visit in opened.visits if visit and visit.kind == "drawn"]
    back = [
        visit
        for visit in visits
        if visit.turn
        and any(
            v.key == visit.key
            and v.turn == visit.turn - 1
            and v.judgement
            and not v.judgement.score
            for v in visits
        )
    ]
    assert back, "some were rejected before"
    for visit in back:
        first = next(v for v in visits if v.key == visit.key)
        assert visit.cell == first.cell, "written as it was"
        assert visit.parent is not None
    for crash_after in (7, 15, 23):
        workers = Shuffled(2, 0, outcome)
        try:
            run(study(tmp_path / "cut"), workers, crash_after)
        except Crash:
            pass
        finally:
            workers.close(wait=True)
    workers = Shuffled(2, 0, outcome)
    cut = study(tmp_path / "cut")
    run(cut, workers)
    workers.close(wait=True)
    assert essences(cut) == essences(opened)
