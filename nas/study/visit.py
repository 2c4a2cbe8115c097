"""A trial as the search sees it, and what is stored with it.

Outcomes with their curves are most of a study. What is asked of all visits at once, such as their
cost, is in summaries; the outcomes themselves are read when they are wanted (`Archive`), so that a
study of 10,000 candidates opens in seconds and stays small in memory.
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
"""Prefix of the one that holds its summary."""
RECENT = 64
"""Evaluations that are kept in memory after they were read: those of a few candidates."""


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
    """Of the cell, where it is not the trial's own: the reference on a later visit's settings."""

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Evaluated":
        settings = tuple(Settings(**one) for one in data["settings"])
        outcomes = tuple(Outcome.from_json(one) for one in data["outcomes"])
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
        )


@dataclass(frozen=True)
class Summary:
    """What is asked of many evaluations at once."""

    task: str
    key: str
    """As in `Evaluated`."""
    n_params: int
    """Of the largest model."""
    wall_s: float
    """Training time of all runs."""
    flops: float
    statuses: dict[str, int]
    """How many runs ended how."""
    saved_flops: float = 0.0
    """What runs that were cut or vetoed did not take, at most."""

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
        )


class Archive(Mapping[str, Evaluated]):
    """Every finished evaluation by digest, read when it is asked for; any thread may ask."""

    def __init__(self, read: Callable[[int, str], dict[str, Any]]) -> None:
        """`read` gives what is stored with a trial (its id) for a digest."""
        self._read = read
        self._trials: dict[str, int] = {}
        self._recent: dict[str, Evaluated] = {}
        self._lock = threading.Lock()

    def place(self, digest: str, trial_id: int) -> None:
        """Note with which trial an evaluation lies."""
        self._trials[digest] = trial_id

    def __getitem__(self, digest: str) -> Evaluated:
        trial_id = self._trials[digest]
        with self._lock:
            known = self._recent.pop(digest, None)
        evaluated = known or Evaluated.from_json(self._read(trial_id, digest))
        self.keep(digest, evaluated)
        return evaluated

    def keep(self, digest: str, evaluated: Evaluated) -> None:
        """Have it at hand for a while."""
        with self._lock:
            self._recent[digest] = evaluated
            while len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)


class Shelf(Mapping[str, Evaluated]):
    """The evaluations of one visit, in an archive; their summaries are at hand."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.summaries: dict[str, Summary] = {}

    @staticmethod
    def joining(shelves: "Sequence[Shelf]") -> "Shelf":
        joint = Shelf(shelves[0]._archive)
        for shelf in shelves:
            joint.summaries |= shelf.summaries
        return joint

    def __getitem__(self, digest: str) -> Evaluated:
        if digest not in self.summaries:
            raise KeyError(digest)
        return self._archive[digest]

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
    """By the digest of the evaluation."""
    judgement: Judgement | None = None
    told: bool = False
    """Whether the sampler may see the result."""
    beside: Mapping[str, Evaluated] = field(default_factory=dict)
    """The same of the reference, which a later visit compares with on fresh settings."""
    turn: int = 0
    """Counts the visits of a cell that were asked for to try it on fresh settings."""
    parent: int | None = None
    """The trial whose cell was mutated, if there is one."""
    n_draws: int = 1
    """Points that the sampler drew until one was new to the study."""
    settings: dict[str, list[int]] = field(default_factory=dict)
    """Settings of its own: places in the grid by task (`nas/protocol/inheritance.py`); empty: those
    of all."""

    def attributes(self) -> dict[str, Any]:
        """What is stored when a visit begins. The cell comes last: it says that all is there."""
        names = ["kind", "name", "key", "parent", "n_draws", "turn", "cell"]
        if self.settings:
            names.insert(0, "settings")
        return {name: getattr(self, name) for name in names}

    def tasks(self) -> dict[str, str]:
        """The task of each of the cell's own evaluations, by digest."""
        if isinstance(self.evaluated, Shelf):
            return {digest: one.task for digest, one in self.evaluated.summaries.items()}
        return {digest: one.task for digest, one in self.evaluated.items()}

    def summaries(self) -> list[Summary]:
        """Of the cell's own evaluations."""
        return _summaries(self.evaluated)

    def all_summaries(self) -> list[Summary]:
        """Those of the reference on a later visit's settings included."""
        return [*_summaries(self.evaluated), *_summaries(self.beside)]


def _summaries(evaluated: Mapping[str, Evaluated]) -> list[Summary]:
    if isinstance(evaluated, Shelf):
        return list(evaluated.summaries.values())
    return [Summary.of(one) for one in evaluated.values()]


def joined(parts: Sequence[Mapping[str, Evaluated]]) -> Mapping[str, Evaluated]:
    """A copy of all evaluations of several visits; those that lie in an archive stay there."""
    shelves = [part for part in parts if isinstance(part, Shelf)]
    if not shelves or len(shelves) < len(parts):
        return {digest: one for part in parts for digest, one in part.items()}
    return Shelf.joining(shelves)


def stored_as(digest: str, evaluated: Evaluated) -> dict[str, Any]:
    """The user attributes of a finished evaluation, for `TrialStorage.together`."""
    return {EVALUATION + digest: evaluated, SUMMARY + digest: Summary.of(evaluated)}
