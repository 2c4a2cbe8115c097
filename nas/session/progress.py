"""The progress of a search: a live panel on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from contextlib import suppress

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from nas.protocol.evaluation import Evaluation, Result
from nas.session.coordinator import Coordinator, Observer
from nas.study.leaderboard import ALL_FINE, NO_PLACES, Places, Resolutions, Row, ranks, shown_ratio
from nas.study.rejections import describe, standings
from nas.study.storage_errors import storage_faults
from nas.study.study import Study
from nas.study.visit import Visit
from nas.workers.local import Workers

NOTE_S = 20.0
"""Seconds between two notes of the time spent: a kill -9 loses no more."""


class Progress(Observer):
    """An observer of the coordinator; a context manager around the search."""

    def __init__(self, console: Console, budget_s: float | None, spent_s: float) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.budget_s = budget_s
        self.spent_s = spent_s
        self.began = time.monotonic()
        self.since: dict[str, float] = {}
        self.trained_s = 0.0
        self.judged_here = 0
        self.coordinator: Coordinator | None = None

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def started(self, visit: Visit, evaluation: Evaluation) -> None:
        self.since[evaluation.digest()] = time.monotonic()

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        self.trained_s += sum(outcome.cost.wall_s for outcome in result.outcomes)
        n = len(result.outcomes)
        alike = Counter((outcome.status, outcome.message) for outcome in result.outcomes)
        for (status, message), count in alike.items():
            if status not in ("ok", "cut", "vetoed"):
                of = f", {count} of {n} settings" if n > 1 else ""
                self._say(f"{visit.name} on {evaluation.task.name}{of}: {status}, {message}")

    def judged(self, visit: Visit) -> None:
        self.judged_here += 1
        self._say(f"{self._count()} {describe(visit)}")

    def tick(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        if self.console.is_terminal:
            self.live.update(self._panel(coordinator), refresh=True)

    def _say(self, line: str) -> None:
        self.console.print(f"[{clock(self.elapsed_s)}] {line}", markup=False, highlight=False)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def utilisation(self) -> str:
        """How much of their time the workers had something to do; empty if they trained nothing."""
        if self.coordinator is None or self.trained_s == 0:
            return ""
        workers = self.coordinator.workers
        return utilisation(workers.busy_s, self.trained_s, workers.slot_s(self.elapsed_s))

    def _count(self) -> str:
        if self.coordinator is None:
            return ""
        return f"{len(self.coordinator.study.finished())}/{self.coordinator.total}"

    def _panel(self, coordinator: Coordinator) -> Table:
        study = coordinator.study
        finished = study.finished()
        table = Table.grid(padding=(0, 2))
        table.add_row(
            "study", f"{study.name}, {clock(self.elapsed_s)} of {self._left(coordinator)}"
        )
        for number, (visit, evaluation) in enumerate(coordinator.busy.values()):
            if number < coordinator.workers.n_slots:
                running_s = time.monotonic() - self.since.get(evaluation.digest(), self.began)
                what = f"{visit.name} on {evaluation.task.name}, {clock(running_s)}"
                table.add_row("training" if number == 0 else "", what)
        drawn = [v for v in study.visits if v and v.kind == "drawn"]
        if drawn:
            table.add_row("candidates", f"{counts(drawn)}; {standings(drawn)}")
        # Of the candidates, once there are any: the reference scores 1 from the start.
        scored = [v for v in finished if v.judgement and v.judgement.score is not None]
        scored = [v for v in scored if v.kind == "drawn"] or scored
        if scored:
            best = max(scored, key=lambda v: v.judgement.score or 0.0 if v.judgement else 0.0)
            table.add_row("best so far", describe(best))
        return table

    def _left(self, coordinator: Coordinator) -> str:
        """The time that is left, from the pace so far and the time budget."""
        guesses = []
        if self.judged_here >= 3:
            rest = coordinator.total - len(coordinator.study.finished())
            guesses.append(self.elapsed_s / self.judged_here * rest)
        if self.budget_s is not None:
            guesses.append(self.budget_s - self.spent_s - self.elapsed_s)
        return f"about {clock(self.elapsed_s + max(0.0, min(guesses)))}" if guesses else "…"


class TimeNotes(Observer):
    """An observer that keeps in the study the time spent and the time that workers had."""

    def __init__(self, study: Study, workers: Workers) -> None:
        self.study, self.workers = study, workers
        self.spent_s = float(study.attrs.get("spent_s", 0.0))
        self.slot_s = float(study.attrs.get("slot_s", 0.0))
        self.busy_s = float(study.attrs.get("busy_s", 0.0))
        self.began = self.noted = time.monotonic()

    def note(self) -> None:
        self.noted = time.monotonic()
        here_s = self.noted - self.began
        self.study.set_attr("spent_s", self.spent_s + here_s)
        self.study.set_attr("slot_s", self.slot_s + self.workers.slot_s(here_s))
        self.study.set_attr("busy_s", self.busy_s + self.workers.busy_s)

    def close(self) -> None:
        """Note it for the last time; a search that ends because the storage does not answer, or
        while it does not, ends without."""
        with suppress(*storage_faults()):
            self.note()

    def tick(self, coordinator: Coordinator) -> None:
        if time.monotonic() - self.noted > NOTE_S:
            self.note()


def utilisation(busy_s: float, trained_s: float, slot_s: float) -> str:
    """The share of the workers' time in which they had an evaluation, and were training.

    An evaluation also makes its data and compiles its cell, once a cell and width.
    """
    busy, training = (f"{min(1.0, part / slot_s):.0%}" for part in (busy_s, trained_s))
    return f"workers were busy {busy} of the time, training {training}"


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}h{minutes % 60:02d}"


def counts(drawn: list[Visit]) -> str:
    """How many candidates there are, how many of them differ, and what it took to find them."""
    unique = len({visit.key for visit in drawn})
    text = f"{len(drawn)} candidates, {unique} different"
    if again := sum(visit.turn > 0 for visit in drawn):
        is_ladder = any(visit.judgement and visit.judgement.rungs for visit in drawn)
        text += f", {again} {'promoted' if is_ladder else 're-evaluated'}"
    n_draws = sum(visit.n_draws for visit in drawn)
    known = n_draws - unique - again
    return text + (f" ({n_draws} drawn, {known} known before)" if known else "")


def table_of(
    rows: list[Row],
    tasks: list[str],
    most: int = 15,
    resolutions: Resolutions = ALL_FINE,
    places: Places = NO_PLACES,
) -> Table:
    """The leaderboard; baselines are always shown."""
    title = "Leaderboard: ratios to the GRU, above 1 is better"
    if any("(" in shown_ratio(row, task, resolutions) for row in rows for task in tasks):
        title += "; brackets: apart by so many of the validation examples; =: tied ranks"
    if places:
        title += "; brackets at a rank: its 95 % interval"
    waits = any(row.visit.judgement and row.visit.judgement.waits for row in rows)
    ended = "stands at" if waits else "rejected at"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "cell", "score", *tasks, "params", "seconds", ended):
        table.add_column(name, justify="left" if name in ("cell", ended) else "right")
    for place, (rank, row) in enumerate(zip(ranks(rows, resolutions, places), rows, strict=True)):
        if place >= most and row.kind == "candidate":
            continue
        score = "-" if row.score is None else f"{row.score:.3f}"
        ratios = [shown_ratio(row, task, resolutions, narrow=True) for task in tasks]
        name = row.name if row.kind == "candidate" else f"{row.name} ({row.kind})"
        cost = (f"{row.n_params:,}", f"{row.seconds:.0f}")
        table.add_row(rank, name, score, *ratios, *cost, row.stage if row.rejected else "")
    return table
