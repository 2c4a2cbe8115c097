"""A study: the Optuna storage that holds the whole state of a search.

A trial is one visit of a cell, given or drawn. Its user attributes hold the cell's text and key,
the outcomes of each finished evaluation as soon as it is finished, and at the end the judgement; so
whatever stops the coordinator, the same command goes on from there. One coordinator writes, behind
a file lock.
"""

import dataclasses
import json
import logging
import re
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
from nas.errors import UserError, hidden
from nas.evaluation import Evaluation, Outcome, Settings
from nas.protocol import Judgement

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


class Study:
    """The open study; made by `open_study`."""

    def __init__(self, name: str, folder: Path, study: optuna.Study) -> None:
        self.name = name
        self.folder = folder
        self._study = study
        self.visits = [_visit(trial) for trial in self._frozen()]
        self.cache = {digest: e for v in self.visits if v for digest, e in v.evaluated.items()}
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
        for attr in ("kind", "name", "key", "cell"):  # the cell last: it says that all is there
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
        )
        self._set_attr(visit, EVALUATION + digest, dataclasses.asdict(evaluated))
        visit.evaluated[digest] = evaluated
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
        evaluated,
        judgement,
        trial.state == TrialState.COMPLETE,
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
    study = _load_or_create(name, url)
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


def _load_or_create(name: str, url: str) -> optuna.Study:
    storage = _storage(url)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {_reason(url, error)}; "
            "choose another with --storage, or another --study name."
        ) from None


def _storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage behind a URL, SQLite in write-ahead mode.

    Raises:
        UserError: in one sentence without the password, if it does not answer.
    """
    import sqlalchemy

    if re.fullmatch(r"sqlite(\+\w+)?:(///?)?(:memory:.*)?", url):
        raise UserError(
            f"storage {url} is in memory and would not outlive the search; give a file."
        )
    is_sqlite = url.startswith("sqlite")
    wait = {"timeout": 60} if is_sqlite else {"connect_timeout": 10}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": wait, **({} if is_sqlite else {"pool_size": 2})},
            )
        if is_sqlite:
            with storage.engine.connect() as connection:
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        raise UserError(f"storage {hidden(url)} does not answer: {_reason(url, error)}.") from None
    return storage


def _reason(url: str, error: Exception) -> str:
    """The cause in one line, with the way out where it is known."""
    if isinstance(error, ImportError):
        extra = ", pip install 'recurrent-nas[postgresql]'" if url.startswith("postgres") else ""
        return f"its database driver is not installed{extra}"
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return hidden(text).rstrip(".")
