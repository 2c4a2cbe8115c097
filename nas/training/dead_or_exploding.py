"""Fresh models that are dead or explode on random inputs: their runs are not worth beginning.

A model takes as many steps as its task carries a state on. A model that is only hard to train gets
no veto: the LSTM with forget bias 0 and the tanh RNN lose all gradients over 100 steps, and learn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.nn.members import Members

MOST_STEPS = 100
"""Enough to see the growth of a state that is carried from window to window."""
N_STREAMS = 4
"""Enough sequences that a ReLU is unlikely to be 0 in all of them."""
LARGEST = 1e19
"""The largest state, output or gradient. Float32 does not hold the square of more (1.8e19): the
norm of such a gradient is infinite, and the run would diverge. Of the zoo on the paper's grid only
the IRNN comes near: it passes at init scales up to 1, diverges within 9 windows of XML
from 0.7 on and within 4 from 1.4 on. All others stay below 100, and their gradients below 1e6."""
STEP = 0.01
"""The largest move of each parameter in the test whether a dead model comes to life."""


@dataclass(frozen=True)
class _Findings:
    """The measurements of a member."""

    size: float
    """The largest absolute value of a state or output."""
    slope: float
    """The largest gradient of the outputs, each with a random weight, by a value of an input."""
    memory: float
    """The largest gradient of the second half's outputs by the states at its start."""


def vetoes(model: Members, seeds: Sequence[int], n_steps: int) -> list[str]:
    """Return why each member of a fresh model should not be trained; "" for those that should.

    The inputs, symbols or standard normal features, are drawn from generators of the members'
    `seeds`, and the answer for a member does not depend on the others. The model cannot be used
    afterwards. A dead member is only vetoed if it is dead with other parameters near by too: at
    zeros with which a cell starts (a bias of 0 in a product, a learned scale of 0) a first step of
    training may bring it to life.
    """
    model.eval().requires_grad_(False)
    n_steps = max(2, min(n_steps, MOST_STEPS))
    generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]  # not the weights'
    reasons = [_reason(member, n_steps) for member in _findings(model, generators, n_steps)]
    dead = [k for k, (reason, is_dead) in enumerate(reasons) if reason and is_dead]
    if dead:
        generators = [generators[k] for k in dead]
        model.keep(dead)
        _move(model, generators)
        for k, member in zip(dead, _findings(model, generators, n_steps), strict=True):
            if not _reason(member, n_steps)[1]:
                reasons[k] = "", False
    return [reason for reason, _ in reasons]


def _reason(member: _Findings, n_steps: int) -> tuple[str, bool]:
    """Return why a member is vetoed, "" if it is not, and whether it is dead."""
    # Written so that NaN is vetoed.
    if not member.size <= LARGEST:
        return f"a state or output reaches {member.size:.3g} in {n_steps} steps", False
    if not member.slope <= LARGEST:
        return f"a gradient through {n_steps} steps reaches {member.slope:.3g}", False
    if member.slope == 0:
        return f"no output of {n_steps} steps depends on an input: all gradients are 0", True
    if member.memory == 0:
        return "no output depends on the states of steps before: all gradients are 0", True
    return "", False


def _findings(
    model: Members, generators: Sequence[torch.Generator], n_steps: int
) -> list[_Findings]:
    """Step all members over random inputs, and back once for gradients."""
    first = n_steps // 2
    inputs = [_inputs(model, generators, n) for n in (first, n_steps - first)]
    with torch.enable_grad():
        y_first, middle = model.run_layers(inputs[0], first, N_STREAMS, None)
        # There is no gradient by a tensor without a history; by its copy there is.
        middle = [[_traced(state) for state in layer] for layer in middle]
        y_second, last = model.run_layers(inputs[1], n_steps - first, N_STREAMS, middle)
        y = torch.cat([y_first, y_second], 1)
        weights = torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(0)).to(y)
        of_middle = [state for layer in middle for state in layer]
        slopes = _gradients((y * weights).sum(), [*inputs, *of_middle])
    sizes = _largest([y, *of_middle, *(state for layer in last for state in layer)])
    columns = (sizes, _largest(slopes[:2]), _largest(slopes[2:]))
    return [_Findings(*row) for row in zip(*columns, strict=True)]


def _inputs(model: Members, generators: Sequence[torch.Generator], n_steps: int) -> Tensor:
    """Draw and embed inputs, (members, steps * streams, width), to take gradients by."""
    count, device, n = n_steps * N_STREAMS, model.embedding.device, model.layout.embedded
    if model.interface.tokens:
        drawn = [torch.randint(n, (count,), generator=random).to(device) for random in generators]
        rows = [table[tokens] for table, tokens in zip(model.embedding, drawn, strict=True)]
    else:
        drawn = [torch.randn(count, n, generator=random).to(device) for random in generators]
        rows = [torch.mm(x, matrix.t()) for matrix, x in zip(model.embedding, drawn, strict=True)]
    return torch.stack(rows).requires_grad_()


def _traced(state: Tensor) -> Tensor:
    return state if state.requires_grad else state.clone().requires_grad_()


def _gradients(of: Tensor, by: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, zeros where nothing depends on a tensor."""
    if not of.requires_grad:
        return [torch.zeros_like(tensor) for tensor in by]
    return list(torch.autograd.grad(of, by, allow_unused=True, materialize_grads=True))


def _largest(tensors: Iterable[Tensor]) -> list[float]:
    """Return the largest absolute value of each member; NaN if one of its values is."""
    each = [tensor.detach().abs().flatten(1).amax(1) for tensor in tensors]
    largest: list[float] = torch.stack(each).amax(0).tolist()
    return largest


def _move(model: Members, generators: Sequence[torch.Generator]) -> None:
    """Move every parameter of every member a little at random."""
    for parameter in model.parameters():
        for part, generator in zip(parameter, generators, strict=True):
            step = torch.empty(part.shape).uniform_(-STEP, STEP, generator=generator)
            part += step.to(part)
