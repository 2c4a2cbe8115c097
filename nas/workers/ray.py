"""Evaluations on the nodes of a Ray cluster, behind the interface of `nas/workers/local.py`.

A slot is a Ray actor (`slot.py`) with its share of CPUs and GPUs, made once, so that imports are
paid once. One thread owns all that changes; Ray and callers send it events.
"""

import functools
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import SearchError, hidden
from nas.protocol.evaluation import Cost, Evaluation, Outcome, Result
from nas.protocol.look import Look
from nas.workers.config import ClusterConfig, room
from nas.workers.connection import Head, connect, head_of
from nas.workers.local import START_LIMIT_S, Stopwatch, Workers
from nas.workers.slot import Slot, versions
from nas.workers.worker import one_line

logger = logging.getLogger(__name__)

REFRESH_S = 1.0
"""Between two refreshes of the nodes that there are."""
AHEAD = 2
"""Evaluations in flight per slot: one that runs and one that waits there, so that a slot does not
wait for the coordinator between two."""
WATCHED_S = 5.0
"""After a look, slots are asked how far they are for so long."""
MOST_LOSSES = 5
"""An evaluation whose slot is lost so often, with its node or without, is crashed."""
DEFAULT_CLUSTER = ClusterConfig()

Done = Callable[["Future[Any]"], None]


@dataclass(eq=False)
class Task:
    """An evaluation from its submission to its result."""

    evaluation: Evaluation
    future: "Future[Result]" = field(default_factory=Future)
    n_lost: int = 0
    number: int = 0
    """Of its call to the slot that has it."""
    submitted: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.pickled = pickle.dumps(self.evaluation)
        self.version = self.evaluation.task.version
        """Version of the evaluation's task, by which nodes see whether they have the same data."""

    def begins(self) -> bool:
        """False if its caller cancelled it before it was ever handed out."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


@dataclass(eq=False)
class RemoteSlot:
    """A slot as the coordinator sees it."""

    actor: Any
    node: str | None
    """Its node's id; None until it is known."""
    anywhere: bool
    """Whether it was asked for wherever there is room."""
    tasks: list[Task] = field(default_factory=list)
    """In flight, the one that runs first."""
    n_given: int = 0
    """Tasks that it was ever given: the number of the last one's call."""
    asked_back: bool = False
    """Whether the task that waits was asked back, for an idle slot."""
    answered: tuple[int, Look | None] = (0, None)
    """What the slot said last of the call that runs: its number, and how far it has come."""
    asked: bool = False
    """Whether it is asked that, and has not answered."""
    ready: Stopwatch = field(default_factory=Stopwatch)
    busy: Stopwatch = field(default_factory=Stopwatch)

    @property
    def is_ready(self) -> bool:
        return self.ready.since is not None

    def add(self, task: Task) -> None:
        """Put a task behind those in flight."""
        self.tasks.append(task)
        self.n_given += 1
        task.number = self.n_given
        if len(self.tasks) == 1:
            self.busy.run(True)

    @property
    def look(self) -> Look | None:
        """How far the task that runs has come, if it is known."""
        number, look = self.answered
        return look if self.tasks and self.tasks[0].number == number else None

    def finish(self, task: Task) -> None:
        """Take away a task that was answered or withdrawn; the one behind it runs from now on."""
        ran = self.tasks[0] is task
        self.tasks.remove(task)
        self.asked_back = False
        if ran:
            self.busy.run(bool(self.tasks))


class Slots:
    """All slots there are: made where nodes have room, dropped when their node leaves.

    `head` is asked for nodes and for slots. `arguments` are those of each `Slot`; one that does not
    answer for `answer_limit_s` is dropped. `when_done` calls a function, in the thread that owns
    the slots, with the end of a call.
    """

    def __init__(
        self,
        head: Head,
        arguments: Mapping[str, Any],
        cluster: ClusterConfig,
        answer_limit_s: float,
        when_done: Callable[[Any, Done], None],
    ) -> None:
        self._head, self._arguments, self._cluster = head, arguments, cluster
        self._when_done = when_done
        self._answer_limit_s = answer_limit_s
        self._versions = versions()
        self._all: list[RemoteSlot] = []
        self._n_useless = 0
        """Slots that were asked for anywhere and came to a refused node: as many fewer are asked
        for, until another node joins."""
        self._names: dict[str, str] = {}
        """Names of the nodes by their ids."""
        self._refused: dict[str, str] = {}
        """Why nodes are not used, by their ids."""
        self._waits_for_room = False
        self._dropped_busy_s = self._dropped_ready_s = 0.0
        self.returned: list[tuple[Task, str]] = []
        """Tasks of dropped slots, and why the slot was lost, if it was; for `RayWorkers`."""
        self.fault = ""
        """Why no node can be used."""

    def __iter__(self) -> Iterator[RemoteSlot]:
        return iter(list(self._all))

    @property
    def n_ready(self) -> int:
        return sum(slot.is_ready for slot in self)

    @property
    def busy_s(self) -> float:
        return self._dropped_busy_s + sum(slot.busy.total_s for slot in self)

    @property
    def ready_s(self) -> float:
        return self._dropped_ready_s + sum(slot.ready.total_s for slot in self)

    def refresh(self) -> None:
        """Make slots where there is room, drop those whose node has left or that hang."""
        alive = self._head.ask(_alive)
        if not alive.keys() <= self._names.keys():
            self._n_useless = 0
        self._names |= {key: _name(node) for key, node in alive.items()}
        for slot in self:
            busy_since = slot.busy.since
            if slot.node is not None and slot.node not in alive:
                self.lose(slot, "which has left the cluster")
            elif busy_since and time.monotonic() - busy_since > self._answer_limit_s:
                self.lose(slot, f"which did not answer for {self._answer_limit_s:g} s")
        fit = {key: room(node["Resources"], self._cluster) for key, node in alive.items()}
        usable = {key: n for key, n in fit.items() if n and key not in self._refused}
        most = self._cluster.slots
        for key, n_slots in usable.items():
            for _ in range(n_slots - sum(slot.node == key for slot in self)):
                if not most or len(self._all) < most:
                    self._add(key)
        for _ in range(most - self._n_useless - len(self._all)):
            self._add(None)  # it waits, and an autoscaler sees it
        self.fault = "" if usable or not self._refused else list(self._refused.values())[-1]
        if not usable and not self._refused and not self._waits_for_room:
            self._waits_for_room = True
            logger.warning(
                "no node of the cluster has %g CPUs and %g GPUs for an evaluation (cluster.cpus, "
                "cluster.gpus); waiting for one.",
                self._cluster.cpus,
                self._cluster.gpus,
            )

    def _add(self, node: str | None) -> None:
        options: dict[str, Any] = {
            "num_cpus": self._cluster.cpus,
            "num_gpus": self._cluster.gpus,
            "max_concurrency": AHEAD + 2,  # `withdraw` and `look` do not wait behind evaluations
        }
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        made: Any = ray.remote(Slot)  # its methods are typed as those of a local object
        actor = self._head.ask(lambda: made.options(**options).remote(**self._arguments))
        slot = RemoteSlot(actor, node, anywhere=node is None)
        self._all.append(slot)
        self._when_done(actor.greet.remote(), lambda done: self._greeted(slot, done))

    def _greeted(self, slot: RemoteSlot, done: "Future[tuple[str, dict[str, str]]]") -> None:
        if slot not in self._all:
            return
        if error := done.exception():
            self._drop(slot)
            if slot.node is not None and slot.node in self._head.ask(_alive):
                self.refuse(slot.node, f"no slot starts on it: {one_line(error)}")
            return
        slot.node, there = done.result()
        other = [
            f"{name} {there[name]}, not {version}"
            for name, version in self._versions.items()
            if there[name] != version
        ]
        if other:
            self.refuse(slot.node, f"it has {'; '.join(other)} as the coordinator has")
        elif slot.node in self._refused:
            self.refuse(slot.node, "")
        else:
            slot.ready.run(True)

    def refuse(self, node: str, why: str) -> None:
        """Use a node no more; its tasks go to others."""
        if node not in self._refused:
            name = self._names.get(node, node)
            self._refused[node] = f"node {name} of the cluster cannot be used, {why}"
            logger.warning("%s.", self._refused[node])
        for slot in [slot for slot in self if slot.node == node]:
            self._drop(slot)
            self._n_useless += slot.anywhere

    def lose(self, slot: RemoteSlot, why: str) -> None:
        """Drop a slot that is gone, with what it ran."""
        if slot in self._all:
            name = self._names.get(slot.node or "", slot.node)
            self._drop(slot, f"its slot was lost with node {name}, {why}")

    def drop_all(self) -> None:
        for slot in self:
            self._drop(slot)

    def _drop(self, slot: RemoteSlot, loss: str = "") -> None:
        self._all.remove(slot)
        slot.busy.run(False)
        for task in slot.tasks:  # the first ran when the slot was lost
            self.returned.append((task, loss))
            loss = ""
        slot.tasks = []
        self._dropped_busy_s += slot.busy.total_s
        self._dropped_ready_s += slot.ready.total_s
        try:
            ray.kill(slot.actor)
        except (RayError, ConnectionError, ValueError):  # it is gone, or the connection is
            logger.debug("a slot could not be ended", exc_info=True)


def _looked(slot: RemoteSlot, done: "Future[tuple[int, Look | None]]") -> None:
    slot.asked = False
    if not done.exception():  # a slot that is lost is noticed by what it was to evaluate
        slot.answered = done.result()


def _alive() -> dict[str, dict[str, Any]]:
    """The nodes of the cluster that are there, by their ids."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def sharing_of(cluster: ClusterConfig) -> int:
    """How many evaluations share a GPU of a node."""
    return int(1 / cluster.gpus + 1e-9) if 0 < cluster.gpus < 1 else 1


class RayWorkers(Workers):
    """Slots of a cluster, each with `cluster.cpus` CPUs and `cluster.gpus` GPUs.

    `address` is "auto", HOST:PORT or ray://HOST:PORT; a connection of this process that is there
    already is used, and left open. `run` and the limits are those of `LocalWorkers`; a worker that
    dies is tried again on its node, up to `max_tries` times. If a node is lost, its evaluations go
    to others. A node that fails by itself (a full disk, other versions of packages) is used no
    more, with a warning; where no other is left, its fault is a SearchError. `carried` are paths
    that travel (`travelling` of `nas/workers/config.py`).
    """

    def __init__(
        self,
        address: str,
        run: str = "nas.training.train:run",
        *,
        time_limit_s: float = 3600.0,
        memory_limit_bytes: int | None = None,
        max_tries: int = 3,
        cluster: ClusterConfig = DEFAULT_CLUSTER,
        carried: Sequence[str] = (),
    ) -> None:
        self._address, self.n_slots = address, 0
        self._owns_connection = connect(address, carried)
        arguments = {
            "run": run,
            "time_limit_s": time_limit_s,
            "memory_limit_bytes": memory_limit_bytes,
            "max_tries": max_tries,
            "devices": ("cuda:0",) if cluster.gpus else (),  # Ray shows a process its own alone
            "sharing": sharing_of(cluster),
        }
        answer_limit_s = max_tries * (time_limit_s + START_LIMIT_S)
        self._slots = Slots(head_of(address), arguments, cluster, answer_limit_s, self._when_done)
        self._waiting: deque[Task] = deque()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = self._abandoned = False
        self._running: list[tuple[Evaluation, float, Look | None]] = []
        """What runs, since when, and how far it has come."""
        self._watched_until = 0.0
        self._lock = threading.Lock()  # of _closing: nothing is submitted after the last event
        self._thread = threading.Thread(target=self._serve, name="nas-worker-ray", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        return self._slots.busy_s

    def slot_s(self, elapsed_s: float) -> float:
        return self._slots.ready_s

    def looks(self) -> list[tuple[Evaluation, float, Look | None]]:
        now = time.monotonic()
        self._watched_until = now + WATCHED_S
        return [(evaluation, now - since, look) for evaluation, since, look in self._running]

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        task = Task(evaluation)
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
            next_refresh = 0.0
            while not self._is_over():
                if (now := time.monotonic()) >= next_refresh:
                    self._slots.refresh()
                    next_refresh = now + REFRESH_S
                    self._watch()
                self._take_back()
                self._hand_out()
                self.n_slots = self._slots.n_ready
                try:
                    event = self._events.get(timeout=max(0.0, next_refresh - now))
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

    def _watch(self) -> None:
        """Note what runs, and ask how far it is, while somebody looks."""
        if time.monotonic() > self._watched_until:
            self._running = []
            return
        busy = [slot for slot in self._slots if slot.tasks]
        self._running = [
            (slot.tasks[0].evaluation, slot.busy.since, slot.look)
            for slot in busy
            if slot.busy.since is not None
        ]
        for slot in busy:
            if not slot.asked:
                slot.asked = True
                self._when_done(slot.actor.look.remote(), functools.partial(_looked, slot))

    def _is_over(self) -> bool:
        if self._abandoned:
            return True
        is_idle = not self._waiting and not self._slots.returned
        is_idle &= not any(slot.tasks for slot in self._slots)
        return self._closing and is_idle and self._events.empty()

    def _end(self, cause: Exception) -> None:
        with self._lock:
            self._closing = True
        while not self._events.empty():
            self._events.get()()
        self._slots.drop_all()
        for task in [*(task for task, _ in self._slots.returned), *self._waiting]:
            if task.future.running() or (isinstance(cause, SearchError) and task.begins()):
                task.future.set_exception(cause)
            task.future.cancel()
        self._waiting.clear()

    def _when_done(self, reference: Any, handle: Done) -> None:
        """Let the thread handle the end of a call; the reference is kept till then."""
        reference.future().add_done_callback(
            lambda done, _kept=reference: self._events.put(lambda: handle(done))
        )

    # --- evaluations to and from slots ---

    def _hand_out(self) -> None:
        """Give the tasks that wait to the slots with the fewest, `AHEAD` each at most; if none
        waits, an idle slot gets one that waits on another slot."""
        if self._slots.fault:
            message = f"{self._slots.fault}, and there is no other. Once that is mended, the same "
            while self._waiting:
                if (task := self._waiting.popleft()).begins():
                    task.future.set_exception(SearchError(f"{message}command goes on."))
        ready = [slot for slot in self._slots if slot.is_ready]
        while self._waiting and ready:
            slot = min(ready, key=lambda slot: len(slot.tasks))
            if len(slot.tasks) >= AHEAD:
                return
            if (task := self._waiting.popleft()).begins():
                self._give(slot, task)
        waits = [slot for slot in ready if len(slot.tasks) > 1 and not slot.asked_back]
        n_idle = sum(not slot.tasks for slot in ready) - sum(slot.asked_back for slot in ready)
        for slot in waits[: max(n_idle, 0)]:
            slot.asked_back = True
            slot.actor.withdraw.remote(slot.n_given)

    def _give(self, slot: RemoteSlot, task: Task) -> None:
        slot.add(task)
        answer = slot.actor.evaluate.remote(slot.n_given, task.pickled, task.version)
        self._when_done(answer, lambda done: self._answered(slot, task, done))

    def _answered(self, slot: RemoteSlot, task: Task, done: "Future[Any]") -> None:
        if task not in slot.tasks:  # the slot was lost, and the task is tried elsewhere
            return
        if error := done.exception():
            self._slots.lose(slot, one_line(error))
        elif isinstance(answer := done.result(), SearchError):
            assert slot.node is not None
            self._slots.refuse(slot.node, str(answer))
        else:
            slot.finish(task)
            if answer is None:
                self._waiting.appendleft(task)
            else:
                task.future.set_result(answer)

    def _take_back(self) -> None:
        """Let tasks of dropped slots wait again; losses of slots are counted against a task."""
        while self._slots.returned:
            task, loss = self._slots.returned.pop()
            if loss:
                task.n_lost += 1
                message = f"{loss} (try {task.n_lost} of {MOST_LOSSES})"
                logger.warning("cell %s: %s", task.evaluation.key, message)
                if task.n_lost >= MOST_LOSSES:
                    cost = Cost(wall_s=time.monotonic() - task.submitted)
                    outcome = Outcome(status="crashed", message=message, cost=cost)
                    n_settings = len(task.evaluation.settings)
                    task.future.set_result(Result(outcomes=(outcome,) * n_settings))
                    continue
            self._waiting.appendleft(task)
