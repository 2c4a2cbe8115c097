"""Compiles C source and loads its functions.

The cache holds a library under a hash of its source, the compiler's version and the processor's
flags; a library that is not there is compiled. The names that a source defines end with its hash,
so that a library can hold many sources.
"""

import _ctypes
import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.compile import cache

FLAGS = "-O3 -march=native -fno-math-errno -fno-trapping-math -shared -fPIC -w".split()
LOOP_FLAGS = "-O2 -fno-tree-pre -fno-gcse -fno-tree-vrp -fno-thread-jumps -fira-region=one".split()
"""Flags for all C but the products, where most time is spent. Compared with -O3, loops are as fast
to within half a per cent and compile in half of the time (GCC 12); with -O1 they are 3 % slower."""
COMPILE_LIMIT_S = 60.0
HERE = Path(__file__).parent
FORMAT = 1
"""The version of libraries, raised when the names in them change."""
PRODUCTS = ("prelude.c", "gemm.c", "bfloat.c")
ADVICE = "apt-get install gcc, or set CC to the command of a C compiler"
DEFINED = re.compile(r"^(?:(?:static|const) )*(?!extern|static|const)\w+ (\w+)[\[(]", re.MULTILINE)
"""The functions and tables that a source defines."""


class Library:
    """A loaded library, unloaded with the last reference to it or to one of its functions.

    ctypes.CDLL never unloads, and a process that has compiled some 10,000 cells would have no
    memory map left.
    """

    def __init__(self, path: Path, mode: int, suffix: str) -> None:
        """Load a library, or raise OSError; the names of its functions end with `suffix`."""
        self._suffix = suffix
        self._handle = _ctypes.dlopen(str(path), mode)
        # Not at exit: other threads may still be in the code.
        weakref.finalize(self, _ctypes.dlclose, self._handle).atexit = False

    def check(self, symbol: str) -> None:
        """Raise OSError if a symbol is not there."""
        _ctypes.dlsym(self._handle, symbol)

    def function(self, name: str, *arguments: Any) -> Any:
        """A function without a result, from the ctypes of its arguments."""
        address = _ctypes.dlsym(self._handle, name + self._suffix)
        function: Any = ctypes.CFUNCTYPE(None, *arguments)(address)
        function.library = self  # keeps it loaded as long as the function
        return function


class CompilerError(RuntimeError):
    """There is no working C compiler; the message quotes it or says what to install."""


def compiler() -> tuple[str, ...]:
    """The command of the C compiler: the variable CC, else cc, gcc or clang.

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


def library(source: str, double: bool) -> Library:
    """The loaded library of a loop's source, compiled if it is not in the cache.

    Raises:
        CompilerError: if it cannot be compiled or loaded.
    """
    prelude, command = _ready(double)
    digest = _digest(prelude + source, double, command)
    return _load(prelude + _named(source, digest), digest, double, command)


def compile_together(sources: Sequence[str], double: bool) -> None:
    """Put the libraries of sources into the cache by one run of the compiler.

    Raises:
        CompilerError: if they cannot be compiled, or the cache cannot be written.
    """
    prelude, command = _ready(double)
    digests = {_digest(prelude + source, double, command): source for source in sources}
    text = prelude + "".join(_named(source, digest) for digest, source in digests.items())
    places = [place for digest in digests if (place := cache.place(digest))]
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            made = _compile(text, double, command, Path(folder), LOOP_FLAGS)
            if not places or not cache.store(made, places):
                raise CompilerError(f"the cache {cache.cache_folder()} cannot be written")
    except OSError as error:  # no room for temporary files
        raise CompilerError(f"compiled loops cannot be made: {error}") from None


def is_cached(source: str, double: bool) -> bool:
    """Whether a source's library is in the cache; this counts as a use of it.

    Raises:
        CompilerError: without a working C compiler.
    """
    prelude, command = _ready(double)
    place = cache.place(_digest(prelude + source, double, command))
    return place is not None and cache.is_whole(place)


def has_bfloat16() -> bool:
    """Whether the processor has products with bfloat16 factors.

    Raises:
        CompilerError: without a working C compiler.
    """
    try:
        _loaded(False).check("nas_gemm_b16")
        return True
    except OSError:
        return False


def _ready(double: bool) -> tuple[str, tuple[str, ...]]:
    """Load the products; return the text before every loop, and the compiler's command."""
    _loaded(double)
    return _text("prelude.c"), compiler()


def _loaded(double: bool) -> Library:
    products = _products("".join(map(_text, PRODUCTS)), double, compiler())
    if isinstance(products, str):
        raise CompilerError(products)
    return products


@functools.cache
def _text(name: str) -> str:
    return (HERE / name).read_text()


@functools.cache
def _products(source: str, double: bool, command: tuple[str, ...]) -> Library | str:
    """Matrix products, which loops find by name, or the reason why a compiler does not work.

    The result is cached, since a compiler that hangs must not do so for every cell.
    """
    try:
        digest = _digest(source, double, command)
        return _load(source + _mark(digest), digest, double, command, products=True)
    except CompilerError as error:
        return str(error)


def _digest(source: str, double: bool, command: tuple[str, ...]) -> str:
    try:
        made_of = f"{FORMAT} {source} {double} {_machine(command)}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:32]
    except OSError as error:  # no room for temporary files
        raise CompilerError(f"a compiled loop cannot be made: {error}") from None


def _named(source: str, digest: str) -> str:
    """A source with its hash at the end of all names that it defines."""
    names = [str(name) for name in DEFINED.findall(source)]
    before = "".join(f"#define {name} {name}_{digest}\n" for name in names)
    after = "".join(f"#undef {name}\n" for name in names)
    return f"{before}{source}{after}{_mark(digest)}"


def _mark(digest: str) -> str:
    """A symbol for a source, by which `_load_stored` refuses a library under a wrong name."""
    return f"const char nas_{digest} = 1;\n"


def _load(
    text: str, digest: str, double: bool, command: tuple[str, ...], *, products: bool = False
) -> Library:
    """Load a library, compiled if the cache lacks it; loops see the names of products."""
    mode, suffix = (ctypes.RTLD_GLOBAL, "") if products else (ctypes.RTLD_LOCAL, f"_{digest}")
    place = cache.place(digest)
    try:
        if place and (loaded := _load_stored(place, digest, suffix, mode)):
            return loaded
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            flags = [] if products else LOOP_FLAGS
            made = _compile(text, double, command, Path(folder), flags)
            if place and cache.store(made, [place]):
                if loaded := _load_stored(place, digest, suffix, mode):
                    return loaded
            return Library(made, mode, suffix)
    except OSError as error:  # no room for temporary files, or they may not be loaded
        raise CompilerError(f"a compiled loop cannot be made or loaded: {error}") from None


def _load_stored(path: Path, digest: str, suffix: str, mode: int) -> Library | None:
    """The library at a path of the cache, if it is undamaged and loads."""
    if not cache.is_whole(path):
        return None
    try:
        loaded = Library(path, mode, suffix)
        loaded.check(f"nas_{digest}")
        return loaded
    except OSError:  # a library of another machine on a shared disk
        return None


@functools.cache
def _machine(command: tuple[str, ...]) -> str:
    """The compiler and the processor, which decide the code beside its source."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        version = _run([*command, "--version"], Path(place))
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{version} {platform.machine()} {flags} {' '.join([*FLAGS, *LOOP_FLAGS])}"


def _compile(
    source: str, double: bool, command: tuple[str, ...], place: Path, flags: Sequence[str]
) -> Path:
    (place / "loop.c").write_text(source)
    define = ["-DDOUBLE"] if double else []
    _run([*command, *FLAGS, *flags, *define, "-o", "loop.so", "loop.c", "-lm", "-lpthread"], place)
    made = place / "loop.so"
    if not made.is_file():
        raise CompilerError(f"the C compiler {command[0]} writes nothing: {ADVICE}")
    return made


def _run(command: list[str], place: Path) -> str:
    """The output of a command run in `place`; a command that hangs is killed with its children."""
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
            output, _ = process.communicate(timeout=COMPILE_LIMIT_S)
        except BaseException as error:  # an interrupt too: the compiler would go on without us
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise CompilerError(
                f"the C compiler {name} was killed after {COMPILE_LIMIT_S:.0f} s: {ADVICE}"
            ) from None
    if process.returncode:
        lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise CompilerError(f"the C compiler {name} failed ({first[:300]}): {ADVICE}")
    return output
