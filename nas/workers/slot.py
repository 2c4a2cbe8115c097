"""What runs on a node of a cluster for each slot: one local worker, behind calls from elsewhere.

The worker is a process beside this one, as on one machine (`local.py`): its limits of time
and memory, its retries and its messages are the same, and what an evaluation does to its process
does not end the slot. `ray.py` makes slots as Ray actors and calls them.
"""

import importlib.metadata
import pickle
import platform
import sys
from pathlib import Path
from typing import Any

from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Result
from nas.workers.local import LocalWorkers
from nas.workers.worker import one_line

DECISIVE = ("torch", "pytorch-lightning", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn")
"""Packages by which outcomes may differ; `nas` itself travels."""


def versions() -> dict[str, str]:
    """The versions here of Python and of what outcomes depend on; builds of one version are one."""
    result = {"python": platform.python_version()}
    for name in DECISIVE:
        try:
            result[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            result[name] = "none"
    return result


class Slot:
    """Runs evaluations one after another; the arguments are those of `LocalWorkers`."""

    def __init__(self, **arguments: Any) -> None:
        # A worker imports the main script, which is Ray's here: a second, and memory.
        sys.modules["__main__"].__file__ = None
        self._workers = LocalWorkers(1, **arguments)

    def greet(self) -> tuple[str, dict[str, str]]:
        """The node's id, and its versions."""
        import ray

        return ray.get_runtime_context().get_node_id(), versions()

    def evaluate(self, pickled: bytes, task_version: str) -> Result | SearchError:
        """The result of an evaluation whose task has this version where it was sent, or a fault of
        the node."""
        try:
            evaluation: Evaluation = pickle.loads(pickled)
            here = evaluation.task.version  # reads the data
        except (ImportError, AttributeError, OSError, UserError) as error:
            message = str(error) if isinstance(error, UserError) else one_line(error)
            return SearchError(f"{message.rstrip('.')} (in {Path.cwd()})")
        if here != task_version:
            return SearchError(
                f"its data of the task {evaluation.task.name} are other ones than the "
                f"coordinator's (version {here}, not {task_version})"
            )
        try:
            return self._workers.submit(evaluation).result()
        except SearchError as error:
            return SearchError(str(error).partition(". Once that is mended")[0])
