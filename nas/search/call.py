"""`nas.search(...)`: a search as a call from Python, with the configuration of the command."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED
from nas.errors import UserError
from nas.search.run import search as run
from nas.session.callbacks import AnyCallback
from nas.session.calls import Group, Names, StudyFields, as_flags, explained
from nas.session.manner import of_call
from nas.session.result import SearchResult
from nas.study.config import SearchConfig
from nas.study.parse import ALIASES, parse


class SearchFields(StudyFields, total=False):
    """Fields of `nas.SearchConfig`, which explains each; `--help` of the command shows all."""

    space: str | Path
    sampler: str
    n_candidates: int
    run_budget: int
    include: str | Sequence[str | Path | Cell]
    constraint: Names
    objectives: Names
    protocol: str | Group
    evolution: Group
    table: str | Path
    in_flight: int
    confirm: int
    confirm_seeds: int
    confirm_tuning: int
    confirm_tasks: Names


def search(
    config: str | Path | SearchConfig = "quickstart",
    *,
    callbacks: Sequence[AnyCallback] = (),
    progress: bool = False,
    **fields: Unpack[SearchFields],
) -> SearchResult:
    """Run or resume a search, and return what it found.

        result = nas.search(space="gates", tasks=["text"], n_candidates=20)
        result = nas.search("overnight", protocol={"kind": "ladder"}, study="ladder")

    It is the study that `python -m nas.search` makes with the same configuration, and either goes
    on with what the other began: the same call resumes.

    Args:
        config: an experiment that comes with nas, the path of a YAML file, or a `nas.SearchConfig`.
        callbacks: functions of (study, trial), as for Optuna's `optimize`, and `nas.Callback`s.
        progress: whether to show what the command shows; else `result.output` has it.
        fields: fields of the configuration by name. A group is a dict, such as
            `settings={"learning_rate": [0.01]}`; `tasks=["text"]` is short for
            `tasks={"use": ["text"]}` and `protocol="ladder"` for `protocol={"kind": "ladder"}`.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments.
        SearchError: if the search cannot go on; finished work is kept.
        KeyboardInterrupt: after Ctrl-C, the stop button or SIGTERM; finished work is kept.
    """
    with explained("nas.search"):
        made = configured(config, fields)
        manner = of_call(callbacks, progress=progress)
        if made.protocol.kind == "replay":
            raise UserError(
                "protocol must be staged, flat or ladder in a call, got replay: a table is "
                "replayed by the command python -m nas.search --protocol replay --table FILE."
            )
        code = run(made, manner)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt(*manner.output.strip().splitlines()[-1:])
    return SearchResult(made.study, made.folder.absolute(), made.storage, manner.output)


def configured(config: str | Path | SearchConfig, fields: SearchFields) -> SearchConfig:
    """The configuration of a call, read and checked as that of the command.

    Raises:
        UserError: in one sentence, for anything wrong with it.
    """
    given = list(as_flags(SearchConfig, fields, ALIASES))
    if isinstance(config, str | Path):
        return parse([str(config), *given])
    if not isinstance(config, SearchConfig):
        raise UserError(
            "config must be an experiment's name, the path of a YAML file or a nas.SearchConfig, "
            f"got {type(config).__name__}."
        )
    base = config if config.study else dataclasses.replace(config, study="search")
    return parse([*as_flags(SearchConfig, vars(base), {}), *given])
