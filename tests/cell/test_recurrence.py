"""Whether a cell's steps can be computed together: by its graph, and by its derivatives."""

import pytest
import torch
from torch import Tensor

from nas.cell import Cell, loads
from nas.cell.recurrence import groups, recurrence
from nas.compile.reference import EagerCell
from nas.zoo import ZOO
from tests.tensors import normal, seeded

H = 8
SCANS = {
    *("mingru", "minlstm", "gilr_lstm", "trnn", "tgru", "tlstm", "sru", "qrnn_f", "qrnn_fo"),
    *("qrnn_ifo", "lru", "s4d", "s5", "rg_lru", "hgrn", "hgrn_complex", "mamba", "rwkv_4"),
}
"""Of the zoo, as the papers say it."""
ELEMENTWISE = {"indrnn", "sru_v2", "brc", "unicornn", "para_gru", "para_lstm", "lstm_slim10"}
ELEMENTWISE |= {"lstm_slim11", "lstm_slim_c6"}


def test_which_cells_papers_call_parallel() -> None:
    found = {name: recurrence(cell) for name, cell in ZOO.items()}
    assert {name for name, kind in found.items() if kind == "scan"} == SCANS
    assert {name for name, kind in found.items() if kind == "elementwise"} == ELEMENTWISE


def cell(*lines: str, states: str = "h, c") -> Cell:
    return loads(f"def one(x, {states}):\n" + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return 2 * h + linear(x), c / linear(x) - c", "scan"),
        ("return h - h * c, linear(x) + c", "scan"),  # c first, then h
        ("return h + c, linear(x) - h", "scan"),  # together, affine
        ("return h * c, linear(x) - h", "elementwise"),
        ("return linear(x) / h, c", "elementwise"),
        ("return blend(sigmoid(linear(x)), h, c), c", "scan"),
        ("return blend(sigmoid(h), x, c), c", "elementwise"),
        ("return max(h + linear(x), linear(x)), c", "scan"),
        ("return max(linear(x) - h, linear(x)), c", "elementwise"),
        ("return max(2 * h, linear(x)), c", "elementwise"),
        ("return max(h, c), max(c, h)", "elementwise"),  # a maximum of two is not looked at
        ("return linear(c) + 0.5 * h, linear(x)", "scan"),  # c does not read its past
        ("return linear(h), c", "sequential"),
        ("return h + softmax(c), c", "scan"),
        ("return h + softmax(c), c + h", "sequential"),
        ("return tanh(diagonal(h)), c", "elementwise"),
        ("return diagonal(h), c", "scan"),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert recurrence(cell(text)) == expected


def step(module: EagerCell, group: list[int], others: list[Tensor], states: Tensor) -> Tensor:
    """New values of a group (n, H) of its old ones."""
    given = list(others)
    for k, state in zip(group, states, strict=True):
        given[k] = state[None]
    x = torch.linspace(-1, 1, module.sizes[0], dtype=torch.float64)[None]
    below = [torch.ones(1, H, dtype=torch.float64)] * len(module.cell.verticals)
    _, new, _ = module.step(x, given, below, 3)
    return torch.cat([new[k] for k in group])


@pytest.mark.parametrize("name", ZOO)
def test_derivatives_agree(name: str) -> None:
    """Within a group: a matrix of blocks that are diagonal, the same at all places if affine."""
    known = ZOO[name]
    module = EagerCell(known, H, H, dtype=torch.float64)
    module.reset_parameters(2.0, seeded())
    kinds = set()
    for group in map(sorted, groups(known)):
        others = [torch.rand(1, size, dtype=torch.float64) for size in module.sizes[1:]]
        others = others[: len(known.states)]
        found = []
        for seed in range(2):
            at = normal(len(group), others[group[0]].shape[1], seed=seed)
            slope = torch.autograd.functional.jacobian(
                lambda states, g=group, o=others: step(module, g, o, states), at
            )
            assert isinstance(slope, Tensor)
            found.append(slope)
        mixing = found[0].abs().sum((0, 2))
        diagonal = bool((mixing - mixing.diag().diag()).abs().max() == 0)
        same = torch.allclose(*found, rtol=1e-9, atol=1e-12)
        kinds.add("sequential" if not diagonal else "scan" if same else "elementwise")
    worst = [kind for kind in ("sequential", "elementwise", "scan") if kind in kinds] or ["scan"]
    if name == "rwkv_4":
        worst = ["scan"]  # a maximum is not affine, but composes all the same
    assert recurrence(known) == worst[0]
