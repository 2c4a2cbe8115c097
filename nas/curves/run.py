"""From a checked configuration to its files: what is not finished is trained, then all is shown."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED, terminated_as_interrupted
from nas.curves.config import CurvesConfig
from nas.curves.contrast import chosen_of, contrasts
from nas.curves.report import lines, write
from nas.curves.result import OnTask, by_task, evaluations, rows, shown
from nas.curves.store import Store, open_store
from nas.errors import UserError
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.judgement import Judgement
from nas.protocol.staged import Judging, Staged
from nas.session.callbacks import Calling
from nas.session.coordinator import Coordinator, Observer
from nas.session.manner import COMMAND, Manner
from nas.session.plan import Plan
from nas.session.progress import clock
from nas.study.config import seconds
from nas.study.visit import Visit
from nas.workers.config import ClusterConfig
from nas.workers.devices import workers_on
from nas.workers.local import n_cores
from nas.workers.start import check_available, start_workers
from nas.zoo.lookup import cell as look_up


@dataclass(frozen=True)
class Learning(Staged):
    """Trains each given cell on every task with every seed, and rejects none."""

    asked: tuple[Evaluation, ...]

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        yield tuple(evaluation for evaluation in self.asked if evaluation.key == key)
        return Judgement("trained", {}, {}, None, 0.0)


def plan(config: CurvesConfig, cells: Sequence[Cell]) -> Plan[CurvesConfig]:
    """The plan of learning curves."""
    points = [config.settings.points(task.n_params) for task in config.drawn]
    seeds = range(config.seed, config.seed + config.seeds)
    asked = tuple(evaluations(cells, config.drawn, points, seeds))
    how = ProtocolConfig(filter=False, kind="flat")
    protocol = Learning(None, config.drawn, how, config.settings, config.seed, asked)
    return Plan(config, tuple(cells), protocol)


def run(config: CurvesConfig, cells: Sequence[Cell], command: str, manner: Manner = COMMAND) -> int:
    """Train what is not finished and write the table and the pictures; return the exit code.

    `command` says how to go on.

    Raises:
        UserError: if a device cannot be used, the folder cannot be written or read, or `contrast`
            names other cells.
        SearchError: if the machine runs no evaluations.
    """
    chosen_of(cells, [look_up(source) for source in config.contrast])  # an error before training
    check_available(config.workers, config.devices)
    made, folder = plan(config, cells), Path(config.out)
    assert isinstance(made.protocol, Learning)
    asked = made.protocol.asked
    with open_store(folder, on_gpu=any(name != "cpu" for name in config.devices)) as store:
        _note_configuration(config, folder)
        todo = [evaluation for evaluation in asked if evaluation.digest() not in store.kept]
        manner.say(_description(config, asked, todo))
        try:
            used_up = _train(made, store, todo, manner) if todo else ""
        except KeyboardInterrupt:
            kept = _kept(store, asked)
            manner.say(f"Interrupted: {kept} {manner.again} goes on, as does: {command}")
            return EXIT_INTERRUPTED
        if used_up == "stopped":
            kept = _kept(store, asked)
            manner.say(f"A callback stopped it: {kept} {manner.again} goes on.")
            return 0
        if used_up:
            manner.say(
                f"The time budget of {config.time_budget} is used up: {_kept(store, asked)} With a "
                f"larger one it goes on: {command} --time-budget TIME"
            )
            return 0
        on_tasks = results(config, cells, asked, store)
        manner.say("\n".join(lines(on_tasks)))
        manner.say("Written: " + ", ".join(str(path) for path in write(on_tasks, folder)))
    return 0


def results(
    config: CurvesConfig, cells: Sequence[Cell], asked: Sequence[Evaluation], store: Store
) -> list[OnTask]:
    """Each task with its cells, of trainings that are finished.

    Raises:
        UserError: if `contrast` names other cells.
    """
    chosen = chosen_of(cells, [look_up(source) for source in config.contrast])
    names = {cell.key: cell.name for cell in cells}
    finished = rows(asked, names, store.kept, config.solved)
    apart = contrasts(asked, names, store.kept, chosen)
    return by_task(finished, config.solved, config.seed, apart)


def _note_configuration(config: CurvesConfig, folder: Path) -> None:
    import yaml

    text = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)
    try:
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder / 'config.yaml'} cannot be written: {error.strerror}.") from None


def _description(
    config: CurvesConfig, asked: Sequence[Evaluation], todo: Sequence[Evaluation]
) -> str:
    """How much is to be trained, in one line."""
    n_cells = len({evaluation.key for evaluation in asked})
    counts = {"cell": n_cells, "task": len(config.drawn), "seed": config.seeds}
    n_runs = sum(len(evaluation.settings) for evaluation in todo)
    done = len(asked) - len(todo)
    return (
        " x ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
        + f": {n_runs:,} training runs"
        + (f"; going on after {done} of {len(asked)} that are finished" if done else "")
    )


def _train(
    plan: Plan[CurvesConfig], store: Store, todo: Sequence[Evaluation], manner: Manner
) -> str:
    """Train all of it; the budget that was used up first, or "stopped"; empty if none was."""
    config, began = plan.config, time.monotonic()
    workers = start_workers(
        min(config.workers or workers_on(config.devices, n_cores()), len(todo)),
        seconds("evaluation_time_limit", config.evaluation_time_limit),
        config.evaluation_memory_limit_gb,
        ClusterConfig(),
        config.drawn,
        config.devices,
    )
    with ExitStack() as stack:
        ends_process = manner.is_command
        # Also while workers are ended:
        stack.enter_context(terminated_as_interrupted(ends_process=ends_process))
        stack.callback(workers.close, wait=False)
        import_module("nas.compile.backend")  # seconds, while no result waits to be kept
        budget = seconds("time_budget", config.time_budget)
        deadline = None if budget is None else began + budget
        observers: list[Observer] = [_Lines(config.solved, len(todo), manner)]
        if manner.callbacks:
            observers.append(Calling(manner.callbacks, None))
        coordinator = Coordinator(plan, store, workers, observers, deadline)
        coordinator.run()
    return coordinator.used_up


def _kept(store: Store, asked: Sequence[Evaluation]) -> str:
    done = sum(evaluation.digest() in store.kept for evaluation in asked)
    return f"{done} of {len(asked)} trainings are finished and kept in {store.path}."


class _Lines(Observer):
    """Prints a line for each evaluation that is finished."""

    def __init__(self, solved: float, n_all: int, manner: Manner) -> None:
        self.solved, self.n_all, self.n_done, self.manner = solved, n_all, 0, manner
        self.began = time.monotonic()

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        self.n_done += 1
        task, seed, outcomes = evaluation.task, evaluation.seed, result.outcomes
        run = shown(task, seed, evaluation.settings, outcomes, self.solved)
        if run is None or run.outcome.best is None:
            what = f"{outcomes[0].status} {outcomes[0].message}".strip()
        else:
            what = f"{task.metric.name} {task.metric.shown(run.outcome.best)}"
            what += f", solved after {run.solved} epochs" if run.solved else ""
        elapsed, count = clock(time.monotonic() - self.began), f"{self.n_done}/{self.n_all}"
        self.manner.say(f"[{elapsed}] {count} {visit.name} on {task.name}, seed {seed}: {what}")
