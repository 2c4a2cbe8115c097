"""docs/architecture.md and its picture agree with the code."""

import importlib.util
import re
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DOOR = ("nas.record.__main__", "nas.report.recording")
"""The one import of a command's door that runs upward."""


def _script():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURE = _script()
SHELF = {room: row for row, (_, rooms) in enumerate(PICTURE.SHELVES) for room in rooms}


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    """All imports inside nas, of files."""
    graph = grimp.build_graph("nas", cache_dir=None)
    files = graph.modules
    return {(a, b) for a in files for b in graph.find_modules_directly_imported_by(a)}


def layers() -> list[str]:
    """The rooms in the order of the contract, lowest first."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return list(reversed(tool["importlinter"]["contracts"][0]["layers"]))


def test_the_picture_is_the_one_that_the_script_draws() -> None:
    drawn = (ROOT / "docs" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == PICTURE.drawing(), "run python docs/draw_rooms.py"


def test_page_picture_and_contract_have_the_same_rooms() -> None:
    described = re.findall(r"^\| \[?`(\w+)`", PAGE.split("## The rooms")[1].split("## ")[0], re.M)
    assert described == layers()
    assert {*SHELF, *PICTURE.ASIDE} == set(layers())


def test_imports_run_downward_in_the_picture(imports: set[tuple[str, str]]) -> None:
    for importer, imported in imports - {DOOR}:
        rooms = [name.split(".")[1] for name in (importer, imported) if "." in name]
        if len(rooms) == 2 and not set(rooms) & {*PICTURE.ASIDE, "__main__"}:
            assert SHELF[rooms[0]] <= SHELF[rooms[1]], f"{importer} imports {imported}"


@pytest.mark.parametrize(("start", "end"), [(start, end) for start, end, _ in PICTURE.FLOW])
def test_an_arrow_of_the_picture_is_a_room_that_uses_another(start: str, end: str) -> None:
    """By import, or by the import path of what a worker runs."""
    files = (ROOT / "nas" / start).rglob("*.py")
    assert any(f"nas.{end}." in path.read_text(encoding="utf-8") for path in files)


def test_every_path_that_the_page_names_is_there() -> None:
    for path in re.findall(r"`((?:nas|docs|tests)/[\w./]*)`", PAGE):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
