"""Workers on the tests' Ray cluster, which run what tests/workers/worker_targets.py has."""

import shutil
from concurrent.futures import Future
from pathlib import Path

from worker_targets import eventually

from nas.protocol.evaluation import Outcome, Result
from nas.workers.local import Workers
from tests.cluster.nodes import ADDRESS
from tests.studies import ROOT, write_config

FILES = ("--cluster.files", "tests")
RUN = "worker_targets:run"
TIME_LIMIT_S = 2.0
JOIN_S = 200
"""A node has joined by then."""


def lay(folder: Path, n_candidates: int = 5) -> Path:
    """A search's configuration, and in tests/ what workers run for it, which travels with
    `FILES`."""
    path = write_config(folder, n_candidates)
    (folder / "tests").mkdir()
    for name in ("__init__.py", "fake_training.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    return path


def made(time_limit_s: float = TIME_LIMIT_S) -> Workers:
    """Workers with the two slots of the cluster, which no others may hold."""
    from nas.workers.ray import RayWorkers

    workers = RayWorkers(ADDRESS, RUN, time_limit_s=time_limit_s)
    if not eventually(lambda: workers.n_slots == 2, JOIN_S):
        workers.close(wait=False)
        raise AssertionError(f"{workers.n_slots} slots are there, not 2")
    return workers


def only(future: "Future[Result]") -> Outcome:
    (outcome,) = future.result(timeout=60).outcomes
    return outcome
