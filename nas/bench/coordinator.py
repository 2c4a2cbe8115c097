"""`python -m nas.bench.coordinator`: what a coordinator's own work for an evaluation takes.

It fills a study as `nas.bench.study` does, and then goes on with it as a search does, with workers
that answer at once. What its process then took is its own: asking, storing, judging, telling,
showing. Of it follows how many slots one coordinator keeps busy. To measure another part of a
search, give it to `_Coordinator` as an observer.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from nas.bench.study import fill, made_up, make_protocol
from nas.command_line import guarded
from nas.errors import UserError
from nas.protocol.evaluation import Evaluation, Result
from nas.samplers.registry import find_sampler
from nas.session.coordinator import Coordinator
from nas.session.plan import Plan
from nas.session.progress import Progress, TimeNotes
from nas.session.winner import WeightStore
from nas.spaces import load_space
from nas.spaces.base import Space
from nas.study.config import SearchConfig
from nas.study.study import Study, open_study
from nas.workers.local import Workers
from nas.zoo import ZOO

BASELINES = (ZOO["gru"], ZOO["lstm"])
EVALUATIONS_S = (10.0, 60.0, 600.0)
"""What an evaluation may take."""


@dataclass(frozen=True)
class Cost:
    """Of a search that goes on, in this process."""

    n_candidates: int
    n_evaluations: int
    cpu_s: float
    wall_s: float

    def slots(self, evaluation_s: float) -> float:
        """Slots that one coordinator keeps busy with evaluations of this length, at most."""
        return evaluation_s * self.n_evaluations / max(self.cpu_s, self.wall_s)


class AtOnce(Workers):
    """Workers that answer with made-up outcomes, in no time."""

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
    """Go on with a study by `more` candidates, with what a search shows and keeps."""
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
    Coordinator(made, study, workers, observers).run()  # GRU and LSTM, where they are not known
    going_on = replace(made, n_candidates=made.n_candidates + more)
    coordinator = Coordinator(going_on, study, workers, observers)
    workers.n_evaluations, workers.spent_s = 0, 0.0
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    coordinator.run()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return Cost(more, workers.n_evaluations, cpu_s - workers.spent_s, wall_s - workers.spent_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m nas.bench.coordinator", description=__doc__)
    parser.add_argument("--candidates", type=int, default=10_000, help="that the study has")
    parser.add_argument("--more", type=int, default=200, help="that are measured")
    parser.add_argument("--space", default="gates", help="gates, graph, or the path of a YAML file")
    parser.add_argument("--samplers", nargs="+", default=("jozefowicz", "tpe"), metavar="NAME")
    parser.add_argument("--in-flight", type=int, nargs="+", default=(4, 1000), metavar="N")
    parser.add_argument("--epochs", type=int, default=10, help="of each made-up curve")
    parser.add_argument("--folder", help="keep the study there, and go on with it")
    given = parser.parse_args(arguments)
    return guarded("nas.bench.coordinator", lambda: _bench(given))


def _bench(given: argparse.Namespace) -> int:
    for name in ("candidates", "more", "epochs"):
        if (value := getattr(given, name)) < 1:
            raise UserError(f"--{name} must be at least 1, got {value}.")
    if min(given.in_flight) < 1:
        raise UserError(f"--in-flight must be at least 1, got {min(given.in_flight)}.")
    space = load_space(given.space)
    for name in given.samplers:
        find_sampler(name, space)
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(given.folder or place)
        folder.mkdir(parents=True, exist_ok=True)
        definition = {"space": space.version}
        fill(open_study("bench", folder, "", definition), space, given.candidates, given.epochs)
        for sampler in given.samplers:
            for in_flight in given.in_flight:
                study = open_study("bench", folder, "", definition)
                cost = measure(study, space, sampler, given.more, in_flight, given.epochs)
                console.print(_said(cost, sampler, in_flight, len(study.visits)), highlight=False)
    return 0


def _said(cost: Cost, sampler: str, in_flight: int, n_visits: int) -> str:
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
