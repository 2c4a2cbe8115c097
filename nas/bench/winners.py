"""One step of a trained winner, raw data in and answers out: its C against other runtimes."""

import copy
import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nas
from nas.bench.arms import TWINS, YARDSTICK, twin
from nas.bench.exported import FLAGS, Call, ExportedStep, bytes_of, of_torch
from nas.bench.timing import take_turns
from nas.errors import UserError
from nas.export.c.compiled import TYPES, Compiled
from nas.export.c.files import write
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.network import network_of
from nas.export.c.ranges import random_pieces, ranges_of
from nas.export.graph_model import first_input
from nas.export.number_format import NumberFormat
from nas.export.verify import session_of
from nas.nn.meaning import Meaning
from nas.nn.trained import TrainedModel

Arms = dict[str, Call]


def winner_step(path: Path, rounds: int, round_s: float) -> ExportedStep:
    """Measure a step of one sequence of a winner's whole model; its state is carried on.

    Raises:
        UserError: if the path holds no trained model, or a package or the C compiler is missing.
    """
    model = read(path)
    network = network_of(model)
    ranges = ranges_of(network, random_pieces(network))
    made = {kind: write(network, ranges, kind, "winner", "nas bench") for kind in NUMBER_FORMATS}
    compiled = {kind: Compiled(written, FLAGS) for kind, written in made.items()}
    arms, torch_name = arms_of(model, compiled)
    times = take_turns(arms, rounds, round_s)
    name = f"{model.meaning.task} of {path}, {model.cell.name}"
    return ExportedStep(name, model.rnn.hidden_size, torch_name, times, *bytes_of(made))


def read(path: Path) -> TrainedModel:
    """The trained model of a path.

    Raises:
        UserError: if there is none.
    """
    model = nas.load(path)
    if not isinstance(model, TrainedModel):
        raise UserError(f"--winners {path}: these are layers alone, not a trained model.")
    return model.eval()


def arms_of(model: TrainedModel, compiled: Mapping[NumberFormat, Compiled]) -> tuple[Arms, str]:
    """Functions that each make one step and return its answers, and the name of torch's module."""
    name = twin(model.cell) or YARDSTICK
    torch_name, make = TWINS[name]
    raw = example(model)
    arms: Arms = {f"C {kind}": _of_c(one, raw) for kind, one in compiled.items()}
    arms["onnxruntime"] = _of_graph(model, raw)
    arms[torch_name] = of_torch(_Plain(model, make), raw)
    arms["nas"] = of_torch(_Answering(model), raw)
    return arms, torch_name


def example(model: TrainedModel) -> Tensor:
    """Raw data of one step, (1, 1) or (1, 1, features): a symbol, or what is usual, and more."""
    known = model.meaning
    if known.interface.tokens:
        return torch.ones(1, 1, dtype=torch.long)
    return (model.input_means + 0.5 * model.input_scales).expand(1, 1, known.interface.inputs)


def _of_c(compiled: Compiled, raw: Tensor) -> Call:
    model, state = compiled.written.model, compiled.fresh()
    y = np.empty(model.network.n_outputs, TYPES[model.y_type])
    at, out = ctypes.addressof(state), y.ctypes.data
    if model.network.tokens:
        x, given = None, int(raw)
    else:
        x = np.ascontiguousarray(raw[0, 0].numpy(), TYPES[model.x_type])
        given = x.ctypes.data

    def step(keeps: object = (state, x)) -> object:
        compiled.step(at, given, out)
        return y

    return step


def _of_graph(model: TrainedModel, raw: Tensor) -> Call:
    """The exported graph, whose states are inputs and outputs."""
    from nas.export.graph import to_onnx

    known = model.meaning
    session = session_of(to_onnx(model).SerializeToString())
    answer = "means" if known.interface.head == "gaussian" else "probabilities"
    states = [state.name for state in model.cell.states]
    wanted = [answer, *(f"{name}_n" for name in states)]
    x: Any = raw.numpy()
    if known.symbols:
        x = np.array([[known.symbols[int(raw)]]], object)
    given = {first_input(known): x}

    def step() -> object:
        y, *held = session.run(wanted, given)
        given.update({f"{name}_0": state for name, state in zip(states, held, strict=True)})
        return y

    return step


class _Answering(nn.Module):
    """A winner that gives numbers in units or probabilities, as its C does."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, raw: Tensor, state: Any) -> tuple[Tensor, Any]:
        scores, state = self.model(raw, state)
        return _answers(scores, self.model.meaning), state


class _Plain(nn.Module):
    """What a person would write in torch in place of a winner: its ends, and fresh layers."""

    def __init__(self, model: TrainedModel, make: Callable[[int, int], nn.RNNBase]) -> None:
        super().__init__()
        self.model, hidden = model, model.rnn.hidden_size
        self.embedding = copy.deepcopy(model.network.embedding)
        self.layers = nn.ModuleList(make(hidden, hidden) for _ in range(model.rnn.num_layers))
        self.head = copy.deepcopy(model.network.head)

    def forward(self, raw: Tensor, state: Any) -> tuple[Tensor, Any]:
        known, model = self.model.meaning, self.model
        if not known.interface.tokens:
            raw = ((raw - model.input_means) / model.input_scales).float()
        y, held = self.embedding(raw), []
        for layer, before in zip(self.layers, state or [None] * len(self.layers), strict=True):
            y, after = layer(y, before)
            held.append(after)
        scores = self.head(y)
        if known.interface.head == "gaussian":
            scores = model.target_means + model.target_scales * scores
        return _answers(scores, known), held


def _answers(scores: Tensor, meaning: Meaning) -> Tensor:
    if meaning.interface.head == "gaussian":
        return scores
    return scores.sigmoid() if meaning.interface.head == "bernoulli" else scores.softmax(-1)
