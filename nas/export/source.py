"""The thing to export: a cell alone, or a trained model with its results in its study."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from nas.cell.cell import Cell
from nas.errors import SearchError, UserError
from nas.export.plain import SHOWN, Trained, example
from nas.nn.attention import AttentionModel
from nas.nn.loading import RECORDED, Loaded, described_layers, read
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.record.model import Registration
from nas.study.leaderboard import leaderboard
from nas.study.location import find_study
from nas.study.parse import parse
from nas.tasks import TASKS
from nas.tasks import arithmetic as arithmetic_task
from nas.tasks import xml as xml_task
from nas.tasks.base import Task
from nas.tasks.text import Text
from nas.zoo.lookup import cell as look_up

SYMBOLS = {"arithmetic": arithmetic_task.SYMBOLS, "xml": xml_task.SYMBOLS}


@dataclass(frozen=True)
class Source:
    """A cell, with the weights and the study that belong to it."""

    cell: Cell
    loaded: Loaded | None
    """The model with its weights; None for a cell alone."""
    folder: Path | None
    """The folder of a study's winner, if it is one."""


def find(named: str, task: str = "") -> Source:
    """A cell, or the weights of a winner or a registered model.

    Raises:
        UserError: if there is no such thing.
    """
    path = Path(named)
    is_plain = "\n" in named or named.lstrip().startswith("def ")
    if not is_plain and (_holds_weights(path) or named.startswith("models:/")):
        loaded = read(named, task)
        if isinstance(loaded.module, AttentionModel):
            raise UserError(
                f"{named}: a model with attention has no plain file, graph or signature; "
                "nas.nn.loading.load_model reads it, and its cell can be exported."
            )
        folder = path if path.is_dir() else path.parent
        recorded = named.startswith(RECORDED)
        return Source(loaded.rnn.cell, loaded, None if recorded else folder)
    if task:
        raise UserError(f'--task {task}: "{named}" is a cell alone, without weights of a task.')
    return Source(look_up(named), None, None)


def _holds_weights(path: Path) -> bool:
    try:
        return path.suffix == ".safetensors" or (path.is_dir() and any(path.glob("*.safetensors")))
    except OSError:
        return False


def trained(source: Source) -> Trained | None:
    """A plain file's description of a model; None for a cell alone or layers without a task."""
    if source.loaded is None or not isinstance(source.loaded.module, SequenceModel):
        return None
    model, described = source.loaded.module, source.loaded.described
    name = str(described.get("task", ""))
    ends = model.interface
    with torch.no_grad():
        scores = model(example(ends), None)[0][-1, 0, :SHOWN]
    about = TASKS[name].__doc__ if name in TASKS else ""
    return Trained(
        name,
        " ".join((about or "next-symbol prediction").split("\n\n")[0].split()),
        _symbols(source, name, ends.inputs),
        ends,
        model.rnn.hidden_size,
        model.rnn.num_layers,
        tuple(scores.tolist()),
        _legend(described.get("legend")),
        model.rnn.stacking,
    )


def _legend(legend: object) -> str:
    """The task's description of its inputs and outputs, a line each."""
    if not isinstance(legend, dict):
        return ""
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in sorted(legend.items()))


def _symbols(source: Source, name: str, size: int) -> str:
    """The character of each token, where the task is one of characters and known."""
    symbols = SYMBOLS.get(name, "")
    if name == Text.name and source.loaded is not None:
        task = _task(source, name)
        version = source.loaded.described.get("task_version")
        if isinstance(task, Text) and task.version == version:
            symbols = task.corpus.characters
    return symbols if len(symbols) == size else ""


def _task(source: Source, name: str) -> Task | None:
    """The task as the study configured it."""
    path = source.folder.parent / "config.yaml" if source.folder else None
    if path is None or not path.is_file():
        return None
    try:
        return parse([str(path)]).tasks.task(name)
    except UserError:  # another version wrote it, or its text has gone
        return None


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
    source: Source, module: RNN | SequenceModel, described: dict[str, Any]
) -> Registration:
    """The model with its results, as MLflow's registry keeps it."""
    metrics, tags = results_of(source)
    tags |= {} if source.loaded else {"nas.weights": "fresh"}
    return Registration(weights(module, described), described, metrics, tags)


def weights(module: RNN | SequenceModel, described: dict[str, Any]) -> bytes:
    """The weights as safetensors with their description."""
    tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    return save(tensors, {"nas": json.dumps(described, sort_keys=True)})


@dataclass(frozen=True)
class Sizes:
    """Sizes of the fresh layers of a cell without weights."""

    input_size: int = 32
    hidden_size: int = 32
    num_layers: int = 1
    bidirectional: bool = False
    seed: int = 0


def module_of(source: Source, sizes: Sizes) -> tuple[RNN | SequenceModel, dict[str, Any]]:
    """The trained module, or fresh layers, and the description of its weights.

    Raises:
        CellError: if the cell cannot have these sizes.
    """
    if source.loaded is not None:
        assert not isinstance(source.loaded.module, AttentionModel), "`find` refuses it"
        return source.loaded.module, source.loaded.described
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
