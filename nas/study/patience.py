"""What is done while a database server does not answer: wait, say so once, and try again.

A server that restarts, or a network that fails for minutes, ends no search: workers go on, and what
they finish is kept in memory until it can be stored. Only what may pass is waited for. An operation
whose answer was lost may have been carried out all the same, so each is given with what to do then
(`nas/study/remote.py`).
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import optuna

from nas.errors import hidden
from nas.study.faults import DAMAGE, REMEDIES, reason_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 600.0
"""So long a server is waited for, if nothing else is said."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
"""Between two tries."""
HOPELESS = r"authentication|password|pg_hba|does not exist|permission denied"
"""In messages of a server that answers, and will not answer otherwise."""


def unlocked() -> None:
    """What is checked before writing where no lock can be lost."""


def passes(url: str, error: BaseException) -> bool:
    """Whether an error says that the server cannot be reached now, and perhaps later."""
    import sqlalchemy

    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    if not isinstance(error, lost) and not getattr(error, "connection_invalidated", False):
        return False
    reason = reason_of(url, error)
    if re.search(HOPELESS, reason):
        return False
    # A server's socket that is not there is no file that somebody must put back.
    return "connection" in reason or not re.search(f"{DAMAGE}|{'|'.join(REMEDIES)}", reason)


class Patience:
    """Carries operations out, for `limit_s` at most while the server does not answer."""

    def __init__(
        self,
        url: str,
        limit_s: float = PATIENCE_S,
        check: Callable[[], None] = unlocked,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`check` is called before whatever writes, and raises if it must not."""
        self._url, self._limit_s, self._check = url, limit_s, check
        self._clock, self._sleep = clock, sleep
        self._inside = threading.local()
        self._mutex = threading.Lock()
        self._waiting = False

    def call(
        self,
        operation: Callable[[], T],
        again: Callable[[], T] | None = None,
        *,
        writes: bool = False,
    ) -> T:
        """The operation's result; `again` is called in its place once an answer was lost.

        An operation inside of another is a part of it.
        """
        if getattr(self._inside, "is_so", False):
            return operation()
        self._inside.is_so = True
        try:
            return self._tried(operation, again or operation, writes=writes)
        except (KeyboardInterrupt, SystemExit):  # who ends the search does not wait for it
            self._limit_s = 0.0
            raise
        finally:
            self._inside.is_so = False

    def _tried(self, operation: Callable[[], T], again: Callable[[], T], *, writes: bool) -> T:
        until: float | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if writes:
                    self._check()
                answer = operation()
            except Exception as error:  # of any driver and of Optuna: `passes` tells which may pass
                if not passes(self._url, error):
                    raise
                until = self._clock() + self._limit_s if until is None else until
                if self._clock() >= until:
                    raise
                self._say_that_it_waits(error)
                operation = again
                self._sleep(min(pause_s, max(0.0, until - self._clock())))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._say_that_it_answers()
                return answer

    def _say_that_it_waits(self, error: Exception) -> None:
        with self._mutex:
            if not self._waiting:
                reason = reason_of(self._url, error)
                logger.warning(
                    "storage %s does not answer (%s): waiting for it, up to %g s; nothing is lost.",
                    hidden(self._url),
                    reason,
                    self._limit_s,
                )
            self._waiting = True

    def _say_that_it_answers(self) -> None:
        with self._mutex:
            if self._waiting:
                logger.warning("storage %s answers again.", hidden(self._url))
            self._waiting = False
