"""`nas.load`: a trained winner, weights included."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

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


def _filled(path: Path, described: dict[str, Any], tensors: dict[str, Any]) -> SequenceModel:
    # The description is compared with the tensors before anything of its size is made.
    sizes = {name: described.get(name) for name in ("vocabulary_size", "hidden_size", "num_layers")}
    embedding = tensors.get("embedding.weight")
    if embedding is None or list(embedding.shape) != [sizes["vocabulary_size"], sizes["hidden_size"]]:
        raise UserError(f"weights {path} do not have the sizes that they describe, {sizes}.")
    model = SequenceModel(
        loads(described["cell"]), *embedding.shape, described["num_layers"], dropout=0.0
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"weights {path} do not fit their cell: {error}.") from None
    return model.eval()


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
