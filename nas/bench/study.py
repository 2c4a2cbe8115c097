"""`python -m nas.bench.study`: times of a large study whose outcomes are made up.

It fills a study as a search does, then measures each step of a search on it: open, ask each
sampler, keep outcomes, tell, rank. To measure another step, add a line to `measure`.
"""

import gc
import hashlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any

from nas.command_line import EXIT_FAILED, Command, arguments_of, guarded, help_if_asked, parse_flags
from nas.errors import check_fields
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome
from nas.protocol.judgement import Reference
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import NeedReference, Staged
from nas.report.document import Table
from nas.report.text import lines
from nas.samplers.point import PointSampler
from nas.samplers.propose import FilledTrial, Past, varied
from nas.samplers.registry import Repeatable, find_sampler
from nas.session.judging import judging_of
from nas.spaces import load_space
from nas.spaces.base import Params, Space
from nas.study.leaderboard import leaderboard
from nas.study.study import Study, open_study
from nas.study.visit import Visit
from nas.tasks.config import TasksConfig
from nas.zoo import ZOO

SAMPLERS = ("jozefowicz", "regularized", "random", "tpe")
OPEN_S, ASK_S = 5.0, 0.1
"""Most seconds for opening a study of 10,000 candidates, and for a sampler's answer."""
REFERENCE = {"memorization": 0.99, "arithmetic": 0.8, "xml": 0.5, "text": 2.0}
"""The GRU's made-up metrics."""
SHARES = {"memorization": 0.6, "arithmetic": 0.4, "xml": 0.5, "text": 0.6}
"""The share of candidates that pass a task, of those that reach it: together 20 runs a new cell.
The search of Jozefowicz et al. 2015 had 23 (230,000 for 10,000 cells)."""
PARENTS = 100
"""A made-up candidate is a mutant of one of this many before it."""


@dataclass(frozen=True, kw_only=True)
class FillConfig:
    """A study, and the search that fills it."""

    candidates: Annotated[int, "at least 1"] = 10_000
    """Candidates that the study has."""
    space: str = "gates"
    """gates, graph, or the path of a YAML file."""
    samplers: tuple[str, ...] = SAMPLERS
    """Samplers that are measured."""
    epochs: Annotated[int, "at least 1"] = 10
    """Epochs of each made-up curve."""
    folder: str = ""
    """Keep the study there, and go on with it; a folder that is removed afterwards if empty."""

    @contextmanager
    def filled(self) -> Iterator[tuple[Space, Callable[[], Study]]]:
        """The search space, and a function that opens the filled study."""
        check_fields(self)
        space = load_space(self.space)
        for name in self.samplers:
            find_sampler(name, space)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            folder = Path(self.folder or place)
            folder.mkdir(parents=True, exist_ok=True)

            def reopen() -> Study:
                return open_study("bench", folder, "", {"space": space.version})

            fill(reopen(), space, self.candidates, self.epochs)
            yield space, reopen


@dataclass(frozen=True, kw_only=True)
class StudyConfig(FillConfig):
    """A study, and how often its times are measured."""

    rounds: Annotated[int, "at least 1"] = 5
    """How often each sampler is asked."""


@dataclass(frozen=True)
class Measured:
    """The times of one step of a search."""

    what: str
    seconds: tuple[float, ...]
    goal_s: float | None = None

    @property
    def missed(self) -> bool:
        return self.goal_s is not None and statistics.median(self.seconds) > self.goal_s


@dataclass
class Clock:
    """Times by name, in the order of their first use."""

    times: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.times.setdefault(what, []).append(time.perf_counter() - began)


def make_protocol() -> Staged:
    """The paper's protocol on the tasks of a search's defaults."""
    tasks = TasksConfig()
    used = tuple(tasks.task(name) for name in tasks.use)
    return Staged(tasks.memorization, used, ProtocolConfig(), SettingsGrid(), 0)


def made_up(evaluation: Evaluation, n_epochs: int) -> tuple[Outcome, ...]:
    """An outcome a setting, a function of the cell's key and the task."""
    task = evaluation.task
    draw = Random(hashlib.sha256(f"{evaluation.key} {task.name}".encode()).digest())
    passed = evaluation.key == ZOO["gru"].key or draw.random() < SHARES[task.name]
    ratio = draw.uniform(0.96, 1.05) if passed else draw.uniform(0.2, 0.89)
    over = task.metric.higher_is_better
    best = REFERENCE[task.name] * ratio if over else REFERENCE[task.name] / ratio
    outcomes = []
    for _ in evaluation.settings:
        curve = tuple(
            Epoch(draw.random(), draw.random(), draw.random(), 0.5, {"mark": draw.random()})
            for _ in range(n_epochs)
        )
        cost = Cost(1000, 100_000, 1e12, draw.uniform(1, 9))
        outcomes.append(Outcome("ok", best, n_epochs - 1, curve, 25_000, 64, cost))
    return tuple(outcomes)


def judge(study: Study, visit: Visit, protocol: Staged, n_epochs: int, clock: Clock) -> None:
    """Judge a candidate as the coordinator does."""
    judging = judging_of(visit, study.visits, protocol, ZOO["gru"].key)
    request = next(judging)
    while True:
        if isinstance(request, NeedReference):
            answer: Any = Reference(REFERENCE)
        else:
            answer = [made_up(evaluation, n_epochs) for evaluation in request]
            for evaluation, outcomes in zip(request, answer, strict=True):
                if evaluation.digest() not in study.cache:
                    with clock("keep an evaluation's outcomes"):
                        study.store(visit, evaluation, outcomes)
        try:
            request = judging.send(answer)
        except StopIteration as stop:
            with clock("judge and tell"):
                study.judge(visit, stop.value)
                study.tell(visit)
            return


def fill(study: Study, space: Space, n_candidates: int, n_epochs: int) -> None:
    """Add mutants of earlier candidates until the study has so many."""
    protocol, clock = make_protocol(), Clock()
    for number in range(len(study.visits), n_candidates):
        rng = Random(number)
        parents = [v.params for v in study.visits[-PARENTS:] if v and v.params]
        params = _point(space, rng.choice(parents) if parents else None, rng)
        visit = study.ask(number, PointSampler(params), space.propose, "drawn")
        judge(study, visit, protocol, n_epochs, clock)
        if sys.stderr.isatty() and number % 100 == 0:
            print(f"candidate {number} of {n_candidates}", end="\r", file=sys.stderr)


def _point(space: Space, parent: Params | None, rng: Random) -> Params:
    params = varied(space, parent, rng) if parent else Past(space, ()).drawn(rng).params
    point = FilledTrial(params, rng)
    space.propose(point)
    return point.params


def measure(
    reopen: Callable[[], Study], space: Space, samplers: Sequence[str], rounds: int, n_epochs: int
) -> list[Measured]:
    """Open the study, ask each sampler a few times, judge its candidates, rank all cells."""
    clock, protocol = Clock(), make_protocol()
    with clock("open"):
        study = reopen()
        gc.freeze()  # as a search does
    goals = {"open": OPEN_S}
    for name in samplers:
        make = find_sampler(name, space, n_turns=protocol.n_turns)
        goals[what := f"ask {name}"] = ASK_S
        for _ in range(rounds):
            number = len(study.visits)
            with clock(what):
                visit = study.ask(number, Repeatable(make, 0, number), space.propose, "drawn")
            judge(study, visit, protocol, n_epochs, clock)
    for _ in range(rounds):
        with clock("leaderboard"):
            leaderboard(study.finished(), (ZOO["gru"].key, ZOO["lstm"].key))
    return [Measured(what, tuple(t), goals.get(what)) for what, t in clock.times.items()]


def table_of(measured: Sequence[Measured], title: str) -> Table:
    """Medians and worst times in milliseconds."""
    rows = []
    for step in measured:
        times = (f"{1000 * s:,.1f}" for s in (statistics.median(step.seconds), max(step.seconds)))
        goal = "" if step.goal_s is None else f"{1000 * step.goal_s:,.0f}"
        missed = " missed" if step.missed else ""
        rows.append((step.what, *times, str(len(step.seconds)), goal + missed))
    return Table(title, ("", "median ms", "worst ms", "times", "goal ms"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 if a goal is missed."""
    given = arguments_of(arguments)
    return guarded("nas.bench.study", lambda: _bench(given))


def _bench(arguments: Sequence[str]) -> int:
    described = Command("bench.study", StudyConfig(), "[--FIELD VALUE ...]", __doc__ or "")
    help_if_asked(lambda: described, arguments)
    config = parse_flags(StudyConfig(), arguments)
    began = time.perf_counter()
    with config.filled() as (space, reopen):
        filled_s = time.perf_counter() - began
        measured = measure(reopen, space, config.samplers, config.rounds, config.epochs)
        size = (reopen().folder / "study.db").stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    title = f"A study of {config.candidates:,} candidates, space {space.name}"
    print("\n".join(lines(table_of(measured, title))))
    print(
        f"filled in {filled_s:.0f} s, {size / 2**20:,.0f} MiB on disk, {memory:,.0f} MiB of memory "
        "at most"
    )
    return EXIT_FAILED if any(step.missed for step in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
