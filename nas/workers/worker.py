"""The inside of a worker process: the watch over it, and one evaluation after another.

Whatever goes wrong with an evaluation is a `Fault`. A fault of the machine, such as a full disk, is
marked as one: any evaluation would meet it, so it must not count against a cell.
"""

import contextlib
import errno
import logging
import os
import pickle
import pkgutil
import re
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from pathlib import Path

from nas.protocol.evaluation import Evaluation, Result, Status
from nas.protocol.look import OF_PROCESS

logger = logging.getLogger(__name__)

WATCH_S = 0.05  # memory fills at about 5 GB/s, so a limit may be passed by 0.25 GB
MEMORY_EXIT_CODE = 86
STATM = Path("/proc/self/statm")
KILLED_FIRST = Path("/proc/self/oom_score_adj")
"""The file with a process's rank among those that Linux ends when memory runs out; 1000: first."""
MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "the disk cannot be written",
    errno.EIO: "the disk fails",
    errno.ENFILE: "too many files are open",
    errno.EMFILE: "too many files are open",
    errno.ENOMEM: "memory ran out, so free some or use fewer workers",
    errno.ENODEV: "the GPU does not answer",
}
"""Errors of the machine, by their numbers."""
OF_GPU = r"(CUDA|HIP) error|CU(BLAS|DNN|SOLVER)_STATUS|cuDNN error|Triton Error"
"""A pattern in messages of a GPU's libraries. After most of them the process cannot use the GPU any
more, whatever it evaluates next."""
FULL = "t allocate memory|t start new thread|failed to map segment"
"""A pattern in messages about memory that ran out."""


@dataclass(frozen=True)
class Fault:
    """Why an attempt gave no result."""

    status: Status
    message: str
    retry: bool = False
    """Whether another worker process is to try it again."""
    traceback: str = ""
    machine: bool = False
    """Whether any other evaluation would have met it."""


def prepare(
    run: str,
    coordinator: int,
    memory_limit_bytes: int | None,
    place: Mapping[str, str],
    board: MutableSequence[float],
) -> None:
    """Make a worker process ready, which shows on a board how far it is; importing `run` takes
    seconds. `place` are environment variables: the device, and how many share it."""
    OF_PROCESS.board = board
    os.environ.update(place)
    with contextlib.suppress(OSError):  # not Linux
        KILLED_FIRST.write_text("500")  # before the coordinator and what else the user runs
    threading.Thread(target=_watch, args=(coordinator, memory_limit_bytes), daemon=True).start()
    with contextlib.suppress(Exception):  # each evaluation meets it again and reports it
        pkgutil.resolve_name(run)


def _watch(coordinator: int, memory_limit_bytes: int | None) -> None:
    """End this process when its coordinator has ended in whatever way, or at its memory limit.

    Not by PR_SET_PDEATHSIG: it follows the THREAD that launched the worker, which may end long
    before its process, comes too late if that died before it was set, and macOS has none.
    The limit is of resident memory less shared (libraries): RLIMIT_AS would count address space
    that CUDA only reserves, RLIMIT_DATA memory that is never touched and the stacks of threads.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    while os.getppid() == coordinator:
        if memory_limit_bytes is not None:
            resident, shared = (int(n) for n in STATM.read_text().split()[1:3])
            if (resident - shared) * page_bytes > memory_limit_bytes:
                logger.error("this worker takes more than %d bytes", memory_limit_bytes)
                os._exit(MEMORY_EXIT_CODE)
        time.sleep(WATCH_S)
    os._exit(1)


def work(run: str, pickled: bytes) -> Result | Fault:
    """Run one evaluation; whatever it raises is a fault."""
    try:
        function = pkgutil.resolve_name(run)
    except Exception as error:  # of any module that it imports
        if (fault := _fault(error)).machine:
            return fault
        message = f"{run} cannot be imported ({one_line(error)})"
        return Fault("failed", message, traceback=traceback.format_exc(), machine=True)
    try:
        evaluation: Evaluation = pickle.loads(pickled)
        result = function(evaluation)
        n_settings = len(evaluation.settings)
        if not isinstance(result, Result) or len(result.outcomes) != n_settings:
            raise TypeError(f"{run} must return a Result of {n_settings} outcomes, got {result!r}")
        return result
    except (Exception, SystemExit) as error:  # whatever a cell's training raises is its outcome
        return _fault(error)


def _fault(error: BaseException) -> Fault:
    text = traceback.format_exc()
    for cause in _causes(error):
        if message := MACHINE.get(_number(cause), ""):
            message = f"{message} ({one_line(error)})"
            return Fault("failed", message, traceback=text, machine=True)
    is_full = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # of a GPU
    is_spoilt = any(re.search(OF_GPU, str(cause)) for cause in _causes(error))
    status: Status = "out of memory" if is_full else "crashed" if is_spoilt else "failed"
    # What other evaluations hold of a GPU's memory may be free again.
    return Fault(status, one_line(error), retry=is_full or is_spoilt, traceback=text)


def _number(error: BaseException) -> int:
    """The number of the system's error, or 0; memory that training could not do without is one.

    What of a model's training does not fit into memory is an outcome (`nas/training`), so that here
    there was too little for what every evaluation needs. Torch's allocator and Python's threads
    have no exception of their own.
    """
    if isinstance(error, OSError):
        return error.errno or 0
    is_full = isinstance(error, MemoryError) or re.search(FULL, str(error))
    return errno.ENOMEM if is_full else 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def one_line(error: BaseException) -> str:
    """The kind of error and its message, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
