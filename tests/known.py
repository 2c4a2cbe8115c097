"""The known cells as parameters of tests that cost a second each: some at once, the rest as slow.

A cell is among `QUICK` for what it alone has: an op, a kind of state or width, a shape of the
graph. All are tested where slow tests are.
"""

from collections.abc import Iterable

import pytest

from nas.cell import Cell

QUICK = (
    *("rnn", "irnn", "lstm", "lstm_b", "lstm_peephole", "lstm_nig", "lstm_niaf", "lstm_noaf"),
    *("lstm_cifg", "lstm_fgr", "lstm_no_f", "gru", "gru_v1", "mgu", "mut1", "mut2", "mut3"),
    *("ugrnn", "janet", "mingru"),
    "scrn",  # y is a map of the new states
    "fastrnn",  # learned numbers
    "lstm_layer_norm",
    "lstm_slim11",  # learned vectors, no matrix reads a state
    "sgu",  # softplus and the hard sigmoid
    "fastgrnn_low_rank",  # narrow values
    "sru_v2",  # y adds x
    "qrnn_fo",  # a state of the input's width
    "rhn_2",  # layers within a step
    "depth_gated_lstm",  # values from the layer below
    "clockwork_rnn",  # clocks, and a matrix with zeros
    "rwkv_4",  # a state that starts at -inf, blends and maxima
    *("on_lstm", "antisymmetric_rnn", "cfc_pure", "slstm", "lru", "rg_lru", "hgrn", "lmu"),  # ops
)


def known(names: Iterable[str]) -> list[object]:
    """Parameters by name; what is no known cell is no slow test."""
    return [pytest.param(name, id=name, marks=_marks(name)) for name in names]


def known_cells(cells: Iterable[Cell]) -> list[object]:
    """Parameters that are cells."""
    return [pytest.param(cell, id=cell.name, marks=_marks(cell.name)) for cell in cells]


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return []
