"""A visit: a trial of Optuna as the search sees it, with its evaluations.

Outcomes with their curves are most of a study. Numbers that are needed of all visits at once, such
as their cost, are in summaries; the outcomes themselves are read when they are needed (`Archive`),
so that a study of 10,000 candidates opens in seconds and stays small in memory.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement

Kind = Literal["given", "drawn"]
EVALUATION = "evaluation "
"""Prefix of the user attribute that holds an evaluation's outcomes; its digest follows."""
SUMMARY = "summary "
"""Prefix of the user attribute that holds an evaluation's summary."""
RECENT = 64
"""Evaluations in the in-memory cache: those of a few candidates."""


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation as it is stored with its trial."""

    task: str
    task_version: str
    settings: tuple[Settings, ...]
    seed: int
    fidelity: float
    outcomes: tuple[Outcome, ...]
    key: str = ""
    """Key of the cell, if it is not the trial's own: the reference on a later visit's settings."""
    repeat: int = 0
    """1 for a second measurement, with fresh seeds."""

    @property
    def is_beside(self) -> bool:
        """Whether it is not of what the cell is judged by."""
        return bool(self.key or self.repeat)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Evaluated":
        settings = tuple(Settings(**fields) for fields in data["settings"])
        outcomes = tuple(Outcome.from_json(fields) for fields in data["outcomes"])
        return Evaluated(**{**data, "settings": settings, "outcomes": outcomes})

    @staticmethod
    def of(evaluation: Evaluation, outcomes: tuple[Outcome, ...], key: str) -> "Evaluated":
        """`key` is that of the visit's cell."""
        return Evaluated(
            evaluation.task.name,
            evaluation.task.version,
            evaluation.settings,
            evaluation.seed,
            evaluation.fidelity,
            outcomes,
            "" if evaluation.key == key else evaluation.key,
            evaluation.repeat,
        )


@dataclass(frozen=True)
class Summary:
    """Numbers of an evaluation that are needed of many at once."""

    task: str
    key: str
    """Key of the cell, as in `Evaluated`."""
    n_params: int
    """Parameters of the largest model."""
    wall_s: float
    """Training time of all runs."""
    flops: float
    statuses: dict[str, int]
    """Number of runs by their status."""
    saved_flops: float = 0.0
    """FLOPs that runs which were cut or vetoed saved, at most."""
    repeat: int = 0
    """As in `Evaluated`."""

    @property
    def is_beside(self) -> bool:
        """As in `Evaluated`."""
        return bool(self.key or self.repeat)

    @property
    def n_runs(self) -> int:
        return sum(self.statuses.values())

    @staticmethod
    def of(evaluated: Evaluated) -> "Summary":
        outcomes = evaluated.outcomes
        return Summary(
            evaluated.task,
            evaluated.key,
            max((outcome.n_params for outcome in outcomes), default=0),
            sum(outcome.cost.wall_s for outcome in outcomes),
            sum(outcome.cost.flops for outcome in outcomes),
            dict(Counter(outcome.status for outcome in outcomes)),
            sum(outcome.cost.saved_flops for outcome in outcomes),
            evaluated.repeat,
        )


class Archive(Mapping[str, Evaluated]):
    """Every finished evaluation by digest, read when it is needed, by any thread."""

    def __init__(self, read: Callable[[int, str], dict[str, Any]]) -> None:
        """`read` gives the stored fields of an evaluation for its trial's id and its digest."""
        self._read = read
        self._trials: dict[str, int] = {}
        self._recent: dict[str, Evaluated] = {}
        self._lock = threading.Lock()

    def place(self, digest: str, trial_id: int) -> None:
        """Note the trial that holds an evaluation."""
        self._trials[digest] = trial_id

    def __getitem__(self, digest: str) -> Evaluated:
        trial_id = self._trials[digest]
        with self._lock:
            known = self._recent.pop(digest, None)
        evaluated = known or Evaluated.from_json(self._read(trial_id, digest))
        self.keep(digest, evaluated)
        return evaluated

    def keep(self, digest: str, evaluated: Evaluated) -> None:
        """Keep it in the in-memory cache."""
        with self._lock:
            self._recent[digest] = evaluated
            while len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)


class Shelf(Mapping[str, Evaluated]):
    """The evaluations of one visit, in an archive; their summaries are in memory."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.summaries: dict[str, Summary] = {}

    def __getitem__(self, digest: str) -> Evaluated:
        if digest not in self.summaries:
            raise KeyError(digest)
        return self.archive[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self.summaries)

    def __len__(self) -> int:
        return len(self.summaries)

    def __deepcopy__(self, memo: object) -> dict[str, Evaluated]:
        return dict(self)


@dataclass
class Visit:
    """One visit of a cell, given or drawn."""

    number: int
    trial_id: int
    kind: Kind
    name: str
    cell: str
    key: str
    params: dict[str, Any] = field(default_factory=dict)
    evaluated: Mapping[str, Evaluated] = field(default_factory=dict)
    """Evaluations of the cell by their digests."""
    judgement: Judgement | None = None
    told: bool = False
    """Whether the sampler may see the result."""
    beside: Mapping[str, Evaluated] = field(default_factory=dict)
    """Evaluations of the reference, with which a later visit compares on fresh settings, and second
    measurements of the cell with fresh seeds."""
    turn: int = 0
    """Number of the visit among those of a cell that try it on fresh settings."""
    parent: int | None = None
    """The trial whose cell was mutated, if there is one."""
    forecast: float | None = None
    """The result that was forecast before it was trained, if one was."""
    n_children: int = 1
    """How many cells it was the best of, by the forecast."""
    n_draws: int = 1
    """Points that the sampler drew until one was new to the study."""
    settings: dict[str, list[int]] = field(default_factory=dict)
    """Settings of its own: places in the grid by task (`nas/protocol/inheritance.py`); empty: those
    of all."""

    def attributes(self) -> dict[str, Any]:
        """The attributes to store when a visit begins; the cell comes last and completes them."""
        names = ["kind", "name", "key", "parent", "n_draws", "turn", "cell"]
        if self.settings:
            names.insert(0, "settings")
        return {name: getattr(self, name) for name in names}

    def tasks(self) -> dict[str, str]:
        """The task of each of the cell's own evaluations, by digest."""
        return {digest: summary.task for digest, summary in _summaries(self.evaluated).items()}

    def summaries(self) -> list[Summary]:
        """Summaries of the cell's own evaluations."""
        return list(_summaries(self.evaluated).values())

    def all_summaries(self) -> list[Summary]:
        """Summaries of all evaluations, those beside the judgement included."""
        return [*self.summaries(), *_summaries(self.beside).values()]


def _summaries(evaluated: Mapping[str, Evaluated]) -> Mapping[str, Summary]:
    if isinstance(evaluated, Shelf):
        return evaluated.summaries
    return {digest: Summary.of(evaluation) for digest, evaluation in evaluated.items()}


def joined(parts: Sequence[Mapping[str, Evaluated]]) -> Mapping[str, Evaluated]:
    """A copy of all evaluations of several visits; those that lie in an archive stay there."""
    shelves = [part for part in parts if isinstance(part, Shelf)]
    if not shelves or len(shelves) < len(parts):
        return {digest: evaluated for part in parts for digest, evaluated in part.items()}
    joint = Shelf(shelves[0].archive)
    for shelf in shelves:
        joint.summaries |= shelf.summaries
    return joint


def stored_as(digest: str, evaluated: Evaluated) -> dict[str, Any]:
    """The user attributes of a finished evaluation."""
    return {EVALUATION + digest: evaluated, SUMMARY + digest: Summary.of(evaluated)}


def n_runs(visits: Sequence[Visit | None]) -> int:
    """Training runs that a study has spent."""
    return sum(s.n_runs for visit in visits if visit for s in visit.all_summaries())
