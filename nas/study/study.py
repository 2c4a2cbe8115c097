"""A study: the Optuna storage that holds the whole state of a search.

A trial is one visit of a cell (`visit.py`). Its user attributes hold the cell's text and key, the
outcomes of each finished evaluation as soon as it is finished, and at the end the judgement; so
whatever stops the coordinator, the same command goes on from there. One coordinator writes, behind
a lock (`nas/study/lock.py`). `python -m nas.study` moves studies (`nas/study/command.py`).
"""

import gc
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.cell.cell import Cell
from nas.errors import UserError, hidden
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement
from nas.protocol.objectives import SCORE, shortfall, values_of
from nas.samplers.propose import PROPOSED
from nas.study.config import other_definition, url_of
from nas.study.opening import load, load_or_create
from nas.study.storage import StudyStorage, storage_of
from nas.study.storage_errors import Retrying, damaged, storage_errors_explained
from nas.study.visit import SUMMARY, Archive, Evaluated, Kind, Shelf, Summary, Visit, stored_as

CONSTRAINT = "constraints:"
"""Prefix of a trial's system attributes in which Optuna keeps how far it is off a constraint, as
`Trial.set_constraint` does, of which a trial that has its judgement has no more."""
CONFIGURATION = "configuration"
"""Attribute of a study that holds the text of its config.yaml."""


class Study:
    """The open study; made by `open_study`."""

    def __init__(self, name: str, folder: Path, study: optuna.Study) -> None:
        self.name = name
        self.folder = folder
        self._study = study
        self._storage = storage_of(study)
        self._id: int = self._storage.get_study_id_from_name(name)
        self.cache = Archive(self._storage.evaluation)
        """Every finished evaluation, by digest: an index, not a second store."""
        own: dict[int, list[str]] = {}
        for trial_id, digest in self._storage.evaluations(self._id):
            own.setdefault(trial_id, []).append(digest)
        with _uncollected():
            self.visits = [
                _visit(trial_id, trial, self.cache, own.get(trial_id, ()))
                for trial_id, trial in self._storage.trials(self._id).items()
            ]

    @property
    def storage(self) -> StudyStorage:
        """Where the study is kept, for a second view of it by Optuna's classes."""
        return self._storage

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the study as a whole: configuration, versions, time spent."""
        return self._study.user_attrs

    @cached_property
    def objectives(self) -> tuple[str, ...]:
        """What is searched for, the score first."""
        return tuple(self.attrs.get("definition", {}).get("objectives", (SCORE,)))

    def set_attr(self, name: str, value: Any) -> None:
        self._study.set_user_attr(name, value)

    def note_configuration(self, values: Mapping[str, Any]) -> None:
        """Keep the configuration in the study's folder and, to open it elsewhere, its storage.

        Raises:
            UserError: if the folder cannot be written.
        """
        import yaml

        kept = {**values, **{name: hidden(values[name]) for name in ("storage", "tracking_uri")}}
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        path = self.folder / "config.yaml"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None
        self.set_attr(CONFIGURATION, text)

    def finished(self) -> list[Visit]:
        """The visits that have a judgement, in order."""
        return [visit for visit in self.visits if visit and visit.judgement]

    def ask(
        self,
        number: int,
        sampler: BaseSampler,
        propose: Callable[[optuna.Trial], Cell],
        kind: Kind,
        settings: Callable[[Visit], dict[str, list[int]]] | None = None,
    ) -> Visit:
        """Begin trial `number`, or take up one whose cell was not stored before a crash.

        The sampler is seeded by the number, so the same results before it give the same cell.
        `settings` gives the visit settings of its own.
        """
        self._study.sampler = sampler
        # In one transaction: a crash leaves a trial without choices, which is drawn again.
        with self._storage.together() as noted, warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if number == len(self.visits):
                trial = self._study.ask()
                self.visits.append(None)
            else:
                trial = optuna.Trial(self._study, self._trial_id(number))
            assert trial.number == number, "one coordinator asks, in order"
            visit = self._visit_of(trial, propose(trial), kind)
            proposed = noted.get((visit.trial_id, PROPOSED), {})
            visit.parent, visit.n_draws = proposed.get("parent"), proposed.get("n_draws", 1)
            visit.forecast, visit.n_children = proposed.get("forecast"), proposed.get("children", 1)
            if proposed.get("again"):
                before = [v.turn for v in self.visits[:number] if v and v.key == visit.key]
                visit.turn = 1 + max(before)
            visit.settings = settings(visit) if settings else {}
            for name, value in visit.attributes().items():
                trial.set_user_attr(name, value)
        self.visits[number] = visit
        return visit

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _visit_of(self, trial: optuna.Trial, cell: Cell, kind: Kind) -> Visit:
        trial_id = self._trial_id(trial.number)
        return Visit(
            trial.number,
            trial_id,
            kind,
            name=cell.name,
            cell=str(cell),
            key=cell.key,
            params=dict(trial.params),
            evaluated=Shelf(self.cache),
            beside=Shelf(self.cache),
        )

    def store(self, visit: Visit, evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> None:
        """Keep the outcomes of a finished evaluation with its trial."""
        digest = evaluation.digest()
        evaluated = Evaluated.of(evaluation, outcomes, visit.key)
        with self._storage.together():
            for name, value in stored_as(digest, evaluated).items():
                self._set_attr(visit, name, value)
        shelf = visit.beside if evaluated.is_beside else visit.evaluated
        assert isinstance(shelf, Shelf)
        shelf.summaries[digest] = Summary.of(evaluated)
        self.cache.place(digest, visit.trial_id)
        self.cache.keep(digest, evaluated)

    def judge(self, visit: Visit, judgement: Judgement) -> None:
        """Keep the judgement; the sampler does not see it before `tell`."""
        self._set_attr(visit, "judgement", judgement.to_json())
        visit.judgement = judgement

    def tell(self, visit: Visit) -> None:
        """Let the sampler see the result."""
        judgement, names = visit.judgement, self.objectives
        assert judgement is not None
        if len(names) > 1:
            self._storage.set_trial_system_attr(
                visit.trial_id, f"{CONSTRAINT}{SCORE}", shortfall(judgement)
            )
        self._study.tell(visit.number, values_of(judgement, names))
        visit.told = True

    def _set_attr(self, visit: Visit, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(visit.trial_id, name, value)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Switch off the garbage collector, which takes half the time among millions of objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _visit(
    trial_id: int, trial: FrozenTrial, archive: Archive, own: Iterable[str]
) -> "Visit | None":
    """A stored trial; None if the cell had not been stored when the coordinator died.

    `own` are the digests of its evaluations. The oldest studies have no summaries of them.
    """
    attrs = trial.user_attrs
    if "cell" not in attrs:
        return None
    proposed = attrs.get(PROPOSED, {})
    evaluated, beside = Shelf(archive), Shelf(archive)
    for digest in own:
        archive.place(digest, trial_id)
        known = attrs.get(SUMMARY + digest)
        summary = Summary(**known) if known else Summary.of(archive[digest])
        (beside if summary.is_beside else evaluated).summaries[digest] = summary
    return Visit(
        trial.number,
        trial_id,
        attrs["kind"],
        name=attrs["name"],
        cell=attrs["cell"],
        key=attrs["key"],
        params=dict(trial.params),
        evaluated=evaluated,
        judgement=Judgement.from_json(attrs["judgement"]) if "judgement" in attrs else None,
        told=trial.state == TrialState.COMPLETE,
        beside=beside,
        turn=attrs.get("turn", 0),
        parent=attrs.get("parent"),
        forecast=proposed.get("forecast"),
        n_children=proposed.get("children", 1),
        n_draws=attrs.get("n_draws", 1),
        settings=attrs.get("settings", {}),
    )


def read_study(name: str, folder: Path, url: str) -> Study:
    """Open a study only to read it; it may be running."""
    with storage_errors_explained(url):
        return Study(name, folder, load(name, url))


def open_study(
    name: str,
    folder: Path,
    storage: str,
    definition: Mapping[str, Any],
    retrying: Retrying | None = None,
) -> Study:
    """Open a study, or begin it, in a storage URL (empty: SQLite in the study's folder).

    `definition` is all that the outcomes depend on; a study that was begun with another is refused.
    `retrying` repeats operations on a database server that does not answer.

    Raises:
        UserError: if the storage does not answer or the definition differs.
    """
    if not storage and _is_emptied(folder):
        raise damaged(url_of(folder, storage), "not a database: it is empty, the study was begun")
    n_objectives = len(definition.get("objectives", (SCORE,)))
    study = load_or_create(name, url_of(folder, storage), retrying, n_objectives)
    # Through JSON, so that the stored definition compares equal with the given one.
    plain = json.loads(json.dumps(definition))
    stored = study.user_attrs.get("definition")
    if stored is None:
        study.set_user_attr("definition", plain)
    elif difference := _difference(stored, plain):
        raise other_definition(name, *difference)
    return Study(name, folder, study)


def _is_emptied(folder: Path) -> bool:
    """Whether there is nothing in the file, although it has held the study before."""
    file, noted = folder / "study.db", folder / "config.yaml"
    return noted.is_file() and file.is_file() and file.stat().st_size == 0


def _difference(was: Any, now: Any, path: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in [*was, *(n for n in now if n not in was)]:
            inner = f"{path}.{name}" if path else name
            if difference := _difference(was.get(name), now.get(name), inner):
                return difference
        return None
    return None if was == now else (path, was, now)
