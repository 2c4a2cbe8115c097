"""Which workers a command has: processes of this machine, or slots of a cluster."""

import importlib.util
from collections.abc import Sequence

from nas.cluster import ClusterConfig, address_of, travelling
from nas.errors import UserError, hidden
from nas.tasks.base import Task
from nas.workers import Workers


def crew(
    workers: int | str,
    time_limit_s: float | None,
    memory_limit_gb: float,
    cluster: ClusterConfig,
    tasks: Sequence[Task],
) -> Workers:
    """The workers that a configuration means: a number, 0 for as many as cores, or an address.

    Raises:
        UserError: if there is no such cluster.
    """
    from nas.workers import LocalWorkers, n_cores  # here: as tests replace it

    limit_s = time_limit_s or 3600.0
    limit_bytes = int(memory_limit_gb * 2**30) if memory_limit_gb else None
    if isinstance(workers, int):
        return LocalWorkers(
            workers or n_cores(), time_limit_s=limit_s, memory_limit_bytes=limit_bytes
        )
    from nas.workers_ray import RayWorkers

    carried = travelling(cluster, tasks)
    return RayWorkers(
        address_of(workers),
        time_limit_s=limit_s,
        memory_limit_bytes=limit_bytes,
        cluster=cluster,
        carried=carried,
    )


def check_crew(workers: int | str) -> None:
    """Raise UserError if what the workers need is not installed."""
    if isinstance(workers, str) and importlib.util.find_spec("ray") is None:
        raise UserError(
            f"--workers {hidden(workers)} needs Ray: pip install -c constraints.txt -e '.[cluster]'"
        )
