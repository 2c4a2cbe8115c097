"""The machine: a C compiler that works, cores, memory, GPUs."""

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.compile.gpu import CAPABILITY
from nas.compile.native import ADVICE, FLAGS, CompilerError, compiler
from nas.doctor.finding import Finding
from nas.protocol.device import planned_bytes
from nas.workers.devices import workers_on
from nas.workers.local import n_cores

LIMIT_S = 60.0
SOURCE = "int nas_doctor(int a, int b) { return a * b; }\n"
EAGER = "without it cells run on torch alone, several times slower"
TORCH = """
import json, torch
print(torch.__version__)
for n in range(torch.cuda.device_count()):
    try:
        free, total = torch.cuda.mem_get_info(n)
        torch.zeros(1, device=n)
        about = torch.cuda.get_device_properties(n)
        found = {"name": about.name, "free": free, "total": total}
        print(json.dumps(found | {"capability": 10 * about.major + about.minor}))
    except Exception as error:  # of a driver: the other GPUs are looked at all the same
        print(json.dumps({"name": "?", "error": " ".join(str(error).split())}))
"""
"""Another process imports torch, as workers do: what it breaks does not break this one."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the memory that a container may use, in bytes."""


def check_compiler() -> Iterator[Finding]:
    """The C compiler, which compiles and runs a function of one line."""
    try:
        command = compiler()
        began = time.perf_counter()
        _compile(command)
        took_ms = 1000 * (time.perf_counter() - began)
        version = _first_line([*command, "--version"])
        yield Finding("compiler", "there", f"{version}; it made a function in {took_ms:.0f} ms")
    except CompilerError as error:
        yield Finding("compiler", "missing", f"{error}; {EAGER}", ADVICE)
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        what = f"{' '.join(command)} does not work ({_reason(error)}); {EAGER}"
        yield Finding("compiler", "broken", what, ADVICE)


def _compile(command: tuple[str, ...]) -> None:
    """Compile a function as loops are, load it and call it."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "doctor.c", Path(folder) / "doctor.so"
        source.write_text(SOURCE, encoding="utf-8")
        line = [*command, *FLAGS, str(source), "-o", str(made)]
        subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=True)
        if (product := ctypes.CDLL(str(made)).nas_doctor(6, 7)) != 42:
            raise OSError(f"6 times 7 is {product}")


def _reason(error: Exception) -> str:
    """Why a program failed: the last line that it said, or its exit code."""
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or "").strip().splitlines()
        return said[-1] if said else f"exit code {error.returncode}"
    return str(error)


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return done.stdout.partition("\n")[0].strip()


def check_cores() -> Iterator[Finding]:
    """The cores that this process may use; a search has a worker for each."""
    n, everywhere = n_cores(), os.cpu_count() or 1
    of = f" of the machine's {everywhere}" if n < everywhere else ""
    yield Finding("cores", "there", f"{n}{of}, so that a search trains {n} cells at a time")


def check_memory() -> Iterator[Finding]:
    """The memory of the machine, or of the container; a worker takes about 0.5 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, LIMITS):
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            total = min(total, int(text))
    per_core = total / 2**30 / n_cores()
    detail = f"{total / 2**30:.1f} GiB, {per_core:.1f} a core"
    if per_core < 1:
        advice = "begin searches with fewer --workers: each takes half a GiB or more"
        yield Finding("memory", "missing", detail, advice)
    else:
        yield Finding("memory", "there", detail)


def check_torch() -> Iterator[Finding]:
    """Torch, which each worker imports, and the GPUs that it can use."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TORCH],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        advice = 'pip install "torch>=2.11,<2.14"'
        yield Finding("torch", "broken", _reason(error), advice, needed=True)
        return
    version, *gpus = done.stdout.splitlines()
    yield Finding("torch", "there", version, needed=True)
    if not gpus:
        advice = "torch for CUDA, where there is such a GPU; without one cells train on the CPU"
        yield Finding("GPU", "missing", "torch sees none", advice)
        return
    for n, gpu in enumerate(map(json.loads, gpus)):
        yield _of_gpu(f"cuda:{n}", gpu)


def _of_gpu(name: str, gpu: dict[str, Any]) -> Finding:
    """What a search with this GPU would do, or why it cannot."""
    if reason := gpu.get("error"):
        advice = f"leave it out of --devices; CUDA's driver must fit torch, and {name} be free"
        return Finding("GPU", "broken", f"{name}: {reason}", advice)
    free, total, at_once = gpu["free"], gpu["total"], workers_on([name], n_cores())
    stack = planned_bytes(free, total, at_once)
    cells = "1 cell" if at_once == 1 else f"{at_once} cells"
    return Finding(
        "GPU",
        "there",
        f"{name} {gpu['name']} ({free / 2**30:.0f} of {total / 2**30:.0f} GiB are free): --devices "
        f"{name} trains {cells} at a time, and as many settings of each as fit into "
        f"{stack / 2**30:.1f} GiB in one operation; {_loops(gpu['capability'])}",
    )


def _loops(capability: int) -> str:
    """What runs time loops on a GPU of this compute capability."""
    if capability < CAPABILITY:
        return f"cells run as CUDA graphs: kernels need compute capability {CAPABILITY / 10}"
    if importlib.util.find_spec("triton") is None:
        return "cells run as CUDA graphs: pip install triton, and they run as kernels of their own"
    return "cells run as kernels of their own where they fit, else as CUDA graphs"
