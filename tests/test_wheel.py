"""The wheel carries its data: an installed `nas` works outside the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.studies import ROOT, environment, write_config

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(wheels)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # The wheel comes first on the path; the checkout is there for tests.fake_training alone.
    path = f"{installed}:{ROOT}"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    code = "import nas, nas.resources as r; print(nas.__file__, r.folder('experiments'))"
    done = run(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(place.startswith(str(installed)) for place in done.stdout.split())


def test_presets_and_spaces_are_found(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-m", "nas.search", "quickstart", "--print_config")
    assert done.returncode == 0, done.stderr
    assert "space: gates" in done.stdout


def test_a_cell_is_exported(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-m", "nas.export", "gru", "out.py")
    assert done.returncode == 0, done.stderr
    assert "class Gru(nn.Module):" in (tmp_path / "out.py").read_text()


def test_search_runs_in_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    search = ("-m", "tests.fake_training", str(config), "--tracking-uri", "off")
    done = run(installed, tmp_path, *search)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "studies" / "small" / "winner" / "cell.cell").is_file()
