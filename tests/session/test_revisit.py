"""Cells that are visited again: fresh settings for them and the GRU, and what becomes of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.protocol.judgement import Judgement, Reference
from nas.protocol.requests import Candidate
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import NeedReference, Staged
from nas.samplers.evolution import EvolutionConfig
from nas.session.coordinator import Coordinator, Observer
from nas.session.winner import KEPT, WeightStore, write_winner
from nas.spaces import Graph
from nas.study.leaderboard import leaderboard
from nas.study.study import Study
from nas.study.visit import Visit
from nas.tasks import Arithmetic, Memorization, Task, Text, Xml
from nas.workers.local import Workers
from nas.zoo import ZOO
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.protocol.test_protocol import candidate, drive
from tests.session.test_coordinator import CrashAfter, Shuffled, run_through_crashes, study
from tests.shares import every_eighth
from tests.studies import essences

GRID = SettingsGrid(
    init_scale=(1.0,), learning_rate=(0.5, 1.0, 2.0), clip_norm=(5.0,), num_layers=(1,)
)
CONFIG = ProtocolConfig(filter_accuracy=0.9, n_settings=1, pass_ratio=0.9)
TASKS = (Arithmetic(max_digits=1), Xml())
STAGED = Staged(Memorization(n_symbols=3), TASKS, CONFIG, GRID, seed=0)
GRU, LSTM = ZOO["gru"], ZOO["lstm"]


# --- settings ---


@pytest.mark.parametrize("count", [1, 7, 20, 840, 1000])
def test_turns_share_no_setting_and_cover_the_grid(count: int) -> None:
    grid, task = SettingsGrid(), Xml(n_params=(1000,))
    turns = [grid.draw(task, count, 3, turn) for turn in range(grid.n_turns(task, count))]
    drawn = [settings for turn in turns for settings in turn]
    assert len(drawn) == len(set(drawn)) == 840
    assert all(len(turn) == count for turn in turns[:-1])
    assert grid.draw(task, count, 3, len(turns)) == ()


def test_the_number_of_turns_is_that_of_the_task_with_most_settings() -> None:
    assert STAGED.n_turns == 3
    two = dataclasses.replace(STAGED, tasks=(Arithmetic(), Xml(n_params=(1000, 2000))))
    assert two.n_turns == 6
    assert [len(two.settings_of(two.tasks[0], turn)) for turn in range(4)] == [1, 1, 1, 0]
    asked = two.own(candidate(two, turn=3), two.tasks[0], Reference({}))
    assert len(asked) == 3, "none for a visit that has no settings left"


# --- the protocol ---


def test_a_revisit_compares_the_best_of_all_turns_with_the_grus_of_the_same() -> None:
    text = Text(metric_name="loss")
    staged = dataclasses.replace(STAGED, tasks=(TASKS[0], text))
    ours = {"memorization": [1.0], "arithmetic": [0.6, 0.9, 0.8], "text": [2.0, 1.5, 1.8]}
    grus = {"arithmetic": [0.7, 0.5, 1.0], "text": [1.6, 2.5, 1.2]}

    def answer(evaluation: Evaluation) -> Sequence[Outcome]:
        [settings] = evaluation.settings
        turns = [staged.settings_of(evaluation.task, turn) for turn in range(3)]
        turn = turns.index((settings,)) if evaluation.task.name != "memorization" else 0
        values = grus if evaluation.key == GRU.key else ours
        return [Outcome("ok", values[evaluation.task.name][turn])]

    first = {"memorization": 1.0, "arithmetic": 0.7, "text": 1.6}
    heard = drive(staged.revisit(candidate(staged, 1, 0)), answer, first)
    assert heard.judgement.best == {"memorization": 1.0, "arithmetic": 0.9, "text": 1.5}
    assert heard.judgement.ratios == pytest.approx({"arithmetic": 0.9 / 0.7, "text": 1.6 / 1.5})
    heard = drive(staged.revisit(candidate(staged, 2, 0)), answer, first)
    assert heard.judgement.ratios == pytest.approx({"arithmetic": 0.9 / 1.0, "text": 1.2 / 1.5})
    assert heard.judgement.score == heard.judgement.value == pytest.approx(0.8)
    assert heard.judgement.stage == "scored", "a visit of an accepted cell is never rejected"
    [asked] = [r for r in heard.requests if not isinstance(r, NeedReference)]
    of_gru = [e for e in asked if e.key == GRU.key]
    assert len(of_gru) == 2 * 2, "the reference has been measured on the settings of turn 0"
    assert len(asked) == 1 + 2 * 3 + len(of_gru)


def test_a_setting_without_a_metric_does_not_count() -> None:
    def answer(evaluation: Evaluation) -> Sequence[Outcome]:
        diverged = evaluation.key == GRU.key or evaluation.settings[0].learning_rate == 0.5
        return [Outcome("diverged")] if diverged else [Outcome("ok", 0.8)]

    heard = drive(STAGED.revisit(candidate(STAGED, 2, 0)), answer, {"arithmetic": 1.0, "xml": 0.8})
    assert heard.judgement.ratios == pytest.approx({"arithmetic": 0.8, "xml": 1.0})


# --- the coordinator, with the sampler of the paper in the space of free graphs ---


def coordinator(
    opened: Study,
    workers: Workers,
    crash_after: int = 0,
    protocol: Staged = STAGED,
    n_candidates: int = 24,
    observers: Sequence[Observer] = (),
) -> Coordinator:
    plan = plan_of(
        Graph(),
        protocol,
        (GRU, LSTM),
        "jozefowicz",
        seed=1,
        n_candidates=n_candidates,
        in_flight=3,
        evolution=EvolutionConfig(propose=0.5),
    )
    crash = (CrashAfter(crash_after),) if crash_after else ()
    return Coordinator(plan, opened, workers, (*crash, *observers))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    workers = Shuffled(1, 0, outcome)
    opened = study(tmp_path_factory.mktemp("undisturbed"))
    assert coordinator(opened, workers).run()
    assert max(workers.counts.values()) == 1, "nothing is trained twice"
    workers.close(wait=True)
    return opened


def asked(visit: Visit, task: Task) -> list[Evaluation]:
    """What a cell is tried on for a task, up to a visit."""
    of = Candidate(visit.cell, visit.key, STAGED.settings_of, visit.turn, 0)
    return STAGED.own(of, task, Reference({}))


def drawn(opened: Study) -> list[Visit]:
    return [visit for visit in opened.visits if visit and visit.kind == "drawn"]


def test_cells_are_proposed_once_and_visited_again(undisturbed: Study) -> None:
    visits = drawn(undisturbed)
    assert len(visits) == 24
    fresh = [visit.key for visit in visits if not visit.turn]
    assert len(set(fresh)) == len(fresh)
    assert {visit.turn for visit in visits} == {0, 1, 2}
    for visit in visits:
        turns = [v.turn for v in visits if v.key == visit.key]
        assert turns == list(range(len(turns)))
        if visit.turn:
            assert visit.key not in (GRU.key, LSTM.key)
            first = next(v for v in visits if v.key == visit.key)
            assert first.judgement is not None
            assert first.judgement.score is not None, "only accepted cells are visited again"
            assert visit.parent is None
        else:
            parent = undisturbed.visits[visit.parent or 0]
            assert parent is not None
            assert parent.params["generation"] == visit.params["generation"] - 1


def test_a_later_visit_trains_fresh_settings_alone(undisturbed: Study) -> None:
    for visit in drawn(undisturbed):
        if visit.turn:
            settings = {task.name: STAGED.settings_of(task, visit.turn) for task in STAGED.tasks}
            for one in visit.evaluated.values():
                assert one.settings == settings[one.task]
            for one in visit.beside.values():
                assert one.key == GRU.key
            assert {one.task for one in visit.evaluated.values()} == {"arithmetic", "xml"}
    beside = [digest for visit in drawn(undisturbed) for digest in visit.beside]
    assert len(beside) == len(set(beside)) == 4, "the GRU once a task and turn, on two turns"


def test_the_score_of_a_later_visit(undisturbed: Study) -> None:
    """By hand, from the made-up outcomes: the GRU has 1 everywhere."""
    for visit in drawn(undisturbed):
        if not visit.turn:
            continue
        ratios = []
        for task in STAGED.tasks:
            values = [outcome(evaluation, 0).best or 0.0 for evaluation in asked(visit, task)]
            ratios.append(max(values))
        assert visit.judgement is not None
        assert visit.judgement.score == pytest.approx(min(ratios))


@pytest.mark.parametrize("seed", range(2))
def test_order_of_answers_changes_nothing(tmp_path: Path, undisturbed: Study, seed: int) -> None:
    workers = Shuffled(4, seed, outcome)
    opened = study(tmp_path)
    assert coordinator(opened, workers).run()
    assert essences(opened) == essences(undisturbed)
    assert max(workers.counts.values()) == 1


@pytest.mark.parametrize("seed", every_eighth(range(2)))
def test_crashes_at_random_events_lose_nothing(
    tmp_path: Path, undisturbed: Study, seed: int
) -> None:
    run_through_crashes(tmp_path, coordinator, seed)
    assert essences(study(tmp_path)) == essences(undisturbed)


# --- what is shown and kept ---


def test_the_leaderboard_shows_the_last_visit_and_all_costs(undisturbed: Study) -> None:
    rows = leaderboard(undisturbed.finished(), (GRU.key, LSTM.key))
    assert len({row.key for row in rows}) == len(rows)
    for row in rows:
        visits = [v for v in undisturbed.finished() if v.key == row.key]
        assert row.visit.turn == max(v.turn for v in visits)
        n_outcomes = sum(len(e.outcomes) for v in visits for e in v.evaluated.values())
        assert row.seconds == pytest.approx(0.01 * n_outcomes)


class WithWeights(Shuffled):
    """Weights that say of which evaluation they are."""

    def _run(self, evaluation: Evaluation, wait_s: float) -> Result:
        result = super()._run(evaluation, wait_s)
        return dataclasses.replace(result, weights=evaluation.digest().encode())


def test_the_winner_has_the_weights_of_its_best_setting_of_all_visits(
    tmp_path: Path,
) -> None:
    """A cell whose second visit was better than its first."""
    opened = study(tmp_path)

    def made(evaluation: Evaluation, member: int) -> Outcome:
        of = outcome(evaluation, member)
        fresh = evaluation.settings not in [STAGED.settings_of(task) for task in TASKS]
        better = fresh and evaluation.key != GRU.key and evaluation.task.name != "memorization"
        return dataclasses.replace(of, best=1.5) if better else of

    workers = WithWeights(2, 0, made)
    run = coordinator(opened, workers)
    store = WeightStore(opened, (GRU.key, LSTM.key))
    assert run.run()
    best = write_winner(opened, STAGED, store, workers)
    assert best is not None
    assert best.visit.turn > 0
    assert best.score == pytest.approx(1.5)
    assert (tmp_path / "winner" / "cell.cell").read_text() == best.visit.cell
    for task in TASKS:
        digest = (tmp_path / "winner" / f"{task.name}.safetensors").read_text()
        assert digest in {evaluation.digest() for evaluation in asked(best.visit, task)[1:]}


class Watched(WeightStore):
    """Compares, after each visit, what is kept with what all visits' ranking says."""

    def judged(self, visit: Visit) -> None:
        super().judged(visit)
        rows = [row for row in leaderboard(self.study.finished(), self.baselines) if row.score]
        leading = [row.key for row in rows if row.kind != "baseline"][:KEPT]
        visits = [v for v in self.study.visits if v and v.key not in self.baselines]
        kept = {path.stem for path in self.folder.glob("*.safetensors")}
        for one in visits:
            if one.judgement:
                assert (one.key in leading) == (one.evaluated.keys() <= kept)


def test_the_weights_of_the_leading_cells_are_kept(tmp_path: Path) -> None:
    opened, workers = study(tmp_path), WithWeights(2, 0, outcome)
    store = Watched(opened, (GRU.key, LSTM.key))
    assert coordinator(opened, workers, observers=(store,)).run()
    n_scored = len([v for v in opened.finished() if v.kind == "drawn" and v.judgement.score])
    assert n_scored > KEPT, "some have lost them again"
    workers.counts.clear()
    assert write_winner(opened, STAGED, store, workers)
    assert not workers.counts, "nothing is trained again"


def test_a_visit_that_is_not_judged_has_no_row() -> None:
    first = Visit(0, 0, "drawn", "a", "def …", "a", judgement=Judgement("scored", {}, {}, 1.0, 1.0))
    second = dataclasses.replace(first, number=1, turn=1, judgement=None)
    [row] = leaderboard([first, second], ())
    assert row.visit is first
