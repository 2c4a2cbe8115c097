"""Search for, compare and reuse recurrent cells: a cell is its equations.

    import nas
    nas.zoo["gru"]                        # the known cells of the literature
    cell = nas.cell("mut3")               # a zoo name, equations as text, a .cell or .json file
    rnn = nas.RNN(cell, 32, 64)           # the signature and behaviour of torch.nn.LSTM
    nas.load("studies/quickstart/winner") # a trained winner: raw data in, answers in its units out

`nas.cell` and `nas.zoo` are these objects, not the packages of the same names; those are reached as
`from nas.cell import linear, tanh, trace` and `from nas.zoo.gru import gru`.
"""

from typing import TYPE_CHECKING, Any

from nas.zoo import ZOO as zoo
from nas.zoo import studied
from nas.zoo.lookup import cell as cell

if TYPE_CHECKING:
    from nas.nn.loading import load as load
    from nas.nn.rnn import RNN as RNN

__version__ = "0.1.0"
__all__ = ["RNN", "__version__", "cell", "load", "zoo"]


def _study_cells() -> studied.Reader:
    from nas.study import cells  # Optuna takes a second

    return cells


studied.read_with(_study_cells)


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for, so that commands start at once."""
    if name == "RNN":
        from nas.nn.rnn import RNN

        return RNN
    if name == "load":
        from nas.nn.loading import load

        return load
    raise AttributeError(f"module nas has no attribute {name!r}")
