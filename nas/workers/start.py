"""Workers are started as a configuration says: processes of this machine, or slots of a cluster."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from nas.errors import UserError, hidden
from nas.tasks.base import Task
from nas.workers.config import ClusterConfig, address_of, travelling
from nas.workers.local import Workers


def start_workers(
    workers: int | str,
    time_limit_s: float | None,
    memory_limit_gb: float,
    cluster: ClusterConfig,
    tasks: Sequence[Task],
    devices: Sequence[str] = (),
) -> Workers:
    """The workers that a configuration means: a number, 0 for as many as devices or cores, or an
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
        return LocalWorkers(workers or len(devices) or n_cores(), devices=devices, **limits)
    from nas.workers.ray import RayWorkers

    carried = travelling(cluster, tasks)
    return RayWorkers(address_of(workers), cluster=cluster, carried=carried, **limits)


def check_available(workers: int | str, devices: Sequence[str] = ()) -> None:
    """Raise UserError if what the workers need is not installed, or a device is not there."""
    if isinstance(workers, str) and devices:
        raise UserError(
            "devices are those of this machine; on a cluster, cluster.gpus says how many GPUs an "
            f"evaluation has: leave out --devices {' '.join(devices)}."
        )
    for device in sorted({name for name in devices if name != "cpu"}):
        _check_device(device)
    if isinstance(workers, str) and importlib.util.find_spec("ray") is None:
        raise UserError(
            f"--workers {hidden(workers)} needs Ray: pip install -c constraints.txt -e '.[cluster]'"
        )


def _check_device(device: str) -> None:
    """Try a device in another process, since a coordinator does not import torch."""
    try_it = f"import torch; torch.zeros(1, device={device!r})"
    done = subprocess.run(
        [sys.executable, "-c", try_it], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise UserError(f"--devices {device} cannot be used: {hidden(reason[0]).rstrip('.')}.")
