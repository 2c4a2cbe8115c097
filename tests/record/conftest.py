"""A database for each test: made once, since that takes seconds, and copied."""

import shutil
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.record.visits import GRU, WAIT_S, client, recorder, scored


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """A folder with a database that a recorder made, and whether it waited for the lock."""
    folder = tmp_path_factory.mktemp("fresh")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  so that it waits for the lock alone

    with FileLock(folder / "mlflow.db.lock"):
        made = recorder(folder)
        made.sync([scored(0, GRU, "given")])
        time.sleep(1.0)
        waited = not (folder / "mlflow.db").exists()
    assert made.close(WAIT_S) == 0
    return folder, waited


@pytest.fixture
def folder(fresh: tuple[Path, bool], tmp_path: Path) -> Path:
    """A folder with a database of its own, in which no experiment is called "study"."""
    shutil.copy(fresh[0] / "mlflow.db", tmp_path)
    mlflow = client(tmp_path)
    experiment = mlflow.get_experiment_by_name("study")
    mlflow.rename_experiment(experiment.experiment_id, "of the fixture")
    return tmp_path
