"""Where the slots of a cluster are asked for, told by a made-up Ray: what nodes there are, who
greets whom. Slots of a real one are in tests/cluster."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from nas.workers.config import ClusterConfig

OLD, GOOD = "01" * 28, "02" * 28
"""Ray's ids of nodes are 28 bytes."""


class MadeUpRay:
    """Nodes of one CPU; what is asked for without a node waits until the test puts it on one."""

    def __init__(self, *nodes: str) -> None:
        self.alive = list(nodes)
        self.waiting: list[Future[Any]] = []
        self.n_asked: dict[str, int] = {}
        """By node; "" if for any."""
        self.other_versions: set[str] = set()

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": name,
                "Alive": True,
                "Resources": {"CPU": 1.0},
                "NodeManagerHostname": name,
                "NodeManagerAddress": "127.0.0.1",
            }
            for name in self.alive
        ]

    def remote(self, made: type) -> Any:
        return self

    def options(self, scheduling_strategy: Any = None, **given: Any) -> Any:
        node = scheduling_strategy.node_id if scheduling_strategy else ""
        self.n_asked[node] = self.n_asked.get(node, 0) + 1
        return _MadeUpActor(self, node)

    def kill(self, actor: Any) -> None:
        pass

    def put(self, node: str) -> None:
        """The first slot that waits comes to this node."""
        self.waiting.pop(0).set_result(self.greeting(node))

    def greeting(self, node: str) -> tuple[str, dict[str, str]]:
        return node, {"torch": "1.0" if node in self.other_versions else "2.0"}


class _MadeUpActor:
    """Also each of its methods, as Ray has them."""

    def __init__(self, ray: MadeUpRay, node: str) -> None:
        self._ray, self._node = ray, node
        self.greet = self

    def remote(self, **given: Any) -> Any:
        if given:
            return self
        future: Future[Any] = Future()
        if self._node:
            future.set_result(self._ray.greeting(self._node))
        else:
            self._ray.waiting.append(future)
        return future


def slots_of(ray: MadeUpRay, patch: pytest.MonkeyPatch, n_slots: int) -> Any:
    """The slots, whose events are handled at once."""
    pytest.importorskip("ray")
    import nas.workers.ray

    def when_done(future: Future[Any], handle: Callable[[Future[Any]], None]) -> None:
        future.add_done_callback(handle)

    patch.setattr(nas.workers.ray, "ray", ray)
    patch.setattr(nas.workers.ray, "versions", lambda: {"torch": "2.0"})
    cluster = ClusterConfig(slots=n_slots)
    return nas.workers.ray.Slots({"run": "run"}, cluster, 60.0, when_done)


def test_a_refused_node_takes_no_slot_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = MadeUpRay(OLD, GOOD)
    ray.other_versions = {OLD}
    slots = slots_of(ray, monkeypatch, 1)
    for _ in range(3):
        slots.refresh()
    assert [slot.node for slot in slots] == [GOOD]
    assert slots.n_ready == 1
    assert slots.fault == ""
    assert ray.n_asked == {OLD: 1, GOOD: 1}


def test_what_does_not_fit_is_asked_for_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = MadeUpRay(OLD)
    slots = slots_of(ray, monkeypatch, 3)
    for _ in range(3):
        slots.refresh()
    assert ray.n_asked == {OLD: 1, "": 2}
    assert slots.n_ready == 1
    ray.alive.append(GOOD)
    ray.put(GOOD)
    slots.refresh()
    assert sorted(str(slot.node) for slot in slots) == [OLD, GOOD, "None"]
    assert slots.n_ready == 2


def test_what_comes_to_a_refused_node_is_asked_for_again_when_another_joins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = MadeUpRay(OLD)
    ray.other_versions = {OLD}
    slots = slots_of(ray, monkeypatch, 1)
    slots.refresh()
    slots.refresh()
    assert "it has torch 1.0, not 2.0" in slots.fault
    ray.put(OLD)
    for _ in range(3):
        slots.refresh()
    assert ray.n_asked == {OLD: 1, "": 1}, "not for ever"
    ray.alive.append(GOOD)
    slots.refresh()
    assert [slot.node for slot in slots] == [GOOD]
    assert slots.fault == ""
