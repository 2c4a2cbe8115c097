"""The flags of the benchmark: what they mean, and one sentence for what is wrong."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nas.bench.command import main
from nas.bench.config import parse
from nas.errors import UserError

ROOT = Path(__file__).parents[2]
SLOW = {"torch", "optuna", "mlflow", "pytorch_lightning", "matplotlib", "rich"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--cells", "lstn"], 'no cell "lstn". Did you mean "lstm"? Known: antisymmetric_rnn'),
        (["--cells", "gone.cell"], "cell file gone.cell: No such file"),
        (["--hidden", "0"], "hidden must be at least 1, got 0."),
        (["--hidden", "32", "-1"], "hidden must be at least 1, got -1."),
        (["--batch", "many"], 'batch must be a whole number, got "many".'),
        (["--steps", "2.5"], 'steps must be a whole number, got "2.5".'),
        (["--rounds", "0"], "rounds must be at least 1, got 0."),
        (["--vocabulary", "0"], "vocabulary must be at least 1, got 0."),
        (["--eager-limit", "-1"], "eager_limit must be at least 0, got -1."),
        (["--modes", "forward"], "modes must be one of 'fwd', 'fwd+bwd', 'train', got"),
        (["--inputs", "text"], "inputs must be one of 'data', 'tokens', got \"text\"."),
        (["--hidden"], "--hidden needs at least one value, got none."),
        (["--hiden", "3"], 'no field "hiden" in the configuration. Did you mean "hidden"?'),
        (["--json", "no/folder/b.json"], "--json no/folder/b.json cannot be written: No such file"),
        (["--members", "-1"], "members must be at least 0, got -1."),
        (["--mutants", "x"], 'mutants must be a whole number, got "x".'),
        (["--workers", "1.5"], 'workers must be a whole number, got "1.5".'),
        (["--search", "few"], 'search must be a whole number, got "few".'),
        (["--threads", "0"], "threads must be at least 1, got 0."),
        (["--markdown", "."], "--markdown . cannot be written: Is a directory."),
        (["--png", "."], "--png . cannot be written: Is a directory."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(
    flags: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(sentence)):
        parse(flags)
    assert main(flags) == 2
    said = capsys.readouterr()
    assert said.err.startswith("nas.bench: ")
    assert said.err.count("\n") == 1
    assert not said.out
    assert not list(tmp_path.iterdir())


def test_a_picture_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--png needs matplotlib.*: pip install matplotlib"):
        parse(["--png", "b.png"])


def test_a_cell_must_fit_every_width(tmp_path: Path) -> None:
    path = tmp_path / "heads.cell"
    path.write_text("def heads(x, h):\n    return tanh(linear(x) + block_diagonal(h, blocks=4))\n")
    assert parse(["--cells", str(path), "--hidden", "8"]).hidden == (8,)
    with pytest.raises(UserError, match="width divisible by its 4 blocks, got 9"):
        parse(["--cells", str(path), "--hidden", "8", "9"])


def test_checking_a_path_leaves_no_file_and_harms_none(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    parse(["--json", str(path)])
    assert not path.exists()
    path.write_text("kept")
    parse(["--json", str(path)])
    assert path.read_text() == "kept"


def test_flags_change_the_smoke_run_and_repeated_values_count_once() -> None:
    config = parse(["--smoke", "--hidden", "8", "8", "4", "--no-training"])
    assert (config.hidden, config.batch, config.rounds, config.training) == ((8, 4), (4,), 2, False)


def test_commands_of_documents_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments" / "speed").mkdir(parents=True)
    (tmp_path / "my.cell").write_text("def mine(x, h):\n    return tanh(linear(x, h))\n")
    monkeypatch.chdir(tmp_path)
    texts = [(ROOT / name).read_text() for name in ("docs/speed.md", "experiments/speed/README.md")]
    lines = "\n".join(texts).replace("\\\n", "").splitlines()
    commands = [line.split("#")[0] for line in lines if line.startswith("python -m nas.bench ")]
    configs = [parse(shlex.split(command)[3:]) for command in commands]
    assert [config.exported for config in configs] == [False, False, True, False, False, False]
    assert [config.devices for config in configs] == [(), (), (), ("cuda:0",), (), ()]
    assert [config.mutants for config in configs] == [0, 0, 0, 0, 50, 0]
    assert [config.search for config in configs] == [0, 0, 0, 0, 2, 4]


@pytest.mark.process
def test_help_is_quick_to_import() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nas.bench", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    )
    for flag in ("--cells", "--hidden", "--batch", "--steps", "--modes", "--inputs", "--rounds"):
        assert re.search(rf"^  {flag}\b", done.stdout, re.M)
    imported = {name.partition(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", done.stderr, re.M)}
    assert "nas" in imported
    assert not imported & SLOW
