"""What the machine is and can do: processor, compiler, its best matrix product, compile times."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.cell.graph import Cell
from nas.compile.emit import emit
from nas.compile.loop import LANES
from nas.compile.native import FLAGS, CompilerError, compiler, library
from nas.compile.plan import make_plan

FLAGS_THAT_MATTER = (
    "avx2 fma avx512f avx512bw avx512vl avx512_bf16 avx512_vnni avx512_fp16 amx_tile asimd sve"
).split()
PRODUCTS = 10
CACHED_LOADS = 3


def machine() -> dict[str, Any]:
    """The processor, the compiler and the settings of torch that decide a time."""
    return {
        "processor": _of_processor("model name") or _of_processor("CPU part") or "unknown",
        "flags": [flag for flag in FLAGS_THAT_MATTER if flag in _flags()],
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "compiler": _compiler(),
        "compiler_flags": FLAGS,
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def _of_processor(field: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, "")


def _flags() -> set[str]:
    return set((_of_processor("flags") or _of_processor("Features")).split())


def _compiler() -> str | None:
    try:
        command = [*compiler(), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (CompilerError, OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_gflops(size: int) -> float:
    """The best of some square torch.mm in float32: what a matrix product can reach here."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    best = float("inf")
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e9


@dataclass(frozen=True)
class CompileTime:
    """Seconds from a cell to a callable loop; the products that all loops share are compiled."""

    cell: str
    hidden: int
    cold_s: float
    """With an empty cache: the C compiler runs."""
    cached_s: list[float]
    """From the cache on disk, each time another copy, which the process has not loaded yet."""


def compile_time(cell: Cell, hidden: int) -> CompileTime:
    """Compile a cell's loop into a cache of its own, then load it from copies of that.

    Raises:
        CompilerError: without a working C compiler.
    """
    _loop(cell, hidden)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folders = [Path(place) / str(number) for number in range(1 + CACHED_LOADS)]
        cold_s = _time_from(folders[0], cell, hidden)
        for folder in folders[1:]:
            shutil.copytree(folders[0], folder)
        cached_s = [_time_from(folder, cell, hidden) for folder in folders[1:]]
    return CompileTime(cell.name, hidden, cold_s, cached_s)


def _time_from(folder: Path, cell: Cell, hidden: int) -> float:
    before = os.environ.get("NAS_CACHE_DIR")
    os.environ["NAS_CACHE_DIR"] = str(folder)
    try:
        began = time.perf_counter()
        _loop(cell, hidden)
        return time.perf_counter() - began
    finally:
        if before is None:
            del os.environ["NAS_CACHE_DIR"]
        else:
            os.environ["NAS_CACHE_DIR"] = before


def _loop(cell: Cell, hidden: int) -> None:
    """What `nas.compile.loop.compiled` does for a cell that the process has not met."""
    plan = make_plan(cell, hidden, hidden, LANES[torch.float32])
    library(emit(plan).text, double=False)
