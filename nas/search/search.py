"""`python -m nas.search`: propose, train, judge, record; and leave the winner in a folder.

config -> plan -> study -> sampler -> space.propose(trial) -> cell -> protocol -> evaluations
       -> workers -> outcomes -> score -> study -> record, leaderboard, winner

`nas/session/__init__.py` says which module does what.
"""

from collections.abc import Sequence

from nas.command_line import arguments_of, guarded
from nas.study.config import SearchConfig
from nas.study.parse import parse
from nas.study.parse import parser as parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.search", lambda: search(parse(arguments_of(arguments))))


def search(config: SearchConfig) -> int:
    """Run or resume the search that `config` describes; see `nas.search.run.search`."""
    from nas.search import run  # Optuna and what needs it, once the arguments are known to be good

    return run.search(config)
