"""Errors of storages and disks: their cause and remedy in one sentence, and which pass with time.

A database server that restarts, or a network that fails for minutes, ends no search: workers go on,
and what they finish is kept in memory until it can be stored (`Retrying`).
"""

import errno
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import optuna

from nas.errors import SearchError, UserError, hidden

logger = logging.getLogger(__name__)

T = TypeVar("T")

DISK = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM EIO EMFILE ENFILE ENOENT ESTALE".split()
}
"""Errors of the system by which a file cannot be written or read."""
REMEDIES = {
    r"is full|No space|too large|quota": "make room on the disk",
    r"disk I/O error": "see to the disk, which may be full",
    r"readonly|read-only|[Pp]ermission denied|not permitted": "make it and its folder writable",
    r"locked": "end the program that holds it",
    r"No such file|Stale": "put back what is gone",
    r"Too many open files": "allow more open files",
}
"""Remedies by a pattern in the cause's message."""
DAMAGE = r"malformed|not a database|Expecting|Extra data|decode|Invalid .*character|Unterminated"
"""A pattern in messages about a file that is not what was written."""
HOPELESS = r"authentication|password|pg_hba|does not exist|permission denied"
"""A pattern in messages of a server that answers, and will give no other answer."""
WRONG = (optuna.exceptions.StorageInternalError, ImportError, ValueError, TypeError)
"""Optuna's errors where a storage cannot be opened, beside the database's own."""

LIMIT_S = 600.0
"""Seconds to wait for a server by default."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
"""Between two tries; each pause is twice the one before."""


def storage_faults() -> tuple[type[Exception], type[Exception]]:
    """The errors of a storage that does not answer."""
    import sqlalchemy

    return sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError


# --- messages ---


@contextmanager
def storage_errors_explained(url: str) -> Iterator[None]:
    """Turn whatever a storage or a disk raises in the block into one sentence.

    Raises:
        SearchError: naming the storage or the file, with the cause and the remedy.
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


def broken(what: str, reason: str) -> str:
    """The message for a storage or a file that worked and does not any more."""
    remedies = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, reason))
    remedy = next(remedies, "see that it answers again")
    return (
        f"{what} cannot be used any more ({reason}): {remedy}, and the same command goes on; what "
        "was stored is kept."
    )


def damaged(url: str, reason: str) -> UserError:
    """The error for a storage that is not what was written."""
    return UserError(
        f"storage {hidden(url)} is damaged ({reason}): put back a copy of it, or begin anew under "
        "another --study name."
    )


def unanswering(url: str, reason: str) -> UserError:
    """The error for a storage that does not answer in the first place."""
    return UserError(f"storage {hidden(url)} does not answer: {reason}.")


def reason_of(url: str, error: BaseException) -> str:
    """The cause in one line, with the remedy where it is known."""
    if isinstance(error, ImportError):
        extra = ", pip install 'recurrent-nas[postgresql]'" if url.startswith("postgres") else ""
        return f"its database driver is not installed{extra}"
    error = _cause(error)
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return hidden(text).rstrip(".")


def _cause(error: BaseException) -> BaseException:
    """The database's own error behind Optuna's."""
    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    return error


# --- a server that may be gone for minutes ---


def passes(url: str, error: BaseException) -> bool:
    """Whether an error says that the server cannot be reached now, and perhaps later."""
    import sqlalchemy

    error = _cause(error)
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    if not isinstance(error, lost) and not getattr(error, "connection_invalidated", False):
        return False
    reason = reason_of(url, error)
    if re.search(HOPELESS, reason):
        return False
    # A server's socket that is not there is no file that somebody must put back.
    return "connection" in reason or not re.search(f"{DAMAGE}|{'|'.join(REMEDIES)}", reason)


def unlocked() -> None:
    """The check before writing where no lock can be lost."""


class Retrying:
    """Repeats operations, for `limit_s` at most, while the server does not answer.

    An operation whose answer was lost may have been carried out all the same, so repeating it must
    change nothing (`StudyTables`). Not by a library such as tenacity: its time limit counts from
    the first try and not from the first failure, and with its hooks for the lock's check, the clock
    and the two messages the loop would not be shorter.
    """

    def __init__(
        self,
        url: str,
        limit_s: float = LIMIT_S,
        check: Callable[[], None] = unlocked,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`check` is called before each try to write, and raises if it must not be written."""
        self._url, self._limit_s, self._check = url, limit_s, check
        self._clock, self._sleep = clock, sleep
        self._mutex = threading.Lock()
        self._is_waiting = False

    def call(self, operation: Callable[[], T], *, writes: bool = False) -> T:
        """The result of the operation."""
        try:
            return self._repeat(operation, writes=writes)
        except (KeyboardInterrupt, SystemExit):  # a search that is being ended does not wait again
            self._limit_s = 0.0
            raise

    def _repeat(self, operation: Callable[[], T], *, writes: bool) -> T:
        until: float | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if writes:
                    self._check()
                result = operation()
            except Exception as error:  # of any driver and of Optuna: `passes` tells which may pass
                if not passes(self._url, error):
                    raise
                until = self._clock() + self._limit_s if until is None else until
                if self._clock() >= until:
                    raise
                self._warn_of_waiting(error)
                self._sleep(min(pause_s, max(0.0, until - self._clock())))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._warn_of_the_end()
                return result

    def _warn_of_waiting(self, error: Exception) -> None:
        with self._mutex:
            if not self._is_waiting:
                logger.warning(
                    "storage %s does not answer (%s): waiting for it, up to %g s; nothing is lost.",
                    hidden(self._url),
                    reason_of(self._url, error),
                    self._limit_s,
                )
            self._is_waiting = True

    def _warn_of_the_end(self) -> None:
        with self._mutex:
            if self._is_waiting:
                logger.warning("storage %s answers again.", hidden(self._url))
            self._is_waiting = False
