"""Second measurements in a study: stored beside the judgement, resumed, and told to nobody."""

import dataclasses
from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.repeating import repeat_seed
from nas.session.coordinator import Coordinator
from nas.spaces import load_space
from nas.study.study import Study
from nas.study.visit import n_runs
from nas.workers.local import Workers
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.session.test_coordinator import (
    GIVEN,
    CrashAfter,
    Shuffled,
    protocol,
    run_through_crashes,
    study,
)
from tests.studies import essences

ONCE = ProtocolConfig(filter_accuracy=0.9, n_settings=2)
TWICE = dataclasses.replace(ONCE, repeat=0.5)


def noisy(evaluation: Evaluation, member: int) -> Outcome:
    """Another seed gives another value; on one task a second measurement ends its worker."""
    if evaluation.repeat and evaluation.task.name == "xml" and evaluation.key[0] in "01234567":
        return Outcome("crashed", message="the worker was killed")
    made = outcome(evaluation, member)
    assert made.best is not None
    return dataclasses.replace(made, best=made.best * (0.97 if evaluation.repeat else 1))


def search(
    opened: Study, config: ProtocolConfig, workers: Workers, crash_after: int = 0
) -> Coordinator:
    space = load_space("gates")
    fields = {"n_candidates": 12, "in_flight": 4}
    plan = plan_of(space, protocol(config), GIVEN, "tpe", **fields)
    observers = (CrashAfter(crash_after),) if crash_after else ()
    return Coordinator(plan, opened, workers, observers)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twice")
    workers = Shuffled(2, 0, noisy)
    assert search(study(folder), TWICE, workers).run()
    workers.close(wait=True)
    return folder


def test_a_search_is_the_same_with_second_measurements(repeated: Path, tmp_path: Path) -> None:
    twice = study(repeated)
    workers = Shuffled(2, 1, noisy)
    once = study(tmp_path)
    assert search(once, ONCE, workers).run()
    workers.close(wait=True)
    found = []
    for first, other in zip(twice.visits, once.visits, strict=True):
        assert first is not None
        assert first.judgement is not None
        assert other is not None
        found.append(bool(first.judgement.repeated))
        assert dict(first.evaluated) == dict(other.evaluated), "they lie apart"
        assert first.params == other.params, "the sampler does not know"
        bare = dataclasses.replace(first.judgement, repeated={}, repeated_ratios={})
        assert bare == other.judgement, "a worker that died the second time takes nothing away"
    scored = [v for v in twice.visits if v and v.judgement and v.judgement.score is not None]
    assert all(found[:3]), "given cells"
    assert 0 < sum(found[3:]) < len(scored) - 3, "a share of the candidates"
    of_first = sum(len(e.settings) for v in once.visits if v for e in v.evaluated.values())
    beside = [e for v in twice.visits if v for e in v.beside.values()]
    assert {e.seed for e in beside} == {repeat_seed(0)}
    assert n_runs(twice.visits) == of_first + sum(len(e.settings) for e in beside), "they cost"


@pytest.mark.parametrize("seed", [0])
def test_crashes_lose_no_second_measurement(repeated: Path, tmp_path: Path, seed: int) -> None:
    def make(opened: Study, workers: Workers, crash_after: int) -> Coordinator:
        return search(opened, TWICE, workers, crash_after)

    run_through_crashes(tmp_path, make, seed)
    resumed = study(tmp_path)
    kept = [v.judgement.repeated for v in resumed.visits if v and v.judgement]
    assert sum(map(bool, kept)) >= 3
    workers = Shuffled(2, 0, outcome)
    whole = study(tmp_path / "whole")
    assert search(whole, TWICE, workers).run()
    workers.close(wait=True)
    assert essences(resumed) == essences(whole)
