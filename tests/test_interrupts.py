"""An interrupt ends a command cleanly, also where Python or a library would swallow it."""

import os
import signal
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine

from nas.command_line import raise_if_interrupted, terminated_as_interrupted

pytestmark = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Python printed and forgot."""
    seen: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", seen.append)
    return seen


def interrupted(number: int) -> None:
    os.kill(os.getpid(), number)
    for _ in range(100):  # Python calls the handler between two of its instructions
        pass


def work() -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.001)


class Dying:
    def __init__(self, at_end: Callable[[], None]) -> None:
        self.at_end = at_end

    def __del__(self) -> None:
        self.at_end()


def test_while_a_connection_is_given_back(
    number: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLAlchemy writes a traceback of all that is raised while it takes a transaction back."""
    engine = create_engine("sqlite://")
    rollback, done = engine.dialect.do_rollback, []

    def disturbed(connection: Any) -> None:
        interrupted(number)
        rollback(connection)
        done.append(connection)

    monkeypatch.setattr(engine.dialect, "do_rollback", disturbed)
    with terminated_as_interrupted():
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  it may come at any moment from here on
            engine.connect().close()
            work()
    assert done
    assert not caplog.records


def test_in_a_destructor(number: int, unraisable: list[Any]) -> None:
    with terminated_as_interrupted():
        dying = Dying(lambda: interrupted(number))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  it may come at any moment from here on
            del dying
            work()
    assert not unraisable


def test_one_that_was_swallowed_is_raised_again(number: int, unraisable: list[Any]) -> None:
    """No frame tells that a function is called back for an object that is gone."""
    with terminated_as_interrupted():
        raise_if_interrupted()
        thing = {1}
        reference = weakref.ref(thing, lambda _: interrupted(number))
        del thing
        assert reference() is None
        assert [type(each.exc_value) for each in unraisable] == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    raise_if_interrupted()  # another command in this process begins anew


def test_none_waits_for_ever(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destructor that waits for a server that is gone is interrupted in the end."""
    monkeypatch.setattr("nas.command_line.ending.POSTPONED_S", 0.05)
    ended: list[str] = []

    def waiting() -> None:
        try:
            interrupted(number)
            work()
        except KeyboardInterrupt:
            ended.append("interrupted")

    with terminated_as_interrupted():
        Dying(waiting)
    assert ended == ["interrupted"]
