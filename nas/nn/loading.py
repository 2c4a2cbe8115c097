"""`nas.load`: a trained winner, weights included.

The module has another name than the function, which it would hide as an attribute of `nas`.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError, check_fields
from nas.nn.budget import count_params
from nas.nn.kinds import network_of
from nas.nn.meaning import meaning_of
from nas.nn.model import Network
from nas.nn.rnn import RNN
from nas.nn.settings import described_stacking
from nas.nn.trained import BUFFERS, TrainedModel
from nas.tasks.base import Attention, AttentionForm, Head, Interface, interface_of
from nas.tasks.kinds import KINDS, ModelKind
from nas.zoo import studied

RECORDED = ("models:/", "runs:/")
"""The beginnings of names of models in MLflow."""


@dataclass(frozen=True)
class Loaded:
    """The content of a file of weights."""

    module: RNN | Network
    described: dict[str, Any]
    """Its cell, key, sizes and, if it was trained on one, task."""

    @property
    def rnn(self) -> RNN:
        return self.module if isinstance(self.module, RNN) else self.module.rnn


def load(source: str | Path, task: str = "") -> TrainedModel | RNN:
    """Return a study's winner as a whole model: raw data in, the data's own units and names out.

    It is in evaluation mode, `model.predict(data)` answers, and `model.rnn` are its layers, which
    take the place of torch.nn.LSTM. Layers that were registered without a task come back as a
    `nas.RNN`.

    `source` is the folder `studies/NAME/winner`, one of its `.safetensors` files, a cell of a study
    whose weights were kept (`studies/NAME/gates_07b43b`; those of the best few are), a registered
    model (`models:/NAME@champion`, `models:/NAME/3`) or the run that it was registered with
    (`runs:/ID`); with the weights of several tasks in a folder, `task` names one. Nothing is
    executed on loading.

    Raises:
        UserError: if there are no such weights or the file is not of this kind.
    """
    return whole(read(source, task), str(source))


def whole(loaded: Loaded, named: str) -> TrainedModel | RNN:
    """Return a network that was read with what its data mean; layers without a task as they are.

    Raises:
        UserError: if the description, of what `named` is, does not fit the network.
    """
    if isinstance(loaded.module, RNN):
        return loaded.module
    try:
        meaning = meaning_of(loaded.described, loaded.module.interface)
    except (UserError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"weights {named} do not fit their description: {reason}.") from None
    return TrainedModel(loaded.module, meaning, loaded.described.get("measured"))


def load_model(source: str | Path, task: str = "") -> Network:
    """Do as `load`, and return the network alone, whose features and numbers are normalised."""
    loaded = read(source, task)
    if isinstance(loaded.module, RNN):
        raise UserError(f"{source} holds layers without a task: load them with nas.load.")
    return loaded.module


def read(source: str | Path, task: str = "") -> Loaded:
    """Do as `load`, and return the stored network and description."""
    if str(source).startswith(RECORDED):
        from nas.zoo.tracking import fetch

        with tempfile.TemporaryDirectory() as folder:
            return _read(_weights_file(fetch(str(source), Path(folder)), task, str(source)))
    return _read(_weights_file(Path(source), task, str(source)))


def _read(path: Path) -> Loaded:
    try:
        with safe_open(path, "pt") as stored:
            described = json.loads((stored.metadata() or {}).get("nas", "null"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"weights {path} cannot be read: {error}.") from None
    if not isinstance(described, dict) or "cell" not in described:
        raise UserError(f"weights {path} were not written by a search: no description of a cell.")
    return Loaded(_filled(path, described, tensors), described)


def described_layers(rnn: RNN) -> dict[str, Any]:
    """Describe layers without a task, for the metadata of their weights."""
    return {
        "cell": str(rnn.cell),
        "key": rnn.cell.key,
        "input_size": rnn.input_size,
        "hidden_size": rnn.hidden_size,
        "num_layers": rnn.num_layers,
        **described_stacking(rnn.stacking),
        "bias": rnn.bias,
        "bidirectional": rnn.bidirectional,
    }


def _filled(path: Path, described: dict[str, Any], tensors: dict[str, Tensor]) -> RNN | Network:
    # A description larger than the file is refused before anything of its size is made.
    stored = sum(tensor.numel() for tensor in tensors.values())
    try:
        cell = loads(str(described["cell"]))
        is_model = "vocabulary_size" in described or "interface" in described
        make = _model if is_model else _layers
        module = make(cell, described, stored)
        # A plain file keeps scales as buffers; here they are those of the description.
        own = {name: tensor for name, tensor in tensors.items() if name not in BUFFERS}
        module.load_state_dict(own)
    except (UserError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"weights {path} do not fit their description: {reason}.") from None
    return module.eval()


def _model(cell: Cell, described: dict[str, Any], stored: int) -> Network:
    interface = _interface(described)
    width = _size(described, "hidden_size")
    layers = _size(described, "num_layers")
    _check_stored(count_params(cell, interface, width, layers), stored)
    stacking = described.get("stacking", "plain")  # the first searches had no other
    return network_of(interface)(cell, interface, width, layers, dropout=0.0, stacking=stacking)


def _interface(described: dict[str, Any]) -> Interface:
    if "vocabulary_size" in described:
        return interface_of(_size(described, "vocabulary_size"))
    ends = described["interface"]
    if not isinstance(ends, dict) or ends.get("head") not in get_args(Head):
        raise UserError(f"interface must name a head of {', '.join(get_args(Head))}, got {ends!r}")
    inputs, outputs = _size(ends, "inputs"), _size(ends, "outputs")
    tokens = ends.get("tokens") is True
    return Interface(inputs, outputs, ends["head"], tokens, _attention(ends), _kind(ends))


def _attention(ends: dict[str, Any]) -> Attention | None:
    if (parts := ends.get("attention")) is None:
        return None
    form = parts.get("form") if isinstance(parts, dict) else None
    for known in get_args(AttentionForm):
        if form == known:
            symbols = (_size(parts, name, least=0) for name in ("divider", "padding"))
            return Attention(known, *symbols)
    forms = ", ".join(get_args(AttentionForm))
    raise UserError(f"attention must have a form of {forms}, got {parts!r}")


def _kind(ends: dict[str, Any]) -> ModelKind | None:
    if (parts := ends.get("kind")) is None:
        return None
    name = parts.get("name") if isinstance(parts, dict) else None
    if not isinstance(name, str) or name not in KINDS:
        raise UserError(f"a kind of model must be one of {', '.join(KINDS)}, got {parts!r}")
    given = {field: value for field, value in parts.items() if field != "name"}
    # Files of weights may come from anywhere; texts of a Literal are checked by `check_fields`.
    for field, hint in get_type_hints(KINDS[name]).items():
        wanted = hint if isinstance(hint, type) else str
        fits = (float, int) if wanted is float else (wanted,)
        if field in given and type(given[field]) not in fits:
            raise UserError(f"{name}.{field} must be of the type {wanted.__name__}, got {parts!r}")
    try:
        kind = KINDS[name](**given)
    except TypeError as error:
        raise UserError(f"the kind of model {name} has other fields: {error}") from None
    check_fields(kind, f"{name}.")
    return kind


def _layers(cell: Cell, described: dict[str, Any], stored: int) -> RNN:
    names = ("input_size", "hidden_size", "num_layers")
    inputs, hidden, layers = (_size(described, name) for name in names)
    both, bias = described.get("bidirectional") is True, described.get("bias") is not False
    _check_stored(cell.n_params(inputs, hidden, bias=bias), stored)
    _check_stored(layers, stored + 1)
    stacking = described.get("stacking", "plain")
    return RNN(cell, inputs, hidden, layers, bias, bidirectional=both, stacking=stacking)


def _check_stored(needed: int, stored: int) -> None:
    if needed > stored:
        raise UserError(f"the model needs {needed:,} values, the file has {stored:,}")


def _size(described: dict[str, Any], name: str, least: int = 1) -> int:
    value = described.get(name)
    if type(value) is not int or value < least:
        kind = "a positive whole number" if least else "a whole number from 0 on"
        raise UserError(f"{name} must be {kind}, got {value!r}")
    return value


def _weights_file(source: Path, task: str, named: str) -> Path:
    if source.is_file():
        return source
    if studied.is_cell_of_study(named):
        return studied.weights_of(named, task)
    files = sorted(source.glob("*.safetensors"))
    tasks = ", ".join(path.stem for path in files)
    if not files:
        raise UserError(
            f"no trained winner in {named}: give a folder such as studies/NAME/winner, or one of "
            "its .safetensors files."
        )
    if task:
        chosen = [path for path in files if path.stem == task]
        if not chosen:
            raise UserError(f'{named} has no weights for task "{task}". Known: {tasks}.')
        return chosen[0]
    if len(files) > 1:
        raise UserError(f"{named} has weights for several tasks; choose one with task=: {tasks}.")
    return files[0]
