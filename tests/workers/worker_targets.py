"""What the workers of test_workers.py run, importable without torch, and how it is watched."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nas
from nas.nn.settings import Settings
from nas.protocol.device import DEVICE
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.protocol.look import OF_PROCESS, Look
from nas.tasks.base import ACCURACY, Baseline, Interface, Metric, Split, Task, Window
from nas.workers.local import THREADS, LocalWorkers

LEAK: list[np.ndarray] = []


@dataclass(frozen=True)
class Stub(Task):
    """A task without data: it tells `run` what to do."""

    name = "stub"
    action: str = "echo"
    path: str = ""
    amount: float = 0.0

    @property
    def metric(self) -> Metric:
        return ACCURACY

    @property
    def interface(self) -> Interface:
        return Interface(2, 2)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return iter(())

    def chance(self, split: Split = "validation") -> float:
        return 0.5

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return Baseline("none", 0.5)


def evaluation(
    action: str = "echo", path: Path | str = "", amount: float = 0.0, seed: int = 0, n: int = 1
) -> Evaluation:
    task = Stub(action=action, path=str(path), amount=amount)
    settings = tuple(Settings(num_layers=1 + i) for i in range(n))
    return Evaluation(cell="", key=f"{action}-{seed}", task=task, settings=settings, seed=seed)


def run(evaluation: Evaluation) -> Result:
    """Do what the task says; `best` is the seed, `n_params` the process, `message` a finding."""
    task = evaluation.task
    assert isinstance(task, Stub)
    message = ACTIONS[task.action](task) or ""
    outcome = Outcome("ok", best=float(evaluation.seed), n_params=os.getpid(), message=message)
    n_outcomes = len(evaluation.settings) + (task.action == "miscount")
    return Result(outcomes=(outcome,) * n_outcomes)


def echo(task: Stub) -> None:
    """Return at once."""


def sleep(task: Stub) -> None:
    Path(task.path).write_text(str(os.getpid()))
    time.sleep(task.amount)


def stop(task: Stub) -> None:
    Path(task.path).write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


def die(task: Stub) -> None:
    """Die of `kill -9` in the first `amount` tries, which are counted in a file."""
    with Path(task.path).open("a") as file:
        file.write("x")
    if Path(task.path).stat().st_size <= task.amount:
        os.kill(os.getpid(), signal.SIGKILL)


def fill(task: Stub) -> None:
    """Take `amount` bytes for a moment."""
    held = np.ones(int(task.amount), dtype=np.uint8)
    time.sleep(0.3)
    held[0] = 0


def leak(task: Stub) -> None:
    """Take `amount` bytes for good."""
    LEAK.append(np.ones(int(task.amount), dtype=np.uint8))


def deny(task: Stub) -> None:
    """Say that memory has run out, as torch's allocator of the CPU does."""
    raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


def fill_disk(task: Stub) -> None:
    """Meet a full disk; with an `amount`, as a library tells it."""
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")
    except OSError as error:
        if task.amount:
            raise RuntimeError("No space left, says a library") from error
        raise


def fail(task: Stub) -> None:
    raise ValueError("no luck\n  at all")


def leave(task: Stub) -> None:
    sys.exit(3)


def environment(task: Stub) -> str:
    return " ".join(os.environ[name] for name in THREADS)


def show(task: Stub) -> None:
    """Show how far it is, and wait for a file; then say nothing of the end."""
    OF_PROCESS.show(Look(task.amount, 3, 1.25, 60.0))
    while not Path(task.path).exists():
        time.sleep(0.01)


def end_slot(task: Stub) -> None:
    """Kill who made this worker, on a cluster, in the first `amount` tries."""
    with Path(task.path).open("a") as file:
        file.write("x")
    if Path(task.path).stat().st_size <= task.amount:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


def code(task: Stub) -> str:
    """Where `nas` lies."""
    return str(nas.__file__)


def lose_gpu(task: Stub) -> str:
    """Fail as CUDA does in the first `amount` tries; say whether this process ever failed so."""
    with Path(task.path).open("a") as file:
        file.write("x")
    if Path(task.path).stat().st_size <= task.amount:
        LEAK.append(np.ones(1))
        raise RuntimeError("CUDA error: an illegal memory access")
    return "used" if LEAK else "fresh"


def device(task: Stub) -> str:
    """The device of this worker, after a while."""
    time.sleep(task.amount)
    return os.environ.get(DEVICE, "")


ACTIONS = (
    {
        action.__name__: action
        for action in (
            echo,
            sleep,
            stop,
            die,
            fill,
            leak,
            deny,
            fill_disk,
            fail,
            leave,
            environment,
        )
    }
    | {"miscount": echo, "end_slot": end_slot, "code": code, "device": device, "show": show}
    | {"lose_gpu": lose_gpu}
)


def coordinate(directory: Path, seconds: float) -> None:
    """Have two workers sleep; print their processes, then the outcomes, then what is imported."""
    signal.signal(signal.SIGINT, lambda *_: None)
    with LocalWorkers(2, "worker_targets:run") as workers:
        futures = [
            workers.submit(evaluation("sleep", directory / f"{seed}", seconds, seed=seed))
            for seed in range(2)
        ]
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        print(*(future.result().outcomes[0].status for future in futures), flush=True)
        print("torch" in sys.modules, flush=True)


def coordinator(directory: Path, seconds: float) -> "subprocess.Popen[str]":
    """Start this file as a script, in a process group of its own."""
    command = [sys.executable, __file__, str(directory), str(seconds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def only(future: "Future[Result]") -> Outcome:
    (outcome,) = future.result(timeout=20).outcomes
    return outcome


def cut_short(future: "Future[Result]") -> bool:
    """Whether `future` is done without a result, as the workers were closed."""
    try:
        future.result(timeout=0)
    except CancelledError:
        return True
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


if __name__ == "__main__":
    # Imported, since the classes of a script have other identities in its workers.
    from worker_targets import coordinate as coordinate_imported

    coordinate_imported(Path(sys.argv[1]), float(sys.argv[2]))
