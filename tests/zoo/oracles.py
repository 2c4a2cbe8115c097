"""Other people's cells: how they are made, filled with our parameters, and run.

A place is the name of our node, with `.x` for the columns of its matrix that read x, `.h` for the
rest, `:b` for its bias and `:0` for as many zeros: `"c.x g.x"` stacks two parts. `.rx` and `.rh`
divide a matrix that reads two values of a low rank, `.early_h` and `.late_x` one that reads h
first.
"""

import importlib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas.cell import loads
from nas.compile.reference import EagerCell
from nas.zoo import ZOO
from tests.tensors import B, D, H, normal

os.environ["KERAS_BACKEND"] = "torch"  # both are read when Keras is imported
os.environ["KERAS_HOME"] = tempfile.mkdtemp()  # else it writes a file into the home directory

import edgeml_pytorch.utils
import keras
import torchrecurrent

edgeml_pytorch.utils.findCUDA = lambda: None  # where CUDA is installed, it wants its own kernel
edgeml = importlib.import_module("edgeml_pytorch.graph.rnn")

STEPS = 6
RANK = 8
"""Of the zoo's low-rank FastGRNN."""
Outputs = tuple[Tensor, list[Tensor]]
"""The outputs (batch, time, features) of a run, and the states after it."""


@dataclass(frozen=True)
class Oracle:
    """One cell or layer of a package."""

    package: str
    make: Callable[[int, int, torch.dtype], Any]
    """Their module for the widths of x and h."""
    places: Mapping[str, str]
    """For each parameter of theirs, our parts; those that are not named are second biases, zero."""
    run: Callable[[Any, Tensor], Outputs]
    """Theirs on x (batch, time, features)."""
    cell: str | None = None
    """Equations of ours, where theirs need another width than the zoo's."""
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64)
    transposed: bool = False
    """Whether their matrices are (in, out)."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """What their other parameters are, if not zero."""
    square: bool = False
    """Whether theirs needs x as wide as h."""


def run_ours(module: EagerCell, x: Tensor) -> Outputs:
    """Ours on x (batch, time, features), from the initial states."""
    sizes = [module.sizes[i] for i, n in enumerate(module.cell.nodes) if n.op == "state"]
    states = [
        x.new_full((len(x), size), state.initial)
        for state, size in zip(module.cell.states, sizes, strict=True)
    ]
    outputs = []
    for t in range(x.shape[1]):
        y, states, _ = module.step(x[:, t], states, [], t)
        outputs.append(y)
    return torch.stack(outputs, 1), states


def run_cell(theirs: nn.Module, x: Tensor) -> Outputs:
    """A cell of torchrecurrent gives its new states, or y and what follows."""
    states: Any = None
    outputs = []
    for t in range(x.shape[1]):
        found = theirs(x[:, t], states)
        outputs.append(found[0] if isinstance(found, tuple) else found)
        nested = isinstance(found, tuple) and isinstance(found[1], tuple)
        states = found[1] if nested else found
    flat = states if isinstance(states, tuple) else (states,)
    return torch.stack(outputs, 1), list(flat)


def run_intersection(theirs: nn.Module, x: Tensor) -> Outputs:
    """y and the one state."""
    state, outputs = None, []
    for t in range(x.shape[1]):
        y, state = theirs(x[:, t], state)
        outputs.append(y)
    assert state is not None
    return torch.stack(outputs, 1), [state]


def run_janet(theirs: nn.Module, x: Tensor) -> Outputs:
    """Its two states are equal."""
    y, (h, c) = run_cell(theirs, x)
    assert torch.equal(h, c)
    return y, [h]


def run_edgeml(theirs: nn.Module, x: Tensor) -> Outputs:
    state, outputs = x.new_zeros(len(x), H), []
    for t in range(x.shape[1]):
        state = theirs(x[:, t], state)
        outputs.append(state)
    return torch.stack(outputs, 1), [state]


def run_torch(theirs: nn.RNNBase, x: Tensor) -> Outputs:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        y, states = theirs(x)
    return y, [state[0] for state in (states if isinstance(states, tuple) else (states,))]


def run_keras(theirs: Any, x: Tensor) -> Outputs:
    y, *states = theirs(x)
    return y, states


def recurrent(
    cell: str,
    run: Callable[[Any, Tensor], Outputs] = run_cell,
    constants: Mapping[str, float] | None = None,
    **places: str,
) -> Oracle:
    """A cell of torchrecurrent."""
    kinds = {"FastGRNN": {"nonlinearity": "sigmoid"}, "IndRNN": {"nonlinearity": "relu"}}
    options = kinds.get(cell, {})

    def make(inputs: int, hidden: int, dtype: torch.dtype) -> nn.Module:
        module: nn.Module = getattr(torchrecurrent, f"{cell}Cell")(inputs, hidden, **options)
        return module.to(dtype)

    return Oracle("torchrecurrent 0.2.5", make, places, run, constants=constants or {})


def full(gates: str) -> dict[str, str]:
    """Gates that read x and h, stacked in this order."""
    names = gates.split()
    return {
        "weight_ih": " ".join(f"{name}.x" for name in names),
        "weight_hh": " ".join(f"{name}.h" for name in names),
        "bias_ih": " ".join(f"{name}:b" for name in names),
    }


def of_torch(
    make: Callable[..., nn.RNNBase], gates: str, cell: str | None = None, **places: str
) -> Oracle:
    """A layer of torch, whose gates read x and h unless places say otherwise."""
    named = {f"{key}_l0": value for key, value in (full(gates) | places).items()}

    def layer(inputs: int, hidden: int, dtype: torch.dtype) -> nn.RNNBase:
        return make(inputs, hidden, batch_first=True, dtype=dtype)

    return Oracle(f"torch {torch.__version__.split('+')[0]}", layer, named, run_torch, cell)


def of_keras(layer: Any, gates: str, dtypes: Sequence[torch.dtype], **options: Any) -> Oracle:
    """A layer of Keras, with (in, out) matrices and one bias."""
    names = ("kernel", "recurrent_kernel", "bias")

    options = {"return_sequences": True, "return_state": True, **options}

    def make(inputs: int, hidden: int, dtype: torch.dtype) -> Any:
        made = layer(hidden, dtype=str(dtype).removeprefix("torch."), **options)
        made.build((B, STEPS, inputs))
        return made

    places = dict(zip(names, full(gates).values(), strict=True))
    package = f"keras {keras.__version__}"
    return Oracle(package, make, places, run_keras, dtypes=dtypes, transposed=True)


def of_edgeml(cell: str, **places: str) -> Oracle:
    """A cell of edgeml-pytorch, whose FastRNN alone has (in, out) matrices."""
    ranks = {"wRank": RANK, "uRank": RANK} if "W1" in places else {}

    def make(inputs: int, hidden: int, dtype: torch.dtype) -> nn.Module:
        module: nn.Module = getattr(edgeml, f"{cell}Cell")(inputs, hidden, **ranks)
        return module.to(dtype)

    package = "edgeml-pytorch 0.3.0"
    return Oracle(package, make, places, run_edgeml, transposed=cell == "FastRNN")


def compared(name: str, oracle: Oracle, dtype: torch.dtype) -> float:
    """The largest difference of outputs and last states; counts of parameters are compared too.

    Our parameters are random, as large as those of a trained cell.
    """
    cell = loads(oracle.cell) if oracle.cell else ZOO[name]
    width = H if cell.needs_equal_widths or oracle.square else D
    ours = EagerCell(cell, width, H, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    theirs = oracle.make(width, H, dtype)
    n_seconds = _fill(oracle, theirs, ours, width)
    x = normal(B, STEPS, width).to(dtype)
    with torch.no_grad():
        (y, states), (their_y, their_states) = run_ours(ours, x), oracle.run(theirs, x)
    pairs = zip((y, *states), (their_y, *their_states), strict=True)
    n_ours = sum(parameter.numel() for parameter in ours.parameters())
    assert sum(value.numel() for value in _named(theirs).values()) == n_ours + n_seconds
    return max(float((one - other).abs().max()) for one, other in pairs)


def _named(theirs: Any) -> dict[str, Tensor]:
    if isinstance(theirs, keras.layers.Layer):
        return {weight.name: weight.value for weight in theirs.weights}
    return dict(theirs.named_parameters())


def _fill(oracle: Oracle, theirs: Any, ours: EagerCell, width: int) -> int:
    """Give theirs our parameters; the number of those that ours has not, most of them zero."""
    named, n_more = _named(theirs), 0
    assert set(oracle.places) <= set(named), set(oracle.places) - set(named)
    with torch.no_grad():
        for key, parameter in named.items():
            if key in oracle.places:
                parts = {place: _part(ours, place, width) for place in oracle.places[key].split()}
                n_more += sum(one.numel() for place, one in parts.items() if ":0" in place)
                found = torch.cat(list(parts.values()))
                found = found.T if oracle.transposed and found.dim() == 2 else found
                parameter.copy_(found.reshape(parameter.shape))
            else:
                parameter.fill_(oracle.constants.get(key, 0.0))
                n_more += parameter.numel()
    return n_more


def _part(ours: EagerCell, place: str, width: int) -> Tensor:
    name, _, kind = place.replace(":", ".").partition(".")
    if kind == "b":
        return ours.get_parameter(f"{name}_bias").detach()
    if kind == "0":
        return torch.zeros_like(ours.get_parameter(f"{name}_bias"))
    weight = ours.get_parameter(f"{name}_weight").detach()
    first = RANK if kind.startswith("r") else width
    columns = {"": slice(None), "x": slice(first), "h": slice(first, None)}
    columns |= {"early_h": slice(-width), "late_x": slice(-width, None)}
    return weight[..., columns[kind.removeprefix("r")]]
