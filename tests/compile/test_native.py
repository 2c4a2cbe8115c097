"""Compilers that are missing, fail or hang, damaged and full caches: never a wrong number."""

import ctypes
import dataclasses
import functools
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from nas.compile import backend, loop, native
from nas.compile.emit import Source
from nas.errors import CellError
from nas.rnn import RNN
from tests.tensors import normal, seeded
from tests.tolerances import OTHER_KERNEL_32

X = normal(3, 2, 4).float()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A process that has compiled no cell, with an empty cache."""
    native.library("void nothing(void) {}\n", False)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    forget()
    yield monkeypatch
    forget()


def forget() -> None:
    """All but the products that loops share, which take a while and are kept for each compiler."""
    for cache in (loop._compiled, native._machine, backend._warn):
        cache.cache_clear()


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


def stored(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


# The cache.


def test_a_loop_is_compiled_once(fresh, tmp_path):
    assert n_compiled(assert_right) == 1
    assert n_compiled(assert_right) == 0
    forget()
    assert n_compiled(assert_right) == 0
    assert [path.suffix for path in stored(tmp_path / "cache")] == [".so"]


def test_the_products_that_loops_share_are_compiled_once(fresh):
    native._products.cache_clear()
    assert n_compiled(assert_right) == 2
    forget()
    native._products.cache_clear()
    assert n_compiled(assert_right) == 0


def test_precisions_and_sizes_are_apart(fresh):
    assert_right()
    """At 16 features the text is the same in both precisions."""
    native.library("", True)  # the products
    x = torch.zeros(3, 2, 16)
    assert n_compiled(lambda: RNN("gru", 16, 16, backend="c")(x)) == 1
    double = RNN("gru", 16, 16, backend="c", dtype=torch.float64)
    assert n_compiled(lambda: double(x.double())) == 1
    assert n_compiled(lambda: RNN("gru", 16, 6, backend="c")(x)) == 1


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "a byte": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "text": lambda content: b"not a library",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_library_is_made_anew(fresh, tmp_path, damage):
    assert_right()
    forget()
    for path in stored(tmp_path / "cache"):
        replace(path, damage(path.read_bytes()))
    assert n_compiled(assert_right) == 1
    forget()
    assert n_compiled(assert_right) == 0


def test_a_library_of_another_machine_is_made_anew(fresh, tmp_path):
    """Whole, but it cannot be loaded: as one for another processor on a shared disk."""
    assert_right()
    forget()
    for path in stored(tmp_path / "cache"):
        content = b"\x7fELF of another machine"
        replace(path, content + native.hashlib.sha256(content).digest())
    assert n_compiled(assert_right) == 1


PLACES = {
    "a file": "/etc/hostname",
    "below a file": "/etc/hostname/cache",
    "read-only": "/proc/cache",
    "relative": "loops",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_cache_that_cannot_be_written_is_done_without(fresh, tmp_path, place):
    fresh.chdir(tmp_path)
    fresh.setenv("NAS_CACHE_DIR", place)
    assert_right()


def test_a_read_only_cache_is_read(fresh, tmp_path):
    assert_right()
    forget()
    refused = functools.partial(refuse, OSError(30, "Read-only file system"))
    fresh.setattr(native.os, "utime", refused)
    fresh.setattr(Path, "write_bytes", refused)
    assert n_compiled(assert_right) == 0


def refuse(error: OSError, *args: object) -> None:
    raise error


def test_a_full_disk_leaves_nothing_behind(fresh, tmp_path):
    def fill(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    fresh.setattr(Path, "write_bytes", fill)
    assert_right()
    assert stored(tmp_path / "cache") == []


def test_without_a_home_there_is_no_cache(fresh):
    fresh.delenv("NAS_CACHE_DIR")
    fresh.delenv("XDG_CACHE_HOME", raising=False)
    fresh.setattr(Path, "home", functools.partial(refuse, RuntimeError("no home")))
    assert native.cache_folder() is None
    assert_right()


def test_the_place_of_the_cache(fresh, tmp_path):
    assert native.cache_folder() == tmp_path / "cache"
    fresh.delenv("NAS_CACHE_DIR")
    fresh.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "nas"
    fresh.delenv("XDG_CACHE_HOME")
    assert native.cache_folder() == Path.home() / ".cache" / "nas"


def test_the_cache_is_bounded_and_keeps_what_is_used(fresh, tmp_path):
    fresh.setattr(native, "CACHED", 3)
    assert_right()
    used = {path.name for path in stored(tmp_path / "cache")}
    other = tmp_path / "cache" / "mine.so"
    other.write_bytes(b"of the user")
    for k in range(5):
        (tmp_path / "cache" / f"loop-{k}.so").write_bytes(b"old")
        os.utime(tmp_path / "cache" / f"loop-{k}.so", (k, k))
    RNN("gru", 4, 6, backend="c")(X)
    found = {path.name for path in stored(tmp_path / "cache")}
    assert used < found
    assert len(found) == 3 + 1
    assert other.name in found


SCRIPT = """
import sys, time, torch, nas
print(flush=True)
sys.stdin.readline()
torch.manual_seed(0)
rnn = nas.RNN("lstm", 4, 5, backend="c")
print(rnn(torch.ones(3, 2, 4))[0].sum().item())
"""


def test_processes_compile_the_same_at_once(fresh, tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        process.stdout.readline()
    results = {process.communicate("go\n")[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(results) == 1
    assert [path.suffix for path in stored(tmp_path / "cache")] == [".so", ".so"]


def test_threads_compile_the_same_at_once(fresh, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: output(), range(4)):
            torch.testing.assert_close(y, expected(), **OTHER_KERNEL_32)


# Compilers.


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
    source = loop.emit
    fresh.setattr(loop, "emit", lambda plan: replace_text(source(plan)))
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
    """Memory maps of this process."""
    return len(Path("/proc/self/maps").read_text().splitlines())


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
