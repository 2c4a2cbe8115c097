"""Optuna's tables in a database: a study's trials are read, rows are written, copied and digested.

Optuna has no public classes for its tables, so their columns are read from the database itself.
A trial is its number: ids are the database's own and no part of the study, so that a copy in
another database has the same digest, and nothing else has.
"""

import datetime
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, Select, Table

from nas.study.visit import EVALUATION

OF_STUDY = ("study_directions", "study_system_attributes", "study_user_attributes")
OF_TRIALS = (
    "trial_heartbeats",
    "trial_intermediate_values",
    "trial_params",
    "trial_system_attributes",
    "trial_user_attributes",
    "trial_values",
)
UNIQUE = {
    "trial_params": ("trial_id", "param_name"),
    "trial_system_attributes": ("trial_id", "key"),
    "trial_user_attributes": ("trial_id", "key"),
    "trial_values": ("trial_id", "objective"),
}
"""The columns of which a table holds each combination once."""
CHUNK = 200
"""Rows that are in memory at a time; the outcomes of an evaluation are some 10 kB."""
INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}
"""Optuna's names of the values that some databases cannot hold."""

Row = Mapping[str, Any]

distribution_of = lru_cache(maxsize=4096)(json_to_distribution)


class StudyTables:
    """The tables of Optuna in one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @cached_property
    def _tables(self) -> dict[str, Table]:
        metadata = sqlalchemy.MetaData()

        @sqlalchemy.event.listens_for(metadata, "column_reflect")
        def _as_float(inspector: object, table: object, column: dict[str, Any]) -> None:
            if isinstance(column["type"], sqlalchemy.Float):  # MySQL's would be read as Decimal
                column["type"] = sqlalchemy.Float(53)

        metadata.reflect(self.engine, only=["studies", *OF_STUDY, "trials", *OF_TRIALS])
        return dict(metadata.tables)

    # --- reading ---

    def study_id(self, name: str) -> int | None:
        """The id of a study; None if it is not there."""
        studies = self._tables["studies"].c
        query = sqlalchemy.select(studies.study_id).where(studies.study_name == name)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar()

    def trials(self, study_id: int) -> dict[int, FrozenTrial]:
        """The trials of a study by id, in order, without the attributes that `EVALUATION` begins.

        Optuna would read one object a row, outcomes included, which are most of a study and which
        no sampler looks at; this takes five statements.
        """
        trials = self._tables["trials"].c
        names = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
        query = sqlalchemy.select(*(trials[name] for name in names)).order_by(trials.number)
        with self.engine.connect() as connection:
            rows = connection.execute(query.where(trials.study_id == study_id)).all()
            params, attrs, system, values = (
                self._by_trial(connection, study_id, *columns)
                for columns in (
                    ("trial_params", "param_name", "param_value", "distribution_json"),
                    ("trial_user_attributes", "key", "value_json"),
                    ("trial_system_attributes", "key", "value_json"),
                    ("trial_values", "value", "value_type"),
                )
            )
        result = {}
        for trial_id, number, state, start, complete in rows:
            own = [(name, value, distribution_of(text)) for name, value, text in params[trial_id]]
            result[trial_id] = FrozenTrial(
                number,
                TrialState[state],
                None,
                _local(start),
                _local(complete),
                {name: kind.to_external_repr(value) for name, value, kind in own},
                {name: kind for name, _, kind in own},
                {name: json.loads(text) for name, text in attrs[trial_id]},
                {name: json.loads(text) for name, text in system[trial_id]},
                {},
                trial_id,
                values=[INFINITE.get(kind, value) for value, kind in values[trial_id]] or None,
            )
        return result

    def _of_trials(self, study_id: int, name: str, *columns: str) -> tuple[Select[Any], Any]:
        """A query of the trial's id and columns of a table of `OF_TRIALS`; and all columns."""
        table, trials = self._tables[name], self._tables["trials"].c
        query = sqlalchemy.select(table.c.trial_id, *(table.c[column] for column in columns))
        query = query.join(self._tables["trials"], table.c.trial_id == trials.trial_id)
        return query.where(trials.study_id == study_id).order_by(*table.primary_key), table.c

    def _by_trial(
        self, connection: Connection, study_id: int, name: str, *columns: str
    ) -> dict[int, list[Any]]:
        """Columns of a table of `OF_TRIALS` by trial id, in the order of writing."""
        query, table = self._of_trials(study_id, name, *columns)
        if name == "trial_user_attributes":
            query = query.where(sqlalchemy.not_(table.key.startswith(EVALUATION)))
        result: dict[int, list[Any]] = defaultdict(list)
        for trial_id, *values in connection.execute(query):
            result[trial_id].append(values)
        return result

    def evaluations(self, study_id: int) -> list[tuple[int, str]]:
        """Trial id and digest of every stored evaluation, in the order of writing."""
        query, table = self._of_trials(study_id, "trial_user_attributes", "key")
        with self.engine.connect() as connection:
            rows = connection.execute(query.where(table.key.startswith(EVALUATION))).all()
        return [(trial_id, key.removeprefix(EVALUATION)) for trial_id, key in rows]

    def evaluation(self, trial_id: int, digest: str) -> dict[str, Any]:
        """The stored fields of an evaluation."""
        attrs = self._tables["trial_user_attributes"].c
        query = sqlalchemy.select(attrs.value_json).where(
            attrs.trial_id == trial_id, attrs.key == EVALUATION + digest
        )
        with self.engine.connect() as connection:
            fields: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
        return fields

    # --- writing: the same once more changes nothing, as where a server's answer was lost ---

    def add_trial(self, study_id: int, number: int, start: datetime.datetime) -> int:
        """The id of a running trial of this number."""
        trials = self._tables["trials"]
        query = sqlalchemy.select(trials.c.trial_id).where(
            trials.c.study_id == study_id, trials.c.number == number
        )
        row = {"study_id": study_id, "number": number, "state": "RUNNING"}
        added = sqlalchemy.insert(trials).values(**row, datetime_start=_utc(start))
        with self.engine.begin() as connection:
            there = connection.execute(query).scalar()
            return int(_key_of(connection.execute(added)) if there is None else there)

    def write(self, rows: Mapping[str, Sequence[Row]], ended: Row | None = None) -> None:
        """Write rows in place of those with the same `UNIQUE` columns, in one transaction.

        `ended` are new values of columns of a trial, with its id.
        """
        with self.engine.begin() as connection:
            for name, new in rows.items():
                table = self._tables[name]
                # One row each: for a list of pairs, SQLite would walk through the table.
                same = (table.c[column] == sqlalchemy.bindparam(column) for column in UNIQUE[name])
                keys = [{column: row[column] for column in UNIQUE[name]} for row in new]
                connection.execute(sqlalchemy.delete(table).where(*same), keys)
                connection.execute(sqlalchemy.insert(table), [dict(row) for row in new])
            if ended is not None:
                trials = self._tables["trials"]
                update = sqlalchemy.update(trials).where(trials.c.trial_id == ended["trial_id"])
                connection.execute(update.values(**ended))

    def end_trial(
        self, trial_id: int, state: TrialState, values: Sequence[float], end: datetime.datetime
    ) -> None:
        """Write the values of a trial and that it has ended."""
        names = {value: name for name, value in INFINITE.items()}
        rows = [
            {
                "trial_id": trial_id,
                "objective": objective,
                "value": None if value in names else value,
                "value_type": names.get(value, "FINITE"),
            }
            for objective, value in enumerate(values)
        ]
        ended = {"trial_id": trial_id, "state": state.name, "datetime_complete": _utc(end)}
        self.write({"trial_values": rows} if rows else {}, ended)

    # --- a whole study ---

    def copy(self, study_id: int, target: "StudyTables", name: str) -> int:
        """Copy a study under a name that the target does not hold, in one transaction.

        The order in which rows were written is kept, times and states included. Returns the id that
        the study has in the target.

        Raises:
            sqlalchemy.exc.IntegrityError: if the target holds such a study.
        """
        to = target._tables
        with self.engine.connect() as reading, target.engine.begin() as writing:
            added = sqlalchemy.insert(to["studies"]).values(study_name=name)
            new_id = _key_of(writing.execute(added))
            ids: dict[int, int] = {}
            for table in (*OF_STUDY, "trials", *OF_TRIALS):
                for rows in self._chunks(reading, table, study_id):
                    fresh = [
                        {**self._content(table, row), "trial_id": ids[row["number"]]}
                        if table in OF_TRIALS
                        else {**self._content(table, row), "study_id": new_id}
                        for row in rows
                    ]
                    writing.execute(sqlalchemy.insert(to[table]), fresh)
                if table == "trials":
                    trials = to["trials"].c
                    query = sqlalchemy.select(trials.number, trials.trial_id)
                    rows_there = writing.execute(query.where(trials.study_id == new_id))
                    ids = {number: trial_id for number, trial_id in rows_there}
        return new_id

    def digest(self, study_id: int) -> str:
        """SHA-256 of all rows of a study, without ids and its name."""
        result = hashlib.sha256()
        with self.engine.connect() as connection:
            for table in (*OF_STUDY, "trials", *OF_TRIALS):
                result.update(f"{table}\n".encode())
                rows = (row for rows in self._chunks(connection, table, study_id) for row in rows)
                for number, group in groupby(rows, key=lambda row: row.get("number")):
                    of_trial = {} if number is None else {"number": number}
                    contents = ({**self._content(table, row), **of_trial} for row in group)
                    for line in sorted(map(_line, contents)):
                        result.update(f"{line}\n".encode())
        return result.hexdigest()

    def _chunks(
        self, connection: Connection, name: str, study_id: int
    ) -> Iterator[Sequence[dict[str, Any]]]:
        """The rows of a table that belong to a study, by trial and in the order of writing.

        A row of a trial has the trial's number as well.
        """
        table, trials = self._tables[name], self._tables["trials"]
        [key] = table.primary_key.columns
        if name in OF_TRIALS:
            query = (
                sqlalchemy.select(table, trials.c.number)
                .join(trials, table.c.trial_id == trials.c.trial_id)
                .where(trials.c.study_id == study_id)
                .order_by(trials.c.number, key)
            )
        else:
            query = sqlalchemy.select(table).where(table.c.study_id == study_id).order_by(key)
        result = connection.execution_options(yield_per=CHUNK).execute(query)
        for rows in result.mappings().partitions():
            yield [dict(row) for row in rows]

    def _content(self, name: str, row: Row) -> dict[str, Any]:
        """The columns of a row that are no ids."""
        columns = self._tables[name].columns
        ids = {"study_id", "trial_id"}
        return {c.name: row[c.name] for c in columns if not c.primary_key and c.name not in ids}


def _key_of(added: Any) -> int:
    key = added.inserted_primary_key
    assert key is not None, "a row has been added"
    return int(key[0])


def _line(content: Row) -> str:
    """A row as text for the digest, in which Optuna's states and directions are numbers."""
    numbers = {
        column: kind[content[column]].value
        for column, kind in {"state": TrialState, "direction": StudyDirection}.items()
        if column in content
    }
    plain = {**content, **numbers}
    return json.dumps(plain, sort_keys=True, default=datetime.datetime.isoformat)


def _local(utc: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna stores naive UTC and hands out naive local time."""
    return utc and utc.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)


def _utc(local: datetime.datetime) -> datetime.datetime:
    return local.astimezone(datetime.UTC).replace(tzinfo=None)
