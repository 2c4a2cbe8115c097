"""`nas doctor`: what is here of all that commands use, what is missing, and what to install or set.

Packages, torch and GPUs (in another process, as workers import it), the C compiler (it compiles a
function of one line, with the flags of loops, loads it and calls it), cores, memory, the folder of
studies (a SQLite file is written and removed), the driver of PostgreSQL, MLflow (a server is asked
for an answer), optional packages, and the files of data that tasks know by name (compared by their
SHA-256). It fetches nothing and leaves nothing behind.

The exit code is 1 if something is not there without which no search runs: a package, torch, a
folder that can be written. Without a compiler a search runs, several times slower; without an
MLflow server too, and its record catches up.

A new check is a function and a line of `CHECKS`.
"""

import argparse
import ctypes
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from nas.command_line import EXIT_FAILED, arguments_of, guarded, program
from nas.compile.gpu import CAPABILITY
from nas.compile.native import ADVICE, FLAGS, CompilerError, compiler
from nas.errors import UserError, hidden
from nas.protocol.device import planned_bytes
from nas.tasks import corpus, music, penn_treebank
from nas.tasks.files import DATA_FOLDER, Pinned, folder, found
from nas.workers.devices import workers_on
from nas.workers.local import n_cores
from nas.zoo.tracking import ENVIRONMENT, effective_uri, place

State = Literal["there", "missing", "broken"]
COLOURS: dict[State, str] = {"there": "green", "missing": "yellow", "broken": "red"}
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
LEAST_FREE = 2**30
ANSWER_S = 5.0
"""Seconds in which a tracking server must answer."""
NEEDED = ("pytorch-lightning", "optuna", "mlflow", "numpy", "pandas", "scipy", "scikit-learn")
OPTIONAL = {
    "ray": ("ray[client]>=2.60", "searches on a cluster, --workers ray:…"),
    "onnx": ("onnx>=1.19", "python -m nas.export --onnx"),
    "onnxruntime": ("onnxruntime>=1.23", "the check of an exported ONNX graph"),
    "matplotlib": ("matplotlib", "pictures as PNG, and the report's"),
}
"""What to install for a module, and what it is for."""
KNOWN: dict[str, tuple[Pinned, ...]] = {
    **{f'text "{name}"': (file,) for name, file in corpus.PINNED.items()},
    **{f'music "{name}"': (file,) for name, file in music.PINNED.items()},
    "penn_treebank": tuple(penn_treebank.PINNED.values()),
}
"""The files of each task that are pinned, by the task and its path."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that commands use, and whether it is here."""

    name: str
    state: State
    detail: str
    """What is there, or what is wrong."""
    advice: str = ""
    """What to install or set, if it is not there; addresses are lines of their own, at the end."""
    needed: bool = False
    """Whether no search can run without it."""

    @property
    def prevents_searches(self) -> bool:
        return self.needed and self.state != "there"


# --- packages ---


def check_needed() -> Iterator[Finding]:
    """The packages that every search imports."""
    versions, lacking = [], []
    for name in NEEDED:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        advice = f"pip install {' '.join(lacking)}"
        yield Finding("packages", "missing", f"no {', no '.join(lacking)}", advice, needed=True)
    else:
        yield Finding("packages", "there", ", ".join(versions), needed=True)


def check_optional() -> Iterator[Finding]:
    """The packages that some commands need."""
    for module, (package, use) in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "missing", f"for {use}", f'pip install "{package}"')
        else:
            yield Finding(module, "there", f"{_version(module)}, for {use}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # the module comes from elsewhere
        return "unknown version"


# --- the machine ---


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
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "doctor.c", Path(temporary) / "doctor.so"
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


# --- where results are kept ---


def check_folder() -> Iterator[Finding]:
    """Whether a SQLite database can be written here, as each search does in studies/."""
    try:
        with tempfile.TemporaryDirectory(dir=".", prefix=".nas-doctor-") as made:
            with closing(sqlite3.connect(Path(made) / "study.db")) as database:
                database.execute("CREATE TABLE cells (name TEXT)")
                database.execute("INSERT INTO cells VALUES ('gru')")
                database.commit()
    except (OSError, sqlite3.Error) as error:
        advice = "work in a folder that you may write to, or give --studies and --tracking-uri"
        yield Finding("SQLite", "broken", f"{Path.cwd()}: {error}", advice, needed=True)
        return
    free = shutil.disk_usage(".").free
    detail = f"{Path.cwd()} can be written, {free / 2**30:.1f} GiB are free"
    if free < LEAST_FREE:
        yield Finding("SQLite", "missing", detail, "free some of the disk")
    else:
        yield Finding("SQLite", "there", f"{detail} (sqlite {sqlite3.sqlite_version})")


def check_postgresql() -> Iterator[Finding]:
    """The driver for --storage postgresql://…"""
    if importlib.util.find_spec("psycopg") is not None:
        yield Finding("PostgreSQL", "there", "the driver is installed: --storage postgresql://…")
    else:
        advice = 'pip install "psycopg[binary]>=3.2", for --storage postgresql://…'
        yield Finding("PostgreSQL", "missing", "the driver is not installed", advice)


def check_tracking() -> Iterator[Finding]:
    """The MLflow that searches record in: a server that answers, or a database."""
    try:
        uri = effective_uri("")
        where = place("", Path.cwd())
    except UserError as error:
        yield Finding("MLflow", "broken", str(error), f"set {ENVIRONMENT} to another URI")
        return
    named = f"{ENVIRONMENT} names" if os.environ.get(ENVIRONMENT) else "searches record in"
    if where.database is not None:
        be = "is there" if where.database.is_file() else "will be made"
        yield Finding("MLflow", "there", f"{named} {where.database}, which {be}")
    elif uri.startswith("http"):
        yield _answer(uri)
    else:
        yield Finding("MLflow", "there", f"{named} {hidden(uri)}, which is not tried here")


def _answer(uri: str) -> Finding:
    """Whether a tracking server answers, whatever it says."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S):
            pass
    except urllib.error.HTTPError:  # it wants a password, or has no such page
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "MLflow",
            "broken",
            f"the server {hidden(uri)} does not answer ({reason})",
            f"start it (mlflow server), set {ENVIRONMENT} to another, or search with "
            "--tracking-uri off",
        )
    return Finding("MLflow", "there", f"the server {hidden(uri)} answers")


# --- data ---


def check_data() -> Iterator[Finding]:
    """The folder of data, and whether each pinned file is here and whole."""
    named = os.environ.get(DATA_FOLDER, "")
    if named and not Path(named).expanduser().is_dir():
        advice = f"set {DATA_FOLDER} to a folder that is there"
        yield Finding(DATA_FOLDER, "broken", f"{named} is no folder", advice)
    for name, files in KNOWN.items():
        yield _of_data(name, files)


def _of_data(name: str, files: tuple[Pinned, ...]) -> Finding:
    places = {file.file_name: found(file, folder()) for file in files}
    if lacking := [file for file in files if places[file.file_name] is None]:
        names = ", ".join(file.file_name for file in lacking)
        return Finding(
            name,
            "missing",
            f"{names}: fetched when it is first needed",
            f"without a network: put {'it' if len(lacking) == 1 else 'them'} into a folder, and "
            f"set {DATA_FOLDER} to that; from\n" + "\n".join(file.url for file in lacking),
        )
    for file in files:
        path = places[file.file_name]
        assert path is not None
        if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            what = f"{path} is not the file that is pinned by its SHA-256"
            return Finding(name, "broken", what, "remove it, and it is fetched anew")
    return Finding(name, "there", ", ".join(str(path) for path in places.values()))


# --- the command ---


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_needed,
    check_torch,
    check_compiler,
    check_cores,
    check_memory,
    check_folder,
    check_postgresql,
    check_tracking,
    check_optional,
    check_data,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 if no search can run."""
    given = arguments_of(arguments)
    return guarded("nas.doctor", lambda: doctor(as_json=parser().parse_args(given).json))


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("doctor"),
        description="Says what is here of all that commands use, what is missing, and what to "
        "install or set. Exit code 1: no search can run.",
    )
    made.add_argument("--json", action="store_true", help="print the findings for a program")
    return made


def doctor(*, as_json: bool = False) -> int:
    """Run all checks and print their findings; returns the exit code."""
    findings = [finding for check in CHECKS for finding in check()]
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        show(findings, Console())
    return EXIT_FAILED if any(finding.prevents_searches for finding in findings) else 0


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print a row for each finding, with what to do about it, and whether a search can run.

    Addresses, which the advice has on lines of their own, are not cut, so that they can be copied.
    """
    name_width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        advice, *addresses = finding.advice.splitlines() or [""]
        detail = finding.detail + (f"\n-> {advice}" if advice else "")
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=min(name_width, console.width // 3), overflow="fold")
        row.add_column(width=len("missing"))
        row.add_column(overflow="fold")
        state = f"[{COLOURS[finding.state]}]{finding.state}[/]"
        row.add_row(finding.name, state, detail.replace("[", r"\["))
        console.print(row, highlight=False)
        for address in addresses:
            console.print(f"  {address}", soft_wrap=True, highlight=False, markup=False)
    prevented = [finding.name for finding in findings if finding.prevents_searches]
    verdict = "A search can run here." if not prevented else "No search can run here: see "
    console.print(f"\n{verdict}{', '.join(prevented)}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
