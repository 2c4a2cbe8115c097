"""Candidates whose evaluations end their workers: set aside for good, whatever the sampler."""

from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import set_aside
from nas.samplers.registry import NAMES
from nas.session.coordinator import Coordinator
from nas.spaces import load_space
from nas.study.rejections import describe, standings
from nas.study.study import Study
from nas.study.visit import Visit
from nas.tasks import Xml
from tests.fake_training import outcome
from tests.faulty_training import is_poison
from tests.plans import plan_of
from tests.session.test_coordinator import GIVEN, OneCell, Shuffled, protocol, study
from tests.studies import essences

CRASH = Outcome("crashed", message="the worker was killed by SIGSEGV (try 3 of 3)")


def deadly(evaluation: Evaluation, member: int) -> Outcome:
    """A third of all candidates crash on arithmetic; one of the two settings would do well."""
    is_fatal = evaluation.task.name == "arithmetic" and is_poison(evaluation.key)
    return CRASH if is_fatal and member == 0 else outcome(evaluation, member)


def search(opened: Study, sampler: str, n_candidates: int, seed: int = 0) -> Shuffled:
    workers = Shuffled(3, seed, deadly)
    config = ProtocolConfig(filter_accuracy=0.9, n_settings=2)
    space = load_space("gates")
    fields = {"n_candidates": n_candidates, "in_flight": 4}
    plan = plan_of(space, protocol(config), GIVEN, sampler, **fields)
    assert Coordinator(plan, opened, workers).run()
    workers.close(wait=True)
    return workers


def aside(opened: Study) -> list[Visit]:
    return [v for v in opened.visits if v and v.judgement and v.judgement.set_aside]


@pytest.mark.parametrize("sampler", NAMES)
def test_no_sampler_has_poison_tried_again(tmp_path: Path, sampler: str) -> None:
    opened = study(tmp_path / "first")
    workers = search(opened, sampler, 20)
    found = aside(opened)
    assert found
    for visit in found:
        assert visit.judgement
        assert (visit.judgement.score, visit.judgement.value, visit.turn) == (None, 0.0, 0)
        assert visit.judgement.set_aside == CRASH.message
    drawn = [v for v in opened.visits if v and v.kind == "drawn"]
    tried = [v for v in drawn if v.judgement and v.judgement.stage != "memorization"]
    assert found == [v for v in tried if is_poison(v.key)]
    assert max(workers.counts.values()) == 1
    search(other := study(tmp_path / "other"), sampler, 20, seed=1)
    assert essences(other) == essences(opened), "it follows from no timing"

    again = search(study(tmp_path / "first"), sampler, 24, seed=2)
    assert not set(again.counts) & set(workers.counts), "something was tried again"


def test_poison_that_is_proposed_again_costs_nothing(tmp_path: Path) -> None:
    def always(evaluation: Evaluation, member: int) -> Outcome:
        is_given = evaluation.key in {cell.key for cell in GIVEN}
        return outcome(evaluation, member) if is_given else CRASH

    workers = Shuffled(2, 0, always)
    opened = study(tmp_path)
    config = ProtocolConfig(n_settings=2)
    fields = {"n_candidates": 9, "in_flight": 4}
    plan = plan_of(OneCell(), protocol(config), GIVEN, "jozefowicz", **fields)
    assert Coordinator(plan, opened, workers).run()
    assert len(aside(opened)) == 9
    assert {v.judgement and v.judgement.stage for v in aside(opened)} == {"memorization"}
    assert max(workers.counts.values()) == 1
    assert sum(len(v.evaluated) for v in aside(opened)) == 1


def test_a_given_cell_that_crashes_is_measured_on_the_rest(tmp_path: Path) -> None:
    """It was asked for by name, so that all that can be known of it is told."""

    def kills(evaluation: Evaluation, member: int) -> Outcome:
        is_fatal = evaluation.key == GIVEN[2].key and evaluation.task.name == "xml"
        return CRASH if is_fatal else outcome(evaluation, member)

    workers = Shuffled(2, 0, kills)
    opened = study(tmp_path)
    space, fields = load_space("gates"), {"n_candidates": 1, "in_flight": 4}
    plan = plan_of(space, protocol(), GIVEN, "random", **fields)
    assert Coordinator(plan, opened, workers).run()
    [visit] = [v for v in opened.visits if v and v.key == GIVEN[2].key]
    assert visit.judgement
    assert not visit.judgement.set_aside
    assert visit.judgement.ratios["xml"] == 0.0
    assert visit.judgement.ratios["arithmetic"] > 0.8


def test_only_a_crash_sets_aside() -> None:
    others = ("ok", "cut", "vetoed", "diverged", "failed", "out of memory", "timed out")
    assert set_aside(Xml(), [Outcome(status) for status in others]) is None
    judgement = set_aside(Xml(), [Outcome("ok", 0.5), CRASH, Outcome("ok", 0.7)])
    assert judgement
    assert (judgement.stage, judgement.best, judgement.value) == ("xml", {"xml": 0.7}, 0.0)
    visit = Visit(0, 0, "drawn", "a", "", "a", judgement=judgement)
    assert describe(visit) == f"a: set aside at xml ({CRASH.message})"
    assert standings([visit]) == "0 scored, 1 set aside"
