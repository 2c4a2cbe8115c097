"""`python -m nas.search`: propose, train, judge, record; and leave the winner in a folder.

config -> plan -> study -> sampler -> space.propose(trial) -> cell -> protocol -> evaluations
       -> workers -> outcomes -> score -> study -> record, leaderboard, winner

`nas/session/__init__.py` says which module does what.
"""

import sys
from collections.abc import Sequence

from nas.command_line import guarded
from nas.study.config import SearchConfig
from nas.study.parse import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return guarded("nas.search", lambda: search(parse(given)))


def search(config: SearchConfig) -> int:
    """Run or resume the search that `config` describes; see `nas.search.run.search`."""
    from nas.search import run  # Optuna and what needs it, once the arguments are known to be good

    return run.search(config)
