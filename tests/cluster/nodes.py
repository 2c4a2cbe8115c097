"""A Ray cluster of the tests' own: each node is a set of processes, and none listens elsewhere.

Ray binds every address of its machine, whatever it is told. So the main thread of the tests moves
to a network of its own, in which there is nothing but the loopback, and starts the nodes from
there. A node has its own processes and its own /tmp/…: it dies as one, as a machine does.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

OF_THREAD = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
PORT = 6399
ADDRESS = f"127.0.0.1:{PORT}"
CLIENT_PORT = 10001
START_S = 280
LIBRARY = ctypes.CDLL(None, use_errno=True)
OLD = 'raise ImportError("this is an old nas, which was installed on the node")\n'


class Loopback:
    """A network of its own, of nothing but the loopback."""

    def __init__(self) -> None:
        if shutil.which("unshare") is None or shutil.which("ip") is None:
            pytest.skip("unshare and ip are not installed (Debian's util-linux and iproute2)")
        with Path(OF_THREAD).open() as before:
            if LIBRARY.unshare(CLONE_NEWNET):
                reason = os.strerror(ctypes.get_errno())
                raise PermissionError(
                    f"no network of its own ({reason}): unshare --map-root-user pytest -m cluster"
                )
            self._file = Path(OF_THREAD).open()
            try:
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            finally:
                _move(before.fileno())

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """In the block this thread is in it, and what it starts."""
        with Path(OF_THREAD).open() as before:
            _move(self._file.fileno())
            try:
                yield
            finally:
                _move(before.fileno())

    def end(self) -> None:
        self._file.close()


def _move(network: int) -> None:
    assert LIBRARY.setns(network, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


class Node:
    """`ray start` with one CPU in a world of its own; again if it did not start within Ray's 30 s,
    as happens on a busy machine."""

    def __init__(self, folder: Path, *arguments: str, own_files: bool) -> None:
        self.log = folder.with_suffix(".log")
        ray = Path(sys.executable).with_name("ray")
        given = "--num-cpus=1 --object-store-memory=100000000 --disable-usage-stats --block".split()
        hide = f"mount -t tmpfs tmpfs {folder} && " if own_files else ""
        world = "unshare --mount --pid --fork --kill-child --mount-proc".split()
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    *world,
                    "bash",
                    "-c",
                    f'{hide}until "$@"; do kill -9 -1; sleep 1; done',
                    "_",
                    ray,
                    "start",
                    *arguments,
                    *given,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder.parent / "old"), "COLUMNS": "200"},
            )

    def kill(self) -> None:
        """As when its machine loses power."""
        self._process.kill()
        self._process.wait()

    def kill_one(self, program: str) -> None:
        """One process of it; as `ray start --block` ends then, the node is started again."""
        own = self._process.pid
        (first,) = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        world = Path(f"/proc/{first}/ns/pid").readlink()
        found = [one for one in Path("/proc").glob("[0-9]*") if _is_of(one, world, program)]
        assert len(found) == 1, found
        os.kill(int(found[0].name), signal.SIGKILL)


def _is_of(process: Path, world: Path, program: str) -> bool:
    try:
        name = (process / "comm").read_text().strip()
        return name == program and (process / "ns/pid").readlink() == world
    except OSError:  # it has ended
        return False


class Cluster:
    """A head and, until it is killed, a second node."""

    def __init__(self, folder: Path) -> None:
        self.network = Loopback()
        self._folder = folder / "ray"
        self._folder.mkdir()
        (folder / "old" / "nas").mkdir(parents=True)
        (folder / "old" / "nas" / "__init__.py").write_text(OLD)
        self._nodes: list[Node] = []

    def start(self) -> None:
        head = (
            "--head",
            f"--port={PORT}",
            "--include-dashboard=false",
            f"--temp-dir={self._folder}",
        )
        self._nodes.append(Node(self._folder, *head, own_files=False))
        self.wait_for_nodes(1)
        self.add()
        self.wait_for_nodes(2)

    def add(self) -> None:
        """One more node, which shares no files with the head."""
        self._nodes.append(Node(self._folder, f"--address={ADDRESS}", own_files=True))

    def kill_head(self) -> None:
        self._nodes.pop(0).kill()

    def kill_of_head(self, program: str) -> None:
        """The head's gcs_server, which knows the cluster, or its raylet, which runs slots."""
        self._nodes[0].kill_one(program)

    def kill_last(self) -> None:
        self._nodes.pop().kill()

    def wait_for_nodes(self, count: int) -> None:
        """Until so many have said that they are up, from the first on."""
        deadline = time.monotonic() + START_S
        log = self._nodes[0].log
        while log.read_text().count("Ray runtime started") < count:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def end(self) -> None:
        while self._nodes:
            self.kill_last()
        self.network.end()


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that ends with the block; sockets of Ray need a short path."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="nas-", dir="/tmp") as place:
        cluster = Cluster(Path(place))
        try:
            with cluster.network.entered():
                cluster.start()
            yield cluster
        finally:
            cluster.end()
