"""The thing to export: a cell alone, or a trained model with its results in its study."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from nas.cell.cell import Cell
from nas.errors import SearchError, UserError
from nas.export.trained import SHOWN, Trained, buffers_of, example
from nas.nn.loading import RECORDED, Loaded, described_layers, read, whole
from nas.nn.meaning import SERVES, SERVES_DATA
from nas.nn.model import Network, SequenceModel
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel
from nas.protocol.measured import Measured
from nas.record.model import Registration
from nas.study.leaderboard import leaderboard
from nas.study.location import find_study
from nas.study.parse import parse
from nas.tasks import TASKS
from nas.tasks.base import Task
from nas.tasks.text import Text
from nas.zoo.lookup import cell as look_up
from nas.zoo.studied import is_cell_of_study, weights_of


@dataclass(frozen=True)
class Source:
    """A cell, with the weights and the study that belong to it."""

    cell: Cell
    loaded: Loaded | None
    """The model with its weights; None for a cell alone."""
    folder: Path | None
    """The folder of a study's winner, if it is one."""
    model: TrainedModel | RNN | None
    """The weights with what its data mean; layers without a task as they are."""


def find(named: str, task: str = "") -> Source:
    """A cell, or the weights of a winner or a registered model.

    Raises:
        UserError: if there is no such thing.
    """
    path = Path(named)
    if task and is_cell_of_study(named):
        loaded = read(named, task)
        winner = weights_of(named, task).parent.parent / "winner"  # beside it, its study is found
        _check_kind(loaded, named)
        loaded = _with_vocabulary(loaded, winner)
        return Source(loaded.rnn.cell, loaded, winner, whole(loaded, named))
    is_plain = "\n" in named or named.lstrip().startswith("def ")
    if not is_plain and (_holds_weights(path) or named.startswith("models:/")):
        loaded = read(named, task)
        _check_kind(loaded, named)
        folder = path if path.is_dir() else path.parent
        place = None if named.startswith(RECORDED) else folder
        loaded = _with_vocabulary(loaded, place)
        return Source(loaded.rnn.cell, loaded, place, whole(loaded, named))
    if task:
        raise UserError(f'--task {task}: "{named}" is a cell alone, without weights of a task.')
    return Source(look_up(named), None, None, None)


def _check_kind(loaded: Loaded, named: str) -> None:
    if not isinstance(loaded.module, RNN | SequenceModel):
        raise UserError(
            f"{named}: {loaded.module.TITLE} has no plain file, graph or signature; "
            "nas.nn.loading.load_model reads it, and its cell can be exported."
        )


def _holds_weights(path: Path) -> bool:
    try:
        return path.suffix == ".safetensors" or (path.is_dir() and any(path.glob("*.safetensors")))
    except OSError:
        return False


def trained(source: Source) -> Trained | None:
    """A plain file's description of a model; None for a cell alone or layers without a task."""
    model = source.model
    if not isinstance(model, TrainedModel):
        return None
    known = model.meaning
    with torch.no_grad():
        scores = model(example(known))[0].reshape(-1, known.interface.outputs)[-1]
    if known.interface.head == "gaussian":
        scores = (scores - model.target_means) / model.target_scales
    about = TASKS[known.task].__doc__ if known.task in TASKS else ""
    return Trained(
        " ".join((about or "next-symbol prediction").split("\n\n")[0].split()),
        known,
        model.rnn.hidden_size,
        model.rnn.num_layers,
        tuple(scores[:SHOWN].tolist()),
        model.rnn.stacking,
        _note(model),
    )


def _note(model: TrainedModel) -> str:
    """What was measured of a model, and what its file does not say."""
    told = Measured.from_json(model.measured).sentences if model.measured else ""
    lacks = model.meaning.lacks
    return f"{told} {lacks[:1].upper()}{lacks[1:]}".strip()


def _with_vocabulary(loaded: Loaded, folder: Path | None) -> Loaded:
    """Add the characters of a text to a description that was written without them, if it is here.

    The study's configuration names the text, and its version says that it is the same.
    """
    described = loaded.described
    if described.get("task") != Text.name or "characters" in described.get("legend", {}):
        return loaded
    task = _task(folder, Text.name)
    if not isinstance(task, Text) or task.version != described.get("task_version"):
        return loaded
    return replace(loaded, described={**described, "legend": task.legend()})


def _task(folder: Path | None, name: str) -> Task | None:
    """The task as the study of a winner's folder configured it."""
    path = folder.parent / "config.yaml" if folder else None
    if path is None or not path.is_file():
        return None
    try:
        task = parse([str(path)]).tasks.task(name)
        _ = task.version
    except UserError:  # another version wrote it, or its text has gone
        return None
    return task


def task_of(source: Source) -> Task | None:
    """The task of a winner as its study configured it, if its data are those of the training."""
    if source.loaded is None:
        return None
    described = source.loaded.described
    task = _task(source.folder, str(described.get("task", "")))
    if task is None or task.version != described.get("task_version"):
        return None
    return task.in_folds()[0]


def results_of(source: Source) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and tags of a winner, read from its study; empty where there is none."""
    described = source.loaded.described if source.loaded else {}
    tags = {
        f"nas.{key}": str(described[key]) for key in ("task", "task_version") if key in described
    }
    folder = source.folder.absolute().parent if source.folder else None
    if folder is None or not (folder / "study.db").is_file():
        return {}, tags
    try:
        location = find_study(folder.name, studies=str(folder.parent))
    except (UserError, SearchError):
        return {}, tags
    rows = leaderboard([visit for visit in location.study.visits if visit], [])
    row = next((row for row in rows if row.key == source.cell.key), None)
    if row is None:
        return {}, tags
    metrics = {f"ratio.{task}": ratio for task, ratio in row.ratios.items()}
    metrics |= {"n_params": float(row.n_params)}
    metrics |= {} if row.score is None else {"score": row.score}
    judgement = row.visit.judgement
    best = judgement.best if judgement else {}
    metrics |= {f"best.{task}": value for task, value in best.items() if value is not None}
    return metrics, tags | {"nas.study": location.name, "nas.name": row.name}


def registration(
    source: Source, module: RNN | TrainedModel, described: dict[str, Any]
) -> Registration:
    """The model with its results, as MLflow's registry keeps it."""
    metrics, tags = results_of(source)
    if stored := described.get("measured"):
        tags["nas.measured"] = Measured.from_json(stored).sentences
    tags |= {} if source.loaded else {"nas.weights": "fresh"}
    if isinstance(module, RNN):
        return Registration(weights(module, described), described, metrics, tags)
    described = {**described, SERVES: SERVES_DATA}
    kept = weights(module.network, described)
    return Registration(kept, described, metrics, tags, module.meaning)


def weights(
    network: RNN | Network,
    described: dict[str, Any],
    buffers: Mapping[str, Tensor] | None = None,
) -> bytes:
    """The weights, and buffers beside them, as safetensors with their description."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return save(tensors | dict(buffers or {}), {"nas": json.dumps(described, sort_keys=True)})


def plain_weights(model: RNN | TrainedModel, described: dict[str, Any]) -> bytes:
    """The weights of a plain file: those of the network, and the buffers with scales."""
    if isinstance(model, RNN):
        return weights(model, described)
    buffers = {name: getattr(model, name) for name, _ in buffers_of(model.meaning)}
    return weights(model.network, described, buffers)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the fresh layers of a cell without weights."""

    input_size: int = 32
    hidden_size: int = 32
    num_layers: int = 1
    bidirectional: bool = False
    seed: int = 0


def module_of(source: Source, sizes: Sizes) -> tuple[RNN | TrainedModel, dict[str, Any]]:
    """The trained module, or fresh layers, and the description of its weights.

    Raises:
        CellError: if the cell cannot have these sizes.
    """
    if source.loaded is not None and source.model is not None:
        return source.model, source.loaded.described
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sizes.seed)
        rnn = RNN(
            source.cell,
            sizes.input_size,
            sizes.hidden_size,
            sizes.num_layers,
            bidirectional=sizes.bidirectional,
        )
    return rnn.eval(), described_layers(rnn)
