"""One step of one sequence: a cell exported to C against onnxruntime, torch and `nas.RNN`."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nas.bench.arms import TWINS, YARDSTICK, twin
from nas.bench.timing import Ratio, Times, compare, median_s, take_turns
from nas.cell.cell import Cell
from nas.errors import UserError
from nas.export.c.compiled import Compiled, build
from nas.export.c.files import Written, write
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.network import network_of
from nas.export.c.ranges import random_pieces, ranges_of
from nas.export.number_format import NumberFormat
from nas.export.verify import session_of
from nas.nn.rnn import RNN

FLAGS = ("-std=c99", "-O3", "-march=native", "-shared", "-fPIC")
Call = Callable[[], object]


@dataclass(frozen=True)
class ExportedStep:
    """A step of one sequence whose state is carried on: of a cell of one layer whose input is as
    wide as its state, or of a trained winner."""

    cell: str
    hidden: int
    torch: str
    """The module of torch: the same cell, or nn.LSTM as a yardstick."""
    times_s: dict[str, Times]
    flash_bytes: dict[str, int]
    """Code and constants by number format, as `size` counts them at -Os; empty without it."""
    ram_bytes: dict[str, int]
    """State and arrays on the stack."""

    @property
    def median_s(self) -> dict[str, float]:
        return {arm: median_s(times) for arm, times in self.times_s.items()}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """How many times as fast C in float32 is as each other arm."""
        ours = self.times_s["C float32"]
        return {arm: compare(times, ours) for arm, times in self.times_s.items()}


def exported_step(cell: Cell, hidden: int, rounds: int, round_s: float) -> ExportedStep:
    """Measure a cell at a width.

    Raises:
        UserError: if a package or the C compiler is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rnn = RNN(cell, hidden, hidden).eval()
    network = network_of(rnn)
    ranges = ranges_of(network, random_pieces(network))
    made = {kind: write(network, ranges, kind, "exported", "nas bench") for kind in NUMBER_FORMATS}
    x = np.random.default_rng(0).normal(size=(1, 1, hidden)).astype(np.float32)
    arms: dict[str, Call] = {
        f"C {kind}": _of_c(Compiled(written, FLAGS), x) for kind, written in made.items()
    }
    name = twin(cell) or YARDSTICK
    torch_name, make = TWINS[name]
    arms |= {"onnxruntime": _of_graph(rnn, x), "onnxruntime's LSTM": _of_lstm_operator(hidden, x)}
    arms |= {
        torch_name: of_torch(make(hidden, hidden), torch.from_numpy(x)),
        "nas.RNN.step": _of_rnn(rnn, x),
    }
    arms["nas.RNN.stream"] = partial(rnn.stream().step, torch.from_numpy(x[0]))
    times = take_turns(arms, rounds, round_s)
    return ExportedStep(cell.name, hidden, torch_name, times, *bytes_of(made))


def bytes_of(made: Mapping[NumberFormat, Written]) -> tuple[dict[str, int], dict[str, int]]:
    """Flash and RAM by number format."""
    counted = made if shutil.which("size") else {}
    flash: dict[str, int] = {kind: _flash(written) for kind, written in counted.items()}
    ram: dict[str, int] = {k: w.model.state_bytes + w.model.scratch_bytes for k, w in made.items()}
    return flash, ram


def _of_c(compiled: Compiled, x: np.ndarray) -> Call:
    state, y = compiled.fresh(), np.empty(compiled.written.model.network.n_outputs, np.float32)
    pointers = (ctypes.addressof(state), x.ctypes.data, y.ctypes.data)
    call = partial(compiled.step, *pointers)
    # C has their addresses alone: they must live as long as the call, whose class declares no such
    # attribute.
    call.keeps = state, x, y  # type: ignore[attr-defined]
    return call


def _of_graph(rnn: RNN, x: np.ndarray) -> Call:
    """The exported graph, whose states are inputs and outputs."""
    from nas.export.graph import to_onnx

    session = session_of(to_onnx(rnn).SerializeToString())
    names = [f"{state.name}_0" for state in rnn.cell.states]
    held = [np.zeros((1, 1, width), np.float32) for width in rnn.state_sizes]

    def step() -> object:
        nonlocal held
        found = session.run(None, {"x": x, **dict(zip(names, held, strict=True))})
        held = found[1:]
        return found[0]

    return step


def _of_lstm_operator(hidden: int, x: np.ndarray) -> Call:
    """onnxruntime's own LSTM of the same width, which it has as one operator."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shapes = {"W": (1, 4 * hidden, hidden), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, hidden))
        for name in ("x", "h_0", "c_0")
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "h", "c")]
    node = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h_0", "c_0"], ["y", "h", "c"], hidden_size=hidden
    )
    graph = helper.make_graph([node], "lstm", inputs, outputs, weights)
    version = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=version, ir_version=9)
    session = session_of(model.SerializeToString())
    held = [np.zeros((1, 1, hidden), np.float32)] * 2

    def step() -> object:
        nonlocal held
        found = session.run(None, {"x": x, "h_0": held[0], "c_0": held[1]})
        held = found[1:]
        return found[0]

    return step


def of_torch(module: nn.Module, row: torch.Tensor) -> Call:
    """A step of a module of torch, of (x, state), whose state is carried on."""
    held = None

    @torch.no_grad()
    def step() -> object:
        nonlocal held
        y, held = module(row, held)
        return y

    return step


def _of_rnn(rnn: RNN, x: np.ndarray) -> Call:
    row, held = torch.from_numpy(x[0]), None

    @torch.no_grad()
    def step() -> Any:
        nonlocal held
        y, held = rnn.step(row, held)
        return y

    return step


def _flash(written: Written) -> int:
    """Bytes of code and constants at -Os."""
    with tempfile.TemporaryDirectory() as folder:
        made = build(written, Path(folder), ("-std=c99", "-Os", "-c"), "exported.o")
        said = subprocess.run(["size", made], capture_output=True, text=True, check=True)
    text, data, *_ = map(int, said.stdout.splitlines()[1].split()[:3])
    return text + data


def check_packages() -> None:
    """Raise UserError if onnxruntime is not here."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError("it compares with onnxruntime: pip install onnx onnxruntime.") from None
