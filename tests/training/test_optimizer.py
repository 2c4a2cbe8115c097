"""Steps of all members at once, in C and in torch, against torch.optim, one optimizer a member."""

import ctypes
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.compile.backend import usual
from nas.nn.settings import Settings
from nas.training.optimizer import StackedOptimizer
from tests.tensors import seeded
from tests.tolerances import SAME_FORMULA

SHAPES = ((3, 4), (5,), (7, 2, 2), (1,))
STEPS = 20
SGD = [Settings(learning_rate=r, clip_norm=n) for r, n in ((0.5, 1.0), (0.1, 4.0), (0.3, 1e9))]
MIXED = [dataclasses.replace(s, momentum=m) for s, m in zip(SGD, (0.9, 0.0, 0.5), strict=True)]
ADAMW = [dataclasses.replace(s, optimizer="adamw", learning_rate=s.learning_rate / 50) for s in SGD]
KINDS = {"sgd": SGD, "momentum": MIXED, "adamw": ADAMW}


@pytest.fixture(autouse=True, params=["c", "eager"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_BACKEND", request.param)


def test_each_backend_is_tested() -> None:
    in_c = StackedOptimizer(started(1), SGD[:1])._in_c
    assert (in_c is not None) == (usual() == "c")


def test_what_c_reads_is_there_while_it_reads() -> None:
    """Not freed, and given to the next array of the same size."""
    optimizer, seen = StackedOptimizer(started(3), ADAMW), []
    if optimizer._in_c is None:
        return

    def look(step: int, *_: int) -> None:
        others = [np.full(10, -1) for _ in range(20)]
        seen.append(list((ctypes.c_long * 2).from_address(step)))
        assert len(others) == 20

    optimizer._in_c = dict.fromkeys(optimizer._in_c, look)
    optimizer.step(optimizer.take_gradients())
    assert seen == [list(optimizer.values.shape)] * 2


def started(members: int, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = seeded()
    shapes = [(members, *shape) for shape in SHAPES]
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def gradients(parameters: list[nn.Parameter], step: int, members: list[int]) -> list[Tensor]:
    """Some gradients, a member's whatever the others are; of lengths around the clip norms."""
    found = []
    for k, place in enumerate(members):
        generator = seeded(1000 * step + place)
        size = 0.3 * (1 + step % 4)
        found.append([size * torch.randn(p[k].shape, generator=generator) for p in parameters])
    return [torch.stack(parts).to(parameters[0]) for parts in zip(*found, strict=True)]


def take_steps(
    optimizer: StackedOptimizer, steps: range, members: list[int], halve_at: int = -1
) -> list[Tensor]:
    """The lengths of the gradients."""
    norms = []
    for step in steps:
        for p, g in zip(
            optimizer.parameters, gradients(optimizer.parameters, step, members), strict=True
        ):
            p.grad = g
        if step == halve_at:
            optimizer.set_rates((optimizer.rates.flatten() / 2).tolist())
        norms.append(optimizer.take_gradients())
        optimizer.step(norms[-1])
    return norms


def alone(k: int, settings: Settings, halve_at: int) -> list[Tensor]:
    parameters = [nn.Parameter(p.detach()[k].clone()) for p in started(3)]
    rate, momentum = settings.learning_rate, settings.momentum
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(parameters, lr=rate)
        if settings.optimizer == "adamw"
        else torch.optim.SGD(parameters, lr=rate, momentum=momentum)
    )
    stacked = [p.unsqueeze(0) for p in parameters]
    for step in range(STEPS):
        for p, g in zip(parameters, gradients(stacked, step, [k]), strict=True):  # type: ignore[arg-type]
            p.grad = g[0]
        if step == halve_at:
            optimizer.param_groups[0]["lr"] /= 2
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimizer.step()
    return [p.detach() for p in parameters]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_stepped_as_torch_steps_them(kind: str) -> None:
    settings = KINDS[kind]
    parameters = started(3)
    optimizer = StackedOptimizer(parameters, settings)
    norms = torch.stack(take_steps(optimizer, range(STEPS), [0, 1, 2], halve_at=12))
    clipped = norms > torch.tensor([s.clip_norm for s in settings])
    assert clipped[:, 1].any(), "the comparison must see clipping"
    assert not clipped[:, 1].all(), "and gradients that are short enough"
    for k, one in enumerate(settings):
        for ours, expected in zip(parameters, alone(k, one, halve_at=12), strict=True):
            torch.testing.assert_close(ours.detach()[k], expected, **SAME_FORMULA)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_member_does_not_depend_on_the_others(kind: str, dtype: torch.dtype) -> None:
    """To the bit: alone, among three, or after others have left."""
    settings = KINDS[kind]
    together = started(3, dtype)
    take_steps(StackedOptimizer(together, settings), range(STEPS), [0, 1, 2])
    for k, one in enumerate(settings):
        parameters = [nn.Parameter(p.detach()[k : k + 1].clone()) for p in started(3, dtype)]
        take_steps(StackedOptimizer(parameters, [one]), range(STEPS), [k])
        for ours, other in zip(parameters, together, strict=True):
            assert torch.equal(ours[0], other[k])
    left = started(3, dtype)
    optimizer = StackedOptimizer(left, settings)
    take_steps(optimizer, range(7), [0, 1, 2])
    for parameter in left:
        parameter.data = parameter.data[[2, 1]]
    optimizer.keep([2, 1])
    take_steps(optimizer, range(7, STEPS), [2, 1])
    for ours, other in zip(left, together, strict=True):
        assert torch.equal(ours, other[[2, 1]])


def test_gradients_of_members_that_leave_between_norm_and_step_are_gone() -> None:
    parameters = started(3)
    optimizer = StackedOptimizer(parameters, SGD)
    for p, g in zip(parameters, gradients(parameters, 0, [0, 1, 2]), strict=True):
        g[1] = math.nan
        p.grad = g
    norms = optimizer.take_gradients()
    assert norms.isfinite().tolist() == [True, False, True]
    before = [p.detach()[[0, 2]].clone() for p in parameters]
    for parameter in parameters:
        parameter.data = parameter.data[[0, 2]]
    optimizer.keep([0, 2])
    optimizer.step(norms[[0, 2]])
    expected = gradients(parameters, 0, [0, 2])
    scale = (torch.tensor([1.0, 1e9]) / norms[[0, 2]]).clamp(max=1) * torch.tensor([0.5, 0.3])
    for p, b, g in zip(parameters, before, expected, strict=True):
        assert p.isfinite().all()
        step = scale.view(-1, *[1] * (g.dim() - 1)) * g
        torch.testing.assert_close(p.detach(), b - step, rtol=1e-5, atol=0)


def test_a_parameter_without_a_gradient_stays() -> None:
    parameters = started(3)
    optimizer = StackedOptimizer(parameters, SGD)
    before = parameters[1].detach().clone()
    for p, g in zip(parameters, gradients(parameters, 0, [0, 1, 2]), strict=True):
        p.grad = None if p is parameters[1] else g
    optimizer.step(optimizer.take_gradients())
    assert torch.equal(parameters[1], before)
    assert not torch.equal(parameters[0], started(3)[0])
