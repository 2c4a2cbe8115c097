"""A cluster that listens and refuses: it is asked again, and its reason is one line."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nas.errors import UserError

ray = pytest.importorskip("ray")
REFUSED = ConnectionAbortedError(
    """Initialization failure from server:
Traceback (most recent call last):
  File "proxier.py", line 765, in Datapath
    if not self.proxy_manager.start_specific_server(
TimeoutError: GetOrCreateRuntimeEnv request failed after 5 attempts.
"""
)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The refusals that are left, one for each time that it is asked."""
    from nas.workers import connection

    left: list[Exception] = []

    def init(*_: Any, **__: Any) -> None:
        if left:
            raise left.pop()

    monkeypatch.setattr(connection, "_check_listening", lambda address: None)
    monkeypatch.setattr(connection, "PAUSE_S", 0.0)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", init)
    return left


def test_a_cluster_that_is_just_starting_is_asked_again(cluster: list[Exception]) -> None:
    from nas.workers.connection import connect

    cluster += [REFUSED, REFUSED]
    assert connect("ray://127.0.0.1:10001")
    assert not cluster


def test_its_reason_is_the_last_line_of_its_stack_of_calls(cluster: list[Exception]) -> None:
    from nas.workers.connection import connect

    cluster += [REFUSED] * 5
    with pytest.raises(UserError, match=r"\(TimeoutError: GetOrCreateRuntimeEnv .* 5 attempts\): "):
        connect("ray://127.0.0.1:10001")
    assert len(cluster) == 2, "three times are enough"


def test_another_error_is_said_at_once(cluster: list[Exception]) -> None:
    from nas.workers.connection import connect

    cluster += [RuntimeError("it runs Ray 2.1")] * 2
    with pytest.raises(UserError, match=r"it runs Ray 2\.1"):
        connect("ray:127.0.0.1:6379")
    assert len(cluster) == 1


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_head_that_dies_while_it_is_asked_is_lost(listening: socket.socket) -> None:
    """Ray's functions would wait for it, and Ray would end the process after a minute."""
    from nas.workers.connection import Head

    never = threading.Event()

    def ask_of_the_dead() -> bool:
        listening.close()
        return never.wait()

    head = Head(*listening.getsockname())
    try:
        with pytest.raises(ConnectionError, match=rf"its head, 127\.0\.0\.1:{head.port}, does not"):
            head.ask(ask_of_the_dead)
    finally:
        never.set()


def test_a_head_is_not_asked_once_it_is_dead(listening: socket.socket) -> None:
    from nas.workers.connection import Head

    head = Head(*listening.getsockname())
    assert head.ask(lambda: 7) == 7
    with pytest.raises(TimeoutError, match="its own"):  # not taken for a wait that is over
        head.ask(lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    listening.close()
    asked: list[None] = []
    with pytest.raises(ConnectionError):
        head.ask(lambda: asked.append(None))
    assert not asked
