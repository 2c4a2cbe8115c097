"""A study: the Optuna storage that holds the whole state of a search.

A trial is one visit of a cell, given or drawn. Its user attributes hold the cell's text and key,
the outcomes of each finished evaluation as soon as it is finished, and at the end the judgement; so
whatever stops the coordinator, the same command goes on from there. One coordinator writes, behind
a file lock.
"""

import dataclasses
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.cell.graph import Cell
from nas.errors import UserError
from nas.evaluation import Evaluation, Outcome, Settings
from nas.protocol import Judgement
from nas.samplers.propose import PROPOSED
from nas.storage import load_or_create

logger = logging.getLogger(__name__)

Kind = Literal["given", "drawn"]
EVALUATION = "evaluation "
"""Prefix of the user attribute that holds an evaluation's outcomes; its digest follows."""


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


@dataclass
class Visit:
    """A trial as the search sees it."""

    number: int
    trial_id: int
    kind: Kind
    name: str
    cell: str
    key: str
    params: dict[str, Any] = field(default_factory=dict)
    evaluated: dict[str, Evaluated] = field(default_factory=dict)
    """By the digest of the evaluation."""
    judgement: Judgement | None = None
    told: bool = False
    """Whether the sampler may see the result."""
    beside: dict[str, Evaluated] = field(default_factory=dict)
    """The same of the reference, which a later visit compares with on fresh settings."""
    turn: int = 0
    """Counts the visits of a cell that were asked for to try it on fresh settings."""
    parent: int | None = None
    """The trial whose cell was mutated, if there is one."""
    n_draws: int = 1
    """Points that the sampler drew until one was new to the study."""


class Study:
    """The open study; made by `open_study`."""

    def __init__(self, name: str, folder: Path, study: optuna.Study) -> None:
        self.name = name
        self.folder = folder
        self._study = study
        self.visits = [_visit(trial) for trial in self._frozen()]
        self.cache = {
            digest: evaluated
            for visit in self.visits
            if visit
            for digest, evaluated in (visit.evaluated | visit.beside).items()
        }
        """Every finished evaluation, by digest: an index, not a second store."""

    def _frozen(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def attrs(self) -> dict[str, Any]:
        """What is known of the study as a whole: configuration, versions, time spent."""
        return self._study.user_attrs

    def set_attr(self, name: str, value: Any) -> None:
        self._study.set_user_attr(name, value)

    def finished(self) -> list[Visit]:
        """The visits that have a judgement, in order."""
        return [visit for visit in self.visits if visit and visit.judgement]

    def ask(
        self,
        number: int,
        sampler: BaseSampler,
        propose: Callable[[optuna.Trial], Cell],
        kind: Kind,
    ) -> Visit:
        """Begin trial `number`, or take up one whose cell was not stored before a crash.

        The sampler is seeded by the number, so the same results before it give the same cell.
        """
        self._study.sampler = sampler
        if number == len(self.visits):
            trial = self._study.ask()
            self.visits.append(None)
        else:
            trial = optuna.Trial(self._study, self._frozen()[number]._trial_id)
        assert trial.number == number, "one coordinator asks, in order"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            cell = propose(trial)
        visit = Visit(
            number, trial._trial_id, kind, cell.name, str(cell), cell.key, dict(trial.params)
        )
        proposed = self._frozen()[number].user_attrs.get(PROPOSED, {})
        visit.parent, visit.n_draws = proposed.get("parent"), proposed.get("n_draws", 1)
        if proposed.get("again"):
            visit.turn = 1 + max(v.turn for v in self.visits[:number] if v and v.key == cell.key)
        # The cell last: it says that all is there.
        for attr in ("kind", "name", "key", "parent", "n_draws", "turn", "cell"):
            trial.set_user_attr(attr, getattr(visit, attr))
        self.visits[number] = visit
        return visit

    def store(self, visit: Visit, evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> None:
        """Keep the outcomes of a finished evaluation with its trial."""
        digest = evaluation.digest()
        evaluated = Evaluated(
            evaluation.task.name,
            evaluation.task.version,
            evaluation.settings,
            evaluation.seed,
            evaluation.fidelity,
            outcomes,
            "" if evaluation.key == visit.key else evaluation.key,
        )
        self._set_attr(visit, EVALUATION + digest, dataclasses.asdict(evaluated))
        (visit.beside if evaluated.key else visit.evaluated)[digest] = evaluated
        self.cache[digest] = evaluated

    def judge(self, visit: Visit, judgement: Judgement) -> None:
        """Keep the judgement; the sampler does not see it before `tell`."""
        self._set_attr(visit, "judgement", judgement.to_json())
        visit.judgement = judgement

    def tell(self, visit: Visit) -> None:
        """Let the sampler see the result."""
        assert visit.judgement is not None
        self._study.tell(visit.number, visit.judgement.value)
        visit.told = True

    def _set_attr(self, visit: Visit, name: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(visit.trial_id, name, value)


def _visit(trial: FrozenTrial) -> "Visit | None":
    """A stored trial; None if the cell had not been stored when the coordinator died."""
    attrs = trial.user_attrs
    if "cell" not in attrs:
        return None
    evaluated = {
        name.removeprefix(EVALUATION): Evaluated.from_json(record)
        for name, record in attrs.items()
        if name.startswith(EVALUATION)
    }
    judgement = Judgement(**attrs["judgement"]) if "judgement" in attrs else None
    return Visit(
        trial.number,
        trial._trial_id,
        attrs["kind"],
        attrs["name"],
        attrs["cell"],
        attrs["key"],
        dict(trial.params),
        {digest: one for digest, one in evaluated.items() if not one.key},
        judgement,
        trial.state == TrialState.COMPLETE,
        {digest: one for digest, one in evaluated.items() if one.key},
        attrs.get("turn", 0),
        attrs.get("parent"),
        attrs.get("n_draws", 1),
    )


@contextmanager
def lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the study for one coordinator; the lock goes with the process, however it ends.

    Raises:
        UserError: if the folder cannot be written, or another coordinator holds the study.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock")
        held.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"study {name} is being run by another process (it holds {folder / '.lock'}): wait for "
            "it, stop it, or use another --study name."
        ) from None
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be written ({error.strerror}): choose another with --studies."
        ) from None
    try:
        yield
    finally:
        held.release()


def open_study(name: str, folder: Path, storage: str, definition: Mapping[str, Any]) -> Study:
    """Open a study, or begin it, in a storage URL (empty: SQLite in the study's folder).

    `definition` is what the outcomes depend on; a study that was begun with another is refused.

    Raises:
        UserError: if the storage does not answer or the definition differs.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage or f"sqlite:///{folder / 'study.db'}"
    study = load_or_create(name, url)
    # Through JSON, so that what was stored compares equal with what is given.
    plain = json.loads(json.dumps(definition))
    stored = study.user_attrs.get("definition")
    if stored is None:
        study.set_user_attr("definition", plain)
    elif difference := _difference(stored, plain):
        field_name, was, now = difference
        raise UserError(
            f"study {name} was begun with {field_name} = {was}, not {now}: use another --study "
            "name, or the same configuration."
        )
    return Study(name, folder, study)


def _difference(was: Any, now: Any, path: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in [*was, *(n for n in now if n not in was)]:
            inner = f"{path}.{name}" if path else name
            if found := _difference(was.get(name), now.get(name), inner):
                return found
        return None
    return None if was == now else (path, was, now)
