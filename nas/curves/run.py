"""From a checked configuration to its files: what is not finished is trained, then all is shown."""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED, terminated_as_interrupted
from nas.curves import report
from nas.curves.config import CurvesConfig
from nas.curves.result import Asked, evaluations, goal, rows, shown
from nas.curves.store import Finished, Store, open_store
from nas.errors import UserError
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.session.progress import clock
from nas.study.config import seconds
from nas.workers.local import LocalWorkers, Workers, n_cores

Arrived = queue.SimpleQueue[tuple[Asked, Future[Result]]]
POLL_S = 0.5
"""Longest wait for a result before the clock is looked at."""


def run(config: CurvesConfig, cells: Sequence[Cell], command: str) -> int:
    """Train what is not finished and write the table and the pictures; return the exit code.

    `command` says how to go on.

    Raises:
        UserError: if the folder cannot be written or read.
        SearchError: if the machine runs no evaluations.
    """
    folder = Path(config.out)
    asked = asked_for(config, cells)
    with open_store(folder) as store:
        _note_configuration(config, folder)
        return _Running(config, store, asked, command).run()


def asked_for(config: CurvesConfig, cells: Sequence[Cell]) -> list[Asked]:
    """All evaluations that the configuration means."""
    points = [config.settings.points(task.n_params) for task in config.drawn]
    seeds = range(config.seed, config.seed + config.seeds)
    return evaluations(cells, config.drawn, points, seeds)


def _note_configuration(config: CurvesConfig, folder: Path) -> None:
    import yaml

    text = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)
    try:
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder / 'config.yaml'} cannot be written: {error.strerror}.") from None


class _Running:
    """Learning curves whose folder is open and locked."""

    def __init__(
        self, config: CurvesConfig, store: Store, asked: Sequence[Asked], command: str
    ) -> None:
        self.config, self.store, self.asked, self.command = config, store, asked, command
        self.began = time.monotonic()

    def run(self) -> int:
        todo = [one for one in self.asked if one.evaluation.digest() not in self.store.finished]
        n_runs = sum(len(one.evaluation.settings) for one in todo)
        done = len(self.asked) - len(todo)
        counts = {
            "cell": len({one.evaluation.key for one in self.asked}),
            "task": len(self.config.drawn),
            "seed": self.config.seeds,
        }
        print(
            " x ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
            + f": {n_runs:,} training runs"
            + (f"; going on after {done} of {len(self.asked)} that are finished" if done else ""),
            flush=True,
        )
        try:
            finished = not todo or self._train(todo)
        except KeyboardInterrupt:
            print(f"Interrupted: {self._kept()} The same command goes on, as does: {self.command}")
            return EXIT_INTERRUPTED
        if not finished:
            print(
                f"The time budget of {self.config.time_budget} is used up: {self._kept()} With a "
                f"larger one it goes on: {self.command} --time_budget TIME"
            )
            return 0
        self._conclude()
        return 0

    def _train(self, todo: Sequence[Asked]) -> bool:
        """Train all of it; False if the time budget was used up first."""
        config = self.config
        budget = seconds("time_budget", config.time_budget)
        memory = config.evaluation_memory_limit_gb
        workers = LocalWorkers(
            min(config.workers or n_cores(), len(todo)),
            time_limit_s=seconds("evaluation_time_limit", config.evaluation_time_limit) or 3600.0,
            memory_limit_bytes=int(memory * 2**30) if memory else None,
        )
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())  # also while workers are ended
            stack.callback(workers.close, wait=False)
            import_module("nas.compile.backend")  # seconds, while no result waits to be kept
            deadline = None if budget is None else self.began + budget
            return self._collect(workers, todo, deadline)

    def _collect(self, workers: Workers, todo: Sequence[Asked], deadline: float | None) -> bool:
        arrived: Arrived = queue.SimpleQueue()
        for one in todo:
            future = workers.submit(one.evaluation)
            future.add_done_callback(_arrival_of(one, arrived))
        n_left = len(todo)
        while n_left:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            try:
                one, future = arrived.get(timeout=POLL_S)
            except queue.Empty:
                continue
            try:
                outcomes = future.result().outcomes
            except CancelledError:  # the workers were closed: nothing was finished
                continue
            n_left -= 1
            self.store.add(one.evaluation, outcomes, backend_of(one.evaluation, outcomes))
            self._tell(one, outcomes, len(todo) - n_left, len(todo))
        return True

    def _tell(self, one: Asked, outcomes: Sequence[Outcome], n_done: int, n_all: int) -> None:
        task, seed = one.task, one.evaluation.seed
        run = shown(task, seed, one.evaluation.settings, outcomes, self.config.solved)
        if run is None or run.outcome.best is None:
            what = f"{outcomes[0].status} {outcomes[0].message}".strip()
        else:
            what = f"{task.metric.name} {task.metric.shown(run.outcome.best)}"
            what += f", solved after {run.solved} epochs" if run.solved else ""
        elapsed = clock(time.monotonic() - self.began)
        about = f"{one.name} on {task.name}, seed {seed}"
        print(f"[{elapsed}] {n_done}/{n_all} {about}: {what}", flush=True)

    def _kept(self) -> str:
        done = sum(one.evaluation.digest() in self.store.finished for one in self.asked)
        return f"{done} of {len(self.asked)} trainings are finished and kept in {self.store.path}."

    def _conclude(self) -> None:
        finished: Mapping[str, Finished] = self.store.finished
        found = rows(self.asked, finished, self.config.solved)
        goals = {task.name: goal(task, self.config.solved) for task in self.config.drawn}
        told = report.told(found, goals, self.config.seed)
        print("\n".join(report.lines(told)))
        paths = report.write(told, self.store.path.parent)
        print("Written: " + ", ".join(str(path) for path in paths))


def _arrival_of(one: Asked, arrived: Arrived) -> Callable[[Future[Result]], None]:
    return lambda done: arrived.put((one, done))


def backend_of(evaluation: Evaluation, outcomes: Sequence[Outcome]) -> str:
    """What the time loop of these runs was: "c" or "eager"; empty if none was trained."""
    from nas.cell.reader import loads
    from nas.compile.backend import trained_on

    width = next((outcome.hidden_size for outcome in outcomes if outcome.cost.steps), 0)
    return trained_on(loads(evaluation.cell), width) if width else ""
