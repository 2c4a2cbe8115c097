"""The cells of a study by name, with their weights where a search kept them."""

from pathlib import Path

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError, unknown
from nas.study.location import OpenedStudy, find_study
from nas.study.visit import Visit


def weights_file(folder: Path, digest: str) -> Path:
    """Return where the study in a folder keeps the weights of an evaluation."""
    return folder / "weights" / f"{digest}.safetensors"


def cell_of(study: str, name: str) -> Cell:
    """Return the cell that a study calls so, or that has this key.

    Raises:
        UserError: if there is no such cell, with the nearest name, or if several have the name.
    """
    return loads(_visits(find_study(study), name)[-1].cell)


def weights_of(study: str, name: str, task: str) -> Path:
    """Return the file of a cell's best weights on a task, or on the only one if it is empty.

    Raises:
        UserError: if there is no such cell, or its weights were not kept.
    """
    seen = find_study(study)
    visits = _visits(seen, name)
    kept = {name: path for visit in visits for name, path in _kept(seen.folder, visit).items()}
    if task in kept or (not task and len(kept) == 1):
        return kept[task or next(iter(kept))]
    if kept and not task:
        raise UserError(
            f"{study}/{name} has weights for several tasks; choose one with task=: "
            f"{', '.join(sorted(kept))}."
        )
    of_task = f" of the task {task}" if task else ""
    raise UserError(
        f"the weights of {study}/{name}{of_task} were not kept: a search keeps those of its best "
        f'cells. nas.RNN("{study}/{name}", input_size, hidden_size) makes fresh layers.'
    )


def _visits(seen: OpenedStudy, name: str) -> list[Visit]:
    """Return the visits of one cell."""
    visits = [visit for visit in seen.study.visits if visit]
    found = [visit for visit in visits if name in (visit.name, visit.key)]
    if not found:
        names = sorted({visit.name for visit in visits})
        raise UserError(f"study {seen.name}: {unknown('cell', name, names)}")
    if len(keys := sorted({visit.key for visit in found})) > 1:
        raise UserError(
            f"study {seen.name} has {len(keys)} cells called {name}: give the key of one instead, "
            f"of {', '.join(keys)}."
        )
    return found


def _kept(folder: Path, visit: Visit) -> dict[str, Path]:
    """Return the files of the best weights that are kept, by task."""
    best = visit.judgement.best if visit.judgement else {}
    kept = {}
    for digest, task in visit.tasks().items():
        path = weights_file(folder, digest)
        outcomes = visit.evaluated[digest].outcomes if path.is_file() else ()
        if any(o.best is not None and o.best == best.get(task) for o in outcomes):
            kept[task] = path
    return kept
