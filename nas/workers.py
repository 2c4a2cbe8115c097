"""Where evaluations run: a small interface, and worker processes of this machine behind it.

Each worker is a `pebble.ProcessPool` of ONE process: the workers of a pool share a lock, and one
that dies while holding it stalls the others and disables their time limits; one that dies while
idle breaks the pool with everybody's work. For a cluster, implement `Workers`.
"""

import contextlib
import logging
import os
import pickle
import pkgutil
import signal
import threading
import time
import traceback
from abc import ABC, abstractmethod
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Self

from pebble import ProcessExpired, ProcessPool

from nas.errors import UserError
from nas.evaluation import Cost, Evaluation, Outcome, Result, Status

logger = logging.getLogger(__name__)

THREADS = "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS VECLIB_MAXIMUM_THREADS".split()
START_LIMIT_S = 300.0  # imports, perhaps from a slow disk; they count in no evaluation's time
WATCH_S = 0.05  # memory fills at about 5 GB/s, so a limit may be passed by 0.25 GB
MEMORY_EXIT_CODE = 86
STATM = Path("/proc/self/statm")
_LAUNCH = threading.Lock()  # os.environ, which a launch changes for a moment, is global


class Workers(ABC):
    """Runs evaluations elsewhere, `n_slots` at a time, in the order in which they were submitted.

    A context manager: leaving the block waits for the work, leaving it by an exception does not.
    """

    n_slots: int

    @abstractmethod
    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        """Return a future of the result; its callbacks run in a thread that works, so be quick.

        Whatever happens to a worker is an outcome (failed, out of memory, timed out). The future
        raises CancelledError if `close(wait=False)` came first: then there is no result.
        An evaluation that cannot be pickled, or workers already closed, raise here.
        """

    @abstractmethod
    def close(self, *, wait: bool) -> None:
        """End the workers: after all submitted work, or (`wait=False`) at once, killing them.

        An interrupted wait becomes the latter. May be called again, but not in a callback.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(wait=error[0] is None)


class LocalWorkers(Workers):
    """`n` single-threaded processes of this machine (Linux, macOS), which die with their maker.

    `run` is the import path, "module:function", of a function from Evaluation to Result: a string,
    so that only workers import it. `time_limit_s` is for one evaluation with all its settings,
    `memory_limit_bytes` for one worker, imports included (0.3 GB for Lightning). An evaluation
    whose worker dies (killed, segmentation fault) runs up to `max_tries` times. A worker is
    replaced after `max_served` evaluations (0: never), in case memory leaks. As all spawned
    processes do, a worker imports the main script: that needs `if __name__ == "__main__":`.
    """

    def __init__(
        self,
        n: int,
        run: str = "nas.train:run",
        time_limit_s: float = 3600.0,
        memory_limit_bytes: int | None = None,
        max_tries: int = 3,
        max_served: int = 200,
    ) -> None:
        for name, value in {"n": n, "time_limit_s": time_limit_s, "max_tries": max_tries}.items():
            if value <= 0:
                raise UserError(f"workers.{name} must be positive, got {value}.")
        if run.count(":") != 1:
            raise UserError(f'workers.run must look like "module:function", got "{run}".')
        if memory_limit_bytes is not None and not STATM.exists():
            raise UserError(f"workers.memory_limit_bytes needs {STATM} (Linux); leave it out.")
        self.n_slots = n
        self._time_limit_s, self._memory_limit_bytes = time_limit_s, memory_limit_bytes
        self._run, self._max_tries, self._max_served = run, max_tries, max_served
        self._lock = threading.Lock()  # of _abandoned and of each worker's future
        self._abandoned = False
        self._workers = [_Worker(run, memory_limit_bytes) for _ in range(n)]
        self._idle = list(self._workers)
        self._threads = ThreadPoolExecutor(n, thread_name_prefix="nas-worker")

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        # Pickled here, so that an evaluation that cannot be (un)pickled does not end a worker.
        return self._threads.submit(self._evaluate, evaluation, pickle.dumps(evaluation))

    def close(self, *, wait: bool) -> None:
        try:
            self._threads.shutdown(wait=wait)
        finally:  # also if Ctrl-C ends the wait
            with self._lock:
                self._abandoned = True
                for worker in self._workers:
                    worker.future.cancel()
            self._threads.shutdown(cancel_futures=True)
            with self._lock:  # all stop before the first join, which takes 0.2 s
                for worker in self._workers:
                    worker.pool.stop()  # type: ignore[no-untyped-call]  # pebble's
                for worker in self._workers:
                    worker.pool.join()

    def _evaluate(self, evaluation: Evaluation, pickled: bytes) -> Result:
        started = time.monotonic()
        worker = self._idle.pop()
        try:
            for n_tries in range(1, self._max_tries + 1):
                answer = self._attempt(pickled, worker)
                if isinstance(answer, Result):
                    return answer
                fault = answer
                tries = f" (try {n_tries} of {self._max_tries})" if fault.retry else ""
                logger.warning("cell %s: %s%s", evaluation.key, fault.message, tries)
                logger.debug("cell %s: %s", evaluation.key, fault.traceback)
                if not fault.retry:
                    break
        finally:
            self._idle.append(worker)
        cost = Cost(wall_s=time.monotonic() - started)
        outcome = Outcome(status=fault.status, message=fault.message + tries, cost=cost)
        return Result(outcomes=(outcome,) * len(evaluation.settings))

    def _attempt(self, pickled: bytes, worker: "_Worker") -> "Result | _Fault":
        try:
            if not worker.pool.active:  # it died while it had nothing to do
                worker.replace()
            args, limit_s = (self._run, pickled), self._time_limit_s
            with self._lock:
                if self._abandoned:
                    raise CancelledError("the workers were closed before this evaluation ended.")
                worker.future = worker.pool.schedule(_work, args=args, timeout=limit_s)
            answer = worker.wait(limit_s)
        except TimeoutError:
            fault = _Fault("timed out", f"took more than {limit_s:g} s")
        except ProcessExpired as error:
            fault = _Fault("failed", f"the worker {_death(error.exitcode)}", retry=True)
            if error.exitcode == MEMORY_EXIT_CODE:
                message = f"the worker took more than {self._memory_limit_bytes:,} bytes"
                # In a used worker, the memory may be what earlier evaluations left behind.
                fault = _Fault("out of memory", message, retry=worker.n_served > 0)
        except (RuntimeError, OSError) as error:  # pebble's BrokenProcessPool is the first
            message = "the worker did not start, see its message on standard error"
            fault = _Fault("failed", f"{message}: {_one_line(error)}", retry=True)
        else:
            worker.n_served += 1
            if worker.n_served == self._max_served:
                worker.replace()
            return answer
        worker.replace()
        return fault


def n_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Fault:
    """Why an attempt gave no result."""

    status: Status
    message: str
    retry: bool = False
    traceback: str = ""


def _death(exit_code: int) -> str:
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    hint = ", perhaps because memory ran out: try fewer workers" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


class _Process(SpawnProcess):
    def start(self) -> None:
        # Before the launch, not in the initializer: NumPy, and torch in a user's script, are
        # imported sooner. A blocked signal stays blocked in the child, also while it imports.
        with _LAUNCH:
            before = {name: os.environ[name] for name in THREADS if name in os.environ}
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            os.environ.update(dict.fromkeys(THREADS, "1"))
            try:
                super().start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                for name in THREADS:
                    del os.environ[name]
                os.environ.update(before)

    def terminate(self) -> None:
        # SIGTERM waits in a stopped process and during C code, and Lightning catches it: pebble
        # would give each 3 s before SIGKILL. A worker has nothing to save.
        self.kill()


class _Context(SpawnContext):
    Process = _Process


class _Worker:
    """A worker process, started at once, that can be replaced by a fresh one."""

    def __init__(self, run: str, memory_limit_bytes: int | None) -> None:
        self._arguments = (run, os.getpid(), memory_limit_bytes)
        self.future: Future[Result | _Fault] = Future()
        self._start()

    def _start(self) -> None:
        self.n_served = 0
        self.pool = ProcessPool(1, 0, _prepare, self._arguments, _Context())
        with contextlib.suppress(OSError, RuntimeError):  # the next evaluation meets it and says it
            _ = self.pool.active  # starts the process

    def replace(self) -> None:
        self.pool.stop()  # type: ignore[no-untyped-call]  # pebble's
        self.pool.join()
        self._start()

    def wait(self, time_limit_s: float) -> "Result | _Fault":
        """Wait for pebble, but not for ever: it limits no start, and needs a lock to end a run."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline + (time_limit_s if self.future.running() else 0):
            try:
                return self.future.result(timeout=1.0)
            except TimeoutError:
                if self.future.done():
                    raise
        if self.future.running():
            raise TimeoutError
        raise RuntimeError(f"it was not ready after {START_LIMIT_S:g} s")


# From here on: what runs in the worker.


def _prepare(run: str, coordinator: int, memory_limit_bytes: int | None) -> None:
    threading.Thread(target=_watch, args=(coordinator, memory_limit_bytes), daemon=True).start()
    with contextlib.suppress(Exception):  # each evaluation meets it again and says it
        pkgutil.resolve_name(run)


def _watch(coordinator: int, memory_limit_bytes: int | None) -> None:
    """End this process when its coordinator has ended, however it did, or at its memory limit.

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


def _work(run: str, pickled: bytes) -> Result | _Fault:
    try:
        evaluation: Evaluation = pickle.loads(pickled)
        result = pkgutil.resolve_name(run)(evaluation)
        n_settings = len(evaluation.settings)
        if not isinstance(result, Result) or len(result.outcomes) != n_settings:
            raise TypeError(f"{run} must return a Result of {n_settings} outcomes, got {result!r}")
        return result
    except (Exception, SystemExit) as error:  # whatever a cell's training raises is its outcome
        # MemoryError of Python, OutOfMemoryError of torch; its CPU allocator: a bare RuntimeError.
        names = {kind.__name__ for kind in type(error).__mro__}
        full = names & {"MemoryError", "OutOfMemoryError"} or "t allocate memory" in str(error)
        status: Status = "out of memory" if full else "failed"
        return _Fault(status, _one_line(error), traceback=traceback.format_exc())
