"""Small models that attend, and a window of sources of several lengths."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.cell.reader import loads
from nas.nn.attention import AttentionModel
from nas.nn.layers import States
from nas.tasks.base import Attention, AttentionForm, Interface
from nas.zoo import ZOO
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_64

FORMS: tuple[AttentionForm, ...] = ("additive", "general")
SYMBOLS, DIVIDER, PADDING, WIDTH = 7, 7, 8, 8
SOURCES = ((1, 2, 3, 4, 5), (6, 0, 0), (2,), (5, 5, 1, 0))
WRITTEN = ((3, 1, 4), (6,), (2, 2, 2, 0), ())
"""What follows the divider."""
SCALES, SEEDS = (0.7, 1.4, 2.8), (5, 6, 7)
CLOCKED = loads("""
def clocked(x, h, n = 1):
    h2 = tanh(linear(x, h) + 0.3 * sin(step()))
    return h2 * n, h2, n * 0.9
""")


def interface(form: AttentionForm) -> Interface:
    return Interface(PADDING + 1, SYMBOLS, attention=Attention(form, DIVIDER, PADDING))


def window(
    sources: Sequence[Sequence[int]] = SOURCES,
    written: Sequence[Sequence[int]] = WRITTEN,
    before: int = 0,
    after: int = 0,
) -> Tensor:
    """Tokens (time, batch), with so many steps more that are padding for all."""
    left, right = max(map(len, sources)) + before, max(map(len, written)) + after
    rows = []
    for source, text in zip(sources, written, strict=True):
        row = [PADDING] * (left - len(source)) + [*source, DIVIDER, *text]
        rows.append(row + [PADDING] * (right - len(text)))
    return torch.tensor(rows).t()


def model(name: str, form: AttentionForm, layers: int = 1, k: int = 0) -> AttentionModel:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    one = AttentionModel(cell, interface(form), WIDTH, layers, 0.0)
    one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
    return one.double().eval()


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, **OTHER_KERNEL_64)


def joined(states: States) -> list[Tensor]:
    return [states] if isinstance(states, Tensor) else list(states)
