"""What a running search says of now and of its end: against times that are counted by hand."""

import dataclasses
import io
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.console import Console

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome, Result
from nas.protocol.judgement import Judgement
from nas.protocol.look import Look
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.session.coordinator import Coordinator
from nas.session.now import Yardstick, trained_now
from nas.session.pace import Pace, given_left_s, left_s, steps
from nas.session.progress import FIRST_LINE_S, LINE_S, Progress, say
from nas.spaces import load_space
from nas.study.study import open_study
from nas.study.visit import Visit
from nas.tasks import Arithmetic, Xml
from nas.workers.local import Workers
from nas.zoo import ZOO
from tests.plans import plan_of

GIVEN = (ZOO["gru"], ZOO["lstm"], ZOO["rnn"])
GRID = SettingsGrid(init_scale=(1.0,), learning_rate=(0.5, 1.0), clip_norm=(5.0,), num_layers=(1,))
ARITHMETIC = Arithmetic(max_digits=1, epochs=4, batches_per_epoch=10)
XML = Xml(epochs=2, batches_per_epoch=20)
N_CANDIDATES = 5
BUDGET_S = 100.0


class Watched(Workers):
    """One slot that runs what a test says."""

    n_slots = 1

    def __init__(self) -> None:
        self.running: list[tuple[Evaluation, float, Look | None]] = []

    def looks(self) -> list[tuple[Evaluation, float, Look | None]]:
        return self.running

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        raise NotImplementedError

    def close(self, *, wait: bool) -> None:
        pass


@pytest.fixture
def search(tmp_path: Path) -> Coordinator:
    """A search that has begun with the GRU, of 80 steps a cell and task."""
    config = ProtocolConfig(kind="flat", n_settings=2)
    protocol = Staged(None, (ARITHMETIC, XML), config, GRID, seed=0)
    plan = plan_of(load_space("gates"), protocol, GIVEN, "tpe", n_candidates=N_CANDIDATES)
    made = Coordinator(plan, open_study("test", tmp_path, "", {"seed": 0}), Watched())
    visit = made._ask(0)
    for task in protocol.tasks:
        (evaluation,) = protocol.given_evaluations(visit.cell, visit.key, task)
        made.busy[evaluation.digest()] = (visit, evaluation)
    return made


def watch(search: Coordinator, *looks: Look | None) -> None:
    """Let these evaluations of the GRU run, of arithmetic first."""
    given = [evaluation for _, evaluation in search.busy.values()]
    assert isinstance(search.workers, Watched)
    search.workers.running = [(e, 7.0, look) for e, look in zip(given, looks, strict=False)]


def finished(evaluation: Evaluation, wall_s: float, values: tuple[float, ...] = ()) -> Result:
    curve = tuple(Epoch(1.0, value, value, 0.5) for value in values)
    outcome = Outcome("ok", 1.0, 0, curve, cost=Cost(wall_s=wall_s / 2))
    return Result((outcome, outcome))


def test_a_step_is_a_minibatch_of_a_setting() -> None:
    evaluation = Evaluation("", "", ARITHMETIC, GRID.draw(ARITHMETIC, 2, 0), 0)
    assert steps(evaluation) == 2 * 4 * 10
    assert steps(dataclasses.replace(evaluation, fidelity=0.5)) == 2 * 2 * 10


def test_the_end_is_guessed_from_the_first_look(search: Coordinator) -> None:
    pace = Pace()
    watch(search, None)
    assert left_s(search, pace) is None
    watch(search, Look(0.01))
    assert left_s(search, pace) is None, "its pace is not known yet"
    watch(search, Look(0.25, 1, 0.5, 40.0))
    # Half a second a step, so 40 s a cell and task: a quarter of one of two times three is done.
    assert given_left_s(search, pace) == pytest.approx((5 + 0.75) * 40)
    assert left_s(search, pace) == pytest.approx((5 + 0.75 + 2 * N_CANDIDATES) * 40)


def test_each_task_has_its_own_pace_once_it_was_begun(search: Coordinator) -> None:
    pace = Pace()
    watch(search, Look(0.25, 1, 0.5, 40.0), Look(0.5, 1, 0.5, 80.0))
    assert given_left_s(search, pace) == pytest.approx(30 + 40 + 2 * (40 + 80))
    (_, arithmetic), _ = search.busy.values()
    pace.stored(arithmetic, finished(arithmetic, 20.0))
    watch(search, None, Look(0.5, 1, 0.5, 80.0))
    assert pace.rates([])["arithmetic"] == 20.0 / 80


def test_slots_share_the_work(search: Coordinator) -> None:
    watch(search, Look(0.25, 1, 0.5, 40.0))
    alone = left_s(search, Pace())
    assert alone is not None
    search.workers.n_slots = 4
    assert left_s(search, Pace()) == pytest.approx(alone / 4)


def judge(search: Coordinator, visit: Visit, score: float | None = 1.0) -> None:
    about = {"arithmetic": 0.5, "xml": 0.5}
    stage = "scored" if score else "arithmetic"
    search.study.judge(visit, Judgement(stage, {**about}, about, score, 0.5))


def test_candidates_that_are_rejected_early_cost_less(search: Coordinator) -> None:
    pace = Pace()
    for number in range(3):
        visit = search.study.visits[0] if number == 0 else search._ask(number)
        assert visit is not None
        judge(search, visit)
    for number in range(3, 6):
        visit = search._ask(number)
        (evaluation,) = search.plan.protocol.given_evaluations(visit.cell, visit.key, ARITHMETIC)
        result = finished(evaluation, 30.0)
        search.study.store(visit, evaluation, result.outcomes)
        pace.stored(evaluation, result)
        judge(search, visit, None)
    assert left_s(search, pace) == pytest.approx((N_CANDIDATES - 3) * 30.0)


# --- now ---


def test_what_is_trained_is_told_beside_the_gru_at_that_point(search: Coordinator) -> None:
    watch(search, Look(0.6, 2, 0.71, 40.0), None)
    (_, arithmetic), (_, xml) = search.busy.values()
    yardstick = Yardstick()
    told = [line for line, _ in trained_now(search, yardstick, {})]
    assert told == ["gru on arithmetic, epoch 3 of 4, accuracy 0.71", "gru on xml, getting ready"]
    progress = Progress(Console(quiet=True), None, 0.0)
    visit = search.study.visits[0]
    assert visit is not None
    progress.stored(visit, arithmetic, finished(arithmetic, 1.0, (0.3, 0.6, 0.5, 0.9)))
    progress.stored(visit, xml, finished(xml, 1.0, (0.1, 0.2)))
    told = [line for line, _ in trained_now(search, progress.yardstick, {})]
    assert told[0].endswith("accuracy 0.71 (the GRU's at that point 0.6)"), "the best of 2 epochs"
    assert progress.yardstick.at(dataclasses.replace(arithmetic, fidelity=0.5), 2) is None


def test_workers_that_cannot_be_looked_at_are_told_without_epochs(search: Coordinator) -> None:
    digest = next(iter(search.busy))
    assert [line for line, _ in trained_now(search, Yardstick(), {digest: 0.0})] == [
        "gru on arithmetic"
    ]


# --- what is printed ---


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of `Progress`, in seconds."""
    now = [0.0]
    monkeypatch.setattr("nas.session.progress.time.monotonic", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def test_plain_output_has_a_line_after_half_a_minute_and_then_now_and_then(
    search: Coordinator, clocked: Callable[[float], None]
) -> None:
    written = io.StringIO()
    progress = Progress(Console(file=written, soft_wrap=True), None, 0.0)
    watch(search, Look(0.6, 2, 0.71, 40.0))
    for second in range(0, 700, 5):
        clocked(float(second))
        progress.tick(search)
    lines = written.getvalue().splitlines()
    first = "training gru on arithmetic, epoch 3 of 4, accuracy 0.71; about "
    assert [line.partition("] ")[0] for line in lines] == ["[0:30", "[5:30", "[10:30"]
    assert lines[0].partition("] ")[2].startswith(f"0/8 {first}")
    assert lines[0].endswith(" left")
    assert (FIRST_LINE_S, LINE_S) == (30.0, 300.0)


def budgeted(search: Coordinator, look: Look) -> str:
    written = io.StringIO()
    progress = Progress(Console(file=written, soft_wrap=True), BUDGET_S, spent_s=20.0)
    watch(search, look)
    for _ in range(3):
        progress.tick(search)
    return written.getvalue()


def test_a_time_budget_without_time_for_candidates_is_told_beforehand(
    search: Coordinator, clocked: Callable[[float], None]
) -> None:
    clocked(0.0)
    told = budgeted(search, Look(0.25, 1, 0.5, 40.0))
    assert told.count("Warning: ") == 1
    assert "gru, lstm and rnn still take about 3:50" in told
    assert "the time budget leaves 1:20, so that no candidate will be judged" in told
    assert budgeted(search, Look(0.25, 1, 0.5, 10.0)) == "", "57.5 s are less than 80"


def test_nothing_is_told_of_a_budget_once_a_candidate_is_judged(
    search: Coordinator, clocked: Callable[[float], None]
) -> None:
    clocked(0.0)
    for number in range(1, 4):
        visit = search._ask(number)
    judge(search, visit)
    assert visit.kind == "drawn"
    assert "Warning" not in budgeted(search, Look(0.25, 1, 0.5, 400.0))


def test_the_panel_counts_what_is_judged_and_names_the_best_of_both_kinds(
    search: Coordinator, clocked: Callable[[float], None]
) -> None:
    clocked(0.0)
    watch(search, Look(0.6, 2, 0.71, 40.0))
    first = search.study.visits[0]
    assert first is not None
    judge(search, first)
    for number, score in enumerate((0.9, 0.8, 0.7), start=1):
        judge(search, search._ask(number), score)
    candidate = search.study.visits[3]
    assert candidate is not None
    search._ask(4)  # it is not judged
    text = io.StringIO()
    console = Console(file=text, width=100)
    console.print(Progress(console, None, 0.0)._panel(search))
    rows = dict(line.split("  ", 1) for line in text.getvalue().splitlines() if line[:1].strip())
    shown = {title: row.strip() for title, row in rows.items()}
    assert shown["candidates"] == "1 candidate, 1 different; 1 scored"
    assert shown["best candidate"].startswith(f"{candidate.name}: score 0.700")
    assert shown["best given cell"].startswith("lstm: score 0.900")


def test_text_is_cut_between_words_in_a_terminal_alone() -> None:
    words = "The same command goes on with /a/very/long/path/that/is/not/broken/anywhere.cell"
    for is_terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, width=40, force_terminal=is_terminal, no_color=True)
        say(console, words)
        say(console, f"    {words}")
        first, *others = text.getvalue().splitlines()
        assert others[-1] == f"    {words}", "what is to be copied stays whole"
        if is_terminal:
            assert (first, *others[:-1]) == (words[:29], words[30:])
        else:
            assert [first, *others[:-1]] == [words]


def test_a_command_at_the_end_has_a_line_of_its_own_in_a_terminal() -> None:
    command = "python -m nas.search studies/mine/config.yaml --time-budget TIME"
    text = io.StringIO()
    console = Console(file=text, width=40, force_terminal=True, no_color=True)
    say(console, f"The time budget of 6m is used up; with a larger one it goes on: {command}")
    assert text.getvalue().splitlines()[-1] == f"    {command}"
    assert max(map(len, text.getvalue().splitlines()[:-1])) <= 40
