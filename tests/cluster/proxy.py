"""A network between a coordinator and PostgreSQL that loses what it is told to lose."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

CHUNK = 65536


class Proxy:
    """Forwards connections to a server on this machine; faults are switched on by its fields."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lost_answers = 0.0
        """The share of commits that are carried out, and whose answer is lost."""
        self.lost_commits = 0.0
        """The share of commits that are lost before the server sees them."""
        self.is_down = False
        """Whether nothing gets through, and new connections are refused."""
        self.n_lost = 0
        self._random = random.Random(0)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, server_knows: bool = True) -> None:
        """End all connections; the server may not come to know of it, as when a cable is cut."""
        pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            client.close() if server_knows else self._kept.append(server)
            for one in (client, server) if server_knows else (client,):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()
        for one in self._kept:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            for pump in (self._up, self._down):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                if b"COMMIT" in data:
                    draw = self._random.random()
                    if draw < self.lost_commits:
                        self.n_lost += 1
                        break
                    if draw < self.lost_commits + self.lost_answers:
                        self.n_lost += 1
                        self._deaf = client
                server.sendall(data)
        self._end(client, server)

    _deaf: socket.socket | None = None
    """To whom no answer gets through any more."""

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if self._deaf is client:
                    break  # the server has answered: it is carried out
                client.sendall(data)
        if server not in self._kept:
            self._end(client, server)

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        for one in (client, server):
            if one not in self._kept:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


@contextlib.contextmanager
def between(server_port: int) -> Iterator[Proxy]:
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
