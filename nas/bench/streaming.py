"""`python -m nas.bench.streaming`: one step of one sequence, by streams and other libraries.

All arms take turns in one run on one thread. torch's module and onnxruntime's operator are an LSTM,
whatever the cell; onnxruntime is left out where it is not installed.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from nas.bench.timing import compare, median_s, take_turns
from nas.command_line import Command, arguments_of, guarded, help_if_asked, parse_flags
from nas.nn.rnn import RNN
from nas.zoo.lookup import cell as look_up

Arm = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class StreamingConfig:
    """What is measured."""

    cells: tuple[str, ...] = ("lstm", "gru", "mgu")
    """Cells: zoo names, .cell files."""
    hidden: tuple[Annotated[int, "at least 1"], ...] = (32, 128)
    """Widths of x and of a state."""
    rounds: Annotated[int, "at least 1"] = 200
    """Rounds, in each of which every arm has 50 steps."""


def arms(cell: str, hidden: int) -> dict[str, Arm]:
    """A step of one sequence by each library, with the states of the step before."""
    rnn = RNN(look_up(cell), hidden, hidden).eval()
    x, stream = torch.randn(1, hidden), rnn.stream()
    module, row, state = nn.LSTM(hidden, hidden).eval(), x[None], rnn.step(x)[1]
    states = (torch.zeros(1, 1, hidden), torch.zeros(1, 1, hidden))
    made: dict[str, Arm] = {
        "stream.step": lambda: stream.step(x),
        "rnn.step": lambda: rnn.step(x, state),
        "nn.LSTM": lambda: module(row, states),
    }
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        made["onnxruntime LSTM"] = _onnxruntime(hidden)
    return made


def _onnxruntime(hidden: int) -> Arm:
    """A step of the operator LSTM of ONNX, of which the states are given and returned."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from nas.export.verify import session_of

    draw = np.random.default_rng(0).standard_normal
    shapes = {"W": (1, 4 * hidden, hidden), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden)}
    weights = [
        numpy_helper.from_array(draw(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    shape = [1, 1, hidden]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("X", "h", "c")]
    given = ["X", "W", "R", "B", "", "h", "c"]
    node = helper.make_node("LSTM", given, ["", "next_h", "next_c"], hidden_size=hidden)
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("next_h", "next_c")
    ]
    graph = helper.make_graph([node], "lstm", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = session_of(model.SerializeToString())
    feed = {name: np.zeros(shape, np.float32) for name in ("X", "h", "c")}
    return lambda: session.run(None, feed)


def measure(cell: str, hidden: int, rounds: int) -> str:
    """A line with the median time of each arm, and how many times as fast a stream is."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            times = take_turns(arms(cell, hidden), rounds, round_s=0.01)
    finally:
        torch.set_num_threads(threads)
    ours = times.pop("stream.step")
    others = []
    for name, theirs in times.items():
        ratio = compare(theirs, ours)
        others.append(
            f"{name} {1e6 * median_s(theirs):.1f} ({ratio.ratio:.1f} times, quartiles "
            f"{ratio.low:.1f} to {ratio.high:.1f})"
        )
    first = f"stream.step {1e6 * median_s(ours):.1f}"
    return f"{cell}, {hidden} units, µs: {first}; {', '.join(others)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = arguments_of(arguments)
    return guarded("nas.bench.streaming", lambda: _bench(given))


def _bench(arguments: Sequence[str]) -> int:
    usage = "[--FIELD VALUE ...]"
    described = Command("bench.streaming", StreamingConfig(), usage, __doc__ or "")
    help_if_asked(lambda: described, arguments)
    config = parse_flags(StreamingConfig(), arguments)
    for cell in config.cells:
        for hidden in config.hidden:
            print(measure(cell, hidden, config.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
