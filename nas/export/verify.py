"""Comparison of an ONNX graph in onnxruntime with its module, at several lengths and batches."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nas.errors import SearchError, UserError
from nas.export.graph import to_onnx
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.report.files import write_file

if TYPE_CHECKING:  # an optional package
    from onnxruntime import InferenceSession

SHAPES = ((1, 1), (7, 3), (20, 2), (3, 5))
"""(time, batch) of the comparisons."""
CLOSE = 1e-5
"""Largest difference in float32, relative to the largest value: libraries sum and approximate
functions differently."""


def write_onnx(module: RNN | SequenceModel, path: Path) -> float:
    """Write a graph after onnxruntime computed it right, and return the largest difference.

    Raises:
        UserError: if a package is missing, or the file cannot be written.
        SearchError: if the graph computes something else; then no file is written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError(
            "ONNX needs two more packages, onnx and onnxruntime: "
            "pip install -c constraints.txt -e '.[onnx]'."
        ) from None
    data = to_onnx(module).SerializeToString()
    session = session_of(data)
    worst = max(difference(module, session, n_steps, batch) for n_steps, batch in SHAPES)
    if not worst <= CLOSE:
        raise SearchError(
            f"the ONNX graph differs from torch by {worst:.1e} of the largest value, more than "
            f"{CLOSE:.0e}: {path} is not written."
        )
    write_file(path, data)
    return worst


def session_of(data: bytes) -> "InferenceSession":
    """A session that runs a graph on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def difference(
    module: RNN | SequenceModel, session: "InferenceSession", n_steps: int, batch: int
) -> float:
    """The largest difference of any output, relative to the largest value of that output."""
    inputs = example(module, n_steps, batch)
    ours = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    theirs = outputs(module, inputs)
    return max(_difference(torch.from_numpy(a), b) for a, b in zip(ours, theirs, strict=True))


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    finite = theirs.isfinite()
    scale = float(theirs[finite].abs().max()) if finite.any() else 1.0
    differences = torch.where(same, 0.0, (ours - theirs).abs()).nan_to_num(nan=float("inf"))
    return float(differences.max()) / max(1.0, scale)


def example(module: RNN | SequenceModel, n_steps: int, batch: int) -> dict[str, Tensor]:
    """Inputs of the graph, always the same for a shape."""
    generator = torch.Generator().manual_seed(n_steps)
    rnn = module.rnn if isinstance(module, SequenceModel) else module
    ends = module.interface if isinstance(module, SequenceModel) else None
    if ends is not None and ends.tokens:
        inputs = {"tokens": torch.randint(ends.inputs, (n_steps, batch), generator=generator)}
    else:
        width = ends.inputs if ends is not None else rnn.input_size
        inputs = {"x": torch.randn(n_steps, batch, width, generator=generator)}
    for state, width in zip(rnn.cell.states, rnn.state_sizes, strict=True):
        shape = (len(rnn.layers), batch, width)
        inputs[f"{state.name}_0"] = torch.rand(shape, generator=generator)
    return inputs


@torch.no_grad()
def outputs(module: RNN | SequenceModel, inputs: dict[str, Tensor]) -> list[Tensor]:
    """The module's outputs, in the order of the graph's."""
    first, *states = inputs.values()
    state: Any = states[0] if len(states) == 1 else tuple(states)
    was_training = module.training
    y, final = module.eval()(first, state)
    module.train(was_training)
    return [y, *([final] if isinstance(final, Tensor) else final)]
