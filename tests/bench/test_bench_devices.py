"""The benchmark of devices, on the CPU: what it compares, and that it sees what is wrong."""

import dataclasses
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.bench import agreement, on_devices
from nas.bench.agreement import Agreement, Trained, agreements
from nas.bench.command import main
from nas.bench.config import MODES, Shape, parse
from nas.bench.device_times import DeviceRow
from nas.bench.stack import Stack, make
from nas.compile.eager import run_layer
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.errors import UserError
from nas.workers import devices
from nas.zoo import ZOO
from tests.tolerances import SAME_FORMULA

SHAPE = Shape(16, 4, 8, 50)
QUICK = "--smoke --devices cpu --verify --cells gru --modes fwd+bwd".split()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    """The exit code, the JSON and the Markdown of a quick run."""
    place = tmp_path_factory.mktemp("devices")
    code = main([*QUICK, "--json", str(place / "d.json"), "--markdown", str(place / "d.md")])
    return code, json.loads((place / "d.json").read_text()), (place / "d.md").read_text()


def test_a_run_compares_and_times_each_backend(written: tuple[int, dict[str, Any], str]) -> None:
    code, data, text = written
    assert code == 0
    compared = [(one["members"], one["backend"]) for one in data["agreements"]]
    assert compared == [(1, "c"), (1, "eager"), (2, "c"), (2, "eager")]
    assert all(one["is_right"] and 0 < max(one["differences"]) < 1e-5 for one in data["agreements"])
    assert [one["members"] for one in data["trained"]] == [1, 2]
    assert all(one["losses"] == one["expected"] for one in data["trained"]), "one device"
    for row in data["rows"]:
        assert set(row["times_s"]) == {"c", "eager", "nn.LSTM"}
        assert min(t for times in row["times_s"].values() for t in times if t) > 0
    assert "| cpu | gru | 16 | 2 | c |" in text
    assert data["command"] in text


def test_ratios_are_of_as_many_models() -> None:
    times = {"graph": [2.0, 2.0], "eager": [20.0, None], "nn.LSTM": [3.0, 5.0]}
    row = DeviceRow("lstm", SHAPE, 32, "fwd", "cuda:0", "nn.LSTM", True, times)
    assert row.ours == "graph"
    assert row.against_torch.ratio == 32 * 4.0 / 2.0
    assert row.against_eager.ratio == 10.0
    assert row.models_per_s == 16.0


def test_goals_are_of_32_models_of_64_units_on_a_gpu() -> None:
    def row(cell: str, hidden: int, members: int, device: str = "cuda:0") -> DeviceRow:
        times = {"triton": [1.0], "eager": [12.0], "nn.LSTM": [0.5]}
        shape = dataclasses.replace(SHAPE, hidden=hidden)
        return DeviceRow(cell, shape, members, "fwd", device, "nn.LSTM", True, times)

    report = on_devices.DeviceReport("", parse(QUICK), {}, {})
    report.rows = [row("lstm", 96, 32), row("lstm", 64, 1), row("lstm", 64, 32, "cpu")]
    assert not list(on_devices._goals(report))
    report.rows += [row("lstm", 64, 32), row("gru", 64, 32)]
    first, second = on_devices._goals(report)
    assert first.endswith("at least 20 times as fast as nn.LSTM one at a time. Reached: 16.0.")
    assert second.endswith("as the eager batch. Reached: 12.0 (lstm, fwd).")


@pytest.mark.parametrize("members", [1, 3])
def test_a_stack_is_its_models_one_by_one(members: int) -> None:
    stack = make(ZOO["slstm"], SHAPE, members, "cpu", torch.float64)
    y = stack.run("eager")[0].detach()
    for k in range(members):
        one = EagerCell(ZOO["slstm"], 16, 16, dtype=torch.float64)
        one.reset_parameters(1.0, torch.Generator().manual_seed(1 + k))
        x = stack.x if members > 1 else stack.x.flatten(0, 1).unsqueeze(0)
        states = [s if members > 1 else s[0].unsqueeze(0) for s in stack.states]
        alone = run_layer(one, x[k], Rows.equal(8, 4), [s[k] for s in states], [], False)[0]
        ours = y[k] if members > 1 else y.flatten(0, 1)
        torch.testing.assert_close(ours, alone.detach(), **SAME_FORMULA)


@pytest.mark.parametrize("part", ["outputs", "gradients", "raised", "refused"])
def test_a_device_that_computes_something_else_is_seen(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value of thousands is 0.1 % off, in the backend that is compared."""
    run, gradients = Stack.run, Stack.gradients

    def changed(stack: Stack, backend: Any) -> list[Tensor]:
        outputs = run(stack, backend)
        is_compared = backend == "eager"
        if is_compared and part == "raised":
            raise RuntimeError("no kernel\nimage")
        if is_compared and part == "outputs":
            outputs[0] = outputs[0] + torch.eye(16)[0] * 1e-3
        return run(stack, "graph") if is_compared and part == "refused" else outputs

    def shifted(stack: Stack, y: Tensor) -> list[Tensor]:
        found = gradients(stack, y)
        if part == "gradients" and stack.x.dtype == torch.float32:
            found[0] = found[0] * 1.001
        return found

    monkeypatch.setattr(Stack, "run", changed)
    monkeypatch.setattr(Stack, "gradients", shifted)
    monkeypatch.setattr(agreement, "TIMES", 0.5)
    (one,) = agreements(ZOO["gru"], SHAPE, 2, "cpu", ["eager"])
    assert one.is_right == (part == "refused")
    assert ("it runs on GPUs" in one.reason) == (part == "refused")
    assert one.error == ("RuntimeError: no kernel image" if part == "raised" else "")


def test_what_is_wrong_is_said_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Agreement("gru", 16, 2, "cpu", "c", [1e-6, 0.5], [1e-4, 1e-4])
    lost = dataclasses.replace(wrong, differences=[math.nan, 0.0])
    trained = Trained("gru", 16, 2, "cpu", [1.0, math.nan], [1.0, 1.0])
    assert not wrong.is_right
    assert not lost.is_right
    assert not trained.is_right
    assert not dataclasses.replace(trained, losses=[]).is_right, "all runs diverged"
    assert dataclasses.replace(trained, losses=[1.0, 1.0005]).is_right
    monkeypatch.setattr(on_devices, "agreements", lambda *_: [wrong])
    monkeypatch.setattr(on_devices, "trained", lambda *_: trained)
    monkeypatch.setattr(on_devices, "device_row", lambda *_: _row())
    assert main(QUICK) == 1
    said = capsys.readouterr()
    differs = "backend c on cpu differs from float64 by 1.0e-06 (at most 1.0e-04) forward and 5.0e"
    assert differs in said.err
    assert "training on cpu gives losses that differ from the CPU's by nan" in said.err
    assert "WRONG" in said.out


def _row() -> DeviceRow:
    times = {"eager": [1.0], "nn.LSTM": [1.0]}
    return DeviceRow("gru", SHAPE, 2, "fwd", "cpu", "nn.LSTM", False, times)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--verify"], "--verify compares a device with the CPU: name one with --devices"),
        (["--devices", "gpu"], 'devices must be cpu, or GPUs such as cuda:0, got "gpu"'),
        (["--devices", "cpu", "--memory"], "--memory measures the CPU: leave it out, or --devices"),
        (["--devices", "cpu", "--modes", *MODES], "must be fwd and fwd\\+bwd with --devices"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse(flags)


def test_a_device_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(device: str) -> None:
        raise UserError(f"--devices {device} cannot be used: torch sees no GPU here.")

    monkeypatch.setattr("nas.bench.command.check_device", refuse)
    assert main(["--devices", "cuda:0"]) == 2
    said = capsys.readouterr()
    assert said.err == "nas.bench: --devices cuda:0 cannot be used: torch sees no GPU here.\n"
    assert not said.out
    assert devices.check_device is not refuse
