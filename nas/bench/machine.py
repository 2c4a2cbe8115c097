"""Facts of the machine: processor, compiler, its best matrix product."""

import os
import subprocess
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nas.compile.native import FLAGS, LOOP_FLAGS, CompilerError, compiler

FLAGS_THAT_MATTER = (
    "avx2 fma avx512f avx512bw avx512vl avx512_bf16 avx512_vnni avx512_fp16 amx_tile asimd sve"
).split()
PRODUCTS = 10


def machine() -> dict[str, Any]:
    """The processor, the compiler and the settings of torch that decide a time."""
    flags = _of_processor("flags", "Features").split()
    return {
        "processor": _of_processor("model name", "CPU part") or "unknown",
        "flags": [flag for flag in FLAGS_THAT_MATTER if flag in flags],
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "compiler": _compiler(),
        "compiler_flags": [*FLAGS, *LOOP_FLAGS],
        "dtype": "float32",
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def _of_processor(*fields: str) -> str:
    """The first of these fields that /proc/cpuinfo has."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    lines = [line for field in fields for line in lines if line.startswith(field)]
    return lines[0].partition(":")[2].strip() if lines else ""


def _compiler() -> str | None:
    try:
        command = [*compiler(), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (CompilerError, OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch, and with it the C loop, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_gflops(size: int) -> float:
    """The best of some square torch.mm in float32: what a matrix product can reach here."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    best = min(timeit.repeat(lambda: torch.mm(a, b, out=out), number=1, repeat=PRODUCTS))
    return 2 * size**3 / best / 1e9
