"""The known cells of the literature, as data: `nas.zoo["gru"]`.

To add one, write a function in a family file, with its paper in the docstring, and a line here.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from nas.cell import Cell, trace
from nas.zoo import gru, lstm, simple

SOURCES: dict[str, Callable[..., Any]] = {
    "rnn": simple.rnn,
    "irnn": simple.irnn,
    "lstm": lstm.lstm,
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
    "gru": gru.gru,
    "gru_v1": gru.gru_v1,
    "mgu": gru.mgu,
    "mut1": gru.mut1,
    "mut2": gru.mut2,
    "mut3": gru.mut3,
    "ugrnn": gru.ugrnn,
    "janet": gru.janet,
    "mingru": gru.mingru,
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
