"""The storage on a database server, which may be gone for minutes (`nas/study/patience.py`).

Every operation is tried again until the server answers. One that reads, or that gives a value a
name, may simply be repeated; one that was perhaps carried out already is looked up first.
"""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from nas.study.patience import Patience
from nas.study.trials import TrialStorage

READS = (
    "get_study_id_from_name get_study_name_from_id get_study_directions get_study_user_attrs "
    "get_study_system_attrs get_all_studies get_trial_id_from_study_id_trial_number "
    "get_trial_number_from_id get_trial_param get_trial_params get_trial_user_attrs "
    "get_trial_system_attrs get_trial get_all_trials get_n_trials get_best_trial _get_trials "
    "_get_best_trial_id evaluations evaluation"
).split()
WRITES = (
    # With the same name or value again, the same is stored; what there was before is not asked.
    "create_new_study delete_study set_study_user_attr set_study_system_attr "
    "set_trial_system_attr set_trial_intermediate_value _write"
).split()


class RemoteStorage(TrialStorage):
    """Optuna's storage behind `patience`, for one coordinator."""

    patience: Patience

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        assert template_trial is None, "trials are asked for"
        count = self.patience.call(lambda: self._count(study_id))
        return self.patience.call(
            lambda: self._created(study_id, count),
            lambda: self._last(study_id, count) or self._created(study_id, count),
            writes=True,
        )

    def _count(self, study_id: int) -> int:
        import sqlalchemy

        table = models.TrialModel.__table__
        query = sqlalchemy.select(sqlalchemy.func.count()).where(table.c.study_id == study_id)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _created(self, study_id: int, number: int) -> FrozenTrial:
        import sqlalchemy

        row = {
            "study_id": study_id,
            "number": number,
            "state": TrialState.RUNNING,
            # Optuna's own name of the column, and naive UTC as it stores it.
            "datetime_start": datetime.datetime.now(datetime.UTC).replace(tzinfo=None),
        }
        with self.engine.begin() as connection:
            table = models.TrialModel.__table__
            added = connection.execute(sqlalchemy.insert(table).values(row))
        key = added.inserted_primary_key
        assert key is not None, "a row has been added"
        return self.get_trial(key[0])

    def _last(self, study_id: int, number: int) -> FrozenTrial | None:
        """The trial of this number: one coordinator asks, so it is the one that was asked for."""
        found = self._trials(
            [models.TrialModel.study_id == study_id, models.TrialModel.number == number]
        )
        return found[0] if found else None

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        def store() -> bool:
            return super(RemoteStorage, self).set_trial_state_values(trial_id, state, values)

        def store_again() -> bool:
            trial = self.get_trial(trial_id)
            same = trial.values == (None if values is None else list(values))
            return True if trial.state == state and same else store()

        return self.patience.call(store, store_again, writes=True)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        def store() -> None:
            super(RemoteStorage, self).set_trial_user_attr(trial_id, key, value)

        if self._params is None:
            self.patience.call(store, writes=True)
        else:
            store()  # it is written with the others

    def _set_trial_param(self, *given: Any) -> None:
        def store() -> None:
            super(RemoteStorage, self)._set_trial_param(*given)

        if self._params is None:
            self.patience.call(store, writes=True)
        else:
            store()


def _patient(name: str, *, writes: bool) -> Callable[..., Any]:
    def patient(self: RemoteStorage, *arguments: Any, **named: Any) -> Any:
        operation = getattr(super(RemoteStorage, self), name)
        return self.patience.call(lambda: operation(*arguments, **named), writes=writes)

    patient.__name__ = name
    return patient


for _name in (*READS, *WRITES):
    setattr(RemoteStorage, _name, _patient(_name, writes=_name in WRITES))
