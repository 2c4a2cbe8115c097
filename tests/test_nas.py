"""`nas`: one name for all commands, and what a shell completes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nas.__main__ import COMMANDS, main
from tests.studies import ROOT

SLOW = {"torch", "optuna", "mlflow", "pytorch_lightning", "sqlalchemy", "jsonargparse", "rich"}


def test_without_a_command_all_are_listed_with_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} +\w.+$", listed, re.M)) == 1
    assert max(map(len, listed.splitlines())) <= 80
    for asked in (["help"], ["-h"], ["--help"]):
        assert main(asked) == 0
        assert capsys.readouterr().out == listed


def test_every_module_that_is_a_command_is_one_of_nas() -> None:
    rooms = {path.parent.name for path in (ROOT / "nas").glob("*/__main__.py")}
    files = {
        path.stem
        for path in (ROOT / "nas").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text() and path.stem != "__main__"
    }
    assert rooms | files == set(COMMANDS) - {"completion"}


def test_a_misspelt_command_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serch"]) == 2
    told = capsys.readouterr().err
    assert told.startswith('nas: no command "serch". Did you mean "search"? Known: bench, ')
    assert told.count("\n") == 1


def test_a_command_is_the_same_by_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    from nas.status import main as status

    assert main(["status", "nowhere"]) == 2
    told = capsys.readouterr()
    assert status(["nowhere"]) == 2
    assert capsys.readouterr() == told
    with pytest.raises(SystemExit):
        main(["help", "status"])
    asked = capsys.readouterr()
    with pytest.raises(SystemExit):
        status(["--help"])
    assert capsys.readouterr() == asked


def test_the_script_of_the_package_is_this_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["nas"] == "nas.__main__:main"
    assert scripts["nas-search"].startswith("nas.search")


@pytest.mark.process
@pytest.mark.parametrize("arguments", [[], ["--help"], ["serch"]], ids=str)
def test_a_list_or_a_misspelt_command_imports_nothing_slow(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nas", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == (2 if arguments == ["serch"] else 0)
    imported = {name.partition(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", done.stderr, re.M)}
    assert "nas" in imported
    assert not imported & SLOW


@pytest.mark.process
@pytest.mark.parametrize("arguments", ["search --help all", "status --help"])
def test_output_that_nobody_reads_is_no_error(arguments: str) -> None:
    line = f"{sys.executable} -m nas {arguments} | true"  # it ends before the first line
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    done = subprocess.run(
        [sys.executable, "-m", "nas", "completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    path = tmp_path_factory.mktemp("completion") / "nas"
    path.write_text(done.stdout)
    return path


@pytest.mark.process
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["nas", "se"], {"search"}),
        (["nas", "search", "quick"], {"quickstart"}),
        (["nas", "search", "--n-cand"], {"--n-candidates"}),
        (["nas", "search", "--tasks.text.win"], {"--tasks.text.window"}),
        (["nas", "search", "--protocol", "la"], {"ladder"}),
        (["nas", "search", "--tasks", "selec"], {"selective_copying"}),
        (["nas", "search", "--sampler", "lexi"], {"lexicase"}),
        (["nas", "curves", "--cells", "mut"], {"mut1", "mut2", "mut3"}),
        (["nas", "search", "--help", "evo"], {"evolution"}),
        (["nas", "compare", "lst"], {"lstm"}),
        (["nas", "study", "pa"], {"pack"}),
        (["nas", "status", "min"], {"mine"}),
        (["nas", "completion", "ba"], {"bash"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_completes(script: Path, tmp_path: Path, typed: list[str], offered: set[str]) -> None:
    (tmp_path / "studies" / "mine").mkdir(parents=True)
    (tmp_path / "studies" / "other").mkdir()
    words = " ".join(f"'{word}'" for word in typed)
    ask = f"""
        source {script}
        COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}
        $(complete -p nas | sed 's/.*-F \\([^ ]*\\) .*/\\1/') nas '{typed[-1]}' '{typed[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found = {word.strip() for word in done.stdout.split()}
    assert offered <= found
    assert all(word.startswith(typed[-1]) for word in found)
