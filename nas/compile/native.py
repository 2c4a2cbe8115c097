"""C source to functions: the machine's compiler, a cache on disk, and how to do without.

A library is found by the hash of its source, the compiler's version and the processor's flags. It
is written under another name and moved into place, so that processes may compile the same at once
and a full disk or a killed compiler leaves nothing half made.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = (
    "-O3 -march=native -fno-math-errno -fno-trapping-math -fno-signed-zeros -shared -fPIC -w"
).split()
COMPILE_LIMIT_S = 60.0
CACHED = 2000
"""Libraries that stay in the cache; the least recently used go."""
HERE = Path(__file__).parent


class CompilerError(RuntimeError):
    """There is no working C compiler; the message says what to install or what it said."""


def compiler() -> list[str]:
    """The command of the C compiler: that of the variable CC, else cc, gcc or clang.

    Raises:
        CompilerError: if there is none.
    """
    if given := os.environ.get("CC"):
        return shlex.split(given)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise CompilerError("no C compiler is installed: apt-get install gcc, or set CC")


def cache_folder() -> Path:
    """Where compiled loops are kept: NAS_CACHE_DIR, else the user's cache folder."""
    if given := os.environ.get("NAS_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nas"


@functools.cache
def _machine() -> str:
    """What decides the code beside its source: the compiler and the processor."""
    try:
        said = subprocess.run(
            [*compiler(), "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilerError(f"the C compiler does not run: {error}") from None
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{said} {platform.machine()} {flags} {' '.join(FLAGS)}"


def library(source: str, double: bool) -> ctypes.CDLL:
    """The loaded library of a loop's source, compiled if it is not in the cache.

    Raises:
        CompilerError: if it cannot be compiled or loaded.
    """
    prelude = (HERE / "prelude.c").read_text()
    _gemm(prelude, double)
    return _load(prelude + source, double, ctypes.RTLD_LOCAL)


@functools.cache
def _gemm(prelude: str, double: bool) -> ctypes.CDLL:
    """Matrix products are compiled once a machine; loops find them by name."""
    return _load(prelude + (HERE / "gemm.c").read_text(), double, ctypes.RTLD_GLOBAL)


def _load(source: str, double: bool, mode: int) -> ctypes.CDLL:
    digest = hashlib.sha256(f"{source} {double} {_machine()}".encode()).hexdigest()[:32]
    path = cache_folder() / f"{digest}.so"
    if path.is_file():
        try:
            os.utime(path)
            return ctypes.CDLL(str(path), mode)
        except OSError:  # damaged, or of another machine on a shared disk: made anew
            path.unlink(missing_ok=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            made = _compile(source, double, Path(place))
            loaded = ctypes.CDLL(str(made), mode)
            made.replace(path)
        _bound(path.parent)
        return loaded
    except OSError:  # a cache that cannot be written or is full: compile without one
        with tempfile.TemporaryDirectory() as place:
            try:
                return ctypes.CDLL(str(_compile(source, double, Path(place))), mode)
            except OSError as error:
                raise CompilerError(f"a compiled loop cannot be loaded: {error}") from None


def _compile(source: str, double: bool, place: Path) -> Path:
    text, made = place / "loop.c", place / "loop.so"
    text.write_text(source)
    define = ["-DDOUBLE"] if double else []
    command = [*compiler(), *FLAGS, *define, "-o", str(made), str(text), "-lm"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilerError(f"the C compiler does not run: {error}") from None
    if done.returncode != 0 or not made.is_file():
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise CompilerError(f"the C compiler failed: {first.strip()[:300]}")
    return made


def _bound(folder: Path) -> None:
    """Keep the cache bounded."""
    found = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_mtime)
    for path in found[:-CACHED]:
        path.unlink(missing_ok=True)
