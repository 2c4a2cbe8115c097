"""What is said of tasks whose validation split is small, before a search."""

from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction

from nas.errors import counted
from nas.protocol.staged import Staged
from nas.study.leaderboard import Resolutions
from nas.tasks.base import Task
from nas.tasks.resolution import resolution_of


def resolutions(protocol: Staged) -> Resolutions:
    """The resolution of each task of the score whose data are here."""
    known = {task.name: resolution_of(task, protocol.seed) for task in protocol.tasks}
    return {name: resolution for name, resolution in known.items() if resolution}


def warnings(protocol: Staged) -> Iterator[str]:
    """A sentence for each task of which one example decides whether a candidate is rejected.

    A candidate passes a task with `pass_ratio` of the GRU's metric, so that it may be behind by
    1 - `pass_ratio`; where one example weighs more, the filter can tell nothing.
    """
    if protocol.config.kind == "flat":
        return
    margin = 1 - Fraction(str(protocol.config.pass_ratio))
    known = resolutions(protocol)
    for task in protocol.tasks:
        if task.name in known and known[task.name].outweighs(margin):
            examples = known[task.name]
            yield (
                f"Warning: {task.name} is validated on "
                f"{counted(examples.n_examples, examples.noun)}: one weighs "
                f"{1 / examples.n_examples:.3g}, more than the {float(margin):.3g} by which a "
                "candidate may be behind the GRU (1 - protocol.pass_ratio), so that a single one "
                "can decide whether it is rejected. "
                f"{_way_out(task)}"
            )


def _way_out(task: Task) -> str:
    names = {field.name for field in fields(task)}
    flag = f"--tasks.{task.name}"
    if "folds" in names and not task.reads_pieces and len(task.in_folds()) == 1:
        more = f"{flag}.folds 5 validates on all of them but those of test, in turn"
    elif "validation_share" in names:
        more = f"{flag}.validation-share 0.3 validates on more of them"
    else:
        more = f"{flag}.validation-batches {10 * task.validation_batches} validates on more of them"
    return f"{more}; --protocol flat rejects no candidate."
