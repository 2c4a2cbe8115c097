"""One layer on both backends: the compiled loop against the eager reference, gradients included."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.cell import Cell
from nas.cell.count import width_unit
from nas.compile import eager, loop
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from tests.tensors import flat, seeded
from tests.tolerances import EXACT_ALGEBRA, TWICE_EAGER

Results = dict[str, Tensor]
"""Outputs and gradients by name."""


def fitting(cell: Cell, hidden: int) -> int:
    """The next width that can be divided into the blocks of a cell."""
    unit = width_unit(cell)
    return -(-hidden // unit) * unit


@dataclass(frozen=True)
class Problem:
    """A layer with weights, input, states and verticals, all drawn from the seed."""

    cell: Cell
    hidden: int
    """Rounded up to what the cell's blocks divide."""
    counts: tuple[int, ...]
    """Sequences at each step."""
    reverse: bool = False
    bias: bool = True
    seed: int = 0
    input_size: int = 0
    """0: hidden + 3, or hidden where the cell needs it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", fitting(self.cell, self.hidden))

    @property
    def input_width(self) -> int:
        widened = self.hidden if self.cell.needs_equal_widths else self.hidden + 3
        return self.input_size or widened

    def layer(self, dtype: torch.dtype) -> EagerCell:
        """Weights that float32 can hold, so that both precisions have the same."""
        layer = EagerCell(self.cell, self.input_width, self.hidden, self.bias, dtype=dtype)
        generator = seeded(self.seed)
        spread = min(0.4, self.hidden**-0.5)  # more, and wide cells would be chaotic
        with torch.no_grad():
            for parameter in layer.parameters():
                drawn = torch.empty(parameter.shape)
                parameter.copy_(nn.init.normal_(drawn, std=spread, generator=generator))
        return layer

    def values(self, layer: EagerCell, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The input, the states, the verticals."""
        rows, n_states = Rows(self.counts), len(self.cell.states)
        shapes = [(rows.total, self.input_width)]
        shapes += [(rows.batch, width) for width in layer.sizes[1 : 1 + n_states]]
        shapes += [(rows.total, self.hidden)] * len(self.cell.verticals)
        generator = seeded(self.seed + 1)
        drawn = [torch.randn(shape, generator=generator) for shape in shapes]
        if any(n.op == "div" for n in self.cell.nodes):  # normalisers are positive
            drawn[1 : 1 + n_states] = [state.abs() for state in drawn[1 : 1 + n_states]]
        return tuple(d.to(dtype).requires_grad_() for d in drawn)


def run(problem: Problem, backend: str, dtype: torch.dtype, nudge: float = 0.0) -> Results:
    """All outputs, and the gradients of a random projection of them.

    `nudge` is a relative change of the input, to find out how sensitive the results are.
    """
    layer = problem.layer(dtype)
    values = problem.values(layer, dtype)
    if nudge:
        noise = (1 + nudge * torch.randn(v.shape, generator=seeded(2), dtype=dtype) for v in values)
        values = tuple(
            (v * n).detach().requires_grad_() for v, n in zip(values, noise, strict=True)
        )
    n_states = len(problem.cell.states)
    x, states, verticals = values[0], values[1 : 1 + n_states], values[1 + n_states :]
    run_layer: Callable[..., tuple[Tensor, list[Tensor], list[Tensor]]]
    run_layer = {"c": loop.run_layer, "eager": eager.run_layer}[backend]
    y, finals, above = run_layer(layer, x, Rows(problem.counts), states, verticals, problem.reverse)
    found = {"y": y}
    found |= {f"final {k}": final for k, final in enumerate(finals)}
    found |= {f"above {k}": vertical for k, vertical in enumerate(above)}
    return {k: v.detach() for k, v in found.items()} | _gradients(layer, values, found)


def _gradients(layer: EagerCell, values: tuple[Tensor, ...], outputs: Results) -> Results:
    generator = seeded(3)
    # Drawn in float32 as the input is, so that both precisions are asked the same.
    weights = [
        torch.randn(out.shape, generator=generator).to(out.dtype) for out in outputs.values()
    ]
    loss = sum((out * w).sum() for out, w in zip(outputs.values(), weights, strict=True))
    leaves = {f"gradient of value {k}": v for k, v in enumerate(values)}
    leaves |= {f"gradient of {name}": p for name, p in layer.named_parameters()}
    assert isinstance(loss, Tensor)
    if not loss.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, gradients, strict=True))


def distance(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value where that is above 1."""
    assert ours.shape == theirs.shape
    if not theirs.numel():
        return 0.0
    theirs = theirs.double()
    return ((ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1)).item()


def is_smooth(problem: Problem, expected: Results) -> bool:
    """Whether rounding cannot move the result far: no overflow, no kink or pole close by."""
    if not all(value.isfinite().all() for value in expected.values()):
        return False
    moved = run(problem, "eager", torch.float64, nudge=1e-12)
    return all(distance(moved[name], expected[name]) < 1e-9 for name in expected)


def assert_exact(problem: Problem, expected: Results | None = None) -> None:
    """In float64 the backends agree but for rounding."""
    expected = expected or run(problem, "eager", torch.float64)
    ours = run(problem, "c", torch.float64)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            ours[name], value, **EXACT_ALGEBRA, msg=lambda said, name=name: f"{name}: {said}"
        )


def assert_step_is_exact(problem: Problem) -> None:
    """A step of one sequence without a gradient, whose matrices are not packed, agrees too."""
    problem = dataclasses.replace(problem, counts=(1,))
    layer = problem.layer(torch.float64)
    x, *rest = problem.values(layer, torch.float64)
    n_states = len(problem.cell.states)
    given = (layer, x, Rows((1,)), rest[:n_states], rest[n_states:], problem.reverse)
    with torch.no_grad():
        ours, theirs = loop.run_layer(*given), eager.run_layer(*given)
    for found, expected in zip(flat(*ours), flat(*theirs), strict=True):
        torch.testing.assert_close(found, expected, **EXACT_ALGEBRA)


def assert_as_good_as_eager(problem: Problem, exact: Results | None = None) -> None:
    """In float32 the compiled loop is about as close to float64 as the eager reference."""
    exact = exact or run(problem, "eager", torch.float64)
    ours, theirs = (run(problem, backend, torch.float32) for backend in ("c", "eager"))
    for name, value in exact.items():
        allowed = TWICE_EAGER["factor"] * distance(theirs[name], value) + TWICE_EAGER["slack"]
        assert distance(ours[name], value) <= allowed, name
