"""How a visit of a study is judged: what the protocol must know of the cell's earlier visits.

Everything follows from what is stored, so that a search which was stopped goes on where it stood.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.protocol.inheritance import FILTER, Ancestry, Known, draw, settings_at
from nas.protocol.judgement import Reference
from nas.protocol.requests import Candidate
from nas.protocol.staged import Judging, NeedReference, Staged
from nas.study.visit import Evaluated, Visit
from nas.tasks.base import Task

Visits = Sequence[Visit | None]


def judging_of(visit: Visit, visits: Visits, protocol: Staged, reference_key: str) -> Judging:
    """The protocol's generator for a visit, given all visits of the study."""
    if visit.kind == "given":
        is_reference = visit.key == reference_key
        return protocol.measure(visit.cell, visit.key, is_reference=is_reference)
    own = _drawn(visits, visit.key, visit.turn)
    earlier = [v.judgement for v in own if v.turn < visit.turn and v.judgement]
    settings = {v.turn: v.settings for v in own}

    def tried(task: Task | None, turn: int) -> tuple[Settings, ...]:
        places = settings.get(turn)
        if not places:
            return protocol.settings_of(task, turn)
        return settings_at(protocol, task, places[task.name if task else FILTER])

    candidate = Candidate(visit.cell, visit.key, tried, visit.turn, _passed(own, visit, protocol))
    is_accepted = any(judgement.score is not None for judgement in earlier)
    return protocol.revisit(candidate) if is_accepted else protocol.judge(candidate)


def _drawn(visits: Visits, key: str, turn: int) -> list[Visit]:
    """The visits of a candidate up to a turn."""
    return [v for v in visits if v and v.key == key and v.kind == "drawn" and v.turn <= turn]


def _passed(own: Sequence[Visit], visit: Visit, protocol: Staged) -> int | None:
    """The first of the earlier visits at which a candidate passed the filter."""
    for earlier in own:
        if earlier.turn < visit.turn and earlier.judgement and protocol.filter is not None:
            if earlier.judgement.stage != protocol.filter.name:
                return earlier.turn
    return None


def evaluations_of(
    judging: Judging, known: Mapping[str, Evaluated], reference: Reference
) -> list[Evaluation]:
    """All that a finished judging asked for, in order; `known` has the outcomes by digest."""
    asked: list[Evaluation] = []
    try:
        request = next(judging)
        while True:
            if isinstance(request, NeedReference):
                request = judging.send(reference)
            else:
                asked += request
                request = judging.send([known[e.digest()].outcomes for e in request])
    except StopIteration:
        return asked


# --- inherited settings ---


def inherited(
    visit: Visit, visits: Visits, protocol: Staged, baselines: Iterable[str]
) -> dict[str, list[int]]:
    """The settings of a candidate's visit under `draws: inherited`.

    They follow from the results that the sampler knows. `baselines` are the keys of GRU and LSTM.
    """
    known = [v for v in visits if v and v.told]
    parent = visits[visit.parent] if visit.parent is not None else None
    of_parent = [v for v in known if parent is not None and v.key == parent.key]
    of_baselines = [v for v in known if v.kind == "given" and v.key in set(baselines)]
    n_parent = sum(summary.n_runs for v in of_parent for summary in v.summaries())
    ancestry = {
        task.name: Ancestry(
            list(_known(protocol, task, of_parent)),
            list(_known(protocol, task, of_baselines)),
            n_parent,
        )
        for task in protocol.tasks
    }
    taken: dict[str, set[int]] = {}
    for earlier in _drawn(visits, visit.key, visit.turn - 1):
        for name, places in earlier.settings.items():
            taken.setdefault(name, set()).update(places)
    return draw(protocol, visit.number, ancestry, taken)


def _known(protocol: Staged, task: Task, visits: Iterable[Visit]) -> Iterator[Known]:
    """Places of settings in the grid of a task, with the metric that cells reached with them."""
    points = protocol.grid.points(task.n_params)
    place_of = {settings: place for place, settings in enumerate(points)}
    for visit in visits:
        for digest, name in visit.tasks().items():
            if name == task.name:
                evaluated = visit.evaluated[digest]
                for settings, outcome in zip(evaluated.settings, evaluated.outcomes, strict=True):
                    yield Known(place_of[settings], outcome.best)
