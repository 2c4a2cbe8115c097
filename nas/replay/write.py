"""A study becomes a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import UserError
from nas.protocol.requests import REFERENCE
from nas.replay.table import Header, Recorded, Table
from nas.resources import find
from nas.spaces import load_space
from nas.zoo import ZOO

if TYPE_CHECKING:
    from nas.study.look import Seen
    from nas.study.visit import Visit


def table_of(seen: "Seen") -> Table:
    """All judged visits of a study, in trial order.

    Raises:
        UserError: if there is none.
    """
    visits = tuple(_recorded(visit) for visit in seen.study.finished())
    if not visits:
        raise UserError(f"study {seen.name} has no judged cell yet, so there is no table to write.")
    attrs = seen.study.attrs
    definition = dict(attrs.get("definition", {}))
    source = str(seen.config.get("space", ""))
    version = str(definition.get("space", ""))
    tasks = {name: _version(definition, name) for name in definition.get("tasks.use", ())}
    header = Header(
        study=seen.name,
        space=Path(source).stem,
        space_version=version,
        space_file=_space_file(source, version),
        sampler=str(definition.get("sampler", "")),
        seed=int(definition.get("seed", 0)),
        tasks=tasks,
        reference=_reference(seen.study.finished()),
        definition=definition,
        versions=dict(attrs.get("provenance", {})),
    )
    return Table(header, visits)


def _version(definition: dict[str, Any], task: str) -> str:
    return str(definition.get("tasks", {}).get(task, {}).get("version", ""))


def _space_file(source: str, version: str) -> str:
    """Its text, unless the file now says something else than when the study was begun."""
    try:
        if not source or load_space(source).version != version:
            return ""
        return find("search_spaces", source).read_text(encoding="utf-8")
    except UserError:
        return ""


def _reference(visits: "Sequence[Visit]") -> dict[str, float]:
    for visit in visits:
        if visit.key == ZOO[REFERENCE].key and visit.kind == "given" and visit.judgement:
            best = visit.judgement.best
            return {task: value for task, value in best.items() if value is not None}
    return {}


def _recorded(visit: "Visit") -> Recorded:
    judgement = visit.judgement
    assert judgement is not None
    own, all_of_it = visit.summaries(), visit.all_summaries()
    return Recorded(
        number=visit.number,
        kind=visit.kind,
        name=visit.name,
        key=visit.key,
        cell=visit.cell,
        stage=judgement.stage,
        value=judgement.value,
        score=judgement.score,
        best=judgement.best,
        ratios=judgement.ratios,
        n_params=max((one.n_params for one in own), default=0),
        runs=sum(one.n_runs for one in all_of_it),
        flops=sum(one.flops for one in all_of_it),
        seconds=sum(one.wall_s for one in all_of_it),
        turn=visit.turn,
        parent=visit.parent,
        params=visit.params,
    )
