"""What a configuration names goes along with a packed study, and is found where it is opened."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

import nas
from nas.report.command import main as report
from nas.study.command import main
from tests.inline import finished_here, run_here
from tests.moved import FAKE
from tests.moved import folder as folder
from tests.moved import searched as searched
from tests.studies import write_config

pytestmark = pytest.mark.usefixtures("undrawn")


def test_files_that_the_configuration_names_come_along(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Path(nas.__file__).parent.parent / "search_spaces" / "gates.yaml"
    shutil.copy(space, "mine.yaml")
    Path("my.cell").write_text("def my(x, h):\n    return tanh(linear(x, h))\n")
    more = ["--space", "mine.yaml", "--include", "my.cell", "--study", "own"]
    write_config(folder)
    assert run_here(FAKE, folder, *more).returncode == 0
    assert main(["pack", "own", "own.zip"]) == 0
    file = folder / "own.zip"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert main(["unpack", str(file), "--study", "theirs"]) == 0
    there = Path("studies/theirs")
    assert (there / "inputs" / "0_mine.yaml").read_bytes() == space.read_bytes()
    assert "space: studies/theirs/inputs/0_mine.yaml" in (there / "config.yaml").read_text()
    assert report(["theirs"]) == 0
    config = str(there / "config.yaml")
    done = finished_here([sys.executable, "-m", FAKE, config, "--n-candidates", "6"], elsewhere)
    assert done.returncode == 0, done.stderr
    assert "going on after 8 judged cells" in done.stdout


def named_inputs(folder: Path) -> None:
    """Let the study's configuration name files."""
    path = folder / "studies" / "small" / "config.yaml"
    read = yaml.safe_load(path.read_text())
    Path("mine.yaml").write_text("kind: gates\n")
    Path("my.cell").write_text("def my(x, h):\n    return tanh(linear(x, h))\n")
    path.write_text(yaml.safe_dump({**read, "space": "mine.yaml", "include": ["my.cell", "gru"]}))


def test_files_that_come_along_go_with_every_copy(folder: Path) -> None:
    named_inputs(folder)
    assert main(["pack", "small", "small.zip"]) == 0
    Path("mine.yaml").unlink()
    assert main(["unpack", "small.zip", "of: #1/theirs"]) == 0
    assert main(["copy", "of: #1/theirs", "again"]) == 0
    shutil.rmtree("of: #1")
    read = yaml.safe_load(Path("studies/again/config.yaml").read_text())
    assert read["space"] == "studies/again/inputs/0_mine.yaml"
    assert read["include"] == ["studies/again/inputs/1_my.cell", "gru"]
    assert Path(read["space"]).read_text() == "kind: gates\n"
    assert Path(read["include"][0]).read_bytes() == Path("my.cell").read_bytes()


def test_files_that_are_not_there_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    named_inputs(folder)
    Path("mine.yaml").unlink()
    assert main(["pack", "small", "small.zip"]) == 0
    assert "mine.yaml is not in small.zip: it is not at the path in the" in caplog.text
    assert "my.cell" not in caplog.text


def test_a_name_that_unpack_refuses_is_not_packed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("studies/small/winner/two words.txt").write_text("mine")
    assert main(["pack", "small", "small.zip"]) == 2
    assert "winner/two words.txt cannot be packed: " in capsys.readouterr().err
    assert not Path("small.zip").exists()
