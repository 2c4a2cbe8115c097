"""Cells a minute that the quickstart's search judges, on the eager backend and compiled."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nas.compile.backend import Backend
from nas.errors import SearchError
from nas.study.leaderboard import BASELINES
from nas.study.parse import parse

BACKENDS: tuple[Backend, ...] = ("eager", "c")
WORKERS = 2
TINY = (
    "--tasks text --tasks.text.epochs 1 --tasks.text.batches_per_epoch 4 --protocol.filter false "
    "--tasks.text.validation_batches 1 --protocol.n_settings 1"
).split()
"""For a run that only shows that it runs."""


@dataclass(frozen=True)
class Search:
    """One search with one backend; the cache of compiled loops is empty at its start."""

    backend: Backend
    workers: int
    judged: int
    """Cells, those that are given included."""
    loops: int
    """Compiled ones in the cache at the end."""
    wall_s: float
    """From the start of the command to its end."""

    @property
    def per_minute(self) -> float:
        return 60 * self.judged / self.wall_s


def search(backend: Backend, candidates: int, *, tiny: bool = False) -> Search:
    """Run the search of `experiments/quickstart`; its candidates depend on no result.

    Raises:
        SearchError: if it fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        flags = f"quickstart --study bench --studies {place} --workers {WORKERS} --sampler random"
        flags += f" --n_candidates {candidates} --tracking_uri off"
        given = [*flags.split(), *(TINY if tiny else ())]
        config = parse(given)
        environment = {**os.environ, "NAS_BACKEND": backend, "NAS_CACHE_DIR": f"{place}/cache"}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "nas.search", *given],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
        )
        wall_s = time.perf_counter() - began
        loops = sum(1 for _ in Path(place).glob("cache/*.so"))
    if done.returncode:
        said = (f"no message\n{done.stdout}\n{done.stderr}").strip().splitlines()[-1]
        code = done.returncode
        raise SearchError(f"the search with backend {backend} failed, exit code {code}: {said}")
    if bool(loops) != (backend == "c"):
        raise SearchError(f"the search with backend {backend} did not run on it.")
    judged = config.n_candidates + len({*BASELINES, *config.include})
    return Search(backend, WORKERS, judged, loops, wall_s)
