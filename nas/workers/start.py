"""Workers are started as a configuration says: processes of this machine, or slots of a cluster."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from nas.errors import UserError, hidden
from nas.tasks.base import Task
from nas.workers.config import ClusterConfig, address_of, travelling
from nas.workers.devices import check_backend_of, check_device, workers_on
from nas.workers.local import Workers

RECONNECTS = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Seconds after which Ray ends a process that asked a head which died: a notebook's too, long after
the search has said so. Ray reads it when it is imported; here a lost head is noticed without it, by
`Head` of `connection.py`."""


def start_workers(
    workers: int | str,
    time_limit_s: float | None,
    memory_limit_gb: float,
    cluster: ClusterConfig,
    tasks: Sequence[Task],
    devices: Sequence[str] = (),
) -> Workers:
    """The workers that a configuration means: a number, 0 for as many as `workers_on` says, or an
    address.

    Raises:
        UserError: if there is no such cluster.
    """
    from nas.workers.local import LocalWorkers, n_cores  # here, as tests replace it

    limits: dict[str, Any] = {
        "time_limit_s": time_limit_s or 3600.0,
        "memory_limit_bytes": int(memory_limit_gb * 2**30) if memory_limit_gb else None,
    }
    if isinstance(workers, int):
        n = workers or workers_on(devices, n_cores())
        return LocalWorkers(n, devices=devices, **limits)
    os.environ.setdefault(RECONNECTS, str(10**6))
    from nas.workers.ray import RayWorkers

    carried = travelling(cluster, tasks)
    return RayWorkers(address_of(workers), cluster=cluster, carried=carried, **limits)


def check_available(workers: int | str, devices: Sequence[str] = ()) -> None:
    """Raise UserError if what the workers need is not installed, or a device is not there, or the
    variable NAS_BACKEND, which they inherit, names a backend of other devices."""
    if isinstance(workers, str) and devices:
        raise UserError(
            "devices are those of this machine; on a cluster, cluster.gpus says how many GPUs an "
            f"evaluation has: leave out --devices {' '.join(devices)}."
        )
    if isinstance(workers, int):
        check_backend_of(devices)
    for device in sorted(set(devices)):
        check_device(device)
    if isinstance(workers, str) and importlib.util.find_spec("ray") is None:
        raise UserError(
            f"--workers {hidden(workers)} needs Ray: pip install -c constraints.txt -e '.[cluster]'"
        )
