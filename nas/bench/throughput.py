"""Throughput of worker processes, and cells a minute that a whole search judges."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nas.bench.timing import Times, median_s, take_turns
from nas.bench.training import short_text
from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.errors import SearchError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.study.leaderboard import BASELINES
from nas.study.parse import parse
from nas.workers.local import LocalWorkers

BACKENDS: tuple[Backend, ...] = ("eager", "c")
WORKERS = 2
TINY = (
    "--tasks text --tasks.text.epochs 1 --tasks.text.batches_per_epoch 4 --protocol.filter false "
    "--tasks.text.validation_batches 1 --protocol.n_settings 1"
).split()
"""Flags of a search that only shows that it runs."""


@dataclass(frozen=True)
class Workers:
    """Training text in worker processes of one thread, one after another or all at once."""

    cell: str
    n_params: int
    workers: int
    evaluations: dict[str, int]
    """Evaluations a round of each arm."""
    times_s: dict[str, Times]

    @property
    def per_minute(self) -> dict[str, float]:
        """Evaluations a minute of each arm."""
        counts = self.evaluations
        return {arm: 60 * counts[arm] / median_s(times) for arm, times in self.times_s.items()}

    @property
    def gain(self) -> float:
        """Throughput of all workers as a multiple of one worker's."""
        one, many = self.per_minute.values()
        return many / one


def workers(
    cell: Cell, n_params: int, n_workers: int, steps: int, evaluations: int, rounds: int
) -> Workers:
    """Let processes of one thread train, by turns one of them and all.

    Raises:
        SearchError: if an evaluation fails.
    """
    settings = (Settings(n_params=n_params),)
    evaluation = Evaluation(str(cell), cell.key, short_text(steps), settings, seed=0)
    one, many = "1 worker", f"{n_workers} workers"
    counts = {one: evaluations, many: evaluations * n_workers}
    with LocalWorkers(n_workers) as processes:

        def train(at_once: int, count: int) -> None:
            for _ in range(count // at_once):
                futures = [processes.submit(evaluation) for _ in range(at_once)]
                for outcome in (future.result().outcomes[0] for future in futures):
                    if outcome.status != "ok":
                        raise SearchError(
                            f"a worker's evaluation {outcome.status}: {outcome.message}"
                        )

        train(n_workers, n_workers)  # they import what they need
        arms = {one: lambda: train(1, counts[one]), many: lambda: train(counts[many], counts[many])}
        times = take_turns(arms, rounds, warm_up=1)
    return Workers(cell.name, n_params, n_workers, counts, times)


@dataclass(frozen=True)
class Search:
    """One search with one backend; the cache of compiled loops is empty at its start."""

    backend: Backend
    workers: int
    judged: int
    """Cells, included ones too."""
    loops: int
    """Compiled loops in the cache at the end."""
    wall_s: float

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
        arguments = [*flags.split(), *(TINY if tiny else ())]
        config = parse(arguments)
        environment = {**os.environ, "NAS_BACKEND": backend, "NAS_CACHE_DIR": f"{place}/cache"}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "nas.search", *arguments],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
        )
        wall_s = time.perf_counter() - began
        loops = sum(1 for _ in Path(place).glob("cache/*.so"))
    if done.returncode:
        message = (f"no message\n{done.stdout}\n{done.stderr}").strip().splitlines()[-1]
        code = done.returncode
        raise SearchError(f"the search with backend {backend} failed, exit code {code}: {message}")
    if bool(loops) != (backend == "c"):
        raise SearchError(f"the search with backend {backend} did not run on it.")
    judged = config.n_candidates + len({*BASELINES, *config.include})
    return Search(backend, WORKERS, judged, loops, wall_s)
