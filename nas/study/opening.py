"""A storage is opened behind a URL: SQLite, or a database server that is waited for."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from nas.errors import SearchError, UserError, hidden, unknown
from nas.study.postgres import CONNECT, is_postgres, watch
from nas.study.storage import StudyStorage
from nas.study.storage_errors import (
    DAMAGE,
    REMEDIES,
    WRONG,
    Retrying,
    broken,
    damaged,
    reason_of,
    unanswering,
)

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling each study and trial, for as long as the block takes."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def load_or_create(
    name: str, url: str, retrying: Retrying | None = None, n_objectives: int = 1
) -> optuna.Study:
    """A study to be written; by default, a database server is waited for `LIMIT_S` seconds.

    A study that is begun maximises the first of its objectives and minimises the others.
    """
    with quiet(), _foreign_tables_explained(url, read_only=False):
        storage = open_storage(url, retrying=retrying)
        return optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[MAXIMIZE, *[MINIMIZE] * (n_objectives - 1)],
            load_if_exists=True,
        )


def load(name: str, url: str) -> optuna.Study:
    """A study to be read beside a search that writes it.

    Raises:
        UserError: if it is not there, with the nearest name that is.
    """
    with quiet(), _foreign_tables_explained(url, read_only=True):
        storage = open_storage(url, read_only=True)
        names = optuna.get_all_study_names(storage)
        if not names:
            raise UserError(f"storage {hidden(url)} holds no study yet.")
        if name not in names:
            raise UserError(unknown("study", name, names))
        return optuna.load_study(study_name=name, storage=storage)


def stored_definition(name: str, url: str) -> dict[str, Any]:
    """The definition that a study was begun with; empty if there is none that can be read."""
    try:
        definition: dict[str, Any] = load(name, url).user_attrs.get("definition", {})
    except UserError:
        return {}
    return definition


@contextmanager
def _foreign_tables_explained(url: str, *, read_only: bool) -> Iterator[None]:
    """Turn Optuna's errors for a database with other tables than its own into one sentence."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        reason = reason_of(url, error)
        _raise_known(url, reason, read_only=read_only)
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {reason}; "
            "choose another with --storage, or another --study name."
        ) from None


def open_storage(
    url: str, *, read_only: bool = False, retrying: Retrying | None = None
) -> StudyStorage:
    """The storage behind a URL, SQLite in write-ahead mode, in which readers wait for nobody.

    With `read_only` a server that does not answer is not waited for, and SQLite is not written at
    all: a reader could otherwise be the one that tidies up.

    Raises:
        UserError: in one sentence without the password, if it does not answer or is damaged.
        SearchError: if it cannot be written, for a reason that may pass.
    """
    import sqlalchemy

    if re.fullmatch(r"sqlite(\+\w+)?:(///?)?(:memory:.*)?", url):
        raise UserError(
            f"storage {url} is in memory and would not outlive the search; give a file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if url.startswith("sqlite"):
                return _open_sqlite(url, read_only=read_only)
            return _open_server(url, None if read_only else retrying or Retrying(url))
    except (*WRONG, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = reason_of(url, error)
        _raise_known(url, reason, read_only=read_only)
        if read_only and "readonly" in reason:  # as Optuna then makes the tables it does not find
            raise UserError(f"storage {hidden(url)} holds no study yet.") from None
        raise unanswering(url, reason) from None


def _raise_known(url: str, reason: str, *, read_only: bool) -> None:
    """Raise an error for a database that is damaged or cannot be written now."""
    if re.search(DAMAGE, reason):
        raise damaged(url, reason) from None
    if not read_only and re.search("|".join(REMEDIES), reason):
        raise SearchError(broken(f"storage {hidden(url)}", reason)) from None


def _open_sqlite(url: str, *, read_only: bool) -> StudyStorage:
    import sqlalchemy

    options = {"connect_args": {"timeout": 60}}
    database = RDBStorage(_unwritable(url) if read_only else url, engine_kwargs=options)
    if not read_only:
        with database.engine.connect() as connection:
            # Takes a second for 1 GB; a damaged file must not be written any more. Not the quick
            # check, which passes indices that are damaged and takes three quarters of it.
            verdict = connection.execute(sqlalchemy.text("PRAGMA integrity_check(1)")).scalar()
            if verdict != "ok":
                damage = ValueError(f"malformed: {' '.join(str(verdict).split())[:100]}")
                raise sqlalchemy.exc.DatabaseError("", None, damage)
            connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
        sqlalchemy.event.listen(database.engine, "connect", _hurry)
        database.engine.dispose()  # the connections so far are without it
    return StudyStorage(database)


def _open_server(url: str, retrying: Retrying | None) -> StudyStorage:
    """Open a database server with few connections: it has other users."""
    connect = CONNECT if is_postgres(url) else {"connect_timeout": CONNECT["connect_timeout"]}
    options = {"connect_args": connect, "pool_size": 2, "pool_pre_ping": True}
    database = RDBStorage(url, engine_kwargs=options)
    if retrying is not None and is_postgres(url):
        watch(database.engine)
    return StudyStorage(database, retrying)


def _unwritable(url: str) -> str:
    """The URL of an SQLite file by which it can only be read."""
    path, _, query = url.partition("///")[2].partition("?")
    twice = quote(quote(unquote(path)))  # SQLAlchemy unquotes it, and SQLite once more
    return f"sqlite:///file:{twice}?mode=ro&uri=true{f'&{query}' if query else ''}"


def _hurry(connection: Any, record: object) -> None:
    """Do not wait for the disk at each commit: in write-ahead mode nothing is lost when a process
    dies, and after a power cut the study is whole and lacks its last seconds."""
    connection.execute("PRAGMA synchronous=NORMAL")
