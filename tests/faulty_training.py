"""`tests.fake_training` with faults, which environment variables switch on.

`python -m tests.faulty_training ARGUMENTS` is `python -m nas.search ARGUMENTS` with it.

| variable | what happens |
| --- | --- |
| NAS_TEST_POISON=TASK | a third of all candidates kill their worker on that task, each time |
| NAS_TEST_CLOCK=SECONDS | the coordinator's wall clock jumps to and fro by up to so much |
| NAS_TEST_DOOR=N | the coordinator waits before the study's lock until N of them do |
| NAS_TEST_PATIENCE=SECONDS | a complete search waits for MLflow no longer than so |
"""

import contextlib
import functools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from nas.protocol.evaluation import Evaluation, Result
from nas.zoo import ZOO
from tests import fake_training

KNOWN = {cell.key for cell in ZOO.values()}


def is_poison(key: str) -> bool:
    return key not in KNOWN and int(key, 16) % 3 == 0


def run(evaluation: Evaluation) -> Result:
    if os.environ.get("NAS_TEST_POISON") == evaluation.task.name and is_poison(evaluation.key):
        fake_training.log("start", evaluation)
        os.kill(os.getpid(), signal.SIGKILL)
    return fake_training.run(evaluation)


@contextlib.contextmanager
def full_disk(n_pages: int) -> Iterator[None]:
    """As SQLite does it itself where the system says that there is no room: `SQLITE_FULL`."""
    import sqlalchemy

    def limit(connection: object, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={n_pages}")  # type: ignore[attr-defined]

    on_connect = (sqlalchemy.engine.Engine, "connect", limit)
    sqlalchemy.event.listen(*on_connect)
    try:
        yield
    finally:
        sqlalchemy.event.remove(*on_connect)


def set_clock(most_s: float) -> None:
    generator, true_time = random.Random(0), time.time
    time.time = lambda: true_time() + generator.uniform(-most_s, most_s)


def gather(n_coordinators: int, log: Path) -> None:
    """They try for the lock within some milliseconds, however long each took to begin."""
    import nas.study.lock

    lock = nas.study.lock.lock

    def lock_together(folder: Path, name: str, storage: str) -> AbstractContextManager[None]:
        note("door", log)
        while log.read_text(encoding="utf-8").count("door") < n_coordinators:
            time.sleep(0.001)
        return lock(folder, name, storage)

    nas.study.lock.lock = lock_together  # type: ignore[assignment]


def note(event: str, log: Path) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{event} - {os.getpid()}\n")


if __name__ == "__main__":
    import nas.search.search
    import nas.workers.local

    nas.workers.local.LocalWorkers = functools.partial(  # type: ignore[misc,assignment]
        nas.workers.local.LocalWorkers, run="tests.faulty_training:run"
    )
    if "NAS_TEST_CLOCK" in os.environ:
        set_clock(float(os.environ["NAS_TEST_CLOCK"]))
    if "NAS_TEST_PATIENCE" in os.environ:
        import nas.session.conclude

        nas.session.conclude.COMPLETE_RECORDS_S = float(os.environ["NAS_TEST_PATIENCE"])
    if path := os.environ.get("NAS_TEST_LOG"):
        note("main", Path(path))
        if "NAS_TEST_DOOR" in os.environ:
            gather(int(os.environ["NAS_TEST_DOOR"]), Path(path))
    sys.exit(nas.search.search.main(sys.argv[1:]))
