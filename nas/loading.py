"""`nas.load`: a trained winner, weights included.

The module has another name than the function, which it would hide as an attribute of `nas`.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from nas.budget import count_params
from nas.cell.text import loads
from nas.errors import UserError
from nas.model import SequenceModel
from nas.rnn import RNN


def load(source: str | Path, task: str = "") -> RNN:
    """The trained layers of a study's winner, as a `nas.RNN` in evaluation mode.

    `source` is the folder `studies/NAME/winner` or one of its `.safetensors` files; with the
    weights of several tasks in a folder, `task` names one. Nothing is executed on loading.

    Raises:
        UserError: if there are no such weights or the file is not of this kind.
    """
    return load_model(source, task).rnn


def load_model(source: str | Path, task: str = "") -> SequenceModel:
    """As `load`, with the embedding and the output layer of the task around the layers."""
    path = _weights_file(Path(source), task)
    try:
        with safe_open(path, "pt") as stored:
            described = json.loads((stored.metadata() or {}).get("nas", "null"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise UserError(f"weights {path} cannot be read: {error}.") from None
    if not isinstance(described, dict) or "cell" not in described:
        raise UserError(f"weights {path} were not written by a search: no description of a cell.")
    return _filled(path, described, tensors)


def _filled(path: Path, described: dict[str, Any], tensors: dict[str, Tensor]) -> SequenceModel:
    try:
        cell = loads(str(described["cell"]))
        vocabulary = _size(described, "vocabulary_size")
        width = _size(described, "hidden_size")
        layers = _size(described, "num_layers")
        # A description larger than the file is refused before anything of its size is made.
        stored = sum(tensor.numel() for tensor in tensors.values())
        if (needed := count_params(cell, vocabulary, width, layers)) > stored:
            raise UserError(f"the model needs {needed:,} values, the file has {stored:,}")
        model = SequenceModel(cell, vocabulary, width, layers, dropout=0.0)
        model.load_state_dict(tensors)
    except (UserError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"weights {path} do not fit their description: {reason}.") from None
    return model.eval()


def _size(described: dict[str, Any], name: str) -> int:
    value = described.get(name)
    if type(value) is not int or value < 1:
        raise UserError(f"{name} must be a positive whole number, got {value!r}")
    return value


def _weights_file(source: Path, task: str) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob("*.safetensors"))
    tasks = ", ".join(path.stem for path in found)
    if not found:
        raise UserError(
            f"no trained winner in {source}: give a folder such as studies/NAME/winner, or one of "
            "its .safetensors files."
        )
    if task:
        chosen = [path for path in found if path.stem == task]
        if not chosen:
            raise UserError(f'{source} has no weights for task "{task}". Known: {tasks}.')
        return chosen[0]
    if len(found) > 1:
        raise UserError(f"{source} has weights for several tasks; choose one with task=: {tasks}.")
    return found[0]
