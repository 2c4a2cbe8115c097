"""The known cells of the literature, as data: `nas.zoo["gru"]`.

To add one, write a function in a family file, with its paper in the docstring, and a line here.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from nas.cell import Cell, trace
from nas.zoo import (
    continuous,
    genotypes,
    gru,
    hierarchical,
    highway,
    light,
    lstm,
    multiplicative,
    parallel,
    searched,
    simple,
    slim,
    state_space,
)

SOURCES: dict[str, Callable[..., Any]] = {
    "rnn": simple.rnn,
    "irnn": simple.irnn,
    "jordan": simple.jordan,
    "leaky_rnn": simple.leaky_rnn,
    "indrnn": simple.indrnn,
    "mrnn": simple.mrnn,
    "mi_rnn": simple.mi_rnn,
    "scrn": simple.scrn,
    "fastrnn": simple.fastrnn,
    "lstm": lstm.lstm,
    "lstm_1997": lstm.lstm_1997,
    "lstm_b": lstm.lstm_b,
    "lstm_peephole": lstm.peephole("ifo"),
    "lstm_peephole_i": lstm.peephole("i"),
    "lstm_peephole_f": lstm.peephole("f"),
    "lstm_peephole_o": lstm.peephole("o"),
    "lstm_peephole_if": lstm.peephole("if"),
    "lstm_peephole_io": lstm.peephole("io"),
    "lstm_peephole_fo": lstm.peephole("fo"),
    "lstm_nig": lstm.lstm_nig,
    "lstm_nfg": lstm.lstm_nfg,
    "lstm_nog": lstm.lstm_nog,
    "lstm_niaf": lstm.lstm_niaf,
    "lstm_noaf": lstm.lstm_noaf,
    "lstm_np": lstm.lstm,
    "lstm_cifg": lstm.lstm_cifg,
    "lstm_fgr": lstm.lstm_fgr,
    "lstm_no_f": lstm.lstm_no_f,
    "lstm_no_i": lstm.lstm_no_i,
    "lstm_no_o": lstm.lstm_no_o,
    "lstm_projected": lstm.lstm_projected,
    "lstm_layer_norm": lstm.lstm_layer_norm,
    "mlstm": lstm.mlstm,
    "gru": gru.gru,
    "gru_v1": gru.gru_v1,
    "gru_chung": gru.gru_chung,
    "mgu": gru.mgu,
    "mut1": gru.mut1,
    "mut2": gru.mut2,
    "mut3": gru.mut3,
    "ugrnn": gru.ugrnn,
    "janet": gru.janet,
    "mingru": gru.mingru,
    "lstm_slim1": slim.lstm_slim("1"),
    "lstm_slim2": slim.lstm_slim("2"),
    "lstm_slim3": slim.lstm_slim("3"),
    "lstm_slim4": slim.lstm_slim("4"),
    "lstm_slim4a": slim.lstm_slim4a,
    "lstm_slim5": slim.lstm_slim("5"),
    "lstm_slim5a": slim.lstm_slim5a,
    "lstm_slim6": slim.lstm_slim6,
    "lstm_slim_c6": slim.lstm_slim_c6,
    "lstm_slim10": slim.lstm_slim10,
    "lstm_slim11": slim.lstm_slim11,
    "gru_slim1": slim.gru_slim("1"),
    "gru_slim2": slim.gru_slim("2"),
    "gru_slim3": slim.gru_slim("3"),
    "mgu_slim1": slim.mgu_slim("1"),
    "mgu_slim2": slim.mgu_slim("2"),
    "mgu_slim3": slim.mgu_slim("3"),
    "intersection": light.intersection,
    "ran": light.ran,
    "atr": light.atr,
    "cfn": light.cfn,
    "brc": light.brc,
    "nbrc": light.nbrc,
    "star": light.star,
    "lightru": light.lightru,
    "sgrn": light.sgrn,
    "sgu": light.sgu,
    "dsgu": light.dsgu,
    "ligru": light.ligru,
    "fastgrnn": light.fastgrnn,
    "fastgrnn_low_rank": light.fastgrnn_low_rank,
    "sru": parallel.sru,
    "sru_v2": parallel.sru_v2,
    "qrnn_f": parallel.qrnn_f,
    "qrnn_fo": parallel.qrnn_fo,
    "qrnn_ifo": parallel.qrnn_ifo,
    "trnn": parallel.trnn,
    "tgru": parallel.tgru,
    "tlstm": parallel.tlstm,
    "rhn_2": highway.rhn(2),
    "rhn_5": highway.rhn(5),
    "mogrifier_lstm": multiplicative.mogrifier_lstm,
    "minimal_rnn": multiplicative.minimal_rnn,
    "miru_1": multiplicative.miru_1,
    "miru_2": multiplicative.miru_2,
    "aru": multiplicative.aru,
    "rhn_2_carry": hierarchical.rhn_2_carry,
    "clockwork_rnn": hierarchical.clockwork_rnn,
    "nested_lstm": hierarchical.nested_lstm,
    "on_lstm": hierarchical.on_lstm,
    "fast_slow_lstm": hierarchical.fast_slow_lstm,
    "depth_gated_lstm": hierarchical.depth_gated_lstm,
    "grid_lstm": hierarchical.grid_lstm,
    "antisymmetric_rnn": continuous.antisymmetric_rnn,
    "gated_antisymmetric_rnn": continuous.gated_antisymmetric_rnn,
    "lipschitz_rnn": continuous.lipschitz_rnn,
    "cornn": continuous.cornn,
    "unicornn": continuous.unicornn,
    "lem": continuous.lem,
    "ltc": continuous.ltc,
    "cfc": continuous.cfc,
    "cfc_no_gate": continuous.cfc_no_gate,
    "cfc_pure": continuous.cfc_pure,
    "gru_decay": continuous.gru_decay,
    "phased_lstm": continuous.phased_lstm,
    "tau_gru": continuous.tau_gru,
    "minlstm": state_space.minlstm,
    "gilr_lstm": state_space.gilr_lstm,
    "para_gru": state_space.para_gru,
    "para_lstm": state_space.para_lstm,
    "slstm": state_space.slstm,
    "lru": state_space.lru,
    "s5": state_space.s5,
    "s4d": state_space.s4d,
    "rg_lru": state_space.rg_lru,
    "hgrn": state_space.hgrn,
    "hgrn_complex": state_space.hgrn_complex,
    "mamba": state_space.mamba,
    "rwkv_4": state_space.rwkv_4,
    "lmu": state_space.lmu,
    "nas_cell": searched.nas_cell,
    "nas_cell_projected": searched.nas_cell_projected,
    "darts_v1": genotypes.darts_v1(),
    "darts_v2": genotypes.darts_v2(),
    "enas": genotypes.enas(),
    "enas_lm": genotypes.enas_lm(),
}

DOCS = {"lstm_np": "Greff et al. 2015, NP: no peepholes, which is the plain LSTM."}


@cache
def _traced(name: str) -> Cell:
    return trace(SOURCES[name], name, DOCS.get(name))


class Zoo(Mapping[str, Cell]):
    """A mapping from name to cell; a cell is traced when it is first asked for."""

    def __getitem__(self, name: str) -> Cell:
        if name not in SOURCES:
            raise KeyError(name)
        return _traced(name)

    def __iter__(self) -> Iterator[str]:
        return iter(SOURCES)

    def __len__(self) -> int:
        return len(SOURCES)

    def __repr__(self) -> str:
        return f"<zoo of {len(self)} cells: {', '.join(self)}>"

    def named(self, key: str) -> str:
        """The first name of the cell with this key, or an empty string."""
        return _names_by_key().get(key, "")


@cache
def _names_by_key() -> dict[str, str]:
    names: dict[str, str] = {}
    for name in SOURCES:
        names.setdefault(_traced(name).key, name)
    return names


ZOO = Zoo()
