"""One coordinator a study: a file lock that goes with the process that holds it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError

LOCK = ".lock"
"""File in the study's folder that its coordinator holds."""
LOCK_WAIT_S = 0.5
"""So long a coordinator tries for it: `is_locked` may hold it for an instant."""


def is_locked(folder: Path) -> bool:
    """Whether a coordinator holds the study; one that begins just now waits for the answer."""
    if not (folder / LOCK).is_file():
        return False
    tried = FileLock(folder / LOCK)
    try:
        tried.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # another user's: then it cannot be told
        return False
    tried.release()
    return False


@contextmanager
def lock(folder: Path, name: str, storage: str = "") -> Iterator[None]:
    """Hold the study for one coordinator; the lock goes with the process, however it ends.

    With an SQLite file elsewhere as its `storage`, a second lock lies beside that file, for a study
    of this name may be begun from another folder.

    Raises:
        UserError: if the folder cannot be written, or another coordinator holds the study.
    """
    with ExitStack() as stack:
        what = f"study {name}", "--study name"
        stack.enter_context(held(folder / LOCK, *what, f"folder {folder}", "--studies"))
        file = _database(storage)
        if file is not None and file.parent.is_dir():  # else the storage will not answer
            beside = file.with_name(f"{file.name}.{name}{LOCK}")
            stack.enter_context(held(beside, *what, f"folder {file.parent}", "--storage"))
        yield


def _database(url: str) -> Path | None:
    """The file of an SQLite URL."""
    place = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(place[1].removeprefix("file:")) if place else None


@contextmanager
def held(file: Path, what: str, another: str, where: str, option: str) -> Iterator[None]:
    """Hold a lock file for the process.

    `what` another process may be running, and `another` is what to use instead; `where` may not be
    writable, and `option` chooses another place.

    Raises:
        UserError: with these words.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(file)
        file_lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise UserError(
            f"{what} is being run by another process (it holds {file}): wait for it, stop it, or "
            f"use another {another}."
        ) from None
    except OSError as error:
        raise UserError(
            f"{where} cannot be written ({error.strerror}): choose another with {option}."
        ) from None
    try:
        yield
    finally:
        file_lock.release()
