"""Comparison of an ONNX graph in onnxruntime with its module, at several lengths and batches."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.errors import SearchError, UserError
from nas.export.graph import to_onnx
from nas.export.graph_model import LENGTHS, first_input
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel, last_step
from nas.report.files import write_file

if TYPE_CHECKING:  # an optional package
    from onnxruntime import InferenceSession

Values = NDArray[Any]
SHAPES = ((1, 1), (7, 3), (20, 2), (3, 5))
"""(time, batch) of the comparisons."""
CLOSE = 1e-5
"""Largest difference in float32, relative to the largest value: libraries sum and approximate
functions differently."""


def write_onnx(module: RNN | TrainedModel, path: Path) -> float:
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
    options.log_severity_level = 3  # that inputs have defaults is meant, and no warning
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def difference(
    module: RNN | TrainedModel, session: "InferenceSession", n_steps: int, batch: int
) -> float:
    """The largest difference of any output, relative to the largest value of that output."""
    inputs = example(module, n_steps, batch)
    ours = session.run(None, inputs)
    theirs = outputs(module, inputs)
    if isinstance(module, TrainedModel) and module.meaning.interface.head == "gaussian":
        means, scales = module.target_means.numpy(), module.target_scales.numpy()
        ours[0], theirs[0] = ((values - means) / scales for values in (ours[0], theirs[0]))
    return max(_difference(a, b) for a, b in zip(ours, theirs, strict=True))


def _difference(ours: Values, theirs: Values) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    if ours.dtype.kind not in "f":
        return 0.0 if (ours == theirs).all() else float("inf")
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    finite = np.isfinite(theirs)
    scale = float(np.abs(theirs[finite]).max()) if finite.any() else 1.0
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.nan_to_num(np.abs(ours - theirs), nan=np.inf))
    return float(apart.max()) / max(1.0, scale)


def example(module: RNN | TrainedModel, n_steps: int, batch: int) -> dict[str, Values]:
    """Inputs of the graph, always the same for a shape."""
    random = np.random.default_rng(n_steps)
    rnn = module.rnn if isinstance(module, TrainedModel) else module
    inputs: dict[str, Values] = {}
    if isinstance(module, TrainedModel):
        inputs[first_input(module.meaning)] = _data(module, random, (n_steps, batch))
        inputs[LENGTHS] = random.integers(1, n_steps + 1, batch)
    else:
        inputs["x"] = random.normal(size=(n_steps, batch, rnn.input_size)).astype(np.float32)
    for state, width in zip(rnn.cell.states, rnn.state_sizes, strict=True):
        shape = (len(rnn.layers), batch, width)
        inputs[f"{state.name}_0"] = random.random(shape, dtype=np.float32)
    return inputs


def _data(module: TrainedModel, random: np.random.Generator, shape: tuple[int, int]) -> Values:
    known = module.meaning
    if known.interface.tokens:
        tokens: Values = random.integers(known.interface.inputs, size=shape)
        return np.array(known.symbols, dtype=object)[tokens] if known.symbols else tokens
    rows = random.normal(size=(*shape, known.interface.inputs))
    in_units: Values = module.input_means.numpy() + module.input_scales.numpy() * rows
    return in_units


@torch.no_grad()
def outputs(module: RNN | TrainedModel, inputs: dict[str, Values]) -> list[Values]:
    """The module's outputs, in the order of the graph's."""
    named = {name: torch.from_numpy(v) for name, v in inputs.items() if v.dtype.kind != "O"}
    states = [named[f"{s.name}_0"] for s in module.cell.states]
    state: Any = states[0] if len(states) == 1 else tuple(states)
    was_training = module.training
    module.eval()
    if isinstance(module, TrainedModel):
        name = first_input(module.meaning)
        data = named[name] if name in named else _tokens(module, inputs[name])
        scores, final = module(data, state, named[LENGTHS])
        found = _answers(module, scores, named[LENGTHS])
    else:
        y, final = module(named["x"], state)
        found = [y.numpy()]
    module.train(was_training)
    return [*found, *(s.numpy() for s in ([final] if isinstance(final, Tensor) else final))]


def _tokens(module: TrainedModel, symbols: Values) -> Tensor:
    rows = [module.meaning.tokens_of_symbols(row) for row in symbols.tolist()]
    return torch.tensor(rows)


def _answers(module: TrainedModel, scores: Tensor, lengths: Tensor) -> list[Values]:
    """What the graph gives before the states."""
    known = module.meaning
    if known.interface.head == "gaussian":
        return [scores.numpy()]
    asked = last_step(scores, lengths) if known.answers == "next symbol" else scores
    if known.interface.head == "bernoulli":
        return [scores.numpy(), asked.sigmoid().numpy()]
    best = asked.argmax(-1).numpy()
    names = np.array(known.outcomes, dtype=object)
    return [scores.numpy(), asked.softmax(-1).numpy(), names[best] if len(names) else best]
