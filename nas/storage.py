"""Optuna's storage behind a URL, and what is said where it does not answer."""

import re
import warnings
from typing import Any
from urllib.parse import quote

import optuna

from nas.errors import UserError, hidden, unknown
from nas.trials import TrialStorage


def storage_of(study: optuna.Study) -> TrialStorage:
    """The storage behind the cache that Optuna puts in front of it."""
    behind = getattr(study._storage, "_backend", None)
    assert isinstance(behind, TrialStorage), "a study of nas is opened by nas.storage"
    return behind


WRONG = (optuna.exceptions.StorageInternalError, ImportError, ValueError, TypeError)
"""What Optuna raises where a storage does not answer, beside the database's own errors."""


def load_or_create(name: str, url: str) -> optuna.Study:
    storage = open_storage(url)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {_reason(url, error)}; "
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
            f"storage {hidden(url)} does not hold studies of this Optuna: {_reason(url, error)}."
        ) from None


def open_storage(url: str, *, read_only: bool = False) -> TrialStorage:
    """Optuna's storage behind a URL, SQLite in write-ahead mode, in which readers wait for nobody.

    `read_only` is for SQLite, where a reader could otherwise be the one that tidies up.

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
            storage = TrialStorage(
                _unwritable(url) if is_sqlite and read_only else url,
                engine_kwargs={"connect_args": wait, **({} if is_sqlite else {"pool_size": 2})},
            )
        if is_sqlite and not read_only:
            with storage.engine.connect() as connection:
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
            sqlalchemy.event.listen(storage.engine, "connect", _hurry)
            storage.engine.dispose()  # the connections so far are without it
    except (*WRONG, sqlalchemy.exc.SQLAlchemyError) as error:
        raise UserError(f"storage {hidden(url)} does not answer: {_reason(url, error)}.") from None
    return storage


def _unwritable(url: str) -> str:
    place, _, query = url.partition("///")[2].partition("?")
    return f"sqlite:///file:{quote(place)}?mode=ro&uri=true{f'&{query}' if query else ''}"


def _hurry(connection: Any, record: object) -> None:
    """Do not wait for the disk at each commit: in write-ahead mode nothing is lost when a process
    dies, and after a power cut the study is whole and lacks its last seconds."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _reason(url: str, error: Exception) -> str:
    """The cause in one line, with the way out where it is known."""
    if isinstance(error, ImportError):
        extra = ", pip install 'recurrent-nas[postgresql]'" if url.startswith("postgres") else ""
        return f"its database driver is not installed{extra}"
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return hidden(text).rstrip(".")
