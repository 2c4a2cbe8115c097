"""The coordinator: asks for candidates, keeps several in flight, stores what comes back.

Whatever the workers' number and speed, the same seed gives the same study: trial n is asked when
the results of trials 0 … n - in_flight, and no others, have been told to the sampler, in order.
Judging is replayed from stored outcomes, so a coordinator that was killed goes on where it stood.
"""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import optuna
from optuna.samplers import BaseSampler

from nas.cell.cell import Cell
from nas.command_line import raise_if_interrupted
from nas.errors import UserError
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.protocol.judgement import Judgement, Reference, set_aside
from nas.protocol.requests import REFERENCE
from nas.protocol.staged import Judging, NeedReference, Request
from nas.samplers.point import PointSampler
from nas.samplers.registry import Repeatable
from nas.session.judging import inherited, judging_of
from nas.session.plan import Plan
from nas.session.sizes import sizes_of, timed
from nas.session.spending import Spending
from nas.study.config import RunConfig
from nas.study.visit import Evaluated, Kind, Visit
from nas.workers.local import Workers

POLL_S = 0.5
"""Longest wait for a result before the display is refreshed and the clock is looked at."""


class Observer(Protocol):
    """Receives events: `progress.py` shows them and `nas/record/recorder.py` records them."""

    def started(self, visit: Visit, evaluation: Evaluation) -> None:
        """A worker was given an evaluation."""
        return

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        """The result of an evaluation is in the study."""
        return

    def judged(self, visit: Visit) -> None:
        """The visit has its judgement."""
        return

    def tick(self, coordinator: "Coordinator") -> None:
        """Called about twice a second."""
        return


class Steering(Observer):
    """An observer that may end the run, and hears what the sampler is told."""

    @property
    def stops(self) -> bool:
        """Whether the run is to end: no candidate is begun any more, and no result waited for."""
        return False

    def told(self, visit: Visit) -> None:
        """The sampler has the result of the visit; in the order of the visits' numbers."""
        return


class Ledger(Protocol):
    """What a coordinator keeps visits and results in: a `Study`, or the file of `nas.curves`."""

    visits: list[Visit | None]
    name: str

    @property
    def cache(self) -> Mapping[str, Evaluated]:
        """Every finished evaluation, by digest."""

    def finished(self) -> list[Visit]:
        """The visits that have a judgement, in order."""

    def ask(
        self,
        number: int,
        sampler: BaseSampler,
        propose: Callable[[optuna.Trial], Cell],
        kind: Kind,
        settings: Callable[[Visit], dict[str, list[int]]] | None = None,
    ) -> Visit:
        """Begin visit `number`."""

    def store(self, visit: Visit, evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> None:
        """Keep the outcomes of a finished evaluation."""

    def judge(self, visit: Visit, judgement: Judgement) -> None:
        """Keep the judgement of a visit."""

    def tell(self, visit: Visit) -> None:
        """Let the sampler see the result."""


@dataclass
class _Running:
    """A visit that is being judged, and the evaluations it waits for."""

    visit: Visit
    judging: Judging
    waiting: tuple[tuple[str, Evaluation], ...] = ()
    """With their digests, which take a fifth of a millisecond each."""
    needs_reference: bool = False


class Coordinator:
    """Runs one plan to its end."""

    def __init__(
        self,
        plan: Plan[RunConfig],
        study: Ledger,
        workers: Workers,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deadline` is when to stop, on `clock`; None: when all candidates are judged."""
        self.plan, self.study, self.workers = plan, study, workers
        self.used_up: Literal["", "time", "runs", "stopped"] = ""
        """The budget that ended the run before all candidates were judged, or that an observer
        stopped it."""
        self.busy: dict[str, tuple[Visit, Evaluation]] = {}
        """Evaluations handed to workers, by digest, with the visit that asked first."""
        self.running: dict[int, _Running] = {}
        self.reference: Reference | None = None
        self._observers, self._deadline, self._clock = observers, deadline, clock
        self._steering = [observer for observer in observers if isinstance(observer, Steering)]
        self._arrived: queue.SimpleQueue[tuple[str, Future[Result]]] = queue.SimpleQueue()
        self._spending = Spending(self._asks_first)
        self._n_given: int | None = None
        self._n_there = 0
        """Visits from the first on of which none was lost in a crash."""

    @property
    def total(self) -> int:
        """Trials that the study has when it is complete."""
        if self._n_given is not None:
            return self.plan.n_candidates + self._n_given
        given = [v for v in self.study.visits if v and v.kind == "given"]
        missing = self._missing()
        if not missing:  # there will be no more of them
            self._n_given = len(given)
        return self.plan.n_candidates + len(given) + len(missing)

    def _missing(self) -> list[Cell]:
        present = {v.key for v in self.study.visits if v and v.kind == "given"}
        return [cell for cell in self.plan.cells if cell.key not in present]

    def run(self) -> bool:
        """Judge every candidate; False if a budget was used up first."""
        for visit in self.study.visits:
            if visit and not visit.judgement:
                self._begin(visit)
            elif visit:
                self._note_reference(visit)
        while self._fill() or self.running:
            raise_if_interrupted()
            if self._deadline is not None and self._clock() >= self._deadline:
                self.used_up = "time"
                return False
            for observer in self._observers:
                observer.tick(self)
            if self.is_stopped:
                break
            try:
                digest, future = self._arrived.get(timeout=POLL_S)
            except queue.Empty:
                continue
            self._receive(digest, future)
        if self.is_stopped:
            self.used_up = "stopped"
            return False
        if self._next_number() is not None:
            self.used_up = "runs"
            return False  # the sampler does not learn the rest: a larger budget goes on as before
        self._tell_up_to(len(self.study.visits))
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether an observer wants the run to end."""
        return any(observer.stops for observer in self._steering)

    @property
    def _reference_key(self) -> str:
        return self.plan.cells[0].key

    def _fill(self) -> bool:
        """Ask for trials while the window allows it; True if any was begun."""
        begun = False
        while not self.is_stopped and (number := self._next_number()) is not None:
            if not self._tell_up_to(number - self.plan.in_flight + 1):
                break
            if self.is_stopped or self._is_spent(number):
                break
            self._begin(self._ask(number))
            begun = True
        return begun

    def _next_number(self) -> int | None:
        """The next trial to ask: first one whose cell was lost in a crash, else a new one."""
        visits = self.study.visits
        while self._n_there < len(visits) and visits[self._n_there] is not None:
            self._n_there += 1
        if self._n_there < len(visits):
            return self._n_there
        return len(visits) if len(visits) < self.total else None

    def _is_spent(self, number: int) -> bool:
        """Whether the run budget forbids this trial; one that was begun before goes on."""
        visits = self.study.visits
        if not self.plan.run_budget or number < len(visits) or self._missing():
            return False
        n_known = max(0, number - self.plan.in_flight + 1)
        return self._spending.runs(visits, n_known) >= self.plan.run_budget

    def _tell_up_to(self, count: int) -> bool:
        """Tell the first `count` trials in order; False if one of them is not judged yet."""
        for visit in self.study.visits[: max(0, count)]:
            assert visit is not None
            if visit.judgement is None:
                return False
            if not visit.told:
                self.study.tell(visit)
                for observer in self._steering:
                    observer.told(visit)
        return True

    def _ask(self, number: int) -> Visit:
        missing, plan, space = self._missing(), self.plan, self.plan.space
        if not missing:
            assert space is not None, "a plan with candidates has a space"
            assert plan.sampler is not None, "and a sampler"
            sampler = Repeatable(plan.sampler, plan.config.seed, number)
            settings = self._inherited if plan.protocol.config.draws == "inherited" else None
            return self.study.ask(number, sampler, self._noted(space.propose), "drawn", settings)
        cell = missing[0]
        params = space.params_of(cell) if space else None

        def propose(trial: optuna.Trial) -> Cell:
            # A given cell that is a point of the space is drawn as that point, so that the sampler
            # learns from it; it keeps the name and text under which it was given.
            if space is not None and params is not None:
                space.propose(trial)
            return cell

        return self.study.ask(number, PointSampler(params or {}), self._noted(propose), "given")

    def _noted(self, propose: Callable[[optuna.Trial], Cell]) -> Callable[[optuna.Trial], Cell]:
        """A proposal that notes with its trial how far its cell is off each constraint, where
        Optuna's samplers and `best_trials` look for it."""
        limits = self.plan.limits
        if limits is None:
            return propose

        def noted(trial: optuna.Trial) -> Cell:
            cell = propose(trial)
            for constraint, excess in limits.excesses(str(cell)).items():
                trial.set_constraint(constraint, excess)
            return cell

        return noted

    def _inherited(self, visit: Visit) -> dict[str, list[int]]:
        return inherited(visit, self.study.visits, self.plan.protocol, self.plan.baselines)

    def _judging(self, visit: Visit) -> Judging:
        return judging_of(visit, self.study.visits, self.plan.protocol, self._reference_key)

    def _asks_first(self, visit: Visit) -> Request:
        return () if self._judged_before(visit) else next(self._judging(visit))

    def _judged_before(self, visit: Visit) -> Judgement | None:
        """The judgement of a candidate that is not trained."""
        broken = self._broken(visit) if visit.kind == "drawn" else {}
        return Judgement.untrained(broken) if broken else self._set_aside_before(visit)

    def _broken(self, visit: Visit) -> dict[str, float]:
        return self.plan.limits.broken(visit.cell) if self.plan.limits else {}

    def _set_aside_before(self, visit: Visit) -> Judgement | None:
        """The judgement that set the same cell aside, if the sampler could know of it by now."""
        for known in self.study.visits[: max(0, visit.number - self.plan.in_flight + 1)]:
            if known and known.key == visit.key and known.judgement and known.judgement.set_aside:
                return known.judgement if visit.kind == "drawn" else None
        return None

    def _begin(self, visit: Visit) -> None:
        judging = self._judging(visit)
        running = _Running(visit, judging)
        self.running[visit.number] = running
        if before := self._judged_before(visit):
            self._finish(running, before)
        else:
            self._handle(running, next(judging))

    def _handle(self, running: _Running, request: Request) -> None:
        """Hand out what the visit asks for, and go on with it where all of that is known."""
        running.needs_reference = isinstance(request, NeedReference)
        asked = () if isinstance(request, NeedReference) else request
        running.waiting = tuple((evaluation.digest(), evaluation) for evaluation in asked)
        for digest, evaluation in running.waiting:
            if digest in self.study.cache or digest in self.busy:
                continue
            self.busy[digest] = (running.visit, evaluation)
            for observer in self._observers:
                observer.started(running.visit, evaluation)
            future = self.workers.submit(timed(evaluation, self.plan))
            future.add_done_callback(self._arrival_of(digest))
        self._advance(running)

    def _arrival_of(self, digest: str) -> "Callable[[Future[Result]], None]":
        return lambda done: self._arrived.put((digest, done))

    def _advance(self, running: _Running) -> None:
        answer: Reference | list[tuple[Outcome, ...]]
        if running.needs_reference:
            if self.reference is None:
                return
            answer = self.reference
        else:
            cache = self.study.cache
            if any(digest not in cache for digest, _ in running.waiting):
                return
            answer = [cache[digest].outcomes for digest, _ in running.waiting]
            for (_, evaluation), outcomes in zip(running.waiting, answer, strict=True):
                judgement = set_aside(evaluation.task, outcomes)
                # A second measurement comes after the result, which it does not take away.
                if judgement and running.visit.kind == "drawn" and not evaluation.repeat:
                    self._finish(running, judgement)
                    return
        try:
            request = running.judging.send(answer)
        except StopIteration as stop:
            self._finish(running, stop.value)
            return
        self._handle(running, request)

    def _finish(self, running: _Running, judgement: Judgement) -> None:
        visit = running.visit
        if broken := self._broken(visit):
            judgement = replace(judgement, broken=broken)
        if sizes := sizes_of(visit, judgement, self.plan):
            judgement = replace(judgement, sizes=sizes)
        self.study.judge(visit, judgement)
        del self.running[visit.number]
        for observer in self._observers:
            observer.judged(visit)
        if self.plan.space is None:  # no sampler draws from it, so there is nothing to wait for
            self._tell_up_to(self._n_there)
        if self._note_reference(visit):
            for waiting in [r for r in self.running.values() if r.needs_reference]:
                self._advance(waiting)

    def _receive(self, digest: str, future: "Future[Result]") -> None:
        visit, evaluation = self.busy.pop(digest)
        try:
            result = future.result()
        except CancelledError:  # the workers were closed: nothing was finished
            return
        self.study.store(visit, evaluation, result.outcomes)
        for observer in self._observers:
            observer.stored(visit, evaluation, result)
        for running in list(self.running.values()):
            if any(waited == digest for waited, _ in running.waiting):
                self._advance(running)

    def _note_reference(self, visit: Visit) -> bool:
        """Learn what the reference reaches; True if this visit is the first to say so."""
        if visit.key != self._reference_key or self.reference or not visit.judgement:
            return False
        self.reference = Reference.of(visit.judgement)
        if self.reference is None:
            raise UserError(f"the reference cell {REFERENCE} has no metric on some task.")
        return True
