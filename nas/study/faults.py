"""What is said where a storage or a disk does not do what it should: the cause and the way out."""

import errno
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from nas.errors import SearchError, UserError, hidden

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
    try:
        yield
    except (*storage_faults(), json.JSONDecodeError, UnicodeDecodeError) as error:
        logger.debug("the storage does not answer", exc_info=True)
        reason = reason_of(url, error)
        if re.search(DAMAGE, reason):
            raise damaged(url, reason) from None
        raise SearchError(broken(f"storage {hidden(url)}", reason)) from None
    except OSError as error:
        if error.errno not in DISK:
            raise
        logger.debug("a file cannot be written", exc_info=True)
        reason = error.strerror or str(error)
        raise SearchError(broken(str(error.filename or "a file"), reason)) from None


def storage_faults() -> tuple[type[Exception], type[Exception]]:
    """What a storage that does not answer raises."""
    import sqlalchemy

    return sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError


WRONG = (optuna.exceptions.StorageInternalError, ImportError, ValueError, TypeError)
"""What Optuna raises where a storage cannot be opened, beside the database's own errors."""


def broken(what: str, reason: str) -> str:
    """What is said of a storage or a file that worked and does not any more."""
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


def unanswering(url: str, reason: str) -> UserError:
    """What is said of a storage that does not answer in the first place."""
    return UserError(f"storage {hidden(url)} does not answer: {reason}.")


def reason_of(url: str, error: BaseException) -> str:
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
