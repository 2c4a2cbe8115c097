"""The sizes of a cell with several objectives: of the models by which it is judged."""

from collections.abc import Iterator
from dataclasses import replace

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.nn.settings import Settings
from nas.protocol.constraints import SIZES, Limits, Model
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, best_outcome
from nas.protocol.objectives import STEP_TIME, told_name
from nas.protocol.staged import Staged
from nas.session.plan import Plan
from nas.study.config import RunConfig
from nas.study.visit import Visit


def timed(evaluation: Evaluation, plan: Plan[RunConfig]) -> Evaluation:
    """An evaluation as a worker is given it: with a time of a step if that is an objective."""
    names = {task.name for task in plan.protocol.tasks}
    wanted = STEP_TIME in plan.objectives and evaluation.task.name in names
    return replace(evaluation, time_step=True) if wanted and not evaluation.repeat else evaluation


def sizes_of(visit: Visit, judgement: Judgement, plan: Plan[RunConfig]) -> dict[str, float]:
    """The objectives beside the score, and what samplers are told for them.

    They are of the model of the best setting on each task, the largest over the tasks; without a
    score, of the cell's largest model, and without any model, which then fails in training, 0.
    """
    if len(plan.objectives) == 1:
        return {}
    cell, protocol = loads(visit.cell), plan.protocol
    best = {} if judgement.score is None and not judgement.waits else dict(_best(visit, protocol))
    models = list(_models(cell, best, protocol)) or Limits((), protocol).models(cell)
    told = dict.fromkeys(told_name(name) for name in plan.objectives[1:])
    sizes = {name: float(max(map(SIZES[name], models), default=0)) for name in told}
    times = [outcome.cost.step_s for _, outcome in best.values() if outcome.cost.step_s]
    if STEP_TIME in plan.objectives and times:
        sizes[STEP_TIME] = max(times)
    return sizes


def _best(visit: Visit, protocol: Staged) -> Iterator[tuple[str, tuple[Settings, Outcome]]]:
    """By task, the settings and the outcome of the best run, at the largest budget that the cell
    had there on a ladder."""
    for task in protocol.tasks:
        found = [e for e in visit.evaluated.values() if e.task == task.name]
        pairs = [pair for e in found for pair in zip(e.settings, e.outcomes, strict=True)]
        most = max((settings.n_params for settings, _ in pairs), default=0)
        if protocol.config.kind == "ladder":
            pairs = [pair for pair in pairs if pair[0].n_params == most]
        best = best_outcome(task, [outcome for _, outcome in pairs])
        yield from ((task.name, pair) for pair in pairs if pair[1] is best)


def _models(
    cell: Cell, best: dict[str, tuple[Settings, Outcome]], protocol: Staged
) -> Iterator[Model]:
    for task in protocol.tasks:
        if task.name in best:
            yield Model.of(cell, task.interface, best[task.name][0])
