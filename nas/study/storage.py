"""The storage of a study: Optuna's interface, for one coordinator and studies of 10,000 trials.

Trials are read once, without the outcomes of evaluations, and kept in memory; each change is
written to the tables of a plain `RDBStorage` (`nas/study/tables.py`), and rows that belong together
in one transaction. A database server that does not answer is waited for (`storage_errors.py`).
"""

import copy
import datetime
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.study.storage_errors import Retrying
from nas.study.tables import UNIQUE, StudyTables, distribution_of
from nas.study.visit import EVALUATION

T = TypeVar("T")


def storage_of(study: optuna.Study) -> "StudyStorage":
    """The storage of a study; Optuna has no public way from one to the other."""
    storage = study._storage
    assert isinstance(storage, StudyStorage), "a study of nas is opened by nas.study.opening"
    return storage


def _delegated(name: str, *, writes: bool = False) -> Callable[..., Any]:
    """A method of a study as a whole, which Optuna's own storage does.

    Those that write give a value a name: the same once more stores the same.
    """

    def method(self: "StudyStorage", *arguments: Any, **named: Any) -> Any:
        operation = getattr(self.database, name)
        return self._call(lambda: operation(*arguments, **named), writes=writes)

    return method


class StudyStorage(BaseStorage):
    """Optuna's storage; its trials lack the attributes that `EVALUATION` begins."""

    def __init__(self, database: RDBStorage, retrying: Retrying | None = None) -> None:
        """`retrying` repeats operations; without it, an error of the database is raised at once."""
        self.database, self._retrying = database, retrying
        self.engine = database.engine
        self.tables = StudyTables(database.engine)
        self._trials: dict[int, dict[int, FrozenTrial]] = {}
        """Trials by the ids of their study and their own; replaced when they change."""
        self._pending: dict[tuple[str, int, str], dict[str, Any]] | None = None
        """Rows of the block of `together`, by table, trial and name."""
        self._attrs: dict[tuple[int, str], Any] = {}

    def _call(self, operation: Callable[[], T], *, writes: bool = False) -> T:
        return self._retrying.call(operation, writes=writes) if self._retrying else operation()

    # --- the study as a whole ---

    create_new_study = _delegated("create_new_study", writes=True)
    delete_study = _delegated("delete_study", writes=True)
    set_study_user_attr = _delegated("set_study_user_attr", writes=True)
    set_study_system_attr = _delegated("set_study_system_attr", writes=True)
    get_study_id_from_name = _delegated("get_study_id_from_name")
    get_study_name_from_id = _delegated("get_study_name_from_id")
    get_study_directions = _delegated("get_study_directions")
    get_study_user_attrs = _delegated("get_study_user_attrs")
    get_study_system_attrs = _delegated("get_study_system_attrs")
    get_all_studies = _delegated("get_all_studies")

    # --- reading trials ---

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = list(self.trials(study_id).values())
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def trials(self, study_id: int) -> Mapping[int, FrozenTrial]:
        """The trials of a study by id, in the order of their numbers; not to be changed."""
        if study_id not in self._trials:
            self._trials[study_id] = self._call(lambda: self.tables.trials(study_id))
        return self._trials[study_id]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return copy.deepcopy(self._study_of(trial_id)[trial_id])

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return list(self.trials(study_id))[trial_number]

    def _study_of(self, trial_id: int) -> dict[int, FrozenTrial]:
        """The trials among which is one of this id."""
        for trials in self._trials.values():
            if trial_id in trials:
                return trials
        raise KeyError(f"no study that was read has a trial with the id {trial_id}.")

    def evaluations(self, study_id: int) -> list[tuple[int, str]]:
        """Trial id and digest of every stored evaluation, in the order of writing."""
        return self._call(lambda: self.tables.evaluations(study_id))

    def evaluation(self, trial_id: int, digest: str) -> dict[str, Any]:
        """The stored fields of an evaluation; any thread may read them."""
        return self._call(lambda: self.tables.evaluation(trial_id, digest))

    # --- writing trials ---

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is not None:  # by Optuna's copy_study, which nothing here calls
            raise NotImplementedError("trials of a study are asked for, not copied into it")
        number, start = len(self.trials(study_id)), datetime.datetime.now()
        trial_id = self._call(lambda: self.tables.add_trial(study_id, number, start), writes=True)
        self._trials[study_id][trial_id] = FrozenTrial(
            number, TrialState.RUNNING, None, start, None, {}, {}, {}, {}, {}, trial_id
        )
        return trial_id

    @contextmanager
    def together(self) -> Iterator[Mapping[tuple[int, str], Any]]:
        """Write trials' choices and attributes in one transaction, at the end of the block.

        The block is given the user attributes so far, by trial id and name. An error, or the end of
        the process, in the block leaves nothing written. Attributes may be dataclasses, which are
        written as their fields.
        """
        self._pending, self._attrs = {}, {}
        try:
            yield self._attrs
            rows = self._pending
        finally:
            self._pending = None
        self._commit(rows)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        # That the choice is compatible with those of other trials is not checked: the definition of
        # the study holds the version of its space.
        text = distribution_to_json(distribution)
        row = {"param_value": param_value_internal, "distribution_json": text}
        self._write("trial_params", trial_id, param_name, row)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._attrs[trial_id, key] = value
        row = {"value_json": json.dumps(value, default=vars)}
        self._write("trial_user_attributes", trial_id, key, row)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write("trial_system_attributes", trial_id, key, {"value_json": json.dumps(value)})

    def _write(self, table: str, trial_id: int, name: str, content: dict[str, Any]) -> None:
        """Write one row, now or at the end of the block of `together`."""
        self.check_trial_is_updatable(trial_id, self._study_of(trial_id)[trial_id].state)
        row = {**dict(zip(UNIQUE[table], (trial_id, name), strict=True)), **content}
        if self._pending is None:
            self._commit({(table, trial_id, name): row})
        else:
            self._pending[table, trial_id, name] = row

    def _commit(self, rows: Mapping[tuple[str, int, str], dict[str, Any]]) -> None:
        by_table: dict[str, list[dict[str, Any]]] = {}
        for (table, _, _), row in rows.items():
            by_table.setdefault(table, []).append(row)
        self._call(lambda: self.tables.write(by_table), writes=True)
        for (table, trial_id, name), row in rows.items():
            trial = self._replaced(trial_id)
            if table == "trial_params":
                distribution = distribution_of(row["distribution_json"])
                value = distribution.to_external_repr(row["param_value"])
                trial.params = {**trial.params, name: value}
                trial.distributions = {**trial.distributions, name: distribution}
            elif table == "trial_system_attributes":
                trial.system_attrs = {**trial.system_attrs, name: json.loads(row["value_json"])}
            elif not name.startswith(EVALUATION):
                trial.user_attrs = {**trial.user_attrs, name: json.loads(row["value_json"])}

    def _replaced(self, trial_id: int) -> FrozenTrial:
        """A copy to be changed that takes the place of a trial, which a sampler may hold."""
        trials = self._study_of(trial_id)
        trials[trial_id] = copy.copy(trials[trial_id])
        return trials[trial_id]

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        self.check_trial_is_updatable(trial_id, self._study_of(trial_id)[trial_id].state)
        if not state.is_finished():
            return False  # a trial is running from its beginning
        given, end = list(values or ()), datetime.datetime.now()
        self._call(lambda: self.tables.end_trial(trial_id, state, given, end), writes=True)
        trial = self._replaced(trial_id)
        trial.state, trial.values, trial.datetime_complete = state, given or None, end
        return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        raise NotImplementedError("curves are in the outcomes of evaluations")
