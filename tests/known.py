"""The known cells as parameters of tests that compile a loop of each: some in the default run, the
rest as tests with processes, since each is a run of the compiler.

A cell is among `QUICK` for what it alone has: an op, a kind of state or width, a shape of the
graph.
"""

from collections.abc import Iterable

import pytest

from nas.zoo import ZOO

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


FEW = (
    *("lstm", "gru", "mut1", "scrn", "fastgrnn_low_rank", "qrnn_fo", "rhn_2", "depth_gated_lstm"),
    *("clockwork_rnn", "rwkv_4", "lstm_layer_norm", "on_lstm", "lstm_fgr"),
)
"""Of `QUICK`, at least one of each number and width of states, width of values and kind of layer,
for tests of how a loop is called, and of models made of loops, which run the other cells eagerly:
tests/compile compares the code of every cell with the reference, alone and among members."""


def compiled(names: Iterable[str], quick: Iterable[str] = QUICK) -> list[object]:
    """Parameters by name; what is no known cell is in the default run."""
    return [
        pytest.param(
            name,
            id=name,
            marks=[pytest.mark.process] if name in ZOO and name not in quick else [],
        )
        for name in names
    ]
