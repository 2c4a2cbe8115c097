"""PostgreSQL: connections whose loss is noticed, and the lock of a study.

The lock is an advisory one, held by a connection of its own: it goes with that connection, so a
coordinator that crashes releases it at once, and one whose machine is cut off within half a minute.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

import contextlib
import hashlib
import secrets
import threading
import time
from typing import Any

from nas.errors import SearchError, UserError

CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Options by which the client notices that a server is gone (libpq; seconds, the last one ms)."""
SERVER = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; " \
    "SET tcp_keepalives_count = 3"  # fmt: skip
"""Statements by which the server notices that a client is gone, which else takes two hours."""
TAKE_WAIT_S = 2.0
"""Seconds to try for a lock: the server may not know yet that its last holder is gone."""
PAUSE_S = 0.1

OWN = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
TAKE = "SELECT pg_try_advisory_lock({key})"
HOLDER = """
    SELECT a.pid, a.backend_start::text FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}
"""

MADE = "SELECT to_regclass('nas_coordinators') IS NOT NULL"
MAKE = "CREATE TABLE IF NOT EXISTS nas_coordinators (study text PRIMARY KEY, token text NOT NULL)"
NOTE = """
    INSERT INTO nas_coordinators VALUES (%(study)s, %(token)s)
    ON CONFLICT (study) DO UPDATE SET token = excluded.token
"""
NOTED = "SELECT token FROM nas_coordinators WHERE study = %(study)s"


def is_postgres(url: str) -> bool:
    """Whether a storage URL is one of PostgreSQL."""
    return url.startswith(("postgresql:", "postgresql+"))


def watch(engine: Any) -> None:
    """Have the server end all connections of an engine whose client is gone."""
    import sqlalchemy

    sqlalchemy.event.listen(engine, "connect", _watched)


def _watched(connection: Any, record: object) -> None:
    connection.cursor().execute(SERVER)
    connection.commit()


def key_of(name: str) -> int:
    """The 64 bits, signed, that stand for a study among advisory locks."""
    return int.from_bytes(hashlib.sha256(f"nas study {name}".encode()).digest()[:8], signed=True)


class AdvisoryLock:
    """The lock of one study in one database; any thread may check it."""

    def __init__(self, url: str, name: str) -> None:
        """Raises whatever SQLAlchemy raises for a URL."""
        import sqlalchemy

        self._name, self._key = name, key_of(name)
        self._token = secrets.token_hex(8)
        """Noted in the database, so that a coordinator that lost the lock for a while knows whether
        another had it."""
        self._engine = sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.pool.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=CONNECT,
        )
        watch(self._engine)
        self._connection: Any = None
        self._own: tuple[int, str] | None = None
        """Process and start of the session that took the lock last."""
        self._mutex = threading.Lock()

    def take(self) -> None:
        """Hold the lock.

        Raises:
            UserError: if another coordinator does.
            sqlalchemy.exc.SQLAlchemyError: if the server does not answer.
        """
        with self._mutex:
            if not self._taken(first=True):
                raise UserError(
                    f"study {self._name} is being run by another process (it holds the study's "
                    "lock in the storage): wait for it, stop it, or use another --study name. If "
                    "its machine is gone, the lock is free within a minute."
                )

    def check(self) -> None:
        """Make sure that the lock is held; if its connection was lost, take it again.

        Raises:
            SearchError: if another coordinator took it meanwhile.
            sqlalchemy.exc.SQLAlchemyError: if the server does not answer.
        """
        import sqlalchemy

        with self._mutex:
            try:
                if self._connection is not None:
                    self._connection.exec_driver_sql("SELECT 1")
                    return
            except sqlalchemy.exc.DBAPIError:
                self._drop()
            if not self._taken(first=False):
                raise SearchError(
                    f"study {self._name} was taken over by another process while the storage did "
                    "not answer: what was stored is kept, and that process goes on with it."
                )

    def is_held(self) -> bool:
        """Whether a coordinator, this one or another, holds the lock."""
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(HOLDER.format(key=self._key)).first() is not None

    def release(self) -> None:
        """Release the lock; with a server that does not answer, it is gone already."""
        with self._mutex:
            self._drop()
            self._engine.dispose()

    def _taken(self, *, first: bool) -> bool:
        """Whether the lock could be taken, for the first time or by its last holder."""
        connection = self._engine.connect()
        taken = False
        try:
            taken = self._take_on(connection) and (first or self._was_last(connection))
            if taken and first:
                self._note(connection)
            if taken:
                pid, began = connection.exec_driver_sql(OWN).one()
                self._connection, self._own = connection, (pid, began)
        finally:
            if not taken:
                connection.close()
        return taken

    def _take_on(self, connection: Any) -> bool:
        until = time.monotonic() + TAKE_WAIT_S
        while not connection.exec_driver_sql(TAKE.format(key=self._key)).scalar_one():
            holder = connection.exec_driver_sql(HOLDER.format(key=self._key)).first()
            if holder is not None and tuple(holder) == self._own:
                # The network failed, and the server still waits for the connection that was lost.
                connection.exec_driver_sql(f"SELECT pg_terminate_backend({self._own[0]})")
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE_S)
        return True

    def _note(self, connection: Any) -> None:
        import sqlalchemy

        if not connection.exec_driver_sql(MADE).scalar_one():
            # Another study's coordinator may be faster, which PostgreSQL tells in either way.
            faster = sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError
            with contextlib.suppress(*faster):
                connection.exec_driver_sql(MAKE)
        connection.exec_driver_sql(NOTE, {"study": self._name, "token": self._token})

    def _was_last(self, connection: Any) -> bool:
        noted = connection.exec_driver_sql(NOTED, {"study": self._name}).scalar()
        return bool(noted == self._token)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
