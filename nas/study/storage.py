"""Optuna's storage behind a URL: SQLite, or a database server that is waited for."""

import re
import warnings
from typing import Any
from urllib.parse import quote, unquote

import optuna

from nas.errors import SearchError, UserError, hidden, unknown
from nas.study.faults import DAMAGE, REMEDIES, WRONG, broken, damaged, reason_of, unanswering
from nas.study.patience import Patience
from nas.study.postgres import CONNECT, is_postgres, watch
from nas.study.remote import RemoteStorage
from nas.study.trials import TrialStorage


def storage_of(study: optuna.Study) -> TrialStorage:
    """The storage behind the cache that Optuna puts in front of it."""
    behind = getattr(study._storage, "_backend", None)
    assert isinstance(behind, TrialStorage), "a study of nas is opened by nas.study.storage"
    return behind


def load_or_create(name: str, url: str, patience: Patience | None = None) -> optuna.Study:
    """A study to be written; without `patience`, a database server is waited for as is usual."""
    storage = open_storage(url, patience=patience)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        reason = reason_of(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        if re.search("|".join(REMEDIES), reason):
            raise SearchError(broken(f"storage {hidden(url)}", reason)) from None
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {reason}; "
            "choose another with --storage, or another --study name."
        ) from None


def load(name: str, url: str) -> optuna.Study:
    """A study to be read beside a search that writes it.

    Raises:
        UserError: if it is not there, with the nearest name that is.
    """
    storage = open_storage(url, read_only=True)
    try:
        known = optuna.get_all_study_names(storage)
        if not known:
            raise UserError(f"storage {hidden(url)} holds no study yet.")
        if name not in known:
            raise UserError(unknown("study", name, known))
        return optuna.load_study(study_name=name, storage=storage)
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {reason_of(url, error)}."
        ) from None


def open_storage(
    url: str, *, read_only: bool = False, patience: Patience | None = None
) -> TrialStorage:
    """Optuna's storage behind a URL, SQLite in write-ahead mode, in which readers wait for nobody.

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
    is_sqlite = url.startswith("sqlite")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if is_sqlite:
                storage = TrialStorage(
                    _unwritable(url) if read_only else url,
                    engine_kwargs={"connect_args": {"timeout": 60}},
                )
            else:
                storage = _remote(url, None if read_only else patience or Patience(url))
        if is_sqlite and not read_only:
            with storage.engine.connect() as connection:
                # Takes a second for 1 GB; a damaged file must not be written any more. Not the
                # quick check, which passes indices that are damaged and takes three quarters of it.
                found = connection.execute(sqlalchemy.text("PRAGMA integrity_check(1)")).scalar()
                if found != "ok":
                    damage = ValueError(f"malformed: {' '.join(str(found).split())[:100]}")
                    raise sqlalchemy.exc.DatabaseError("", None, damage)
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
            sqlalchemy.event.listen(storage.engine, "connect", _hurry)
            storage.engine.dispose()  # the connections so far are without it
    except (*WRONG, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = reason_of(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        if not read_only and re.search("|".join(REMEDIES), reason):
            raise SearchError(broken(f"storage {hidden(url)}", reason)) from None
        if read_only and "readonly" in reason:  # as Optuna then makes the tables it does not find
            raise UserError(f"storage {hidden(url)} holds no study yet.") from None
        raise unanswering(url, reason) from None
    return storage


def _remote(url: str, patience: Patience | None) -> TrialStorage:
    """With few connections: a cluster has one coordinator, and its server other users."""
    connect = CONNECT if is_postgres(url) else {"connect_timeout": CONNECT["connect_timeout"]}
    options = {"connect_args": connect, "pool_size": 2, "pool_pre_ping": True}
    if patience is None:
        return TrialStorage(url, engine_kwargs=options)
    storage = RemoteStorage(url, engine_kwargs=options)
    storage.patience = patience
    if is_postgres(url):
        watch(storage.engine)
    return storage


def _unwritable(url: str) -> str:
    place, _, query = url.partition("///")[2].partition("?")
    twice = quote(quote(unquote(place)))  # SQLAlchemy unquotes it, and SQLite once more
    return f"sqlite:///file:{twice}?mode=ro&uri=true{f'&{query}' if query else ''}"


def _hurry(connection: Any, record: object) -> None:
    """Do not wait for the disk at each commit: in write-ahead mode nothing is lost when a process
    dies, and after a power cut the study is whole and lacks its last seconds."""
    connection.execute("PRAGMA synchronous=NORMAL")
