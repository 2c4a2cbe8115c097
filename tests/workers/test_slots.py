"""Where the slots of a cluster are asked for, told by a made-up Ray: what nodes there are, who
greets whom; and what each slot is given. Slots of a real one are in tests/cluster."""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from worker_targets import evaluation, eventually

from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.protocol.look import Look
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


class _MadeUpHead:
    def ask(self, question: Callable[[], Any]) -> Any:
        return question()


def slots_of(ray: MadeUpRay, patch: pytest.MonkeyPatch, n_slots: int) -> Any:
    """The slots, whose events are handled at once."""
    pytest.importorskip("ray")
    import nas.workers.ray

    def when_done(future: Future[Any], handle: Callable[[Future[Any]], None]) -> None:
        future.add_done_callback(handle)

    patch.setattr(nas.workers.ray, "ray", ray)
    patch.setattr(nas.workers.ray, "versions", lambda: {"torch": "2.0"})
    cluster = ClusterConfig(slots=n_slots)
    return nas.workers.ray.Slots(_MadeUpHead(), {"run": "run"}, cluster, 60.0, when_done)


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


class _Slot:
    """An actor whose calls are written down, and end when the test says so."""

    def __init__(self) -> None:
        self.calls: dict[int, tuple[Future[Any], int]] = {}
        """By their numbers: the end of a call, and the seed of its evaluation."""
        self.withdrawn: list[int] = []
        self.evaluate = _Method(self._evaluate)
        self.withdraw = _Method(self.withdrawn.append)
        self.n_looks, self.said = 0, (0, None)  # type: int, tuple[int, Look | None]
        self.look = _Method(self._look)

    def _evaluate(self, number: int, pickled: bytes, version: str) -> "_Call":
        call = _Call()
        self.calls[number] = call.ended, pickle.loads(pickled).seed
        return call

    def _look(self) -> "_Call":
        self.n_looks += 1
        call = _Call()
        call.ended.set_result(self.said)
        return call

    def end(self, number: int, answer: Result | None) -> None:
        self.calls[number][0].set_result(answer)

    @property
    def seeds(self) -> list[int]:
        return [seed for _, seed in self.calls.values()]


class _Call:
    def __init__(self) -> None:
        self.ended: Future[Any] = Future()

    def future(self) -> Future[Any]:
        return self.ended


class _Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.remote = function


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Any]]:
    """A function that makes workers of so many slots, without nodes."""
    pytest.importorskip("ray")
    import nas.workers.ray as there

    monkeypatch.setattr(there, "connect", lambda address, carried: False)
    monkeypatch.setattr(there, "head_of", lambda address: None)
    monkeypatch.setattr(there.Slots, "refresh", lambda slots: None)
    monkeypatch.setattr(there.ray, "kill", lambda actor: None)
    begun: list[Any] = []

    def make(n_slots: int) -> Any:
        workers = there.RayWorkers("auto")
        begun.append(workers)
        actors = [_Slot() for _ in range(n_slots)]
        for actor in actors:
            slot = there.RemoteSlot(actor, GOOD, anywhere=False)
            slot.ready.run(True)
            workers._slots._all.append(slot)
        return workers, actors

    yield make
    for workers in begun:
        workers.close(wait=False)


DONE = Result(outcomes=(Outcome("ok"),))


def test_two_evaluations_are_in_flight_per_slot(made: Any) -> None:
    """So that a slot has the next one before its answer reaches the coordinator."""
    workers, (slot,) = made(1)
    futures = [workers.submit(evaluation(seed=seed)) for seed in range(4)]
    assert eventually(lambda: slot.seeds == [0, 1], 10)
    slot.end(1, DONE)
    assert eventually(lambda: slot.seeds == [0, 1, 2], 10)
    slot.end(2, DONE)
    assert eventually(lambda: slot.seeds == [0, 1, 2, 3], 10)
    slot.end(3, DONE)
    slot.end(4, DONE)
    assert [future.result(timeout=10) for future in futures] == [DONE] * 4
    assert slot.withdrawn == []


def test_what_waits_behind_another_goes_to_an_idle_slot(made: Any) -> None:
    workers, (long, short) = made(2)
    for seed in range(3):
        workers.submit(evaluation(seed=seed))
    assert eventually(lambda: (long.seeds, short.seeds) == ([0, 2], [1]), 10)
    assert long.withdrawn == []
    short.end(1, DONE)
    assert eventually(lambda: long.withdrawn == [2], 10), "the number of the call that waits"
    long.end(2, None)
    assert eventually(lambda: short.seeds == [1, 2], 10)
    assert long.withdrawn == [2], "once"


def test_only_the_evaluation_that_ran_counts_a_lost_slot(made: Any) -> None:
    workers, (lost, other) = made(2)
    for seed in range(4):
        workers.submit(evaluation(seed=seed))
    assert eventually(lambda: (lost.seeds, other.seeds) == ([0, 2], [1, 3]), 10)
    lost.calls[1][0].set_exception(ConnectionError("the node is gone"))
    other.end(1, DONE)
    other.end(2, DONE)
    assert eventually(lambda: other.seeds == [1, 3, 0, 2], 10), "in the order of before"
    (kept,) = workers._slots
    assert [task.n_lost for task in kept.tasks] == [1, 0]


class _Threads:
    """In place of `LocalWorkers`: one evaluation at a time, each until the test lets it end."""

    def __init__(self, n: int) -> None:
        self.begun: list[int] = []
        self.may_end = threading.Event()
        self._pool = ThreadPoolExecutor(n)

    def submit(self, evaluation: Evaluation) -> Future[Result]:
        return self._pool.submit(self._run, evaluation.seed)

    def _run(self, seed: int) -> Result:
        self.begun.append(seed)
        assert self.may_end.wait(10)
        return DONE


@pytest.fixture
def slot(monkeypatch: pytest.MonkeyPatch) -> Any:
    import nas.workers.slot

    monkeypatch.setattr(nas.workers.slot, "LocalWorkers", _Threads)
    return nas.workers.slot.Slot()


def test_a_slot_gives_back_what_has_not_begun(slot: Any) -> None:
    """Also if it is asked for before it reads the evaluation; what runs goes on."""
    sent = [evaluation(seed=seed) for seed in range(4)]
    version = sent[0].task.version
    with ThreadPoolExecutor(4) as calls:
        slot.withdraw(3)
        runs, waits, early, last = (
            calls.submit(slot.evaluate, number, pickle.dumps(sent[number - 1]), version)
            for number in (1, 2, 3, 4)
        )
        assert early.result(timeout=10) is None
        slot.withdraw(2)
        assert waits.result(timeout=10) is None
        slot.withdraw(1)
        slot._workers.may_end.set()
        assert (runs.result(timeout=10), last.result(timeout=10)) == (DONE, DONE)
    assert slot._workers.begun == [0, 3]
    assert slot._futures == {}, "results are not kept"


def test_a_slot_runs_calls_in_their_order(slot: Any) -> None:
    """Ray gives each a thread, and the second may be the first to run."""
    slot._workers.may_end.set()
    sent = pickle.dumps(evaluation(seed=1)), pickle.dumps(evaluation(seed=0))
    version = evaluation().task.version
    with ThreadPoolExecutor(2) as calls:
        second = calls.submit(slot.evaluate, 2, sent[0], version)
        assert eventually(slot._turn._waiters.__len__, 10)
        first = calls.submit(slot.evaluate, 1, sent[1], version)
        assert (first.result(timeout=10), second.result(timeout=10)) == (DONE, DONE)
    assert slot._workers.begun == [0, 1]


def test_calls_go_on_after_one_that_cannot_be_read(slot: Any) -> None:
    slot._workers.may_end.set()
    one = pickle.dumps(evaluation())
    assert "(version" in str(slot.evaluate(1, one, "another version"))
    assert slot.evaluate(2, one, evaluation().task.version) == DONE


def test_slots_are_asked_how_far_they_are_while_somebody_looks(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nas.workers.ray as there

    monkeypatch.setattr(there, "REFRESH_S", 0.01)
    monkeypatch.setattr(there, "WATCHED_S", 0.2)
    workers, (busy, idle) = made(2)
    workers.submit(evaluation(seed=1))
    assert eventually(lambda: busy.seeds == [1], 10)
    time.sleep(0.1)
    assert busy.n_looks == 0, "nobody looks"
    busy.said = (1, Look(0.25, 3))

    def seen() -> list[tuple[int, Look | None]]:
        return [(running.seed, look) for running, _, look in workers.looks()]

    assert eventually(lambda: seen() == [(1, Look(0.25, 3))], 10)
    assert idle.n_looks == 0
    workers.submit(evaluation(seed=2))
    assert eventually(lambda: idle.seeds == [2], 10)
    idle.said = (7, Look(0.75, 4))  # of a call before this one
    assert eventually(lambda: seen() == [(1, Look(0.25, 3)), (2, None)], 10)
    busy.end(1, DONE)
    assert eventually(lambda: seen() == [(2, None)], 10)
    time.sleep(0.4)
    n_before = idle.n_looks
    time.sleep(0.1)
    assert idle.n_looks == n_before, "nobody looks any more"
