"""Workers on the tests' Ray cluster, which run what tests/worker_targets.py has."""

from concurrent.futures import Future

from worker_targets import eventually

from nas.evaluation import Outcome, Result
from nas.workers import Workers
from tests.cluster.nodes import ADDRESS

RUN = "worker_targets:run"
TIME_LIMIT_S = 2.0
JOIN_S = 200
"""A node has joined by then."""


def made(time_limit_s: float = TIME_LIMIT_S) -> Workers:
    """Workers with the two slots of the cluster, which no others may hold."""
    from nas.workers_ray import RayWorkers

    workers = RayWorkers(ADDRESS, RUN, time_limit_s)
    if not eventually(lambda: workers.n_slots == 2, JOIN_S):
        workers.close(wait=False)
        raise AssertionError(f"{workers.n_slots} slots are there, not 2")
    return workers


def only(future: "Future[Result]") -> Outcome:
    (outcome,) = future.result(timeout=60).outcomes
    return outcome
