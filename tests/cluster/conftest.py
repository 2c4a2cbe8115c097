"""One PostgreSQL for all tests of a process, with its password in the environment."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.postgres import Postgres, running


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with running() as made:
        yield made


@pytest.fixture
def postgres(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """The same; connections that a test leaves open are closed."""
    import sqlalchemy

    opened: list[Any] = []

    def note(connection: Any, record: object) -> None:
        opened.append(connection)

    monkeypatch.setenv("PGPASSWORD", server.password)
    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", note)
    yield server
    sqlalchemy.event.remove(sqlalchemy.pool.Pool, "connect", note)
    for one in opened:
        one.close()
