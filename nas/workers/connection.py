"""This process's connection to a Ray cluster; code, files and variables travel over it."""

import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from nas.errors import UserError, hidden
from nas.resources import PACKAGE

STAYS = ("NAS_CACHE_DIR", "NAS_DATA_DIR")
"""Variables that name folders of this machine, and do not travel."""
ANSWER_S = 10.0
"""Seconds to wait for an answer before Ray is asked, which would try for minutes."""
AWAY_S = 30.0
"""Seconds until a head that cannot be reached is lost; after 60 s Ray would end this process."""
TRIES, PAUSE_S = 3, 2.0
"""How often a cluster that listens is asked to begin a job, and the seconds between."""
WAYS_IN = (
    "start one with `ray start --head`, or give its address, ray:HOST:PORT on one of its nodes, "
    "ray://HOST:PORT elsewhere"
)


def connect(address: str, carried: Sequence[str] = ()) -> bool:
    """Connect to the cluster; False if this process already is, to whichever.

    This very `nas` travels, before any that is installed there; so do `carried`, paths below the
    working directory, and the variables whose names begin with NAS_.

    Raises:
        UserError: if there is no cluster, or it has another version of Ray or Python.
    """
    if ray.is_initialized():
        return False
    own = {n: v for n, v in os.environ.items() if n.startswith("NAS_") and n not in STAYS}
    with tempfile.TemporaryDirectory() as folder:
        for name in carried:
            _copy(Path(name), Path(folder) / name)
        travels = {"py_modules": [str(PACKAGE)], "excludes": ["**/__pycache__"], "env_vars": own}
        if carried:
            travels["working_dir"] = folder
        # In a job that was submitted with files of its own, those that travel here go first.
        os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
        try:
            _check_listening(address)
            _begin(address, travels)
        except (RuntimeError, OSError, ValueError) as error:
            ray.shutdown()
            raise UserError(
                f"there is no Ray cluster at {hidden(address)} ({_reason(error)}): {WAYS_IN}."
            ) from None
    return True


def _begin(address: str, travels: dict[str, Any]) -> None:
    """Begin Ray's job; a cluster that is only just starting refuses it, and is asked again."""
    for is_last in (*[False] * (TRIES - 1), True):
        try:
            ray.init(address, runtime_env=travels, log_to_driver=False, logging_level=logging.ERROR)
            return
        except ConnectionAbortedError:  # by the server of Ray's client, which answers
            ray.shutdown()
            if is_last:
                raise
            time.sleep(PAUSE_S)


def _reason(error: Exception) -> str:
    """What an error says in one line; of a server's stack of calls, the last line."""
    text = str(error).strip()
    if "Traceback" in text:
        text = text.splitlines()[-1]
    return hidden(" ".join(text.split()).rstrip("."))[:300]


def head_of(address: str) -> tuple[str, int]:
    """Host and port of the head of the cluster to which this process is connected by `address`."""
    if not address.startswith("ray://"):
        address = ray.get_runtime_context().gcs_address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)


def check_head(head: tuple[str, int]) -> None:
    """Make sure that somebody listens at the cluster's head; to be called before Ray's functions.

    Ray 2.60 ends a process whose head is dead or is a new one, in C++ and with a
    stack of calls (rpc_client.h:204 after 60 s, global_state_accessor.cc:111 at once).

    Raises:
        OSError: at once if nobody does, after `AWAY_S` if its machine cannot be reached.
    """
    try:
        socket.create_connection(head, timeout=AWAY_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConnectionError(f"its head, {head[0]}:{head[1]}, does not answer: {reason}") from None


def _check_listening(address: str) -> None:
    """Raise OSError if nothing listens at the address."""
    if address == "auto":
        noted = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (noted.read_text() if noted.exists() else "")
    host, _, port = address.removeprefix("ray://").strip("/\n").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
