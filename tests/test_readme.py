"""What the README shows is what happens."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.compare.command import parse as parse_compare
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.resources import names
from nas.study.parse import parse
from nas.tasks import Arithmetic
from nas.training.train import run
from nas.zoo import ZOO
from tests.studies import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = [block.split("\n", 1) for block in README.split("```")[1::2]]
    return [text for name, text in fenced if name == language]


def test_the_printed_cell_is_the_one_that_is_shown() -> None:
    shown = next(block for block in blocks("") if block.startswith("def gru"))
    assert shown == str(nas.zoo["gru"])
    assert nas.cell(shown) == nas.zoo["gru"]


def test_the_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = tmp_path / "studies" / "quickstart" / "winner"
    winner.mkdir(parents=True)
    task = Arithmetic(epochs=1, batches_per_epoch=1, validation_batches=1, n_params=(4000,))
    lstm = ZOO["lstm"]
    result = run(Evaluation(str(lstm), lstm.key, task, (Settings(4000),), 0))
    assert result.weights is not None
    (winner / "arithmetic.safetensors").write_bytes(result.weights)
    monkeypatch.chdir(tmp_path)
    seen = {
        "torch": torch,
        "x": torch.randn(5, 2, 32),
        "tokens": torch.randint(0, 7, (5, 2)),
        "table": torch.randn(7, 32),
    }
    for block in blocks("python"):
        exec(block, seen)
    assert isinstance(seen["rnn"], nas.RNN)


def test_commands_of_the_search_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("to be or not to be, that is the question. " * 2000)
    np.savez(tmp_path / "mine.npz", x=np.zeros((60, 5, 2)), y=np.arange(60) % 2)
    rows = "".join(f"{n % 7}\n" for n in range(400))
    (tmp_path / "sensor.csv").write_text(f"room\n{rows}")
    lines = [line for block in blocks("console") for line in block.splitlines()]
    searches = [
        line.split("#")[0].split()[3:] for line in lines if line.startswith("python -m nas.search")
    ]
    configs = [parse(arguments) for arguments in searches if "[CONFIG]" not in arguments]
    named = [
        "second",
        "third",
        "mine",
        "narrow",
        "graphs",
        "both",
        "recipes",
        "trust",
        "labels",
        "folds",
        "sensor",
        "quickstart",
        "quickstart-random",
        "replayed",
    ]
    assert [config.study for config in configs] == named


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`((?:nas|docs|search_spaces|experiments)/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name
    assert "quickstart" in names("experiments")


def test_commands_of_comparisons_are_accepted() -> None:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    given = [line.split("#")[0].split()[3:] for line in lines if "-m nas.compare" in line]
    assert len(given) == 2
    cells, tasks = ("mut1", "studies/quickstart/winner", "my.cell"), ("text", "xml")
    configs = [parse_compare(one) for one in given]
    assert (configs[0].cells, configs[0].tasks.use) == (cells, tasks)
    assert [(one.seeds, one.tuning) for one in configs] == [(10, 20), (8, 20)]
    n_points = [len(one.settings.points((20_000,))) for one in configs]
    assert n_points == [24, 2], "nas/compare/README.md says that quickstart has too few"
