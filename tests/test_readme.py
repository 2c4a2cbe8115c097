"""What the README shows is what happens."""

import re
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import numpy as np
import pytest
import torch

import nas
from nas.compare.command import parse as parse_compare
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.resources import names
from nas.samplers.registry import NAMES
from nas.search.call import configured
from nas.session.result import SearchResult
from nas.study.parse import parse
from nas.tasks import TASKS, Arithmetic
from nas.training.train import run
from nas.zoo import ZOO
from tests.studies import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
SEARCH_FIELDS = (ROOT / "nas/study/config.py").read_text(encoding="utf-8")
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("how-to/*.md"))]
IN = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


def blocks(language: str, page: str) -> list[str]:
    fenced = [block.split("\n", 1) for block in IN[page].split("```")[1::2]]
    return [text for name, text in fenced if name == language]


def commands(command: str) -> list[str]:
    """The arguments of a command, wherever a page shows it."""
    text = "".join(block for page in IN for block in blocks("console", page))
    start = f"python -m nas.{command} "
    found = [
        line.split(" #")[0].removeprefix(start)
        for line in text.splitlines()
        if line.startswith(start)
    ]
    return sorted({line.strip() for line in found if "[CONFIG]" not in line})


def test_the_printed_cell_is_the_one_that_is_shown() -> None:
    shown = next(block for block in blocks("", "README.md") if block.startswith("def gru"))
    assert shown == str(nas.zoo["gru"])
    assert nas.cell(shown) == nas.zoo["gru"]


def mock_result(fields: Any) -> Mock:
    assert configured("quickstart", fields).n_candidates == fields["n_candidates"]
    return create_autospec(SearchResult, instance=True)


@pytest.mark.parametrize(
    "page", [page for page in IN if blocks("python", page) and page != "docs/python.md"]
)
def test_the_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    winner = tmp_path / "studies" / "quickstart" / "winner"
    winner.mkdir(parents=True)
    task = Arithmetic(epochs=1, batches_per_epoch=1, validation_batches=1, n_params=(4000,))
    lstm = ZOO["lstm"]
    result = run(Evaluation(str(lstm), lstm.key, task, (Settings(4000),), 0))
    assert result.weights is not None
    (winner / "arithmetic.safetensors").write_bytes(result.weights)
    monkeypatch.chdir(tmp_path)
    seen = {
        "nas": nas,
        "torch": torch,
        "x": torch.randn(5, 2, 32),
        "tokens": torch.randint(0, 7, (5, 2)),
        "table": torch.randn(7, 32),
    }
    # Not the search itself, which takes minutes: that its arguments are accepted.
    monkeypatch.setattr("nas.search.call.search", lambda **fields: mock_result(fields))
    for block in blocks("python", page):
        exec(block, seen)
    if page in ("README.md", "docs/cells.md"):
        assert isinstance(seen["rnn"], nas.RNN)


def test_commands_of_the_search_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("to be or not to be, that is the question. " * 2000)
    np.savez(tmp_path / "mine.npz", x=np.zeros((60, 5, 2)), y=np.arange(60) % 2)
    rows = "".join(f"{n % 7}\n" for n in range(400))
    (tmp_path / "sensor.csv").write_text(f"room\n{rows}")
    configs = [parse(shlex.split(arguments)) for arguments in commands("search")]
    assert {config.study for config in configs} >= {
        *("second", "third", "mine", "narrow", "graphs", "both", "recipes", "trust"),
        *("labels", "folds", "sensor", "quickstart", "quickstart-random", "replayed"),
    }


def test_every_file_that_is_named_is_there() -> None:
    for text in IN.values():
        for name in re.findall(r"`((?:nas|docs|search_spaces|experiments)/[\w/.]+)`", text):
            assert (ROOT / name).exists(), name
    assert "quickstart" in names("experiments")


def test_every_link_leads_to_a_file() -> None:
    for page, text in IN.items():
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), (page, target)


def test_every_experiment_and_task_is_listed() -> None:
    for name in names("experiments"):
        assert f"[`{name}`](../experiments/{name}/README.md)" in IN["docs/experiments.md"], name
    for name in TASKS:
        assert f"`{name}`" in IN["docs/tasks.md"], name
    for name in names("search_spaces"):
        assert f"`{name}`" in IN["docs/search.md"], name
    for name in NAMES:
        assert f"`{name}`" in IN["docs/search.md"], name
        assert re.search(rf"How candidates are drawn: [^.]*\b{name}\b", SEARCH_FIELDS), name


def test_commands_of_comparisons_are_accepted() -> None:
    configs = [parse_compare(arguments.split()) for arguments in commands("compare")]
    whole, quick = sorted(configs, key=lambda config: config.study == "quick")
    assert whole.cells == ("mut1", "studies/quickstart/winner", "my.cell")
    assert whole.tasks.use == ("text", "xml")
    assert [(one.seeds, one.tuning) for one in (whole, quick)] == [(10, 20), (8, 20)]
    n_points = [len(one.settings.points((20_000,))) for one in (whole, quick)]
    assert n_points == [24, 2], "nas/compare/README.md says that quickstart has too few"
