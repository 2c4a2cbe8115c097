"""Commands in processes of their own, which begin in a tenth of a second.

A command of Python spends its first second on imports. So one process per test process has them
done, and each command is a fork of it: as real a process as any other, with its own signals, its
own standard error and its own end. `python -m tests.processes NUMBER` is that one process; NUMBER
is the file descriptor of the socket to its client.
"""

import contextlib
import faulthandler
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
LIBRARIES = (
    *("optuna.samplers", "sqlalchemy.dialects.sqlite", "alembic.command", "alembic.context"),
    *("alembic.migration", "pebble", "rich.live", "filelock", "multiprocessing.popen_spawn_posix"),
)
COMMANDS = ("nas.search", "nas.compare", "nas.curves")
"""Their flags are read once. None of all this imports torch, which takes another second."""
MESSAGE_BYTES = 1 << 20
DUMP_S = 5.0
"""What a process that is killed may take to say where its threads are."""


class Process:
    """What the tests use of `subprocess.Popen`, for a fork of the server."""

    def __init__(self, server: "Server", pid: int, output: IO[str], errors: IO[str]) -> None:
        self.pid, self.returncode = pid, None  # type: tuple[int, int | None]
        self._server, self._texts = server, ["", ""]
        self._readers = [
            threading.Thread(target=self._read, args=(place, file), daemon=True)
            for place, file in enumerate((output, errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, place: int, file: IO[str]) -> None:
        with file:
            for line in file:
                self._texts[place] += line

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.exit_code(self.pid, 0.0)
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        if self.returncode is None:
            self.returncode = self._server.exit_code(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def communicate(self, timeout: float = 600.0) -> tuple[str, str]:
        """What it wrote to its end, and what those wrote that it started.

        One that has not ended in time is killed, and says where each of its threads was.
        """
        until = time.monotonic() + timeout
        try:
            self.wait(timeout)
            for reader in self._readers:
                reader.join(max(0.0, until - time.monotonic()))
                if reader.is_alive():
                    raise subprocess.TimeoutExpired(str(self.pid), timeout)
        except subprocess.TimeoutExpired as error:
            self.send_signal(signal.SIGABRT)
            for reader in self._readers:
                reader.join(DUMP_S)
            raise AssertionError(f"{error}:\n" + "\n".join(self._texts)) from None
        output, errors = self._texts
        return output, errors

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Running = Process | subprocess.Popen[str]


class Server:
    """The process with the imports done, of which commands are forks."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self._channel.close)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
            undo.pop_all()

    def start(
        self, module: str, arguments: Sequence[str], folder: Path, environment: dict[str, str]
    ) -> Process:
        files, theirs = [], []
        for _ in range(2):
            ours, other = os.pipe()
            files.append(os.fdopen(ours, encoding="utf-8", errors="replace"))
            theirs.append(other)
        request = json.dumps([module, list(arguments), str(folder.resolve()), environment])
        socket.send_fds(self._channel, [request.encode()], theirs)
        for other in theirs:
            os.close(other)
        while True:
            pid, code = json.loads(self._channel.recv(MESSAGE_BYTES))
            if code is None:
                return Process(self, pid, *files)
            self._codes[pid] = code

    def exit_code(self, pid: int, timeout: float) -> int | None:
        """That of an ended process; None if it has not ended in time."""
        until = time.monotonic() + timeout
        while pid not in self._codes:
            wait_s = max(0.0, until - time.monotonic())
            if not select.select([self._channel], [], [], wait_s)[0]:
                return None
            ended, code = json.loads(self._channel.recv(MESSAGE_BYTES))
            self._codes[ended] = code
        return self._codes.pop(pid)

    def close(self) -> None:
        self._channel.close()
        self._process.wait()


_SERVERS: dict[str, Server] = {}
"""Of this process, by the network that they are in; they end when it does."""


def _server() -> Server:
    """That of the network that this thread is in: tests/cluster has one of its own."""
    network = ""
    with contextlib.suppress(OSError):  # not Linux
        network = str(Path("/proc/thread-self/ns/net").readlink())
    if network not in _SERVERS:
        _SERVERS[network] = Server()
    return _SERVERS[network]


def close_servers() -> None:
    while _SERVERS:
        _SERVERS.popitem()[1].close()


def start(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    *,
    fresh: bool = False,
    before: Callable[[], None] | None = None,
) -> Running:
    """Start `[sys.executable, "-m", MODULE, ...]` in a folder.

    With `fresh` it is a new interpreter, for tests of how a command begins; with `before` too,
    which is called in the new process.
    """
    python, flag, module, *arguments = command
    if (python, flag) == (sys.executable, "-m") and not fresh and before is None:
        return _server().start(module, arguments, folder, environment)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def on_one_core() -> None:
    """Called first in a new process (`preexec_fn`): what it starts sees one core, so that a search
    has one worker, whose imports take three seconds of a core."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, [cores[os.getpid() % len(cores)]])


def _serve(channel: socket.socket) -> tuple[str, list[str]]:
    """Fork for each request; the fork returns the module that it runs and its arguments."""
    ours, wakened = socket.socketpair()
    for one in (ours, wakened):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakened.fileno())
    while True:
        ready = select.select([channel, ours], [], [])[0]
        if ours in ready:
            ours.recv(MESSAGE_BYTES)
            _report_ended(channel)
        if channel not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
        if not request:
            os._exit(0)
        if pid := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            channel.send(json.dumps([pid, None]).encode())
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (channel, ours, wakened):
            one.close()
        module, arguments, folder, environment = json.loads(request)
        for number, descriptor in zip((1, 2), descriptors, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        faulthandler.enable()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        return module, arguments


def _report_ended(channel: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            channel.send(json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode())


def _prepare() -> None:
    """Import, and fill the caches: flags with their sentences, keys of known cells, a space."""
    from nas.spaces import Gates
    from nas.zoo import ZOO

    for name in LIBRARIES:
        importlib.import_module(name)
    for command in COMMANDS:
        sys.argv[1:] = ["--print_config"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            runpy.run_module(command, run_name="__main__")
    ZOO.named("")
    Gates().size()


if __name__ == "__main__":
    to_client = socket.socket(fileno=int(sys.argv[1]))
    _prepare()
    gc.freeze()
    wanted, sys.argv[1:] = _serve(to_client)
    sys.modules.pop(wanted, None)
    runpy.run_module(wanted, run_name="__main__", alter_sys=True)
