"""The configuration of a Ray cluster and its slots, read without Ray."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nas.errors import UserError, check_fields, hidden
from nas.tasks import Arrays, Csv, Text, Words
from nas.tasks.base import Task

MOST_WORKERS = 4096
"""Processes of one machine, each of some 0.3 GB."""
ADDRESS = re.compile(r"ray:(auto|(//)?[^\s/@]+:\d+)")


@dataclass(frozen=True)
class ClusterConfig:
    """For --workers ray:…: the resources of an evaluation, and the files that travel to it."""

    cpus: Annotated[float, "positive"] = 1.0
    """CPUs that an evaluation is given; it trains in one thread."""
    gpus: float = 0.0
    """GPUs that an evaluation is given; 0.25 puts four on one."""
    slots: Annotated[int, "at least 0"] = 0
    """Evaluations that run at once, at most; more than fit ask an autoscaler for nodes; 0: as many
    as fit, while nodes join and leave."""
    files: tuple[str, ...] = ()
    """Files and folders beside the command, such as modules of your own, that travel to the
    workers. The tasks' own data files do so by themselves."""

    def check(self) -> None:
        """Raise UserError for the first field that breaks a rule."""
        check_fields(self, "cluster.")
        if not self.gpus >= 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise UserError(
                f"cluster.gpus must be a part of a GPU or a whole number, got {self.gpus:g}."
            )
        for name in self.files:
            _check_travels(name)


def check_workers(workers: int | str) -> None:
    """Raise UserError unless it is a number of local processes or a cluster's address."""
    if isinstance(workers, int) and workers < 0:
        raise UserError(f"workers must be at least 0, got {workers}.")
    if isinstance(workers, int) and workers > MOST_WORKERS:
        raise UserError(f"workers must be at most {MOST_WORKERS:,}, got {workers:,}.")
    if isinstance(workers, str) and not ADDRESS.fullmatch(workers):
        raise UserError(
            "workers must be a whole number, or a cluster: ray:auto, ray:HOST:PORT or "
            f'ray://HOST:PORT, got "{hidden(workers)}".'
        )


def check_devices(devices: Sequence[str]) -> None:
    """Raise UserError unless they are torch's names of devices."""
    for name in devices:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
            raise UserError(f'devices must be cpu, or GPUs such as cuda:0, got "{name}".')
    if len({name.partition(":")[0] for name in devices}) > 1:
        raise UserError(f"devices must be of one kind in a study, got {', '.join(devices)}.")


def device_kind(devices: Sequence[str], cluster: ClusterConfig) -> dict[str, str]:
    """The devices in a study's definition; nothing for the CPU, as in the first studies."""
    on_gpus = cluster.gpus > 0 or any(name.startswith("cuda") for name in devices)
    return {"device": "cuda"} if on_gpus else {}


def address_of(workers: str) -> str:
    """Ray's name of the cluster: "auto", HOST:PORT, or ray://HOST:PORT."""
    return workers if workers.startswith("ray://") else workers.removeprefix("ray:")


def travelling(config: ClusterConfig, tasks: Sequence[Task]) -> list[str]:
    """The paths of files that travel to the workers, relative to the working directory.

    A task's data file travels if its path is relative and stays below; another one must be on every
    node. Workers compare the content of either with the coordinator's.
    """
    own = [t.path for t in tasks if isinstance(t, Text | Words | Csv | Arrays)]
    return [*config.files, *(path for path in own if _stays_below(path) and Path(path).is_file())]


def room(resources: Mapping[str, float], cluster: ClusterConfig) -> int:
    """Slots that a node with these resources, by Ray's names, has room for."""
    shares = [resources.get("CPU", 0.0) / cluster.cpus]
    if gpus := cluster.gpus:
        n_gpus = resources.get("GPU", 0.0)  # parts of two are none
        shares.append(n_gpus / gpus if gpus >= 1 else n_gpus * int(1 / gpus + 1e-9))
    return int(min(shares) + 1e-9)


def _stays_below(path: str) -> bool:
    parts = Path(path).parts
    is_relative = bool(path) and not Path(path).is_absolute() and not path.startswith("~")
    return is_relative and ".." not in parts


def _check_travels(name: str) -> None:
    if not _stays_below(name) or not Path(name).exists():
        raise UserError(
            "cluster.files must be files or folders below the one where the command is given, got "
            f'"{name}".'
        )
