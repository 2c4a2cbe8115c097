"""A small module to compile, how often that was done, and whether it is right."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas.compile import backend, cache, layer, loop, native
from nas.nn.rnn import RNN
from tests.tensors import normal, seeded
from tests.tolerances import OTHER_KERNEL_32

X = normal(3, 2, 4).float()


def forget() -> None:
    """All but the products that loops share, which take a while and are kept for each compiler."""
    for cached in (layer._ready_loop, loop._compiled, native._machine, backend._warn, cache._warn):
        cached.cache_clear()


def output(backend: str = "c") -> torch.Tensor:
    rnn = RNN("gru", 4, 5, backend=backend)
    rnn.reset_parameters(generator=seeded())
    return rnn(X)[0].detach()


@functools.cache
def expected() -> torch.Tensor:
    return output("eager")


def assert_right() -> None:
    torch.testing.assert_close(output(), expected(), **OTHER_KERNEL_32)


def n_compiled(run: Callable[[], object]) -> int:
    """How often the compiler is called, not counting questions for its version."""
    commands = []
    original = native._run

    def counted(command: list[str], place: Path) -> str:
        commands.append(command)
        return original(command, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_run", counted)
        run()
    return sum("--version" not in command for command in commands)


def replace(path: Path, content: bytes) -> None:
    """Another file at the place: the one before may still be mapped."""
    path.unlink()
    path.write_bytes(content)


def run_together(script: str, *arguments: str) -> list[str]:
    """What two processes print that run a script at once, each after a line from here."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return results


def stored(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def refuse(error: OSError, *args: object) -> None:
    raise error
