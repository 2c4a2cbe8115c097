"""A plain file gives what nas.RNN gives, where there is no nas."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file, save_file
from torch import Tensor

import nas
from nas.cell import Cell, loads
from nas.export.plain import class_name, plain_file
from nas.export.sizes import small_sizes
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.export.alone import outputs
from tests.export.examples import CELLS, COMPUTED, WRITTEN, arguments, module, of_op
from tests.shares import every_eighth
from tests.strategies import HIDDEN_SIZE, cells, input_size
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_32, SAME_FORMULA

HERE = Path(__file__).parent
TOLERANCES = {torch.float32: OTHER_KERNEL_32, torch.float64: SAME_FORMULA}


def example(rnn: RNN, seed: int) -> dict[str, Tensor]:
    generator = seeded(seed)
    dtype = next((p.dtype for p in rnn.parameters()), torch.float64)
    given = {"x": torch.randn(5, 3, rnn.input_size, generator=generator, dtype=dtype)}
    for k, width in enumerate(rnn.state_sizes):
        shape = (len(rnn.layers), 3, width)
        given[f"s.{k}"] = torch.rand(*shape, generator=generator, dtype=dtype) + 0.1
    return given


def run_alone(folder: Path, names: Iterable[str]) -> None:
    """Write files and run them elsewhere: float32 on equal lengths, float64 on packed ones."""
    for name in names:
        cell = CELLS[name]
        text = plain_file(cell, "test")
        for dtype, lengths in ((torch.float32, []), (torch.float64, [2, 5, 3])):
            case = folder / f"{name}-{str(dtype)[-2:]}"
            case.with_suffix(".py").write_text(text, encoding="utf-8")
            given = arguments(cell, dtype)
            rnn = module(cell, dtype, **given)
            weights = {f"w.{k}": v.detach() for k, v in rnn.state_dict().items()}
            save_file({**weights, **example(rnn, 3)}, case.with_suffix(".safetensors"))
            described = {"class": class_name(cell), "arguments": given, "lengths": lengths}
            case.with_suffix(".json").write_text(json.dumps(described))
    command = [sys.executable, "-I", "-W", "error", HERE / "alone.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.stdout.strip() == "done", done.stderr


def check_all(folder: Path, name: str) -> None:
    """Outputs, states and gradients are those of nas.RNN."""
    cell = CELLS[name]
    for dtype, tolerance in TOLERANCES.items():
        case = folder / f"{name}-{str(dtype)[-2:]}"
        found = load_file(case.with_suffix(".out.safetensors"))
        rnn = module(cell, dtype, **arguments(cell, dtype))
        lengths = json.loads(case.with_suffix(".json").read_text())["lengths"]
        y, states, grads = outputs(rnn, example(rnn, 3), lengths)
        wanted = {"y": y, **states, **grads}
        assert wanted.keys() == found.keys()
        for key, tensor in wanted.items():
            scale = max(1.0, float(tensor.abs().max()))
            torch.testing.assert_close(found[key] / scale, tensor / scale, **tolerance, msg=key)


@pytest.mark.process
def test_some_files_give_what_the_module_gives(tmp_path: Path) -> None:
    names = ("mut1", "lstm_peephole", "everything")
    run_alone(tmp_path, names)
    for name in names:
        check_all(tmp_path, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    run_alone(folder, CELLS)
    return folder


@pytest.mark.process
@pytest.mark.parametrize("name", CELLS)
def test_every_file_gives_what_the_module_gives(folder: Path, name: str) -> None:
    check_all(folder, name)


def executed(cell: Cell) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "plain"}
    exec(compile(plain_file(cell, "test"), "plain.py", "exec"), names)
    return names


def assert_same(cell: Cell, n_inputs: int, hidden: int) -> None:
    rnn = module(cell, input_size=n_inputs, hidden_size=hidden)
    plain = executed(cell)[class_name(cell)](n_inputs, hidden, dtype=torch.float64)
    plain.load_state_dict(rnn.state_dict())
    x = example(rnn, 0)["x"]
    y, state = rnn(x)
    ours, final = plain(x)
    torch.testing.assert_close(ours, y, equal_nan=True, **SAME_FORMULA)
    torch.testing.assert_close(final, state, equal_nan=True, **SAME_FORMULA)


@pytest.mark.parametrize("op", COMPUTED)
def test_each_op_gives_the_same(op: str) -> None:
    assert_same(of_op(op), 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c)",
        "a - (b + c)",
        "a - b - c",
        "a / (b / c)",
        "a / (b * c)",
        "a / b / c",
        "(a + b) * c",
        "a - -b",
        "-(a + b)",
        "-a * b",
        "-(a * b)",
        "a - (-2) * b",
        "diagonal(a - b) * c",
        "hard_sigmoid(a - b)",
        "c / diagonal(a)",
        "-diagonal(a)",
        "2 - (a - 1)",
        "max(a, -0.5) - min(0.25, b)",
    ],
)
def test_brackets_stand_where_they_must(text: str) -> None:
    lines = "a = linear(x)\n    b = linear(h) + 2\n    c = linear(x, h) + 3"
    assert_same(loads(f"def f(x, h):\n    {lines}\n    return {text}\n"), 3, 4)


@given(cells(finite=True))
@settings(suppress_health_check=list(HealthCheck))
def test_any_cell_gives_the_same(cell: Cell) -> None:
    assert_same(cell, input_size(cell), HIDDEN_SIZE)


@pytest.mark.parametrize("name", [*every_eighth(ZOO), *WRITTEN])
@pytest.mark.parametrize("bias", [True, False])
def test_fresh_parameters_are_those_of_the_module(name: str, bias: bool) -> None:
    cell = CELLS[name]
    sizes = dict(zip(("input_size", "hidden_size"), small_sizes(cell), strict=True))
    torch.manual_seed(5)
    rnn = RNN(cell, **sizes, bias=bias)
    torch.manual_seed(5)
    plain = executed(cell)[class_name(cell)](**sizes, bias=bias)
    ours, theirs = plain.state_dict(), rnn.state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key


@pytest.mark.parametrize("name", ["lstm", "gru", "everything"])
def test_the_arguments_of_the_constructor_count(name: str) -> None:
    cell = CELLS[name]
    n_inputs, hidden = small_sizes(cell)
    make = executed(cell)[class_name(cell)]
    plain, rnn = (
        make(n_inputs, hidden, batch_first=True),
        module(cell, torch.float32, input_size=n_inputs, hidden_size=hidden, batch_first=True),
    )
    plain.load_state_dict(rnn.state_dict())
    x = torch.randn(3, 5, n_inputs, generator=seeded())
    torch.testing.assert_close(plain(x), rnn(x))
    torch.testing.assert_close(plain(x[0]), rnn(x[0]))
    state = rnn(x[0])[1]
    torch.testing.assert_close(plain(x[0], state), rnn(x[0], state))
    if name != "everything":
        dropping = make(n_inputs, hidden, num_layers=2, dropout=0.5)
        assert not torch.equal(dropping(x)[0], dropping(x)[0])
        dropping.eval()
        assert torch.equal(dropping(x)[0], dropping(x)[0])


@pytest.mark.parametrize("name", [*every_eighth(ZOO), *WRITTEN])
def test_an_empty_batch_gives_empty_results(name: str) -> None:
    cell = CELLS[name]
    given = arguments(cell, torch.float64)
    plain = executed(cell)[class_name(cell)](**given)
    full, empty = (plain(torch.randn(5, batch, given["input_size"])) for batch in (1, 0))
    for some, none in zip(flat(full), flat(empty), strict=True):
        assert none.shape == (some.shape[0], 0, some.shape[2])
    sum(tensor.sum() for tensor in flat(empty)).backward()
    plain.batch_first = True
    assert plain(torch.randn(0, 5, given["input_size"]))[0].shape[:2] == (0, 5)


def flat(result: Any) -> list[Tensor]:
    y, state = result
    return [y, *([state] if isinstance(state, Tensor) else state)]


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_module_has_the_attributes_of_torchs(name: str) -> None:
    arguments = {"num_layers": 2, "bias": False, "batch_first": True, "bidirectional": True}
    ours = executed(ZOO[name])[class_name(ZOO[name])](3, 4, dropout=0.5, **arguments)
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](3, 4, dropout=0.5, **arguments)
    for attribute in (
        *("mode", "input_size", "hidden_size", "num_layers", "bias"),
        *("batch_first", "dropout", "bidirectional", "proj_size"),
    ):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    ours.flatten_parameters()


def test_a_state_of_the_wrong_shape_is_refused() -> None:
    for name, state in (("lstm", (torch.zeros(1, 1, 4),) * 2), ("gru", torch.zeros(1, 1, 4))):
        plain = executed(ZOO[name])[class_name(ZOO[name])](3, 4)
        with pytest.raises(ValueError, match=r"\(1, 2, 4\), got"):
            plain(torch.zeros(5, 2, 3), state)
    with pytest.raises(ValueError, match="input_size=3 must equal hidden_size=4"):
        executed(ZOO["mut1"])["Mut1"](3, 4)


@pytest.mark.process
def test_files_are_formatted(tmp_path: Path) -> None:
    for name, cell in CELLS.items():
        (tmp_path / f"{name}.py").write_text(plain_file(cell, "test"), encoding="utf-8")
    root = Path(nas.__file__).parent.parent
    ruff = [Path(sys.executable).parent / "ruff"]
    if not ruff[0].exists():
        pytest.skip("ruff is not installed")
    for mode in (["format", "--check", "--diff"], ["check"]):
        command = [*ruff, *mode, "--config", root / "pyproject.toml", tmp_path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["mut1", "lstm"])
def test_the_file_says_only_what_the_cell_needs(name: str) -> None:
    text = plain_file(ZOO[name], "test")
    for word in ("layer_norm", "block", "clock", "load", "below", "vertical", "nas."):
        assert word not in text.replace("`nas", ""), word
    step = next(
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == "step"
    )
    assert len(step.body) <= 8


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("torch.tanh(c_new)", "torch.tanh(c_new.detach())"),
        ("[s[k + d] for s in state]", "[s[0] for s in state]"),
        ("outputs.reverse()", "pass"),
        ("dim=-1) for both", "dim=0) for both"),
    ],
)
def test_the_self_test_sees_what_is_broken(right: str, wrong: str) -> None:
    text = plain_file(ZOO["lstm"], "test")
    assert right in text
    names: dict[str, Any] = {"__name__": "plain"}
    exec(compile(text.replace(right, wrong), "plain.py", "exec"), names)
    with pytest.raises((AssertionError, RuntimeError)):
        names["self_test"]()
