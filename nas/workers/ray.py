"""Evaluations on the nodes of a Ray cluster, behind the interface of `nas/workers/local.py`.

Each slot is a Ray actor with its share of CPUs and GPUs, made once, so that imports are paid once.
One thread owns all that changes (`slots.py`); Ray and callers send it events. How slots are
filled is `_hand_out`.
"""

import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import ray

from nas.errors import SearchError, hidden
from nas.protocol.evaluation import Cost, Evaluation, Outcome, Result
from nas.workers.cluster import ClusterConfig
from nas.workers.connection import check_head, connect, head_of
from nas.workers.local import START_LIMIT_S, Workers
from nas.workers.slots import AHEAD, Done, RemoteSlot, Slots, Task
from nas.workers.worker import one_line

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks at which nodes there are."""
MOST_LOSSES = 5
"""An evaluation whose slot is lost so often, with its node or without, is crashed."""
DEFAULT_CLUSTER = ClusterConfig()


class RayWorkers(Workers):
    """Slots of a cluster, each with `cluster.cpus` CPUs and `cluster.gpus` GPUs.

    `address` is "auto", HOST:PORT or ray://HOST:PORT; a connection of this process that is there
    already is used, and left open. `run` and the limits are those of `LocalWorkers`; a worker that
    dies is tried again on its node, up to `max_tries` times. If a node is lost, what it had goes to
    others. A node that fails by itself (a full disk, other versions of packages) is used no more,
    and said so; where no other is left, its fault is a SearchError. `carried` are paths that travel
    (`nas/workers/cluster.py`).
    """

    def __init__(
        self,
        address: str,
        run: str = "nas.training.train:run",
        time_limit_s: float = 3600.0,
        memory_limit_bytes: int | None = None,
        max_tries: int = 3,
        cluster: ClusterConfig = DEFAULT_CLUSTER,
        carried: Sequence[str] = (),
    ) -> None:
        self._address, self.n_slots = address, 0
        self._owns_connection = connect(address, carried)
        self._head = head_of(address)
        given = (run, time_limit_s, memory_limit_bytes, max_tries, cluster.gpus)
        patience_s = max_tries * (time_limit_s + START_LIMIT_S)
        self._slots = Slots(given, cluster, patience_s, self._when_done, self._take_back)
        self._waiting: deque[Task] = deque()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = self._abandoned = False
        self._lock = threading.Lock()  # of _closing: nothing is submitted after the last look
        self._thread = threading.Thread(target=self._serve, name="nas-worker-ray", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        return self._slots.busy_s

    def slot_s(self, elapsed_s: float) -> float:
        return self._slots.slot_s

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        task = Task(evaluation, pickle.dumps(evaluation), evaluation.task.version)
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._events.put(lambda: self._waiting.append(task))
        return task.future

    def close(self, *, wait: bool) -> None:
        with self._lock:
            self._closing = True
        self._events.put(lambda: None)
        try:
            if wait:
                self._thread.join()
        finally:  # also if Ctrl-C ends the wait
            self._abandoned = True
            self._events.put(lambda: None)
            self._thread.join()
            if self._owns_connection:
                self._owns_connection = False
                ray.shutdown()

    # --- the thread ---

    def _serve(self) -> None:
        cause: Exception = CancelledError("the workers were closed before this evaluation ended.")
        try:
            next_look = 0.0
            while not self._is_over():
                if (now := time.monotonic()) >= next_look:
                    check_head(self._head)
                    self._slots.look()
                    next_look = now + LOOK_S
                self._hand_out()
                self.n_slots = self._slots.n_ready
                try:
                    event = self._events.get(timeout=max(0.0, next_look - now))
                except queue.Empty:
                    continue
                event()
        except Exception as error:  # of the connection, which is of no use any more
            logger.debug("the connection to the cluster failed", exc_info=True)
            cause = SearchError(
                f"the Ray cluster at {hidden(self._address)} is lost ({one_line(error)}). Once it "
                "is back, the same command goes on; nothing is held against the cell."
            )
        finally:
            self._end(cause)

    def _is_over(self) -> bool:
        if self._abandoned:
            return True
        is_idle = not self._waiting and not any(slot.tasks for slot in self._slots)
        return self._closing and is_idle and self._events.empty()

    def _end(self, cause: Exception) -> None:
        with self._lock:
            self._closing = True
        while not self._events.empty():
            self._events.get()()
        for task in [*self._slots.drop_all(), *self._waiting]:
            if task.future.running() or (isinstance(cause, SearchError) and task.begins()):
                task.future.set_exception(cause)
            task.future.cancel()
        self._waiting.clear()

    def _when_done(self, reference: Any, handle: Done) -> None:
        """Let the thread handle a call's end; the reference is kept till then."""
        reference.future().add_done_callback(
            lambda done, _kept=reference: self._events.put(lambda: handle(done))
        )

    # --- evaluations to and from slots ---

    def _hand_out(self) -> None:
        """Give what waits to the slots with the least to do; if nothing waits, even it out."""
        if self._slots.fault:
            self._fail_waiting(self._slots.fault)
        ready = [slot for slot in self._slots if slot.ready]
        while self._waiting and ready:
            slot = min(ready, key=lambda one: len(one.tasks))
            if len(slot.tasks) >= AHEAD:
                return
            task = self._waiting.popleft()
            if task.begins():
                self._give(slot, task)
        if any(not slot.tasks for slot in ready):
            for slot in ready:
                if len(slot.tasks) > 1 and not slot.asked_back:
                    slot.asked_back = True
                    slot.actor.withdraw.remote()
                    return

    def _fail_waiting(self, why: str) -> None:
        message = f"{why}, and there is no other. Once that is mended, the same command goes on."
        while self._waiting:
            if (task := self._waiting.popleft()).begins():
                task.future.set_exception(SearchError(message))

    def _give(self, slot: RemoteSlot, task: Task) -> None:
        if not slot.tasks:
            slot.since = time.monotonic()
        slot.tasks.append(task)
        answer = slot.actor.evaluate.remote(task.pickled, task.version)
        self._when_done(answer, lambda done: self._answered(slot, task, done))

    def _answered(self, slot: RemoteSlot, task: Task, done: "Future[Any]") -> None:
        if task not in slot.tasks:  # it was lost, and is tried elsewhere
            return
        if error := done.exception():
            self._slots.lose(slot, one_line(error))
            return
        answer = done.result()
        if isinstance(answer, SearchError):
            assert slot.node is not None
            self._slots.refuse(slot.node, str(answer))
            return
        slot.stop_clock()
        slot.tasks.remove(task)
        slot.asked_back = False
        if answer is None:
            self._waiting.appendleft(task)
        else:
            task.future.set_result(answer)

    def _take_back(self, tasks: list[Task], loss: str) -> None:
        """What a slot had is tried elsewhere; what it ran when it was lost is counted."""
        if loss and tasks:
            first = tasks[0]
            first.n_lost += 1
            message = f"{loss} (try {first.n_lost} of {MOST_LOSSES})"
            logger.warning("cell %s: %s", first.evaluation.key, message)
            if first.n_lost >= MOST_LOSSES:
                tasks = tasks[1:]
                cost = Cost(wall_s=time.monotonic() - first.submitted)
                outcome = Outcome(status="crashed", message=message, cost=cost)
                n_settings = len(first.evaluation.settings)
                first.future.set_result(Result(outcomes=(outcome,) * n_settings))
        self._waiting.extendleft(reversed(tasks))
