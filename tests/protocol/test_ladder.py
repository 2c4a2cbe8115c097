"""The ladder with made-up learning curves: what each rung asks, and the numbers that come of it."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest

from nas.errors import SearchError, UserError
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Epoch, Evaluation, Outcome
from nas.protocol.judgement import Judgement, Reference
from nas.protocol.ladder import Ladder
from nas.protocol.requests import Candidate
from nas.protocol.rungs import LadderConfig
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Answer, Judging, NeedReference
from nas.tasks import Arithmetic, Parity, Task, Text

RUNGS = LadderConfig(
    n_params=(600, 900, 900),
    fidelity=(1 / 3, 0.5, 1.0),
    n_settings=(2, 3, 4),
    n_seeds=(1, 1, 2),
    halving=(0, 0, 2),
)
TASKS: tuple[Task, ...] = (Arithmetic(epochs=6), Parity(epochs=6), Text(epochs=6))
CONFIG = ProtocolConfig(kind="ladder", score="geometric", ladder=RUNGS)
LADDER = Ladder(None, TASKS, CONFIG, SettingsGrid(), 7)


def curve_of(evaluation: Evaluation, member: int) -> list[float]:
    """A learning curve that differs between tasks, rungs, seeds and settings."""
    task = evaluation.task
    n_epochs = max(1, int(np.ceil(evaluation.fidelity * task.epochs)))
    shift = 0.01 * member + 0.001 * (evaluation.seed % 7) + 1e-5 * task.n_params[0]
    chance = task.chance()
    if task.metric.name == "accuracy":
        return [chance + (1 - chance) * (0.1 * e + shift) for e in range(1, n_epochs + 1)]
    return [chance * (0.9 - 0.1 * e - shift) for e in range(1, n_epochs + 1)]


def trained(evaluation: Evaluation, scale: float = 1.0) -> tuple[Outcome, ...]:
    task, outcomes = evaluation.task, []
    for member in range(len(evaluation.settings)):
        values = [task.chance() + scale * (v - task.chance()) for v in curve_of(evaluation, member)]
        is_share = task.metric.name == "accuracy"
        curve = [Epoch(1.0, 9.0 if is_share else v, v if is_share else 0.0, 0.01) for v in values]
        best = max(values) if is_share else min(values)
        outcomes.append(Outcome("ok", best, curve=tuple(curve)))
    return tuple(outcomes)


def drive(
    judging: Judging, reference: Reference | None = None, scale: float = 1.0
) -> tuple[Judgement, list[Evaluation]]:
    """The judgement, and all that was asked for."""
    asked: list[Evaluation] = []
    request = next(judging)
    while True:
        answer: Answer
        if isinstance(request, NeedReference):
            assert reference is not None
            answer = reference
        else:
            asked += request
            answer = [trained(evaluation, scale) for evaluation in request]
        try:
            request = judging.send(answer)
        except StopIteration as stop:
            return stop.value, asked


def measured() -> tuple[Judgement, list[Evaluation]]:
    return drive(LADDER.measure("gru", "key of gru", is_reference=True))


def candidate(turn: int) -> Candidate:
    return Candidate("def …", "key", LADDER.settings_of, turn)


def mean_share(evaluations: Sequence[Evaluation], scale: float) -> float:
    """The mean over settings, seeds and epochs of the share of the way from blind to perfect."""
    task = evaluations[0].task
    values = np.array([[curve_of(e, m) for m in range(len(e.settings))] for e in evaluations])
    perfect = 1.0 if task.metric.name == "accuracy" else 0.0
    return float(scale * np.mean((values - task.chance()) / (perfect - task.chance())))


def test_a_visit_asks_for_the_budget_of_its_rung() -> None:
    judgement, _ = measured()
    reference = Reference.of(judgement)
    seeds = set()
    for rung in range(3):
        _, asked = drive(LADDER.judge(candidate(rung)), reference)
        assert [e.task.name for e in asked] == [
            task.name for task in TASKS for _ in range(RUNGS.n_seeds[rung])
        ]
        for evaluation in asked:
            assert evaluation.task.n_params == (RUNGS.n_params[rung],)
            assert {s.n_params for s in evaluation.settings} == {RUNGS.n_params[rung]}
            assert len(evaluation.settings) == RUNGS.n_settings[rung]
            about = (evaluation.fidelity, evaluation.halving)
            assert about == (RUNGS.fidelity[rung], RUNGS.halving[rung])
        own = {evaluation.seed for evaluation in asked}
        assert len(own) == RUNGS.n_seeds[rung]
        assert not own & seeds, "fresh seeds at each rung"
        seeds |= own


def test_ratios_are_mean_areas_as_shares_relative_to_the_reference() -> None:
    given, asked = measured()
    assert [rung.rung for rung in given.rungs] == [0, 1, 2]
    assert given.score == 1
    assert all(set(rung.ratios.values()) == {1.0} for rung in given.rungs)
    reference = Reference.of(given)
    for rung in range(3):
        judgement, own = drive(LADDER.judge(candidate(rung)), reference, scale=1.5)
        [result] = judgement.rungs
        for task in TASKS:
            mine = [e for e in own if e.task.name == task.name]
            theirs = [e for e in asked if (e.task, e.seed) in {(m.task, m.seed) for m in mine}]
            expected = mean_share(mine, 1.5) / mean_share(theirs, 1.0)
            assert result.ratios[task.name] == pytest.approx(expected, rel=1e-12)
        mean = float(np.exp(np.mean(np.log([*result.ratios.values()]))))
        assert result.mean == pytest.approx(mean, rel=1e-12)
        assert judgement.value == pytest.approx(rung + mean / (1 + mean), rel=1e-12)
        assert judgement.score == (pytest.approx(mean, rel=1e-12) if rung == 2 else None)
        assert (judgement.stage, judgement.waits) == (
            ("scored", False) if rung == 2 else (f"rung {rung + 1}", True)
        )


def test_the_score_may_be_the_smallest_ratio() -> None:
    config = dataclasses.replace(CONFIG, score="smallest")
    ladder = dataclasses.replace(LADDER, config=config)
    reference = Reference.of(measured()[0])
    judgement, _ = drive(ladder.judge(candidate(2)), reference, scale=0.5)
    assert judgement.score == min(judgement.ratios.values())


def test_a_cell_that_learns_nothing_has_the_least_ratio_and_climbs_no_further() -> None:
    reference = Reference.of(measured()[0])
    judging = LADDER.judge(candidate(0))
    request = next(judging)
    assert not isinstance(request, NeedReference)
    failed = [tuple(Outcome("diverged", None) for _ in e.settings) for e in request]
    assert isinstance(judging.send(failed), NeedReference)
    assert reference is not None
    with pytest.raises(StopIteration) as stop:
        judging.send(reference)
    judgement = stop.value.value
    assert set(judgement.ratios.values()) == {0.05}
    assert judgement.rungs[0].values == {}


def test_a_judgement_is_the_same_after_its_storage() -> None:
    given, _ = measured()
    assert Judgement.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_a_reference_that_learns_nothing_ends_the_search() -> None:
    judging = LADDER.measure("gru", "key of gru", is_reference=True)
    request = next(judging)
    assert not isinstance(request, NeedReference)
    failed = [tuple(Outcome("diverged", None) for _ in e.settings) for e in request]
    with pytest.raises(SearchError, match="gru has no finite metric on arithmetic at rung 1"):
        judging.send(failed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_seeds": (1, 1)}, "n_seeds must have one value for each rung"),
        ({"eta": 1}, "eta must be at least 2, got 1"),
        ({"halving": (0, 1, 0)}, "halving must be 0 or at least 2 at a rung, got 1"),
        ({"fidelity": (0.0, 0.5, 1.0)}, r"fidelity must be in \(0, 1\], got 0.0"),
    ],
)
def test_rungs_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(RUNGS, **changes).check()  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("name", "value"),
    [("fidelity", 0.5), ("halving", 3), ("first_look", 0.3), ("draws", "inherited")],
)
def test_budgets_of_other_protocols_are_refused(name: str, value: object) -> None:
    config = dataclasses.replace(CONFIG, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"protocol.{name} must be .* on a ladder"):
        config.check()


def test_a_second_measurement_has_other_seeds_and_the_same_reference() -> None:
    config = dataclasses.replace(CONFIG, repeat=1.0)
    ladder = dataclasses.replace(LADDER, config=config)
    reference = Reference.of(drive(ladder.measure("gru", "key of gru", is_reference=True))[0])
    judgement, asked = drive(ladder.judge(candidate(0)), reference, scale=1.5)
    first, second = asked[: len(TASKS)], asked[len(TASKS) :]
    assert [(e.task, e.settings) for e in second] == [(e.task, e.settings) for e in first]
    assert not {e.seed for e in first} & {e.seed for e in second}
    assert reference is not None
    for task, evaluation in zip(TASKS, second, strict=True):
        start, end = task.chance(), 1.0 if task.metric.name == "accuracy" else 0.0
        unit = (reference.rungs[0][task.name] - start) / (end - start)
        expected = mean_share([evaluation], 1.5) / unit
        assert judgement.repeated_ratios[task.name] == pytest.approx(expected, rel=1e-12)
    plain, _ = drive(LADDER.judge(candidate(0)), reference, scale=1.5)
    assert (judgement.ratios, judgement.value) == (plain.ratios, plain.value)
