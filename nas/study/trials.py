"""Optuna's storage, made for studies of 10,000 trials.

Optuna reads trials one object a row, with every attribute, and writes each choice in a transaction
of its own. Here trials are read in five statements and without the outcomes, which are most of a
study and which no sampler looks at; what belongs together is written in one transaction.
"""

import datetime
import json
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from nas.study.visit import EVALUATION

FEW = 100
"""Trials up to which they are read by their ids."""

_distribution = lru_cache(maxsize=4096)(json_to_distribution)


class TrialStorage(optuna.storages.RDBStorage):
    """Optuna's storage; trials come without the attributes that `EVALUATION` begins."""

    _params: list[dict[str, Any]] | None = None
    _attrs: dict[tuple[int, str], Any]

    # --- reading ---

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        import sqlalchemy

        trial = models.TrialModel
        chosen = [trial.study_id == study_id]
        if trial_id_greater_than > -1:
            known = trial.trial_id.in_(included_trial_ids)
            chosen.append(sqlalchemy.or_(trial.trial_id > trial_id_greater_than, known))
        return [one for one in self._trials(chosen) if states is None or one.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for found in self._trials([models.TrialModel.trial_id == trial_id]):
            return found
        raise KeyError(f"no trial has the id {trial_id}.")

    def _trials(self, chosen: list[Any]) -> list[FrozenTrial]:
        """The trials for which all conditions hold, by id."""
        import sqlalchemy

        trial = models.TrialModel
        columns = (
            trial.trial_id,
            trial.number,
            trial.state,
            trial._datetime_start_utc,
            trial._datetime_complete_utc,
        )
        with self.engine.connect() as connection:
            query = sqlalchemy.select(*columns).where(*chosen).order_by(trial.trial_id)
            rows = connection.execute(query).all()
            if not rows:
                return []
            params, attrs, system, values = (
                self._grouped(connection, model, names, chosen, [row[0] for row in rows])
                for model, names in (
                    (models.TrialParamModel, ("param_name", "param_value", "distribution_json")),
                    (models.TrialUserAttributeModel, ("key", "value_json")),
                    (models.TrialSystemAttributeModel, ("key", "value_json")),
                    (models.TrialValueModel, ("value", "value_type")),
                )
            )
        as_number = models.TrialValueModel.stored_repr_to_value
        found = []
        for trial_id, number, state, start, complete in rows:
            own = [(name, value, _distribution(text)) for name, value, text in params[trial_id]]
            found.append(
                FrozenTrial(
                    number,
                    state,
                    None,
                    _local(start),
                    _local(complete),
                    {name: of.to_external_repr(value) for name, value, of in own},
                    {name: of for name, _, of in own},
                    {name: json.loads(text) for name, text in attrs[trial_id]},
                    {name: json.loads(text) for name, text in system[trial_id]},
                    {},
                    trial_id,
                    values=[as_number(*value) for value in values[trial_id]] or None,
                )
            )
        return found

    def _grouped(
        self,
        connection: Any,
        model: Any,
        names: tuple[str, ...],
        chosen: list[Any],
        ids: Sequence[int],
    ) -> dict[int, list[Any]]:
        """Columns of a table that belongs to trials, by trial, in the order of writing."""
        import sqlalchemy

        trial = models.TrialModel
        columns = [getattr(model, name) for name in names]
        query = sqlalchemy.select(model.trial_id, *columns)
        if len(ids) <= FEW:  # or SQLite would walk through the table
            query = query.where(model.trial_id.in_(ids))
        else:
            query = query.join(trial, model.trial_id == trial.trial_id).where(*chosen)
        if model is models.TrialUserAttributeModel:
            query = query.where(sqlalchemy.not_(model.key.startswith(EVALUATION)))
        found: dict[int, list[Any]] = defaultdict(list)
        [order] = sqlalchemy.inspect(model).primary_key
        for trial_id, *values in connection.execute(query.order_by(order)).all():
            found[trial_id].append(values)
        return found

    def evaluations(self, study_id: int) -> list[tuple[int, str]]:
        """Trial id and digest of every stored evaluation, in the order of writing."""
        import sqlalchemy

        model, trial = models.TrialUserAttributeModel, models.TrialModel
        query = (
            sqlalchemy.select(model.trial_id, model.key)
            .join(trial, model.trial_id == trial.trial_id)
            .where(trial.study_id == study_id, model.key.startswith(EVALUATION))
            .order_by(model.trial_user_attribute_id)
        )
        with self.engine.connect() as connection:
            found = connection.execute(query).all()
        return [(trial_id, key.removeprefix(EVALUATION)) for trial_id, key in found]

    def evaluation(self, trial_id: int, digest: str) -> dict[str, Any]:
        """What is stored of an evaluation."""
        import sqlalchemy

        model = models.TrialUserAttributeModel
        query = sqlalchemy.select(model.value_json).where(
            model.trial_id == trial_id, model.key == EVALUATION + digest
        )
        with self.engine.connect() as connection:
            found: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
        return found

    # --- writing ---

    @contextmanager
    def together(self) -> Iterator[Mapping[tuple[int, str], Any]]:
        """Write a trial's choices and user attributes in one transaction, at the end of the block.

        The block is given the attributes so far, by trial id and name.

        An error, or the end of the process, in the block leaves nothing written. That choices are
        compatible with those of other trials is not checked: the study's definition holds the
        version of its space. Attributes may be dataclasses, which are written as their fields.
        """
        self._params, self._attrs = [], {}
        try:
            yield self._attrs
            self._write(self._params, self._attrs)
        finally:
            self._params = None

    def _write(self, params: list[dict[str, Any]], attrs: dict[tuple[int, str], Any]) -> None:
        import sqlalchemy

        model = models.TrialUserAttributeModel
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value, default=vars)}
            for (trial_id, key), value in attrs.items()
        ]
        drawn = models.TrialParamModel
        with self.engine.begin() as connection:
            for row in rows:  # one that a crash left behind is written again
                same = (model.trial_id == row["trial_id"], model.key == row["key"])
                connection.execute(sqlalchemy.delete(model).where(*same))
            if params:
                # A trial's choices are written together; so is all of it again where a server
                # had written it and its answer was lost.
                ids = {row["trial_id"] for row in params}
                connection.execute(sqlalchemy.delete(drawn).where(drawn.trial_id.in_(ids)))
                connection.execute(sqlalchemy.insert(drawn), params)
            if rows:
                connection.execute(sqlalchemy.insert(model), rows)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if self._params is None:
            given = (trial_id, param_name, param_value_internal, distribution)
            super()._set_trial_param(*given, previous_distribution)
            return
        self._params.append(
            {
                "trial_id": trial_id,
                "param_name": param_name,
                "param_value": param_value_internal,
                "distribution_json": distribution_to_json(distribution),
            }
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self._params is None:
            super().set_trial_user_attr(trial_id, key, value)
        else:
            self._attrs[trial_id, key] = value


def _local(utc: Any) -> Any:
    """Optuna stores naive UTC and hands out naive local time."""
    if utc is None:
        return None
    return utc.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
