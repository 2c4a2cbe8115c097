"""This process's connection to a Ray cluster; code, files and variables travel over it."""

import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray

from nas.errors import UserError, hidden
from nas.resources import PACKAGE

T = TypeVar("T")

STAYS = ("NAS_CACHE_DIR", "NAS_DATA_DIR")
"""Variables that name folders of this machine, and do not travel."""
ANSWER_S = 10.0
"""Seconds to wait for an answer before Ray is asked, which would try for minutes."""
CHECK_S = 1.0
"""Seconds between two checks of the head while it has not answered."""
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


@dataclass(frozen=True)
class Head:
    """The head of the cluster to which this process is connected."""

    host: str
    port: int

    def check(self) -> None:
        """Make sure that somebody listens there.

        Raises:
            OSError: at once if nobody does, after `AWAY_S` if the machine cannot be reached.
        """
        place = f"{self.host}:{self.port}"
        try:
            socket.create_connection((self.host, self.port), timeout=AWAY_S).close()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConnectionError(f"its head, {place}, does not answer: {reason}") from None

    def ask(self, question: Callable[[], T]) -> T:
        """What a function of Ray returns that waits for the head, or raises.

        Ray 2.60 waits for a head that is dead, and ends the process in the end (rpc_client.h:204,
        `RECONNECTS` of `start.py`) or at once if it is a new one (global_state_accessor.cc:111), in
        C++ and with a stack of calls. So the head is checked before, and while the function, which
        has a thread of its own, has not returned.

        Raises:
            OSError: as `check`; the function is left alone then.
        """
        self.check()
        answer: Future[T] = Future()
        thread = threading.Thread(
            target=_answer, args=(answer, question), name="nas-asks-ray", daemon=True
        )
        thread.start()
        while not wait([answer], CHECK_S).done:
            self.check()
        return answer.result()


def head_of(address: str) -> Head:
    """The head of the cluster to which this process is connected by `address`."""
    if not address.startswith("ray://"):
        address = ray.get_runtime_context().gcs_address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return Head(host.strip("[]"), int(port))


def _answer(answer: "Future[T]", question: Callable[[], T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # whatever it is: who asked would wait for ever
        answer.set_exception(error)


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
