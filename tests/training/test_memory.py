"""How many runs train as one stack: what is free, and what was once too much."""

import dataclasses
from typing import Any

import pytest
import torch

import nas.training.device_memory
import nas.training.run_groups
from nas.nn.settings import Settings
from nas.protocol.device import SHARE
from nas.tasks import Xml
from nas.training.device_memory import STACK_BYTES, StackMemory
from nas.training.module import Training
from nas.training.train import train
from nas.training.window_tensors import KEPT_BYTES, TensorWindow, windows_of
from nas.zoo import ZOO

MEMBER_BYTES = 1 << 20
GIB = 1 << 30


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """GPUs with so much free memory, which are not here."""
    found = {"cuda:0": 8 * GIB, "cuda:1": 2 * GIB}
    both = lambda device: (found[device], 10 * GIB)  # noqa: E731
    monkeypatch.setattr(nas.training.device_memory, "free_bytes", both)
    return found


def test_as_many_as_free_memory_holds(free: dict[str, int]) -> None:
    memory = StackMemory()
    assert memory.members("cuda:0", MEMBER_BYTES) == int(SHARE * 8 * GIB) // MEMBER_BYTES
    assert memory.members("cuda:1", MEMBER_BYTES) == int(SHARE * 2 * GIB) // MEMBER_BYTES
    assert memory.members("cuda:1", 4 * GIB) == 1
    assert memory.members("cpu", MEMBER_BYTES) == STACK_BYTES // MEMBER_BYTES


def test_what_was_too_much_is_halved_and_remembered(free: dict[str, int]) -> None:
    memory = StackMemory()
    memory.too_many("cuda:0", 100, MEMBER_BYTES)
    assert memory.members("cuda:0", MEMBER_BYTES) == 50
    assert memory.members("cuda:0", 2 * MEMBER_BYTES) == 25, "twice as large, half as many"
    memory.too_many("cuda:0", 50, MEMBER_BYTES)
    memory.too_many("cuda:0", 80, MEMBER_BYTES)
    assert memory.members("cuda:0", MEMBER_BYTES) == 25, "the smallest counts"
    free["cuda:0"] = 10 * MEMBER_BYTES
    assert memory.members("cuda:0", MEMBER_BYTES) == int(10 * SHARE), "and what is free now"
    assert memory.members("cuda:1", MEMBER_BYTES) == int(SHARE * 2 * GIB) // MEMBER_BYTES


def test_a_stack_on_the_cpu_is_tried_again(free: dict[str, int]) -> None:
    memory = StackMemory()
    memory.too_many("cpu", 4, MEMBER_BYTES)
    assert memory.members("cpu", MEMBER_BYTES) == STACK_BYTES // MEMBER_BYTES


def test_training_remembers_what_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: stacks of four do not fit, and the next evaluation begins with two."""
    sizes: list[int] = []
    original = Training._update

    def limited(self: Training, window: Any) -> None:
        sizes.append(len(self.runs))
        if len(self.runs) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        original(self, window)

    class OnGpu(StackMemory):
        def members(self, device: str, member_bytes: int) -> int:
            return super().members("cuda:0", member_bytes)

        def too_many(self, device: str, n_members: int, member_bytes: int) -> None:
            super().too_many("cuda:0", n_members, member_bytes)

    monkeypatch.setattr(nas.training.device_memory, "free_bytes", lambda device: (GIB, GIB))
    task = Xml(epochs=1, batches_per_epoch=2, validation_batches=1, n_params=(4000,))
    four = [Settings(4000, learning_rate=0.1 * (1 + n)) for n in range(4)]
    expected = train(ZOO["gru"], task, four, seed=0)
    monkeypatch.setattr(nas.training.run_groups, "OF_PROCESS", OnGpu())
    monkeypatch.setattr(Training, "_update", limited)
    assert train(ZOO["gru"], task, four, seed=0) == expected
    assert sizes[0] == 4
    sizes.clear()
    other = [dataclasses.replace(one, clip_norm=1.0) for one in four]
    assert {outcome.status for outcome in train(ZOO["gru"], task, other, seed=0)} == {"ok"}
    assert max(sizes) == 2


def test_a_worker_keeps_windows_up_to_so_many_bytes() -> None:
    """And not so many epochs, of which one of `storn` is 100 times one of xml. Memory that is not
    written takes none."""
    windows_of.cache_clear()
    large = (TensorWindow(torch.empty(KEPT_BYTES // 12), torch.empty(0), None, True, {}),)
    for epoch in range(4):
        windows_of.cache[epoch] = large
        assert windows_of.cache.currsize <= KEPT_BYTES
    assert list(windows_of.cache) == [1, 2, 3]
    windows_of.cache_clear()
