"""Commands that run to their end in the process of the tests, workers included."""

import contextlib
import io
import pkgutil
import subprocess
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from nas.protocol.evaluation import Evaluation, Result
from nas.workers.local import Workers
from tests import fake_comparing, fake_training
from tests.studies import command


def trained(evaluation: Evaluation) -> Result:
    """As a worker of a search does it; Lightning is imported where it is needed."""
    from nas.training.train import run

    return run(evaluation)


COMMANDS: dict[str, tuple[str, Callable[[Evaluation], Result]]] = {
    "nas.search": ("nas.search:main", trained),
    "nas.compare": ("nas.compare.command:main", trained),
    "tests.fake_training": ("nas.search:main", fake_training.run),
    "tests.faulty_training": ("nas.search:main", fake_training.run),
    "tests.fake_comparing": ("nas.compare.command:main", fake_comparing.run),
    "tests.fake_comparing search": ("nas.search:main", fake_comparing.run),
}
"""By the module that is the command: the function that it calls, and what evaluates, which makes up
the outcomes for all but the first two."""


class Inline(Workers):
    """Runs evaluations in this process, at once, in the order in which they come."""

    n_slots = 1

    def __init__(
        self,
        n: int = 1,
        *given: object,
        work: Callable[[Evaluation], Result],
        **limits: object,
    ) -> None:
        self.work, self.submitted, self.closed = work, list[Evaluation](), False

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        self.submitted.append(evaluation)
        future: Future[Result] = Future()
        future.set_result(self.work(evaluation))
        return future

    def close(self, *, wait: bool) -> None:
        self.closed = True


def run_here(
    module: str, folder: Path, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """`tests.studies.run` without a process."""
    return finished_here(command(module, folder / "small.yaml", *arguments), folder, **extra)


def finished_here(
    command: Sequence[str], folder: Path, **extra: str
) -> subprocess.CompletedProcess[str]:
    """`tests.studies.finished` without a process, for one of `COMMANDS`."""
    _, _, module, *arguments = command
    if f"{module} {arguments[0]}" in COMMANDS:
        module = f"{module} {arguments.pop(0)}"
    main, work = COMMANDS[module]
    output, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        warnings.catch_warnings(),
    ):
        # A process of its own would print what MLflow's tables warn of, and go on.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        patch.chdir(folder)
        patch.setenv("NAS_TEST_SLEEP_S", "0")
        for name, value in extra.items():
            patch.setenv(name, value)
        patch.setattr("nas.workers.local.LocalWorkers", lambda *_, **__: Inline(work=work))
        try:
            code = pkgutil.resolve_name(main)(arguments)
        except SystemExit as end:
            code = end.code
        except Exception:
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(
        list(command), int(code or 0), output.getvalue(), errors.getvalue()
    )


@contextlib.contextmanager
def workers_here(
    folder: Path, work: Callable[[Evaluation], Result] = fake_training.run
) -> Iterator[list[Inline]]:
    """Calls in the block work in `folder`, with workers in this process; the list has all made."""
    made: list[Inline] = []

    def make(*_: object, **__: object) -> Inline:
        made.append(Inline(work=work))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        patch.chdir(folder)
        patch.setenv("NAS_TEST_SLEEP_S", "0")
        patch.setattr("nas.workers.local.LocalWorkers", make)
        yield made
