"""The contracts of import-linter in pyproject.toml are seen to fail: wherever an import stands."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studies import ROOT

pytestmark = pytest.mark.process
LAYERS, CIRCLES = "A room imports from rooms below it alone", "No circles among files"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of nas beside the contracts."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignored = shutil.ignore_patterns("__pycache__", "_data")
    shutil.copytree(ROOT / "nas", folder / "nas", ignore=ignored)
    return folder


def broken(folder: Path) -> list[str]:
    """The names of the contracts that are broken."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    names = [line.partition(" BROKEN")[0] for line in lines if " BROKEN" in line]
    assert done.returncode == bool(names), done.stdout + done.stderr
    assert any(line.startswith(LAYERS) for line in lines), done.stdout + done.stderr
    return names


@pytest.fixture
def written(copy: Path) -> Iterator[Path]:
    """A file of the lowest rooms, which is restored."""
    path = copy / "nas" / "errors.py"
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


def test_the_sources_keep_all_contracts(copy: Path) -> None:
    assert broken(copy) == []


@pytest.mark.parametrize(
    "text",
    [
        "from nas import search\n",
        "def later() -> None:\n    from nas.search import main\n\n    main([])\n",
        "import typing\n\nif typing.TYPE_CHECKING:\n    from nas.search import main\n",
    ],
    ids=["at the top", "inside a function", "for type checkers"],
)
def test_an_import_upward_breaks_the_layers(copy: Path, written: Path, text: str) -> None:
    written.write_text(written.read_text(encoding="utf-8") + "\n\n" + text, encoding="utf-8")
    assert LAYERS in broken(copy)


def test_a_circle_inside_functions_is_found(copy: Path) -> None:
    room = copy / "nas" / "cell"
    (room / "first.py").write_text("def one():\n    import nas.cell.second\n")
    (room / "second.py").write_text("def two():\n    import nas.cell.first\n")
    try:
        assert broken(copy) == [CIRCLES]
    finally:
        (room / "first.py").unlink()
        (room / "second.py").unlink()


def test_a_library_outside_its_rooms_is_found(copy: Path, written: Path) -> None:
    text = "\n\ndef later() -> None:\n    import torch\n\n    torch.zeros(1)\n"
    written.write_text(written.read_text(encoding="utf-8") + text, encoding="utf-8")
    [name] = broken(copy)
    assert name.startswith("torch is named in ")
