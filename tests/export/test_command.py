"""The command: what it writes for a winner, and what it refuses."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas.export.command import main, parser
from nas.nn.loading import load_model
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.tasks import Memorization, Xml
from nas.tasks.xml import SYMBOLS
from nas.training.train import run
from nas.zoo import ZOO

SMALL: dict[str, Any] = {
    "n_params": (1500,),
    "epochs": 1,
    "batches_per_epoch": 2,
    "validation_batches": 1,
    "batch_size": 4,
    "window": 8,
}
CELL = ZOO["mut1"]
SECRET = "s3cret"


@pytest.fixture(scope="module")
def trained() -> dict[str, bytes]:
    torch.set_num_threads(1)
    found = {}
    for task in (Xml(**SMALL), Memorization(n_symbols=3, **SMALL)):
        settings = Settings(1500, num_layers=2)
        result = run(Evaluation(str(CELL), CELL.key, task, (settings,), 0))
        assert result.weights is not None
        found[task.name] = result.weights
    return found


@pytest.fixture
def winner(tmp_path: Path, trained: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A winner's folder, in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = Path("winner")
    folder.mkdir()
    (folder / "cell.cell").write_text(str(CELL), encoding="utf-8")
    for task, weights in trained.items():
        (folder / f"{task}.safetensors").write_bytes(weights)
    return folder


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.process
def test_a_winner_is_written_with_its_weights(winner: Path) -> None:
    assert main([str(winner), "out.py", "--task", "xml"]) == 0
    plain = imported(Path("out.py"))
    model = load_model(winner, "xml")
    tokens = torch.arange(12).view(6, 2)
    torch.testing.assert_close(plain.load()(tokens), model(tokens, None), rtol=1e-6, atol=1e-6)
    assert plain.SYMBOLS == SYMBOLS
    done = subprocess.run([sys.executable, "-I", "out.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Mut1: ")
    assert done.stdout.endswith("and weights are right.\n")


def test_other_weights_fail_the_self_test(winner: Path) -> None:
    assert main([str(winner), "out.py", "--task", "xml"]) == 0
    tensors = load_file("out.safetensors")
    save_file({**tensors, "head.bias": tensors["head.bias"] + 0.1}, "out.safetensors")
    plain = imported(Path("out.py"))
    plain.self_test()
    with pytest.raises(AssertionError):
        plain.check_weights()


def test_a_task_without_characters_has_no_symbols(winner: Path) -> None:
    assert main([str(winner / "memorization.safetensors"), "out.py"]) == 0
    assert "SYMBOLS" not in Path("out.py").read_text(encoding="utf-8")


def test_trained_layers_become_a_graph_of_tokens(
    winner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(winner), "--task", "xml", "--onnx", "out.onnx"]) == 0
    assert "equal to torch within" in capsys.readouterr().out


def test_the_file_says_how_it_was_made(winner: Path) -> None:
    assert main(["gru", "my gru.py"]) == 0
    text = Path("my gru.py").read_text(encoding="utf-8")
    assert "python -m nas.export gru 'my gru.py'" in text
    assert str(ZOO["gru"]).splitlines()[-1] in text
    assert ZOO["gru"].doc in text


def test_the_file_may_be_named_after_flags(winner: Path) -> None:
    assert main(["gru", "first.py", "--c", "c", "--name", "cell"]) == 0
    assert main(["gru", "--c", "again", "--name", "cell", "second.py"]) == 0
    first, second = (Path(name).read_text().splitlines() for name in ("first.py", "second.py"))
    assert {line for line in {*first} ^ {*second} if "nas.export" not in line} == set()
    assert Path("again/cell.c").exists()


@pytest.mark.process
def test_the_readme_of_the_command_runs_as_a_module(winner: Path) -> None:
    root = Path(nas.__file__).parent.parent
    command = [sys.executable, "-m", "nas.export", "nothing", "out.py"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.returncode == 2
    assert done.stderr.startswith('nas.export: no cell "nothing".')


def test_the_commands_of_the_guide_are_accepted() -> None:
    root = Path(nas.__file__).parent.parent
    lines = (root / "docs" / "export.md").read_text(encoding="utf-8").splitlines()
    commands = [line.split("#")[0] for line in lines if line.startswith("python -m nas.export")]
    assert len(commands) == 5
    for command in commands:
        given = parser().parse_args(command.split()[3:])
        assert given.out or given.onnx or given.c or given.register


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gru"], "nothing to write: give OUT.py"),
        (["gru", "out.txt"], "out.txt must end in .py"),
        (["gru", "--onnx", "out.py"], "out.py must end in .onnx"),
        (["gru", "no/out.py"], "no/out.py: there is no folder no"),
        (["grx", "out.py"], 'no cell "grx". Did you mean "gru"?'),
        (["gru", "out.py", "--task", "xml"], 'xml: "gru" is a cell alone'),
        (["gru", "out.py", "--hidden-size", "4"], "--hidden-size is for --onnx, --c and"),
        (["winner", "out.py"], "weights for several tasks"),
        (["winner", "out.py", "--task", "text"], 'no weights for task "text"'),
        (["winner", "--task", "xml", "--onnx", "o.onnx", "--seed", "1"], "--seed is for cells"),
        (["mut1", "--onnx", "o.onnx", "--input-size", "3"], "input_size must equal hidden_size"),
        (["gru", "--onnx", "o.onnx", "--hidden-size", "0"], "hidden_size must be a positive"),
        (["gru", "--onnx", "o.onnx", "--num-layers", "0"], "num_layers must be at least 1"),
        (["gru", "--register", "a/b"], 'name of a model has letters, digits, "_", "-" and "."'),
        (["gru", "--register", "a", "--alias", "v1"], "the name of an alias"),
        (["gru", "--register", "a", "--tracking-uri", "file:x"], "is a file store"),
        (
            ["gru", "--register", "a", "--tracking-uri", f"https://me:{SECRET}@host"],
            "--tracking-uri https://…@host has credentials in it",
        ),
        (
            ["gru", "--register", "a", "--tracking-uri", f"postgresql://host/db?password={SECRET}"],
            "--tracking-uri postgresql://host/db?password=… has credentials in it",
        ),
        (["models:/none@champion", "out.py"], "there is no MLflow database"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    winner: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert SECRET not in shown
    assert len(shown.splitlines()) == 1
    assert sorted(Path().iterdir()) == before
