"""All that a storage holds of a study, as rows: copied to another storage, and as a digest.

Ids are the storage's own and no part of the study: a trial is its number. So a copy in another
database has the same digest, and nothing else has.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from itertools import groupby
from typing import Any

from optuna.storages._rdb import models

from nas.study.trials import TrialStorage

CHUNK = 200
"""Rows that are in memory at a time; the outcomes of an evaluation are some 10 kB."""


def study_id_of(storage: TrialStorage, name: str) -> int | None:
    """The id of a study in a storage; None if it is not there."""
    import sqlalchemy

    table = models.StudyModel.__table__
    query = sqlalchemy.select(table.c.study_id).where(table.c.study_name == name)
    with storage.engine.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else int(found)


def copy_rows(source: TrialStorage, study_id: int, target: TrialStorage, name: str) -> None:
    """Copy a study under a name that the target does not hold, in one transaction.

    The order in which things were written is kept, times and states included.

    Raises:
        sqlalchemy.exc.IntegrityError: if the target holds such a study.
    """
    import sqlalchemy

    study, trial = models.StudyModel.__table__, models.TrialModel.__table__
    of_study, of_trials = _tables()
    with source.engine.connect() as reading, target.engine.begin() as writing:
        added = writing.execute(sqlalchemy.insert(study).values(study_name=name))
        key = added.inserted_primary_key
        assert key is not None, "a row has been added"
        [new_id] = key
        for table in (*of_study, trial):
            for rows in _chunks(reading, table, study_id):
                fresh = [{**_without_key(table, row), "study_id": new_id} for row in rows]
                writing.execute(sqlalchemy.insert(table), fresh)
        query = sqlalchemy.select(trial.c.number, trial.c.trial_id).where(
            trial.c.study_id == new_id
        )
        ids = {number: trial_id for number, trial_id in writing.execute(query)}
        for table in of_trials:
            for rows in _chunks(reading, table, study_id):
                fresh = [
                    {**_without_key(table, row), "trial_id": ids[row["number"]]} for row in rows
                ]
                for row in fresh:
                    del row["number"]
                writing.execute(sqlalchemy.insert(table), fresh)


def digest(storage: TrialStorage, study_id: int) -> str:
    """SHA-256 of all that a storage holds of a study, ids and its name aside."""
    found = hashlib.sha256()
    of_study, of_trials = _tables()
    with storage.engine.connect() as connection:
        for table in (*of_study, models.TrialModel.__table__, *of_trials):
            found.update(f"{table.name}\n".encode())
            rows = (row for chunk in _chunks(connection, table, study_id) for row in chunk)
            for _, group in groupby(rows, key=lambda row: row.get("number")):
                for line in sorted(_line(table, row) for row in group):
                    found.update(f"{line}\n".encode())
    return found.hexdigest()


def _tables() -> tuple[list[Any], list[Any]]:
    """What belongs to a study, and what belongs to its trials, by name."""
    tables = sorted(models.BaseModel.metadata.tables.values(), key=lambda table: table.name)
    own = {models.StudyModel.__table__, models.TrialModel.__table__}
    of_study = [table for table in tables if "study_id" in table.c and table not in own]
    of_trials = [table for table in tables if "trial_id" in table.c and table not in own]
    return of_study, of_trials


def _chunks(connection: Any, table: Any, study_id: int) -> Iterator[Sequence[dict[str, Any]]]:
    """The rows of a table that belong to a study, by trial and in the order of writing.

    Those of trials have their number.
    """
    import sqlalchemy

    trial = models.TrialModel.__table__
    [key] = table.primary_key.columns
    if "study_id" in table.c:
        query = sqlalchemy.select(table).where(table.c.study_id == study_id).order_by(key)
    else:
        query = (
            sqlalchemy.select(table, trial.c.number)
            .join(trial, table.c.trial_id == trial.c.trial_id)
            .where(trial.c.study_id == study_id)
            .order_by(trial.c.number, key)
        )
    found = connection.execution_options(yield_per=CHUNK).execute(query)
    for rows in found.mappings().partitions():
        yield [dict(row) for row in rows]


def _without_key(table: Any, row: dict[str, Any]) -> dict[str, Any]:
    [key] = table.primary_key.columns
    return {name: value for name, value in row.items() if name != key.name}


def _line(table: Any, row: dict[str, Any]) -> str:
    plain = {
        name: value
        for name, value in _without_key(table, row).items()
        if name not in ("study_id", "trial_id")
    }
    return json.dumps(plain, sort_keys=True, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    assert isinstance(value, datetime), f"no column of Optuna's has a {type(value).__name__}"
    return value.isoformat()
