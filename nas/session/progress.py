"""The progress of a search: a live panel on a terminal, plain lines elsewhere."""

import re
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from nas.errors import counted, joined
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.objectives import SCORE
from nas.protocol.requests import REFERENCE
from nas.report.text import WIDEST
from nas.session.coordinator import Coordinator, Observer
from nas.session.now import Yardstick, trained_now
from nas.session.pace import Pace, given_left_s, left_s
from nas.study.front import front_of, short, shown, sizes
from nas.study.leaderboard import ALL_FINE, NO_PLACES, Places, Resolutions, Row, ranks, shown_ratio
from nas.study.rejections import describe, standings
from nas.study.storage_errors import storage_faults
from nas.study.study import Study
from nas.study.visit import Evaluated, Visit
from nas.workers.local import Workers
from nas.zoo import ZOO

FIRST_LINE_S, LINE_S = 30.0, 300.0
"""Seconds until a first line says what is trained, and between two such lines, where the output is
no terminal and nothing else was printed."""
COMMAND = re.compile(r": ((?:python -m nas\.|mlflow ui )\S.*)$")
"""A command at the end of a sentence."""
GRU = ZOO[REFERENCE].key
NOTE_S = 20.0
"""Seconds between two notes of the time spent: a kill -9 loses no more."""


class Progress(Observer):
    """An observer of the coordinator; a context manager around the search."""

    def __init__(self, console: Console, budget_s: float | None, spent_s: float) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.budget_s = budget_s
        self.spent_s = spent_s
        self.began = self.said = time.monotonic()
        self.since: dict[str, float] = {}
        self.trained_s = 0.0
        self.coordinator: Coordinator | None = None
        self.pace, self.yardstick = Pace(), Yardstick()
        self._has_warned = False

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
        self.pace.stored(evaluation, result)
        if evaluation.key == GRU:
            self.yardstick.learn(Evaluated.of(evaluation, result.outcomes, GRU))
        n = len(result.outcomes)
        alike = Counter((outcome.status, outcome.message) for outcome in result.outcomes)
        for (status, message), count in alike.items():
            if status not in ("ok", "cut", "vetoed"):
                of = f", {count} of {n} settings" if n > 1 else ""
                self._say(f"{visit.name} on {evaluation.task.name}{of}: {status}, {message}")

    def judged(self, visit: Visit) -> None:
        self._say(f"{self._count()} {describe(visit)}")

    def tick(self, coordinator: Coordinator) -> None:
        if self.coordinator is None:
            self.coordinator = coordinator
            for visit in coordinator.study.visits:
                for evaluated in visit.evaluated.values() if visit and visit.key == GRU else ():
                    self.yardstick.learn(evaluated)
        if not self._has_warned and (warning := self._no_time_for_candidates(coordinator)):
            self._has_warned = True
            self._say(warning)
        if self.console.is_terminal:
            self.live.update(self._panel(coordinator), refresh=True)
        elif time.monotonic() - self.said >= self._patience_s:
            now = "; ".join(line for line, _ in self._now(coordinator))
            self._say(f"{self._count()} training {now or 'nothing'}; {self._end(coordinator)}")

    @property
    def _patience_s(self) -> float:
        """Seconds without a line until one says what is trained, where there is no panel."""
        return FIRST_LINE_S if self.said == self.began else LINE_S

    def _say(self, line: str) -> None:
        self.said = time.monotonic()
        say(self.console, f"[{clock(self.elapsed_s)}] {line}")

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

    def _now(self, coordinator: Coordinator) -> Iterator[tuple[str, float]]:
        return trained_now(coordinator, self.yardstick, self.since)

    def _panel(self, coordinator: Coordinator) -> Table:
        study = coordinator.study
        finished = study.finished()
        table = Table.grid(padding=(0, 2))
        ran = f"{study.name}, {clock(self.elapsed_s)}, {self._count()} cells judged"
        table.add_row("study", f"{ran}, {self._end(coordinator)}")
        for number, (line, running_s) in enumerate(self._now(coordinator)):
            table.add_row("training" if number == 0 else "", f"{line}, {clock(running_s)}")
        if drawn := [visit for visit in finished if visit.kind == "drawn"]:
            table.add_row("candidates", f"{counts(drawn)}; {standings(drawn)}")
        for title, kind in (("best candidate", "drawn"), ("best given cell", "given")):
            # The reference scores 1 from the start.
            others = [v for v in finished if v.kind == kind and v.key != GRU]
            if best := best_of(others):
                table.add_row(title, describe(best))
        return table

    def _end(self, coordinator: Coordinator) -> str:
        """When the search will end, from the pace so far and the time budget."""
        guess_s, budget_s = left_s(coordinator, self.pace), self._budget_left_s
        if guess_s is not None and (budget_s is None or guess_s <= budget_s):
            return f"about {clock(guess_s)} left"
        if budget_s is None:
            return "the end is not known yet"
        left = clock(max(0.0, budget_s))
        how = "at the latest" if guess_s is None else "before all cells are judged"
        return f"ends by its time budget in {left}, {how}"

    @property
    def _budget_left_s(self) -> float | None:
        if self.budget_s is None:
            return None
        return self.budget_s - self.spent_s - self.elapsed_s

    def _no_time_for_candidates(self, coordinator: Coordinator) -> str:
        """A warning if the time budget will be over before a candidate is judged; else empty."""
        budget_s = self._budget_left_s
        if budget_s is None or coordinator.plan.n_candidates == 0:
            return ""
        if any(visit.kind == "drawn" for visit in coordinator.study.finished()):
            return ""
        needed_s = given_left_s(coordinator, self.pace)
        if needed_s is None or needed_s <= budget_s:
            return ""
        names = joined([cell.name for cell in coordinator.plan.cells])
        return (
            f"Warning: {names} still take about {clock(needed_s)}, and the time budget leaves "
            f"{clock(max(0.0, budget_s))}, so that no candidate will be judged. Let it end, or "
            "interrupt it: the same command goes on with a larger --time-budget. A new --study can "
            "do with fewer tasks, --protocol.n-settings, epochs or cells in --include."
        )


def best_of(visits: Sequence[Visit]) -> Visit | None:
    """The visit with the highest score; None if none has one."""
    scored = [(v.judgement.score, v) for v in visits if v.judgement and v.judgement.score]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def say(console: Console, text: str) -> None:
    """Print a text as it is: whole lines, which a terminal shows cut between words.

    What is to be copied stays whole: a line that begins with a space, a path, and a command at the
    end of a sentence, which has a line of its own then.
    """
    lines = [text]
    if console.is_terminal and len(text) > console.width and not text.startswith(" "):
        command = COMMAND.search(text)
        cut = textwrap.TextWrapper(console.width, break_long_words=False, break_on_hyphens=False)
        lines = cut.wrap(text[: command.start(1)] if command else text)
        lines += [f"    {command[1]}"] if command else []
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
    text = f"{counted(len(drawn), 'candidate')}, {unique} different"
    if again := sum(visit.turn > 0 for visit in drawn):
        is_ladder = any(visit.judgement and visit.judgement.rungs for visit in drawn)
        text += f", {again} {'promoted' if is_ladder else 're-evaluated'}"
    n_draws = sum(visit.n_draws for visit in drawn)
    known = n_draws - unique - again
    return text + (f" ({n_draws} drawn, {known} known before)" if known else "")


def wide(console: Console) -> Console:
    """The console, with room for any table unless it is a terminal: a file has long lines."""
    if console.is_terminal:
        return console
    return Console(file=console.file, width=WIDEST, force_jupyter=False)


def table_of(
    rows: list[Row],
    tasks: list[str],
    most: int = 15,
    resolutions: Resolutions = ALL_FINE,
    places: Places = NO_PLACES,
    objectives: Sequence[str] = (SCORE,),
) -> Table:
    """The leaderboard; baselines are always shown. Where it is too wide, names and numbers are
    folded and never cut: they are what the next command is given."""
    title = "Leaderboard: ratios to the GRU, above 1 is better"
    if any("(" in shown_ratio(row, task, resolutions) for row in rows for task in tasks):
        title += "; brackets: apart by so many of the validation examples; =: tied ranks"
    if places:
        title += "; brackets at a rank: its 95 % interval"
    on_front = {row.key for row in front_of(rows, objectives)}
    sized = list(sizes(rows[0], objectives)) if rows else []
    title += "; *: on the front" if len(objectives) > 1 else ""
    waits = any(row.visit.judgement and row.visit.judgement.waits for row in rows)
    ended = "stands at" if waits else "rejected at"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    heads = ("", "cell", "score", *map(short, sized), *tasks, "params", "seconds", ended)
    for name in heads:
        side: Literal["left", "right"] = "left" if name in ("cell", ended) else "right"
        head = re.sub("[_ ]", lambda gap: f"{gap[0].strip()}\n", name)
        table.add_column(head, justify=side, overflow="fold")
    for place, (rank, row) in enumerate(zip(ranks(rows, resolutions, places), rows, strict=True)):
        if place >= most and row.kind == "candidate" and row.key not in on_front:
            continue
        score = "-" if row.score is None else f"{row.score:.3f}"
        ratios = [shown_ratio(row, task, resolutions, narrow=True) for task in tasks]
        name = row.name if row.kind == "candidate" else f"{row.name} ({row.kind})"
        name += " *" if row.key in on_front else ""
        numbers = [shown(name, value) for name, value in sizes(row, objectives).items()]
        cost = (f"{row.n_params:,}", f"{row.seconds:.0f}")
        stage = row.stage if row.rejected else ""
        table.add_row(rank, name, score, *numbers, *ratios, *cost, stage)
    return table
