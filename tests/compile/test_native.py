"""Compilers that are missing, fail or hang, and thousands of cells: never a wrong number."""

import ctypes
import dataclasses
import functools
import gc
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from nas.compile import loop, native
from nas.compile.emit import Source
from nas.errors import CellError
from nas.nn.rnn import RNN
from tests.compile.compiling import X, assert_right, expected, n_compiled, output
from tests.tensors import seeded


def script(folder: Path, text: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


BROKEN = {
    "fails": ("exit 1", r"failed \(no message\): apt-get install gcc, or set CC"),
    "says why": ("echo 'loop.c:1: error: too hot' >&2; exit 1", "failed .*too hot"),
    "writes nothing": ("echo 1.0", "writes nothing"),
    "writes garbage": ("echo garbage > loop.so; printf '\\377\\376'", "cannot be .*loaded"),
    "prints garbage": ("head -c 100000 /dev/urandom; exit 1", "failed"),
    "is killed": ("kill -9 $$", "failed"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_compiler_is_reported_once(fresh, tmp_path, caplog, text, message):
    fresh.setenv("CC", script(tmp_path, text))
    assert_falls_back(caplog, message)


COMMANDS = {
    "false": ("false", "failed"),
    "absent": ("/nonexistent/cc", "does not run"),
    "no command": ("gcc 'unfinished", "the variable CC is no command"),
    "a folder": ("/tmp", "does not run"),
}


@pytest.mark.parametrize(("command", "message"), COMMANDS.values(), ids=COMMANDS)
def test_a_wrong_command_is_reported_once(fresh, caplog, command, message):
    fresh.setenv("CC", command)
    assert_falls_back(caplog, message)


def test_a_machine_without_a_compiler_is_told_what_to_install(fresh, tmp_path, caplog):
    fresh.delenv("CC", raising=False)
    fresh.setenv("PATH", str(tmp_path))
    assert_falls_back(caplog, "no C compiler is installed: apt-get install gcc, or set CC")


def test_no_room_for_temporary_files_is_reported_once(fresh, caplog):
    fresh.setattr(
        native.tempfile, "TemporaryDirectory", functools.partial(no_room, OSError(28, "No space"))
    )
    assert_falls_back(caplog, "No space")


def no_room(error: OSError, **options: object) -> None:
    raise error


def assert_falls_back(caplog: pytest.LogCaptureFixture, message: str) -> None:
    """auto warns once, with the way out, and is right; c is refused; the compiler is asked once."""
    for _ in range(2):
        with pytest.raises(CellError, match=message):
            output("c")
    for cell in ("gru", "gru", "lstm"):
        y = RNN(cell, 4, 5, backend="auto")(X)[0]
        assert y.isfinite().all()
    assert torch.equal(output("auto"), expected())
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("cells run on the slow eager backend: ")
    assert "\n" not in record.message
    assert n_compiled(lambda: [output("auto"), RNN("mgu", 4, 5)(X)]) == 0


def test_a_compiler_that_hangs_is_killed_with_its_children(fresh, tmp_path, caplog):
    said = tmp_path / "pids"
    fresh.setenv("CC", script(tmp_path, f"sleep 1000 &\necho $$ $! >> {said}\nwait"))
    fresh.setattr(native, "COMPILE_LIMIT_S", 0.3)
    began = time.monotonic()
    assert_falls_back(caplog, "was killed after 0 s")
    assert time.monotonic() - began < 5
    (line,) = said.read_text().splitlines()  # asked once
    for pid in map(int, line.split()):
        assert is_gone(pid)


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True  # killed, and not yet waited for by whoever adopted it
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_an_interrupt_kills_the_compiler(fresh, tmp_path):
    said = tmp_path / "pids"
    fresh.setenv("CC", script(tmp_path, f"sleep 1000 &\necho $$ $! >> {said}\nwait"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            output("c")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert all(is_gone(int(pid)) for pid in said.read_text().split())


def test_a_cell_that_does_not_compile_leaves_others_alone(fresh, caplog):
    assert_right()
    emit = loop.emit
    fresh.setattr(loop, "emit", lambda *given, **options: replace_text(emit(*given, **options)))
    assert n_compiled(lambda: RNN("lstm", 4, 5)(X)) == 1
    assert n_compiled(lambda: RNN("lstm", 4, 5)(X)) == 0
    fresh.undo()
    assert_right()
    (record,) = caplog.records
    assert "failed (loop.c:" in record.message


def replace_text(source: Source) -> Source:
    return dataclasses.replace(source, text=f"{source.text}\n#error broken\n")


# Many cells.


def maps() -> int:
    """Memory maps of libraries in this process; those of its heap come and go with other tests."""
    return sum(".so" in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_libraries_of_cells_that_are_gone_are_unloaded(fresh):
    """One library a cell would reach the limit of 65,530 maps after some 10,000 cells."""
    native.library("void nothing(void) {}\n", False)
    before = maps()
    libraries = [native.library(f"void f{k}(int *p) {{ *p = {k}; }}\n", False) for k in range(12)]
    kept = [one.function(f"f{k}", ctypes.c_void_p) for k, one in enumerate(libraries)]
    del libraries
    gc.disable()  # by counting references alone
    try:
        assert maps() > before + 24
        value = ctypes.c_int()
        for k, function in enumerate(kept):
            function(ctypes.addressof(value))
            assert value.value == k
        del kept, function
        assert maps() <= before + 4
    finally:
        gc.enable()


def test_a_loop_that_a_graph_still_needs_stays(fresh):
    fresh.setattr(loop, "_compiled", functools.lru_cache(maxsize=1)(loop._compiled.__wrapped__))
    rnn = RNN("gru", 4, 5, backend="c")
    rnn.reset_parameters(generator=seeded())
    losses = [rnn(X)[0].square().sum()]
    for hidden in (6, 7, 8):  # each drives out the one before
        RNN("gru", 4, hidden, backend="c")(X)
    losses.append(rnn(X)[0].square().sum())
    first, second = (torch.autograd.grad(loss, list(rnn.parameters())) for loss in losses)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
