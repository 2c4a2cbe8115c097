"""Search for, compare and reuse recurrent cells: a cell is its equations.

    import nas
    nas.zoo["gru"]                        # the known cells of the literature
    cell = nas.cell("mut3")               # a zoo name, equations as text, a .cell or .json file
    rnn = nas.RNN(cell, 32, 64)           # the signature and behaviour of torch.nn.LSTM
    nas.load("studies/quickstart/winner") # a trained winner: raw data in, answers in its units out
    result = nas.search(tasks=["text"])   # what python -m nas.search does; nas.compare, nas.curves
    nas.Task(...), nas.check_task(...)    # a task of your own, and what is wrong with it

`nas.cell` and `nas.zoo` are these objects, not the packages of the same names; those are reached as
`from nas.cell import linear, tanh, trace` and `from nas.zoo.gru import gru`. `nas.search`,
`nas.compare` and `nas.curves` are packages that can be called. docs/python.md shows all calls.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

from nas.zoo import ZOO as zoo
from nas.zoo import studied
from nas.zoo.lookup import cell as cell

if TYPE_CHECKING:
    from nas.compare.call import compare as compare
    from nas.compare.config import CompareConfig as CompareConfig
    from nas.curves.call import curves as curves
    from nas.curves.config import CurvesConfig as CurvesConfig
    from nas.nn.loading import load as load
    from nas.nn.rnn import RNN as RNN
    from nas.search.call import search as search
    from nas.session.callbacks import Callback as Callback
    from nas.session.result import result as result
    from nas.study.config import SearchConfig as SearchConfig
    from nas.tasks.own import OwnTask as Task  # noqa: F401 (a name of its own)
    from nas.testing.own import check_task as check_task

__version__ = "0.1.0"
LATE = {
    "RNN": "nas.nn.rnn:RNN",
    "load": "nas.nn.loading:load",
    "Task": "nas.tasks.own:OwnTask",
    "check_task": "nas.testing.own:check_task",
    "Callback": "nas.session.callbacks:Callback",
    "SearchConfig": "nas.study.config:SearchConfig",
    "result": "nas.session.result:result",
    "search": "nas.search",
    "compare": "nas.compare",
    "curves": "nas.curves",
    "CompareConfig": "nas.compare.config:CompareConfig",
    "CurvesConfig": "nas.curves.config:CurvesConfig",
}
"""What is imported when it is first asked for, since it needs torch or Optuna: commands, and
`import nas`, start at once."""
__all__ = [*LATE, "__version__", "cell", "zoo"]


def _study_cells() -> studied.Reader:
    from nas.study import cells  # Optuna takes a second

    return cells


studied.read_with(_study_cells)


def __getattr__(name: str) -> Any:
    """Import what is in `LATE` when it is first asked for."""
    if name in LATE:
        return pkgutil.resolve_name(LATE[name])
    raise AttributeError(f"module nas has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LATE})
