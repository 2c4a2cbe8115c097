"""Which workers a command has: processes of this machine, or slots of a cluster."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from nas.errors import UserError, hidden
from nas.tasks.base import Task
from nas.workers.cluster import ClusterConfig, address_of, travelling
from nas.workers.local import Workers


def crew(
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
    from nas.workers.local import LocalWorkers, n_cores  # here: as tests replace it

    limit_s = time_limit_s or 3600.0
    limit_bytes = int(memory_limit_gb * 2**30) if memory_limit_gb else None
    if isinstance(workers, int):
        return LocalWorkers(
            workers or len(devices) or n_cores(),
            time_limit_s=limit_s,
            memory_limit_bytes=limit_bytes,
            devices=devices,
        )
    from nas.workers.ray import RayWorkers

    carried = travelling(cluster, tasks)
    return RayWorkers(
        address_of(workers),
        time_limit_s=limit_s,
        memory_limit_bytes=limit_bytes,
        cluster=cluster,
        carried=carried,
    )


def check_crew(workers: int | str, devices: Sequence[str] = ()) -> None:
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
    """In another process, since a coordinator does not import torch."""
    try_it = f"import torch; torch.zeros(1, device={device!r})"
    done = subprocess.run(
        [sys.executable, "-c", try_it], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise UserError(f"--devices {device} cannot be used: {hidden(reason[0]).rstrip('.')}.")
