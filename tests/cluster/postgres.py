"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, with a password."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

USER = "nas"
TIMEOUT_S = 200


def binaries() -> Path | None:
    """The folder of the newest server that Debian's packages installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    return found[-1].parent if found else None


def needed() -> Path:
    """The same; a test that needs it is skipped where there is none."""
    pytest.importorskip("psycopg")
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Postgres:
    """A server that can be stopped and started; its password is in no address."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.password = f"hunter-{secrets.token_hex(8)}"
        self._bin = bin_folder
        # It refuses to run as the administrator, who may become the user that the package made.
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._owner = {"user": "postgres", "group": "postgres"}
        if self._owner:
            shutil.chown(folder, **self._owner)
        secret = folder / "secret"
        secret.write_text(self.password)
        secret.chmod(0o644)
        how = ["-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8"]
        self._run("initdb", "-D", self._data, *how, "--no-locale", "--no-sync")
        secret.unlink()
        self.start()
        for database in ("study", "mlflow"):
            self.query(f"CREATE DATABASE {database}", "postgres")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, database: str = "study", port: int | None = None) -> str:
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        given = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
        given += " -c unix_socket_directories=''"
        self._control("start", "-o", given, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", "-m", mode)

    def _control(self, action: str, *arguments: str) -> None:
        self._run("pg_ctl", action, "-D", self._data, "-w", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=(log := (self.folder / f"{program}.log").open("a")),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            timeout=TIMEOUT_S,
            check=False,
            **self._owner,
        )
        log.close()
        assert done.returncode == 0, (self.folder / f"{program}.log").read_text()

    def query(self, text: str, database: str = "study") -> list[tuple[object, ...]]:
        """The rows of a statement that is carried out at once."""
        import psycopg

        at: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": self.password,
        }
        statement: Any = text  # a query is meant to be written in the code
        with psycopg.connect(dbname=database, autocommit=True, **at) as connection:
            found = connection.execute(statement)
            return list(found.fetchall()) if found.description else []

    def fresh(self, database: str) -> str:
        """The URL of a new, empty database."""
        self.query(f"CREATE DATABASE {database}", "postgres")
        return self.url(database)


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server that ends with the block."""
    bin_folder = needed()
    with tempfile.TemporaryDirectory(prefix="nas-postgres-", ignore_cleanup_errors=True) as place:
        server = Postgres(Path(place), bin_folder)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                server.stop("immediate")


@contextlib.contextmanager
def entrusted(server: Postgres) -> Iterator[None]:
    """In the block this process has the password; connections that it leaves open are closed."""
    import sqlalchemy

    opened: list[Any] = []

    def note(connection: Any, record: object) -> None:
        opened.append(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", server.password)
        sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", note)
        yield
        sqlalchemy.event.remove(sqlalchemy.pool.Pool, "connect", note)
    for one in opened:
        one.close()
