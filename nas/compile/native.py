"""C source to functions: the machine's compiler, a cache on disk, and how to do without.

A library is found by the hash of its source, the compiler's version and the processor's flags. It
is compiled elsewhere, copied under another name and moved into place, so that processes may compile
the same at once; its own hash stands at its end, so that one that a full disk or a power cut left
half written is not loaded.
"""

import _ctypes
import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Any

FLAGS = "-O3 -march=native -fno-math-errno -fno-trapping-math -shared -fPIC -w".split()
COMPILE_LIMIT_S = 60.0
CACHED = 2000
"""Libraries that stay in the cache; the least recently used go."""
HERE = Path(__file__).parent
ADVICE = "apt-get install gcc, or set CC to the command of a C compiler"


class Library:
    """Loaded C; unloaded with the last reference to it or to a function of it.

    ctypes.CDLL never unloads, and a process that has met some 10,000 cells would have no memory
    map left.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Load; OSError if it cannot be."""
        self._handle = _ctypes.dlopen(str(path), mode)
        # Not at exit: other threads may still be in the code.
        weakref.finalize(self, _ctypes.dlclose, self._handle).atexit = False

    def function(self, name: str, *arguments: Any) -> Any:
        """A function without a result, from the ctypes of its arguments."""
        function = ctypes.CFUNCTYPE(None, *arguments)(_ctypes.dlsym(self._handle, name))
        function.library = self  # type: ignore[attr-defined]  # keeps it loaded
        return function


class CompilerError(RuntimeError):
    """There is no working C compiler; the message says what to install or what it said."""


def compiler() -> tuple[str, ...]:
    """The command of the C compiler: that of the variable CC, else cc, gcc or clang.

    Raises:
        CompilerError: if there is none.
    """
    if os.name != "posix":
        raise CompilerError(f"loops in C are for POSIX systems, this is {os.name}")
    if given := os.environ.get("CC", "").strip():
        try:
            return tuple(shlex.split(given))
        except ValueError as error:
            raise CompilerError(f'the variable CC is no command, got "{given}": {error}') from None
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return (name,)
    raise CompilerError(f"no C compiler is installed: {ADVICE}")


def cache_folder() -> Path | None:
    """Where compiled loops are kept: NAS_CACHE_DIR, else the user's cache folder; None without."""
    if given := os.environ.get("NAS_CACHE_DIR"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "nas"
    try:
        return Path.home() / ".cache" / "nas"
    except RuntimeError:  # a user without a home
        return None


def library(source: str, double: bool) -> Library:
    """The loaded library of a loop's source, compiled if it is not in the cache.

    Raises:
        CompilerError: if it cannot be compiled or loaded.
    """
    prelude, gemm = ((HERE / name).read_text() for name in ("prelude.c", "gemm.c"))
    command = compiler()
    products = _products(prelude + gemm, double, command)
    if isinstance(products, str):
        raise CompilerError(products)
    return _load(prelude + source, double, command, ctypes.RTLD_LOCAL)


@functools.cache
def _products(source: str, double: bool, command: tuple[str, ...]) -> Library | str:
    """Matrix products, which loops find by name, or why a compiler does not work.

    Either is found out once: a compiler that hangs must not do so for every cell.
    """
    try:
        return _load(source, double, command, ctypes.RTLD_GLOBAL)
    except CompilerError as error:
        return str(error)


def _load(source: str, double: bool, command: tuple[str, ...], mode: int) -> Library:
    try:
        digest = hashlib.sha256(f"{source} {double} {_machine(command)}".encode()).hexdigest()
        folder = cache_folder()
        stored = folder / f"loop-{digest[:32]}.so" if folder else None
        if stored and (loaded := _load_stored(stored, mode)):
            return loaded
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            made = _compile(source, double, command, Path(place))
            if stored and _store(made, stored) and (loaded := _load_stored(stored, mode)):
                return loaded
            return Library(made, mode)
    except OSError as error:  # no room for temporary files, or they may not be loaded
        raise CompilerError(f"a compiled loop cannot be made or loaded: {error}") from None


def _load_stored(path: Path, mode: int) -> Library | None:
    """The library at a place of the cache, if there is a whole one that loads."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            return None
        with contextlib.suppress(OSError):  # a cache may be read-only
            os.utime(path)
        return Library(path, mode)
    except OSError:  # not there, or a library of another machine on a shared disk
        return None


def _store(made: Path, path: Path) -> bool:
    """Put a library into the cache, followed by its hash; False where it cannot be written."""
    part = path.with_name(f"{path.stem}-{os.urandom(8).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = made.read_bytes()
        part.write_bytes(content + hashlib.sha256(content).digest())
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        return False
    _bound(path.parent)
    return True


def _bound(folder: Path) -> None:
    """Keep the cache bounded; other processes may do the same at once."""
    with contextlib.suppress(OSError):
        found = sorted(folder.glob("loop-*"), key=lambda path: path.stat().st_mtime)
        for path in found[:-CACHED]:
            path.unlink(missing_ok=True)


@functools.cache
def _machine(command: tuple[str, ...]) -> str:
    """What decides the code beside its source: the compiler and the processor."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        said = _run([*command, "--version"], Path(place))
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{said} {platform.machine()} {flags} {' '.join(FLAGS)}"


def _compile(source: str, double: bool, command: tuple[str, ...], place: Path) -> Path:
    (place / "loop.c").write_text(source)
    define = ["-DDOUBLE"] if double else []
    _run([*command, *FLAGS, *define, "-o", "loop.so", "loop.c", "-lm", "-lpthread"], place)
    made = place / "loop.so"
    if not made.is_file():
        raise CompilerError(f"the C compiler {command[0]} writes nothing: {ADVICE}")
    return made


def _run(command: list[str], place: Path) -> str:
    """What a command prints; it runs in `place` and is killed with its children if it hangs."""
    name = command[0]
    try:
        process = subprocess.Popen(
            command,
            cwd=place,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CompilerError(f"the C compiler {name} does not run: {error}; {ADVICE}") from None
    with process:
        try:
            said, _ = process.communicate(timeout=COMPILE_LIMIT_S)
        # An interrupt too: the compiler has a session of its own and would go on without us.
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise CompilerError(
                f"the C compiler {name} was killed after {COMPILE_LIMIT_S:.0f} s: {ADVICE}"
            ) from None
    if process.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise CompilerError(f"the C compiler {name} failed ({first[:300]}): {ADVICE}")
    return said
