"""Optuna's storage behind a URL, and what is said where it does not answer."""

import errno
import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import optuna

from nas.errors import SearchError, UserError, hidden, unknown
from nas.trials import TrialStorage

logger = logging.getLogger(__name__)

DISK = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM EIO EMFILE ENFILE ENOENT ESTALE".split()
}
"""Errors of the system that say that a file cannot be written or read."""

REMEDIES = {
    r"is full|No space|too large|quota": "make room on the disk",
    r"disk I/O error": "see to the disk, which may be full",
    r"readonly|read-only|[Pp]ermission denied|not permitted": "make it and its folder writable",
    r"locked": "end the program that holds it",
    r"No such file|Stale": "put back what is gone",
    r"Too many open files": "allow more open files",
}
"""What helps, by what the cause's message has in it."""
DAMAGE = r"malformed|not a database|Expecting|Extra data|decode|Invalid .*character|Unterminated"
"""In messages that say that a file is not what was written."""


@contextmanager
def faults_told(url: str) -> Iterator[None]:
    """Whatever a storage or a disk does in the middle of a search is one sentence.

    Raises:
        SearchError: naming the storage or the file, with the cause and the way out.
        UserError: if the storage is damaged: the same command will not help.
    """
    import sqlalchemy

    faults = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
    try:
        yield
    except (*faults, json.JSONDecodeError, UnicodeDecodeError) as error:
        logger.debug("the storage does not answer", exc_info=True)
        reason = _reason(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        raise SearchError(_sentence(f"storage {hidden(url)}", reason)) from None
    except OSError as error:
        if error.errno not in DISK:
            raise
        logger.debug("a file cannot be written", exc_info=True)
        reason = error.strerror or str(error)
        raise SearchError(_sentence(str(error.filename or "a file"), reason)) from None


def _sentence(what: str, reason: str) -> str:
    remedies = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, reason))
    remedy = next(remedies, "see that it answers again")
    return (
        f"{what} cannot be used any more ({reason}): {remedy}, and the same command goes on; what "
        "was stored is kept."
    )


def damaged(url: str, reason: str) -> UserError:
    """What is said of a storage that is not what was written."""
    return UserError(
        f"storage {hidden(url)} is damaged ({reason}): put back a copy of it, or begin anew under "
        "another --study name."
    )


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
        reason = _reason(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        if re.search("|".join(REMEDIES), reason):
            raise SearchError(_sentence(f"storage {hidden(url)}", reason)) from None
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
            f"storage {hidden(url)} does not hold studies of this Optuna: {_reason(url, error)}."
        ) from None


def open_storage(url: str, *, read_only: bool = False) -> TrialStorage:
    """Optuna's storage behind a URL, SQLite in write-ahead mode, in which readers wait for nobody.

    `read_only` is for SQLite, where a reader could otherwise be the one that tidies up.

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
        reason = _reason(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        if not read_only and re.search("|".join(REMEDIES), reason):
            raise SearchError(_sentence(f"storage {hidden(url)}", reason)) from None
        raise UserError(f"storage {hidden(url)} does not answer: {reason}.") from None
    return storage


def _unwritable(url: str) -> str:
    place, _, query = url.partition("///")[2].partition("?")
    return f"sqlite:///file:{quote(place)}?mode=ro&uri=true{f'&{query}' if query else ''}"


def _hurry(connection: Any, record: object) -> None:
    """Do not wait for the disk at each commit: in write-ahead mode nothing is lost when a process
    dies, and after a power cut the study is whole and lacks its last seconds."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _reason(url: str, error: BaseException) -> str:
    """The cause in one line, with the way out where it is known."""
    if isinstance(error, ImportError):
        extra = ", pip install 'recurrent-nas[postgresql]'" if url.startswith("postgres") else ""
        return f"its database driver is not installed{extra}"
    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return hidden(text).rstrip(".")
