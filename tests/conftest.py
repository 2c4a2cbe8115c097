"""What all tests share: marks, examples, and a cache of compiled loops apart from the user's."""

import gc
import io
import multiprocessing.process
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import isolation, processes

hypothesis.settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")  # `pytest --hypothesis-profile=ci` takes the other

# For tests/compile/gpu: triton, which torch imports, asks once whether its interpreter runs it all.
os.environ["TRITON_INTERPRET"] = "1"

MEMORY = Path("/dev/shm")
RUNNING = pytest.StashKey[pytest.Item]()


def pytest_configure(config: pytest.Config) -> None:
    """Set up what must be there before nas, torch and ray are imported.

    Ctrl-C can be tested: a shell lets what it starts in the background ignore it, and so would
    all that the tests start. Tests that run side by side take one core each. Their folders lie in
    memory, where a database is written without waiting for a disk. And Ray reads its token once,
    when it is imported: that of tests/cluster is set before, whatever is in ~/.ray.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:  # and torch is not yet imported
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4e9:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]  # a person's own server is no part of the tests
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    _watch_starts(config)


def pytest_unconfigure() -> None:
    processes.close_servers()


@pytest.hookimpl(trylast=True)  # after -m has left some out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process begin with the tests of Ray, the next one with all others of PostgreSQL, and
    the third one with the documentation's code, which takes minutes and should not come last.

    Servers wait most of the time, so that others should run meanwhile, and start once.
    xdist's "worksteal" begins with equal shares of the list; what is not begun may change hands.
    """
    n_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with_ray, with_postgresql, documentation, others = (list[pytest.Item]() for _ in range(4))
    for item in items:
        used = getattr(item, "fixturenames", ())
        kind = others
        if "ray_cluster" in used:
            kind = with_ray
        elif "server" in used:
            kind = with_postgresql
        elif item.path.name in ("test_site.py", "test_python_page.py"):
            kind = documentation
        kind.append(item)
    share = len(items) // n_processes
    place = max(0, share - len(with_ray))
    next_place = max(place, 2 * share - len(with_ray) - len(with_postgresql))
    items[:] = [*with_ray, *others[:place], *with_postgresql, *others[place:next_place]]
    items += [*documentation, *others[next_place:]]


def pytest_collection_finish() -> None:
    """Look for cycles of garbage among all objects seldom: with torch, MLflow and matplotlib
    imported it takes a third of a second, and by default it is a twelfth of the tests' time."""
    gc.set_threshold(10_000, 10, 50)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.config.stash[RUNNING] = item
    return (yield)


def _watch_starts(config: pytest.Config) -> None:
    """Fail a test that starts Python, or a worker, and is not marked `process`."""
    open_process, start_worker = (
        subprocess.Popen.__init__,
        multiprocessing.process.BaseProcess.start,
    )

    def check(what: str) -> None:
        item = config.stash.get(RUNNING, None)
        if item is not None and item.get_closest_marker("process") is None:
            pytest.fail(
                f"{item.name} starts {what}: mark it with `process`, so that the default run, "
                "which starts no process, leaves it out; or let it call `main([...])`."
            )

    def checked_open(self: Any, args: Any, *others: Any, **named: Any) -> None:
        program = args if isinstance(args, str | os.PathLike) else args[0]
        if Path(program).parent == Path(sys.executable).parent:
            check(str(program))
        open_process(self, args, *others, **named)

    def checked_start(self: Any) -> None:
        check("a worker process")
        start_worker(self)

    subprocess.Popen.__init__ = checked_open  # type: ignore[method-assign]
    multiprocessing.process.BaseProcess.start = checked_start  # type: ignore[method-assign]


@pytest.fixture(scope="module", autouse=True)
def _module_restored() -> Iterator[None]:
    """What the fixtures of a module change lasts as long as the module's tests."""
    isolation.seed_generators()
    with isolation.restored():
        yield


@pytest.fixture(autouse=True)
def _restored(_module_restored: None) -> Iterator[None]:
    isolation.seed_generators()
    with isolation.restored():
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of matplotlib are composed and neither laid out nor drawn, which is most of the time
    of a report, for tests that look at none. What fixtures of a module write is drawn all the same,
    since they come first."""
    import matplotlib.figure
    import matplotlib.layout_engine
    from PIL import Image

    png = io.BytesIO()
    Image.new("1", (1, 1)).save(png, "PNG")
    written = {"svg": b"<svg></svg>", "pdf": b"%PDF-1.4\n", "png": png.getvalue()}

    def write(_: object, file: Any, *, format: str, **how: object) -> None:
        file.write(written[format])

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", write)
    engine = matplotlib.layout_engine.ConstrainedLayoutEngine
    monkeypatch.setattr(engine, "execute", lambda self, figure: None)


@pytest.fixture(scope="session", autouse=True)
def _cache() -> Iterator[None]:
    """All processes and runs of the tests share one cache, whose names are hashes of contents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE_DIR", str(Path(tempfile.gettempdir()) / "nas-tests-loops"))
        _share_migrations(patch)
        _share_tables(patch)
        yield


def _share_migrations(patch: pytest.MonkeyPatch) -> None:
    """Let Optuna read the versions of its tables once: else each storage that is opened imports
    the dozen files of them anew, which is a third of the time of a small search."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Any) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    patch.setattr(ScriptDirectory, "from_config", staticmethod(from_config))


def _share_tables(patch: pytest.MonkeyPatch) -> None:
    """Let the columns of SQLite files with the same tables be read once."""
    import sqlalchemy

    from nas.study.tables import StudyTables

    read, known = StudyTables._tables.func, dict[tuple[str, ...], dict[str, sqlalchemy.Table]]()
    definitions = sqlalchemy.text("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY sql")

    def tables(self: StudyTables) -> dict[str, sqlalchemy.Table]:
        if self.engine.dialect.name != "sqlite":
            return read(self)
        with self.engine.connect() as connection:
            there = tuple(connection.execute(definitions).scalars())
        if there not in known:
            known[there] = read(self)
        return known[there]

    cached = cached_property(tables)
    cached.__set_name__(StudyTables, "_tables")
    patch.setattr(StudyTables, "_tables", cached)
