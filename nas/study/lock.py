"""One coordinator a study: locks that go with the process that holds them.

A file in the study's folder, and with PostgreSQL a lock in the database, for there a coordinator
may run on another machine, in another folder.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError
from nas.study.postgres import AdvisoryLock, is_postgres
from nas.study.storage_errors import WRONG, reason_of, storage_faults, unanswering, unlocked

LOCK = ".lock"
"""File in the study's folder that its coordinator holds."""
LOCK_WAIT_S = 0.5
"""Seconds that a coordinator tries for it: `is_locked` may hold it for an instant."""


def is_locked(folder: Path, name: str = "", storage: str = "") -> bool:
    """Whether a coordinator holds the study; one that begins at this moment waits for the answer.

    Raises:
        UserError: if the storage does not answer.
    """
    if is_postgres(storage):
        with _answering(storage):
            advisory = AdvisoryLock(storage, name)
            try:
                return advisory.is_held()
            finally:
                advisory.release()
    files = [folder / LOCK]
    if file := _database(storage):  # its coordinator may have another folder
        files += [_beside(file, name), file.with_name(LOCK)]
    return any(_is_held(file) for file in files)


def _is_held(file: Path) -> bool:
    if not file.is_file():
        return False
    tried = FileLock(file)
    try:
        tried.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # another user's file, which may be held or not
        return False
    tried.release()
    return False


@contextmanager
def lock(folder: Path, name: str, storage: str = "") -> Iterator[Callable[[], None]]:
    """Hold the study for one coordinator; the lock goes with the process, however it ends.

    With an SQLite file elsewhere as its `storage`, a second lock lies beside that file, for a study
    of this name may be begun from another folder. With PostgreSQL it is an advisory lock, which is
    lost with its connection: the function that is yielded takes it again or raises, and is to be
    called before writing (`AdvisoryLock.check`).

    Raises:
        UserError: if the folder cannot be written, another coordinator holds the study, or the
            storage does not answer.
    """
    with ExitStack() as stack:
        what = f"study {name}", "--study name"
        stack.enter_context(held(folder / LOCK, *what, f"folder {folder}", "--studies"))
        file = _database(storage)
        if file is not None and file.parent.is_dir():  # else the storage will not answer
            stack.enter_context(
                held(_beside(file, name), *what, f"folder {file.parent}", "--storage")
            )
        if not is_postgres(storage):
            yield unlocked
            return
        with _answering(storage):
            advisory = AdvisoryLock(storage, name)
            stack.callback(advisory.release)
            advisory.take()
        yield advisory.check


@contextmanager
def _answering(storage: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (*WRONG, *storage_faults()) as error:
        raise unanswering(storage, reason_of(storage, error)) from None


def _beside(file: Path, name: str) -> Path:
    """The lock of a study in a database's file."""
    return file.with_name(f"{file.name}.{name}{LOCK}")


def _database(url: str) -> Path | None:
    """The file of an SQLite URL."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1].removeprefix("file:")) if match else None


@contextmanager
def held(file: Path, what: str, another: str, where: str, option: str) -> Iterator[None]:
    """Hold a lock file for the process.

    Raises:
        UserError: that another process runs `what`, and to use `another`; or that `where` cannot be
            written, and to choose another with `option`.
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
