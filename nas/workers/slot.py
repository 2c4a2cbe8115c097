"""What runs on a node of a cluster for each slot: one local worker, behind calls from elsewhere.

The worker is a process beside this one, as on one machine (`local.py`): its limits of time
and memory, its retries and its messages are the same, and what an evaluation does to its process
does not end the slot. `ray.py` makes slots as Ray actors and calls them.
"""

import importlib.metadata
import pickle
import platform
import sys
from concurrent.futures import CancelledError, Future
from pathlib import Path

from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Result
from nas.workers.local import LocalWorkers
from nas.workers.worker import one_line

DECISIVE = ("torch", "pytorch-lightning", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn")
"""Packages by which outcomes may differ; `nas` itself travels."""

Answer = Result | SearchError | None
"""A fault of the node is a SearchError; None: the evaluation was withdrawn before it began."""


def versions() -> dict[str, str]:
    """Of Python and of what outcomes depend on, here. Builds of one version count as the same."""
    found = {"python": platform.python_version()}
    for name in DECISIVE:
        try:
            found[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


class Slot:
    """Runs evaluations one after another; all its methods may be called at the same time."""

    def __init__(
        self,
        run: str,
        time_limit_s: float,
        memory_limit_bytes: int | None,
        max_tries: int,
        gpus: float = 0.0,
    ) -> None:
        # A worker imports the main script, which is Ray's here: a second, and memory.
        sys.modules["__main__"].__file__ = None
        # Ray shows a process the GPUs that are its own, and no others.
        devices = ("cuda:0",) if gpus else ()
        limits = (time_limit_s, memory_limit_bytes, max_tries)
        self._workers = LocalWorkers(1, run, *limits, devices=devices)
        self._futures: set[Future[Result]] = set()

    def greet(self) -> tuple[str, dict[str, str]]:
        """The node's id, and its versions."""
        import ray

        return ray.get_runtime_context().get_node_id(), versions()

    def evaluate(self, pickled: bytes, task_version: str) -> Answer:
        """The result of an evaluation whose task has this version where it was sent."""
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
        future = self._workers.submit(evaluation)
        self._futures.add(future)
        try:
            return future.result()
        except CancelledError:
            return None
        except SearchError as error:
            return SearchError(str(error).partition(". Once that is mended")[0])
        finally:
            self._futures.discard(future)

    def withdraw(self) -> None:
        """Give back what has not begun; `evaluate` returns None."""
        for future in list(self._futures):
            future.cancel()
