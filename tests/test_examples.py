"""The scripts in examples/: each is short, runs in an empty folder, and says what it found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.compare.command import parse as parse_compare
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.protocol.evaluation import Evaluation
from nas.study.parse import parse
from nas.tasks import Text
from nas.training.train import run as train

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
QUICK = ["--tracking-uri", "off", "--workers", "1"]


def run(script: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_is_short_and_in_the_readme() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert SCRIPTS == ["classify_text.py", "own_cell.py", "own_csv.py"]
    for name in SCRIPTS:
        assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60
        assert f"examples/{name}" in readme


def test_the_configuration_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = {"__name__": "example", "__file__": str(EXAMPLES / "own_csv.py")}
    exec((EXAMPLES / "own_csv.py").read_text(encoding="utf-8"), example)
    example["write_sensor"](Path("sensor.csv"))  # type: ignore[operator]
    config = parse([str(EXAMPLES / "own_csv.yaml")])
    (task,) = (config.tasks.task(name) for name in config.tasks.use)
    assert (task.interface.inputs, task.interface.outputs) == (3, 1)
    baseline = task.baseline(0)
    assert baseline.name == "last value"
    assert baseline.value < task.chance() / 2, "there is something to predict"


def test_the_own_cell_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = {"__name__": "example"}
    exec((EXAMPLES / "own_cell.py").read_text(encoding="utf-8"), example)
    cell = nas.cell(str(example["EQUATIONS"]))
    assert cell.key not in {known.key for known in nas.zoo.values()}
    Path("leaky.cell").write_text(str(cell), encoding="utf-8")
    config = parse_compare(["leaky.cell", *str(example["SMALL"]).split(), "--seeds", "10"])
    assert (config.seeds, config.tuning, config.study) == (10, 2, "own_cell")


@pytest.mark.process
def test_a_cell_classifies_texts(tmp_path: Path) -> None:
    said = run("classify_text.py", tmp_path)
    right, most = re.findall(r"(0\.\d\d)", said)
    assert said.startswith("mut1, fresh weights: ")
    assert float(right) > float(most) + 0.1


@pytest.mark.process
def test_trained_weights_classify_better_than_fresh_ones(tmp_path: Path) -> None:
    cell = nas.zoo["mgu"]
    task = Text(epochs=4, batches_per_epoch=100)
    settings = (Settings(20_000, learning_rate=0.5),)
    weights = train(Evaluation(str(cell), cell.key, task, settings, 0)).weights
    assert weights is not None
    (tmp_path / "text.safetensors").write_bytes(weights)
    said = run("classify_text.py", tmp_path, "--load", "text.safetensors")
    trained, fresh, most = map(float, re.findall(r"(0\.\d\d)", said))
    assert said.startswith("mgu, trained weights: ")
    assert trained > fresh + 0.03
    assert fresh > most


@pytest.mark.process
def test_a_table_is_searched_on(tmp_path: Path) -> None:
    small = ["--n-candidates", "1", "--tasks.csv.epochs", "1", "--tasks.csv.batches-per-epoch", "5"]
    said = run("own_csv.py", tmp_path, *small, *QUICK)
    assert "1/3 gru: score 1.000" in said
    winner = next((tmp_path / "studies" / "own_csv").glob("winner/*.safetensors"), None)
    if "Winner:" in said:
        assert winner is not None
        model = nas.load(winner)
        assert isinstance(model, TrainedModel)
        assert model.meaning.columns == ("heater", "outside", "room")


@pytest.mark.process
def test_an_own_cell_is_compared(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--tasks.text.epochs", "1", "--tasks.text.batches-per-epoch", "5"]
    said = run("own_cell.py", tmp_path, *small, *QUICK)
    assert said.startswith("def leaky(x, h):")
    assert "leaky and gru on text: no claim from fewer than 5 seeds" in said
