"""A search on a ladder: the study does not depend on the order of answers, and survives crashes."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome
from nas.protocol.ladder import Ladder
from nas.protocol.rungs import LadderConfig
from nas.session.coordinator import Coordinator
from nas.spaces import load_space
from nas.study.leaderboard import leaderboard
from nas.study.study import Study
from nas.tasks import Arithmetic, Parity
from nas.workers.local import Workers
from nas.zoo import ZOO
from tests.plans import plan_of
from tests.session.test_coordinator import (
    GIVEN,
    GRID,
    CrashAfter,
    Shuffled,
    run_through_crashes,
    study,
)
from tests.studies import essences

RUNGS = LadderConfig((500, 700, 700), (0.5, 0.5, 1.0), (1, 1, 2), (1, 1, 1), (0, 0, 0), 2, 3)
CONFIG = ProtocolConfig(kind="ladder", score="geometric", ladder=RUNGS, repeat=0.2)
TASKS = (Arithmetic(max_digits=1, epochs=2), Parity(epochs=2))
LADDER = Ladder(None, TASKS, CONFIG, GRID, seed=0)
SPACE = load_space("from_rnn_bred")
N_CANDIDATES = 24


def outcome(evaluation: Evaluation, member: int) -> Outcome:
    """A share of the way from blind guessing that depends on the cell, the task and the seed."""
    parts = f"{evaluation.key} {evaluation.task.name} {evaluation.seed} {member}"
    share = hashlib.sha256(parts.encode()).digest()[0] / 255
    chance = evaluation.task.chance()
    value = chance + (1 - chance) * (0.2 + 0.6 * share)
    n_epochs = max(1, round(evaluation.fidelity * evaluation.task.epochs))
    curve = tuple(Epoch(1.0, 1.0, value, 0.5) for _ in range(n_epochs))
    return Outcome("ok", value, 0, curve, 500, 10, Cost(1, 1, 1.0, 0.01))


def made(opened: Study, workers: Workers, crash_after: int = 0) -> Coordinator:
    fields = {"n_candidates": N_CANDIDATES, "in_flight": 4}
    plan = plan_of(SPACE, LADDER, GIVEN[::2], "lexicase", **fields)
    observers = (CrashAfter(crash_after),) if crash_after else ()
    return Coordinator(plan, opened, workers, observers)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    workers = Shuffled(1, 0, outcome)
    opened = study(tmp_path_factory.mktemp("expected"))
    assert made(opened, workers).run()
    assert max(workers.counts.values()) == 1
    workers.close(wait=True)
    visits = [visit for visit in opened.visits if visit]
    turns = Counter(visit.turn for visit in visits if visit.kind == "drawn")
    assert turns[0] > turns[1] > turns[2] > 0
    for visit in visits:
        assert visit.judgement
        rungs = [rung.rung for rung in visit.judgement.rungs]
        assert rungs == ([0, 1, 2] if visit.kind == "given" else [visit.turn])
    rows = leaderboard(visits, [ZOO["gru"].key, ZOO["lstm"].key])
    scored = [row for row in rows if row.kind == "candidate" and not row.rejected]
    assert {row.visit.turn for row in scored} == {2}
    return essences(opened)


@pytest.mark.parametrize("seed", range(2))
def test_order_of_answers_changes_nothing(
    tmp_path: Path, expected: list[dict[str, object]], seed: int
) -> None:
    workers = Shuffled(4, seed, outcome)
    opened = study(tmp_path)
    assert made(opened, workers).run()
    assert essences(opened) == expected
    assert max(workers.counts.values()) == 1
    workers.close(wait=True)


def test_crashes_at_random_events_lose_nothing(
    tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    run_through_crashes(tmp_path, made, 0, outcome)
    assert essences(study(tmp_path)) == expected
