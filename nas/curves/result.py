"""From finished trainings to the numbers of each cell on each task."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.cell.cell import Cell
from nas.curves.contrast import Contrast
from nas.curves.store import Finished
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import best_outcome
from nas.tasks.base import Task
from nas.tasks.levels import Levels, levels_of


@dataclass(frozen=True)
class Run:
    """The run that stands for a seed: the one with the best setting."""

    seed: int
    settings: Settings
    outcome: Outcome
    solved: int | None
    """Epochs until the task was solved; None if it was not, or has no perfect score."""


@dataclass(frozen=True)
class Row:
    """A cell on a task."""

    name: str
    task: Task
    runs: tuple[Run, ...]
    """By seed; a seed with which no setting had a metric is left out."""
    trouble: tuple[str, ...]
    """Of the seeds that are left out, how their first setting ended."""
    backend: str
    """"c", "eager" or "gpu"; empty if nothing was trained."""
    seconds: float
    """Of training, all seeds and settings."""

    @property
    def best(self) -> float | None:
        """The best metric on validation, the mean over seeds."""
        return mean([run.outcome.best for run in self.runs])

    @property
    def test(self) -> float | None:
        """On test, with the weights of the best epoch, the mean over seeds."""
        return mean([run.outcome.test for run in self.runs])

    @property
    def epochs_to_solve(self) -> float | None:
        """The median over seeds; None unless all of them solve the task."""
        epochs = [run.solved for run in self.runs if run.solved is not None]
        n_seeds = len(self.runs) + len(self.trouble)
        return statistics.median(epochs) if epochs and len(epochs) == n_seeds else None


def mean(values: Sequence[float | None]) -> float | None:
    """None if there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def deviation(values: Sequence[float | None]) -> float | None:
    """The standard deviation; None of fewer than two."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None


def evaluations(
    cells: Sequence[Cell], tasks: Sequence[Task], points: Sequence[Sequence[Settings]], seeds: range
) -> list[Evaluation]:
    """All evaluations, task after task, each of all settings; `points` are those of each task."""
    return [
        Evaluation(str(cell), cell.key, task, tuple(settings), seed, measure_test=True)
        for task, settings in zip(tasks, points, strict=True)
        for cell in cells
        for seed in seeds
    ]


def goal(task: Task, share: float) -> float | None:
    """The metric at which a task is solved; None if it has no perfect score."""
    if task.perfect is None:
        return None
    chance = task.chance()
    return chance + share * (task.perfect - chance)


def epochs_to(task: Task, outcome: Outcome, at: float | None) -> int | None:
    """Epochs until validation first was at least as good; None if it never was."""
    if at is None:
        return None
    for number, epoch in enumerate(outcome.curve, start=1):
        value = epoch.value(task.metric)
        if value == at or task.metric.better(value, at):
            return number
    return None


def shown(
    task: Task, seed: int, settings: Sequence[Settings], outcomes: Sequence[Outcome], share: float
) -> Run | None:
    """The setting that solved the task first, the better and then the first of equals; if none did,
    the one that is best on validation. None if none has a metric."""
    at = goal(task, share)
    epochs = [epochs_to(task, outcome, at) for outcome in outcomes]
    known = [number for number in epochs if number is not None]
    rivals = [o for o, n in zip(outcomes, epochs, strict=True) if not known or n == min(known)]
    best = best_outcome(task, rivals)
    if best is None:
        return None
    place = next(place for place, outcome in enumerate(outcomes) if outcome is best)
    return Run(seed, settings[place], best, epochs[place])


def rows(
    asked: Sequence[Evaluation],
    names: Mapping[str, str],
    kept: Mapping[str, Finished],
    share: float,
) -> list[Row]:
    """A row for each task and cell of which all seeds are finished, the best of a task first.

    `names` are the cells' names by key, `kept` has the finished evaluations by digest.
    """
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in asked:
        groups.setdefault((evaluation.task.name, evaluation.key), []).append(evaluation)
    by_task: dict[str, list[Row]] = {}
    for (task, key), group in groups.items():
        of_task = by_task.setdefault(task, [])
        if all(evaluation.digest() in kept for evaluation in group):
            of_task.append(_row(names[key], group, kept, share))
    return [row for of_task in by_task.values() for row in sorted(of_task, key=_order)]


def _row(name: str, group: Sequence[Evaluation], kept: Mapping[str, Finished], share: float) -> Row:
    task = group[0].task
    runs, trouble, seconds, backends = [], [], 0.0, []
    for evaluation in group:
        finished = kept[evaluation.digest()]
        outcomes = finished.evaluated.outcomes
        seconds += sum(outcome.cost.wall_s for outcome in outcomes)
        backends.append(finished.backend)
        run = shown(task, evaluation.seed, finished.evaluated.settings, outcomes, share)
        if run is None:
            trouble.append(_how(outcomes[0]))
        else:
            runs.append(run)
    return Row(name, task, tuple(runs), tuple(trouble), max(backends), seconds)


def _how(outcome: Outcome) -> str:
    return f"{outcome.status}, {outcome.message}" if outcome.message else outcome.status


def _order(row: Row) -> tuple[float, float]:
    """Those that solve the task first, in the order in which they do; then by the metric."""
    never = row.epochs_to_solve is None
    best = row.best
    if best is None:
        return float("inf"), 0.0
    sign = -1.0 if row.task.metric.higher_is_better else 1.0
    return 1e9 if never else float(row.epochs_to_solve or 0), sign * best


@dataclass(frozen=True)
class OnTask:
    """All cells on a task."""

    task: Task
    rows: tuple[Row, ...]
    """The best first."""
    levels: Levels
    goal: float | None
    """The metric at which the task is solved; None if it has no perfect score."""
    contrast: Contrast | None = None
    """How far chosen cells are above the others; None if none were chosen."""

    def beats(self, row: Row) -> bool:
        """Whether a cell is better than the simple predictor."""
        simple, best = self.levels.baseline, row.best
        return bool(simple and best is not None and self.task.metric.better(best, simple.value))


def by_task(
    rows: Sequence[Row], share: float, seed: int, contrasts: Mapping[str, Contrast] | None = None
) -> list[OnTask]:
    """Each task with its rows and what needs no network; `contrasts` are by the task's name."""
    tasks = {row.task.name: row.task for row in rows}
    return [
        OnTask(
            task,
            tuple(row for row in rows if row.task.name == name),
            levels_of(task, seed),
            goal(task, share),
            (contrasts or {}).get(name),
        )
        for name, task in tasks.items()
    ]
