"""`python -m nas.bench.coordinator`: the time of a coordinator's own work for an evaluation.

It fills a study as `nas.bench.study` does, and then goes on with it as a search does, with workers
that answer at once. All time of its process is then its own: asking, storing, judging, telling,
showing. From that time follows how many slots one coordinator keeps busy. To measure another part
of a search, give it to `Coordinator` as an observer.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Annotated

from rich.console import Console

from nas.bench.study import FillConfig, made_up, make_protocol
from nas.command_line import Command, arguments_of, guarded, help_if_asked, parse_flags
from nas.protocol.evaluation import Evaluation, Result
from nas.samplers.registry import find_sampler
from nas.session.coordinator import Coordinator
from nas.session.plan import Plan
from nas.session.progress import Progress, TimeNotes
from nas.session.winner import WeightStore
from nas.spaces.base import Space
from nas.study.config import SearchConfig
from nas.study.study import Study
from nas.workers.local import Workers
from nas.zoo import ZOO

BASELINES = (ZOO["gru"], ZOO["lstm"])
EVALUATIONS_S = (10.0, 60.0, 600.0)
"""Lengths of evaluations for which slots are printed."""


@dataclass(frozen=True, kw_only=True)
class CoordinatorConfig(FillConfig):
    """A study, and how a search goes on with it."""

    samplers: tuple[str, ...] = ("jozefowicz", "tpe")
    """Samplers that are measured."""
    more: Annotated[int, "at least 1"] = 200
    """Further candidates, which are measured."""
    in_flight: tuple[Annotated[int, "at least 1"], ...] = (4, 1000)
    """Candidates that are judged at once."""


@dataclass(frozen=True)
class Cost:
    """Time of this process for a search that goes on."""

    n_candidates: int
    n_evaluations: int
    cpu_s: float
    wall_s: float

    def slots(self, evaluation_s: float) -> float:
        """Slots that one coordinator keeps busy with evaluations of this length, at most."""
        return evaluation_s * self.n_evaluations / max(self.cpu_s, self.wall_s)


class AtOnce(Workers):
    """Workers that answer at once with made-up outcomes."""

    def __init__(self, n_slots: int, n_epochs: int) -> None:
        self.n_slots, self._n_epochs = n_slots, n_epochs
        self.n_evaluations, self.spent_s = 0, 0.0

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        began = time.process_time()
        future: Future[Result] = Future()
        future.set_result(Result(made_up(evaluation, self._n_epochs)))
        self.n_evaluations += 1
        self.spent_s += time.process_time() - began  # it is not the coordinator's
        return future

    def close(self, *, wait: bool) -> None:
        """There is nothing to end."""


def measure(
    study: Study, space: Space, sampler: str, more: int, in_flight: int, n_epochs: int
) -> Cost:
    """Go on with a study by `more` candidates, with all observers of a search."""
    workers = AtOnce(in_flight, n_epochs)
    progress = Progress(Console(quiet=True), None, 0.0)
    made = Plan(
        SearchConfig(),
        BASELINES,
        make_protocol(),
        space=space,
        sampler=find_sampler(sampler, space),
        n_candidates=sum(visit is not None and visit.kind == "drawn" for visit in study.visits),
        in_flight=in_flight,
    )
    observers = (WeightStore(study, made.baselines), progress, TimeNotes(study, workers))
    Coordinator(made, study, workers, observers).run()  # judges GRU and LSTM
    going_on = replace(made, n_candidates=made.n_candidates + more)
    coordinator = Coordinator(going_on, study, workers, observers)
    workers.n_evaluations, workers.spent_s = 0, 0.0
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    coordinator.run()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return Cost(more, workers.n_evaluations, cpu_s - workers.spent_s, wall_s - workers.spent_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = arguments_of(arguments)
    return guarded("nas.bench.coordinator", lambda: _bench(given))


def _bench(arguments: Sequence[str]) -> int:
    usage = "[--FIELD VALUE ...]"
    described = Command("bench.coordinator", CoordinatorConfig(), usage, __doc__ or "")
    help_if_asked(lambda: described, arguments)
    config = parse_flags(CoordinatorConfig(), arguments)
    with config.filled() as (space, reopen):
        for sampler in config.samplers:
            for in_flight in config.in_flight:
                study = reopen()
                cost = measure(study, space, sampler, config.more, in_flight, config.epochs)
                print(_sentence(cost, sampler, in_flight, len(study.visits)))
    return 0


def _sentence(cost: Cost, sampler: str, in_flight: int, n_visits: int) -> str:
    if not cost.n_evaluations:
        return f"{sampler}, {in_flight} in flight, {n_visits:,} trials: no candidate was new"
    busy = ", ".join(f"{cost.slots(s):,.0f} at {s:g} s" for s in EVALUATIONS_S)
    per_ms = 1000 * cost.cpu_s / cost.n_evaluations
    return (
        f"{sampler}, {in_flight} in flight, {n_visits:,} trials: {per_ms:.1f} ms of CPU time an "
        f"evaluation ({cost.n_evaluations} of {cost.n_candidates} candidates); slots: {busy}"
    )


if __name__ == "__main__":
    sys.exit(main())
