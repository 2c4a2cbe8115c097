"""A tracking server of MLflow as a team runs it: PostgreSQL behind it, artifacts through it.

Before it stands a gate that asks for a name and a password, as a company's does.
"""

import base64
import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.cluster.postgres import Postgres, free_port

READY_S = 240
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class Tracking:
    """`mlflow server`, which can be killed and started."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder, self._postgres, self.port = folder, postgres, free_port()
        self.artifacts = folder / "artifacts"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        where = ["--backend-store-uri", self._postgres.url("mlflow"), "--serve-artifacts"]
        where += ["--artifacts-destination", str(self.artifacts), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", *where, "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **QUIET, "PGPASSWORD": self._postgres.password},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "mlflow server does not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """With all of its processes."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def tracking_at(folder: Path, postgres: Postgres) -> Iterator[Tracking]:
    """A server that ends with the block."""
    made = Tracking(folder, postgres)
    try:
        yield made
    finally:
        made.kill()


class Gate:
    """Lets requests through to a server that name the user and the password."""

    def __init__(self, server_port: int, user: str, password: str) -> None:
        token = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        gate = self
        self.n_passed = self.n_refused = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != token:
                    gate.n_refused += 1
                    self._answer(401, {}, b"who are you?")
                    return
                gate.n_passed += 1
                asked = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                server = http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)
                try:
                    server.request(self.command, self.path, body, asked)
                    answer = server.getresponse()
                    data = answer.read()
                    self._answer(answer.status, dict(answer.getheaders()), data)
                except OSError:
                    self._answer(502, {}, b"the server behind does not answer")
                finally:
                    server.close()

            def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _forward

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
