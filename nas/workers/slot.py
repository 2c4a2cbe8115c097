"""What runs on a node of a cluster for each slot: one local worker, behind calls from elsewhere.

The worker is a process beside this one, as on one machine (`local.py`): its limits of time
and memory, its retries and its messages are the same, and what an evaluation does to its process
does not end the slot. `ray.py` makes slots as Ray actors and calls them.
"""

import importlib.metadata
import pickle
import platform
import threading
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.look import Look
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


Answer = Result | SearchError | None
"""The answer of a slot to a call; a fault of the node is a SearchError, and None says that the call
was withdrawn before it began."""


class Slot:
    """Runs evaluations one after another; the arguments are those of `LocalWorkers`.

    All methods may be called at the same time, from several threads.
    """

    def __init__(self, **arguments: Any) -> None:
        self._workers = LocalWorkers(1, **arguments)
        self._turn = threading.Condition()
        self._n_read = 0
        self._futures: dict[int, Future[Result]] = {}
        self._evaluations: dict[int, Evaluation] = {}
        self._withdrawn: set[int] = set()

    def greet(self) -> tuple[str, dict[str, str]]:
        """The node's id, and its versions."""
        import ray

        return ray.get_runtime_context().get_node_id(), versions()

    def evaluate(self, number: int, pickled: bytes, task_version: str) -> Answer:
        """Evaluate what was pickled, whose task has this version where it was sent.

        Calls are numbered from 1 on, and run in this order, whichever of their threads is first.
        """
        try:
            return self._submitted(number, pickled, task_version).result()
        except CancelledError:
            return None
        except SearchError as error:
            return SearchError(str(error).partition(". Once that is mended")[0])
        finally:
            self._futures.pop(number, None)
            self._evaluations.pop(number, None)

    def look(self) -> tuple[int, Look | None]:
        """The number of the call that runs, 0 for none, and how far it has come."""
        for running, _, look in self._workers.looks():
            for number, evaluation in list(self._evaluations.items()):
                if evaluation is running:
                    return number, look
        return 0, None

    def withdraw(self, number: int) -> None:
        """Give a call back that has not begun to run; it returns None."""
        self._withdrawn.add(number)
        if future := self._futures.get(number):
            future.cancel()

    def _submitted(self, number: int, pickled: bytes, task_version: str) -> "Future[Result]":
        with self._turn:
            self._turn.wait_for(lambda: self._n_read == number - 1)
            try:
                self._evaluations[number] = evaluation = _read(pickled, task_version)
                self._futures[number] = future = self._workers.submit(evaluation)
            finally:
                self._n_read = number
                self._turn.notify_all()
        if number in self._withdrawn:  # while its data were read
            future.cancel()
        return future


def _read(pickled: bytes, task_version: str) -> Evaluation:
    """The evaluation; raises SearchError if it cannot be read here, or has other data here."""
    try:
        evaluation: Evaluation = pickle.loads(pickled)
        here = evaluation.task.version  # reads the data
    except (ImportError, AttributeError, OSError, UserError) as error:
        message = str(error) if isinstance(error, UserError) else one_line(error)
        raise SearchError(f"{message.rstrip('.')} (in {Path.cwd()})") from None
    if here != task_version:
        raise SearchError(
            f"its data of the task {evaluation.task.name} are other ones than the coordinator's "
            f"(version {here}, not {task_version})"
        )
    return evaluation
