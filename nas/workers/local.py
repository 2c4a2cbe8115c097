"""Where evaluations run: a small interface, and worker processes of this machine behind it.

Each worker is a `pebble.ProcessPool` of ONE process: the workers of a pool share a lock, and one
that dies while holding it stalls the others and disables their time limits; one that dies while
idle breaks the pool with everybody's work. For a cluster, implement `Workers`.
"""

import contextlib
import logging
import os
import pickle
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, MutableSequence, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Self, cast

from pebble import ProcessExpired, ProcessPool

from nas.errors import SearchError, UserError
from nas.protocol.device import DEVICE, SHARING
from nas.protocol.evaluation import Cost, Evaluation, Outcome, Result
from nas.protocol.look import N_NUMBERS, Look, clear, read
from nas.workers.devices import dealt
from nas.workers.worker import MEMORY_EXIT_CODE, STATM, Fault, one_line, prepare, work

logger = logging.getLogger(__name__)

THREADS = "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS VECLIB_MAXIMUM_THREADS".split()
START_LIMIT_S = 300.0  # imports, perhaps from a slow disk; they count in no evaluation's time
READY_S = 0.05  # between two checks whether a worker has begun
_LAUNCH = threading.Lock()  # os.environ, which a launch changes for a moment, is global


class Stopwatch:
    """Seconds in which it ran, over several times."""

    def __init__(self) -> None:
        self._stopped_s = 0.0
        self.since: float | None = None
        """When it was started last; None while it stands."""

    @property
    def total_s(self) -> float:
        return self._stopped_s + (0.0 if self.since is None else time.monotonic() - self.since)

    def run(self, runs: bool) -> None:
        """Start it, anew if it runs already, or stop it."""
        self._stopped_s, self.since = self.total_s, time.monotonic() if runs else None


class Workers(ABC):
    """Runs evaluations elsewhere, `n_slots` at a time, in the order in which they were submitted.

    A context manager: leaving the block waits for the work, leaving it by an exception does not.
    """

    n_slots: int
    """Evaluations that run at once; on a cluster, at this moment."""

    @property
    def busy_s(self) -> float:
        """Seconds that evaluations took so far, with a worker's time before and after training."""
        return 0.0

    def slot_s(self, elapsed_s: float) -> float:
        """Seconds of all slots, `elapsed_s` seconds after the first was there."""
        return self.n_slots * elapsed_s

    def looks(self) -> list[tuple[Evaluation, float, Look | None]]:
        """The evaluations that run at this moment, each with the seconds since it began and how far
        it has come, where that is known; nothing where it cannot be looked at."""
        return []

    @abstractmethod
    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        """Return a future of the result; its callbacks run in a thread that works, so be quick.

        Whatever happens to a worker is an outcome (failed, crashed, out of memory, timed out). The
        future raises CancelledError if `close(wait=False)` came first: then there is no result;
        and SearchError where the fault is the machine's (no worker starts, a full disk).
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
    whose worker dies (killed, segmentation fault) runs up to `max_tries` times, and then its
    outcomes are "crashed". A worker is replaced after `max_served` evaluations (0: never), in case
    memory leaks. Worker n trains on `devices[n % len(devices)]`, the CPU if there are none; at
    least `sharing` processes share the memory of each GPU, others than these included. Other than
    spawned processes in general, a worker does not import the main script, which so needs no
    `if __name__ == "__main__":`, and may be a notebook's cell.
    """

    def __init__(
        self,
        n: int,
        run: str = "nas.training.train:run",
        *,
        time_limit_s: float = 3600.0,
        memory_limit_bytes: int | None = None,
        max_tries: int = 3,
        max_served: int = 200,
        devices: Sequence[str] = (),
        sharing: int = 1,
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
        self._workers = [
            _Worker(run, memory_limit_bytes, device, max(ours, sharing))
            for device, ours in dealt(devices, n)
        ]
        self._idle = list(self._workers)
        self._threads = ThreadPoolExecutor(n, thread_name_prefix="nas-worker")

    @property
    def busy_s(self) -> float:
        return sum(worker.busy.total_s for worker in self._workers)

    def looks(self) -> list[tuple[Evaluation, float, Look | None]]:
        now = time.monotonic()
        return [
            (running, now - worker.busy.since, read(worker.board))
            for worker in self._workers
            if (running := worker.evaluation) is not None and worker.busy.since is not None
        ]

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
                    worker.pool.stop()
                for worker in self._workers:
                    worker.pool.join()

    def _evaluate(self, evaluation: Evaluation, pickled: bytes) -> Result:
        started = time.monotonic()
        worker = self._idle.pop()
        clear(worker.board)
        worker.evaluation = evaluation
        worker.busy.run(True)
        faults: list[Fault] = []
        try:
            for n_tries in range(1, self._max_tries + 1):
                answer = self._attempt(pickled, worker)
                if isinstance(answer, Result):
                    return answer
                faults.append(fault := answer)
                tries = f" (try {n_tries} of {self._max_tries})" if fault.retry else ""
                logger.warning("cell %s: %s%s", evaluation.key, fault.message, tries)
                logger.debug("cell %s: %s", evaluation.key, fault.traceback)
                if not fault.retry:
                    break
        finally:
            worker.evaluation = None
            worker.busy.run(False)
            self._idle.append(worker)
        own = [fault for fault in faults if not fault.machine]
        if fault.machine and not (fault.retry and own):
            raise SearchError(
                f"evaluations cannot be run, {fault.message}{tries}. Once that is mended, the same "
                "command goes on; nothing is held against the cell."
            )
        fault = own[-1]
        cost = Cost(wall_s=time.monotonic() - started)
        outcome = Outcome(status=fault.status, message=fault.message + tries, cost=cost)
        return Result(outcomes=(outcome,) * len(evaluation.settings))

    def _attempt(self, pickled: bytes, worker: "_Worker") -> "Result | Fault":
        try:
            if not worker.pool.active:  # it died while it had nothing to do
                worker.replace()
            args, limit_s = (self._run, pickled), self._time_limit_s
            with self._lock:
                if self._abandoned:
                    raise CancelledError("the workers were closed before this evaluation ended.")
                worker.future = worker.pool.schedule(work, args=args)
            answer = worker.wait(limit_s)
        except TimeoutError:
            fault = Fault("timed out", f"took more than {limit_s:g} s")
        except ProcessExpired as error:
            fault = Fault("crashed", f"the worker {_death(error.exitcode)}", retry=True)
            if error.exitcode == MEMORY_EXIT_CODE:
                message = f"the worker took more than {self._memory_limit_bytes:,} bytes"
                # In a used worker, the memory may be what earlier evaluations left behind.
                fault = Fault("out of memory", message, retry=worker.n_served > 0)
        except (RuntimeError, OSError) as error:  # pebble's BrokenProcessPool is the first
            message = "the worker did not start, perhaps for want of memory: see standard error, "
            message += one_line(error)
            fault = Fault("failed", message, retry=True, machine=True)
        else:
            worker.n_served += 1
            is_spoilt = isinstance(answer, Fault) and answer.retry
            if is_spoilt or worker.n_served == self._max_served:
                worker.replace()
            return answer
        worker.replace()
        return fault


def n_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _death(exit_code: int) -> str:
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    hint = ", perhaps because memory ran out: try fewer workers" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}" if exit_code < 0 else f"ended with exit code {exit_code}"


@contextlib.contextmanager
def _interrupts_put_off() -> Iterator[None]:
    """Let signals that Python handles wait for the end of the block.

    A launch that is cut short leaves a child that reads its orders from a closed pipe, and prints a
    traceback. A mask does not prevent it: any other thread takes the signal, and the main one runs
    the handler.
    """
    came: list[int] = []
    handlers = {}
    try:
        if threading.current_thread() is threading.main_thread():  # no other runs handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(handler := signal.getsignal(number)):
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signal_number in came:
            signal.raise_signal(signal_number)


@contextlib.contextmanager
def _without_main_script() -> Iterator[None]:
    """Let children that this thread spawns in the block leave the main script alone.

    They would run it again, to find what is pickled by its name there. Evaluations hold nothing of
    the kind, and a script that calls `nas.search` would call it in each worker.
    """
    usual, launcher = spawn.get_preparation_data, threading.get_ident()

    def prepared(name: str) -> dict[str, object]:
        data: dict[str, object] = dict(usual(name))
        if threading.get_ident() == launcher:  # other threads may spawn processes of their own
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = usual


class _Process(SpawnProcess):
    def start(self) -> None:
        # Before the launch, not in the initializer: NumPy, and torch in a user's script, are
        # imported sooner. A blocked signal stays blocked in the child, also while it imports.
        with _LAUNCH, _interrupts_put_off(), _without_main_script():
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


def shared_board() -> MutableSequence[float]:
    """Numbers that this process and a worker share; a number that is half written cannot be."""
    board: Any = _Context().Array("d", N_NUMBERS, lock=False)
    return cast(MutableSequence[float], board)


class _Worker:
    """A worker process, started at once, that can be replaced by a fresh one."""

    def __init__(self, run: str, memory_limit_bytes: int | None, device: str, sharing: int) -> None:
        self.board = shared_board()
        self.evaluation: Evaluation | None = None
        """What it runs at this moment."""
        place = {DEVICE: device or "cpu", SHARING: str(sharing)}
        self._arguments = (run, os.getpid(), memory_limit_bytes, place, self.board)
        self.busy = Stopwatch()
        self.future: Future[Result | Fault] = Future()
        self._start()

    def _start(self) -> None:
        self.n_served = 0
        self.pool = ProcessPool(1, 0, prepare, self._arguments, _Context())
        with contextlib.suppress(OSError, RuntimeError):  # the next evaluation meets and reports it
            _ = self.pool.active  # starts the process

    def replace(self) -> None:
        self.pool.stop()
        self.pool.join()
        self._start()

    def wait(self, time_limit_s: float) -> "Result | Fault":
        """Wait for the result, with a limit for the start of the worker and one for the evaluation.

        Pebble's own limit follows the wall clock: one that is set forward would end what has just
        begun. It also needs a lock, which a stopped worker may hold.
        """
        ready_by = time.monotonic() + START_LIMIT_S
        while not self.future.running():
            if time.monotonic() > ready_by:
                raise RuntimeError(f"it was not ready after {START_LIMIT_S:g} s")
            with contextlib.suppress(TimeoutError):
                return self.future.result(timeout=READY_S)
        return self.future.result(timeout=time_limit_s)
