"""A complete search, which tests of moving studies begin with."""

import shutil
from pathlib import Path

import pytest

from tests.inline import run_here
from tests.studies import write_config
from tests.study.test_storage import study as study

FAKE = "tests.fake_training"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete search, with a winner."""
    folder = tmp_path_factory.mktemp("searched")
    write_config(folder)
    assert run_here(FAKE, folder).returncode == 0
    return folder


@pytest.fixture
def folder(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(searched / "studies", tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def url(folder: Path, name: str = "study.db") -> str:
    return f"sqlite:///{folder / name}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
