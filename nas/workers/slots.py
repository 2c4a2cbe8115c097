"""The slots of a Ray cluster: made where nodes have room, dropped when their node leaves.

Each is a Ray actor, `nas.workers.slot.Slot`. What a slot had when it was dropped is handed back to
`nas/workers/ray.py`, whose one thread does all that is done here.
"""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.protocol.evaluation import Evaluation, Result
from nas.workers.cluster import ClusterConfig, room
from nas.workers.slot import Slot, versions
from nas.workers.worker import one_line

logger = logging.getLogger(__name__)

AHEAD = 2
"""Evaluations in flight per slot: one that runs and one that waits, so that no slot waits for the
network."""

Done = Callable[["Future[Any]"], None]


@dataclass(eq=False)
class Task:
    """An evaluation from its submission to its result."""

    evaluation: Evaluation
    pickled: bytes
    version: str
    """Of the evaluation's task, by which nodes see whether they have the same data."""
    future: "Future[Result]" = field(default_factory=Future)
    n_lost: int = 0
    submitted: float = field(default_factory=time.monotonic)

    def begins(self) -> bool:
        """False if its caller cancelled it before it was ever handed out."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


@dataclass(eq=False)
class RemoteSlot:
    """A slot as it is seen from here."""

    actor: Any
    node: str | None
    """Where it was put; None until it is known."""
    anywhere: bool
    """Whether it was asked for wherever there is room."""
    ready: bool = False
    tasks: list[Task] = field(default_factory=list)
    """In flight, the one that runs first."""
    since: float = 0.0
    """When it was given the first of them, or answered last."""
    busy_s: float = 0.0
    asked_back: bool = False

    def stop_clock(self) -> None:
        now = time.monotonic()
        self.busy_s += (now - self.since) * bool(self.tasks)
        self.since = now


class Slots:
    """All slots there are. `given` are the arguments of each `Slot`; one that does not answer for
    `patience_s` is dropped. `when_done` calls a function, in this thread, with a call's end;
    `take_back` gets what a dropped slot had, and why it was lost, if it was."""

    def __init__(
        self,
        given: tuple[Any, ...],
        cluster: ClusterConfig,
        patience_s: float,
        when_done: Callable[[Any, Done], None],
        take_back: Callable[[list[Task], str], None],
    ) -> None:
        self._given, self._cluster, self._patience_s = given, cluster, patience_s
        self._when_done, self._take_back = when_done, take_back
        self._versions = versions()
        self._all: list[RemoteSlot] = []
        self._n_useless = 0
        """Slots that were asked for anywhere and came to a refused node: as many fewer are asked
        for, until another node joins."""
        self._names: dict[str, str] = {}
        """Of the nodes there are, by their ids."""
        self._refused: dict[str, str] = {}
        """Why nodes are not used, by their ids."""
        self._waits_for_room = False
        self.n_ready = 0
        self._slot_s, self._counted = 0.0, time.monotonic()
        self._gone_busy_s = 0.0
        self.fault = ""
        """Why no node can be used."""

    def __iter__(self) -> Iterator[RemoteSlot]:
        return iter(list(self._all))

    def __contains__(self, slot: RemoteSlot) -> bool:
        return slot in self._all

    @property
    def busy_s(self) -> float:
        now = time.monotonic()
        return self._gone_busy_s + sum(s.busy_s + (now - s.since) * bool(s.tasks) for s in self)

    @property
    def slot_s(self) -> float:
        """The time of all slots that were ready."""
        return self._slot_s + self.n_ready * (time.monotonic() - self._counted)

    def look(self) -> None:
        """Make slots where there is room, drop those whose node has left or that hang."""
        alive = _alive()
        if not alive.keys() <= self._names.keys():
            self._n_useless = 0
        self._names |= {key: _name(node) for key, node in alive.items()}
        for slot in self:
            if slot.node is not None and slot.node not in alive:
                self.lose(slot, "which has left the cluster")
            elif slot.tasks and time.monotonic() - slot.since > self._patience_s:
                self.lose(slot, f"which did not answer for {self._patience_s:g} s")
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
            "max_concurrency": AHEAD + 2,
        }
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        made: Any = ray.remote(Slot)  # its methods are typed as those of a local object
        actor = made.options(**options).remote(*self._given)
        slot = RemoteSlot(actor, node, anywhere=node is None)
        self._all.append(slot)
        self._when_done(actor.greet.remote(), lambda done: self._greeted(slot, done))

    def _greeted(self, slot: RemoteSlot, done: "Future[tuple[str, dict[str, str]]]") -> None:
        if slot not in self:
            return
        if error := done.exception():
            self._drop(slot)
            if slot.node is not None and slot.node in _alive():
                self.refuse(slot.node, f"no slot starts on it: {one_line(error)}")
            return
        slot.node, found = done.result()
        other = [
            f"{name} {found[name]}, not {version}"
            for name, version in self._versions.items()
            if found[name] != version
        ]
        if other:
            self.refuse(slot.node, f"it has {'; '.join(other)} as the coordinator has")
        elif slot.node in self._refused:
            self.refuse(slot.node, "")
        else:
            slot.ready = True
            self._count(+1)

    def _count(self, change: int) -> None:
        now = time.monotonic()
        self._slot_s += self.n_ready * (now - self._counted)
        self.n_ready, self._counted = self.n_ready + change, now

    def refuse(self, node: str, why: str) -> None:
        """Use a node no more; what it had goes to others."""
        if node not in self._refused:
            name = self._names.get(node, node)
            self._refused[node] = f"node {name} of the cluster cannot be used, {why}"
            logger.warning("%s.", self._refused[node])
        for slot in [slot for slot in self if slot.node == node]:
            self._take_back(self._drop(slot), "")
            self._n_useless += slot.anywhere

    def lose(self, slot: RemoteSlot, why: str) -> None:
        """A slot is gone, with what it ran."""
        if slot in self:
            name = self._names.get(slot.node or "", slot.node)
            self._take_back(self._drop(slot), f"its slot was lost with node {name}, {why}")

    def drop_all(self) -> list[Task]:
        """What they had."""
        return [task for slot in self for task in self._drop(slot)]

    def _drop(self, slot: RemoteSlot) -> list[Task]:
        self._all.remove(slot)
        slot.stop_clock()
        self._gone_busy_s += slot.busy_s
        self._count(-int(slot.ready))
        tasks, slot.tasks = slot.tasks, []
        try:
            ray.kill(slot.actor)
        except (RayError, ConnectionError, ValueError):  # it is gone, or the connection is
            logger.debug("a slot could not be ended", exc_info=True)
        return tasks


def _alive() -> dict[str, dict[str, Any]]:
    """The nodes of the cluster that are there, by their ids."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
