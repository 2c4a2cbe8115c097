"""MLflow's registry: trained cells go in as tensors and JSON, and come back without running code.

A registered model is a run with metrics, and a version whose files are a description for MLflow
(`MLmodel`, which names `nas.serving`), cell.json and model.safetensors.
"""

import importlib.metadata
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cell.json import to_json
from nas.cell.text import loads
from nas.errors import UserError, hidden
from nas.record_place import Place, check_tracking_uri, place
from nas.record_store import QUIET, initialising

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

EXPERIMENT = "registered cells"
FOLDER = "model"
"""Of a model's files among the artifacts of its run."""
DATA = f"{FOLDER}/data/cell"
"""Of the weights and the cell, which MLflow puts among a model's files."""


@dataclass(frozen=True)
class Registration:
    """What is registered; `described` is that of the weights' metadata."""

    weights: bytes
    """As safetensors."""
    described: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def register(what: Registration, name: str, alias: str = "champion", uri: str = "") -> str:
    """Register a model; returns its version.

    Raises:
        UserError: if a name cannot be one, or MLflow refuses.
    """
    for kind, text in (("a model", name), ("an alias", alias)):
        if not re.fullmatch(r"[\w.-]+", text) or re.fullmatch(r"(?i)latest|v?\d+", text):
            raise UserError(
                f'the name of {kind} has letters, digits, "_", "-" and ".", and is no version, '
                f'got "{text}".'
            )
    where = _place(uri)
    with _told(where), _client(where) as client, tempfile.TemporaryDirectory() as folder:
        _write_model(what, Path(folder))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        artifacts = f"{where.artifacts}/registered" if where.artifacts else None
        number = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(EXPERIMENT, artifacts)
        )
        tags = {"nas.key": str(what.described["key"]), **what.tags}
        run = client.create_run(number, tags=tags, run_name=name)
        for key, value in what.metrics.items():
            client.log_metric(run.info.run_id, re.sub(r"[^\w.\- /]", "_", key), value)
        client.log_artifacts(run.info.run_id, str(Path(folder) / FOLDER), FOLDER)
        client.set_terminated(run.info.run_id)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        source = f"{run.info.artifact_uri}/{FOLDER}"
        text = f"```python\n{what.described['cell']}```"
        version = client.create_model_version(
            name, source, run.info.run_id, tags=tags, description=text[:5000]
        )
        client.set_registered_model_alias(name, alias, version.version)
        return str(version.version)


def _write_model(what: Registration, folder: Path) -> None:
    data = folder / Path(DATA).name
    data.mkdir()
    cell = to_json(loads(str(what.described["cell"])))
    (data / "cell.json").write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
    (data / "model.safetensors").write_bytes(what.weights)
    # Given, since MLflow would look for seconds.
    packages = ("mlflow", "numpy", "recurrent-nas", "safetensors", "torch")
    with warnings.catch_warnings():
        # MLflow warns of type hints of its own, and asks for an example beside the signature.
        warnings.simplefilter("ignore")
        from mlflow.pyfunc import save_model

        save_model(
            path=str(folder / FOLDER),
            loader_module="nas.serving",
            data_path=str(data),
            signature=_signature(what),
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in packages],
        )


def _signature(what: Registration) -> "ModelSignature":
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    ends = dict(what.described.get("interface", {}))
    width = ends.get("inputs", what.described.get("input_size"))
    given = TensorSpec(np.dtype("int64"), (-1, -1))
    if width is not None and not ends.get("tokens"):
        given = TensorSpec(np.dtype("float32"), (-1, -1, int(width)))
    outputs = ends.get("outputs", what.described.get("vocabulary_size", -1))
    result = TensorSpec(np.dtype("float32"), (-1, -1, int(outputs)))
    return ModelSignature(Schema([given]), Schema([result]))


def fetch(source: str, folder: Path, only: str = "", uri: str = "") -> Path:
    """Copy the files of a model or run of MLflow to `folder`; returns where they lie together.

    `source` is `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID`; with `only`, the file
    of that name. MLflow is where MLFLOW_TRACKING_URI says, else in the working directory.

    Raises:
        UserError: if there is no such thing, or no such file in it.
    """
    where = _place(uri)
    if where.database is not None and not where.database.exists():
        raise UserError(
            f"{source}: there is no MLflow database {where.database}; MLFLOW_TRACKING_URI names "
            "another."
        )
    with _told(where), _client(where) as client:
        run_id = _run_of(source, client)
        for parent in ("", DATA):
            paths = [a.path for a in client.list_artifacts(run_id, parent) if not a.is_dir]
            wanted = [
                path
                for path in paths
                if (Path(path).name == only if only else path.endswith(".safetensors"))
            ]
            for path in wanted:
                copied = Path(client.download_artifacts(run_id, path, str(folder)))
            if wanted:
                return copied.parent
    what = only or "weights: a search records cells, and leaves weights in studies/NAME/winner"
    raise UserError(f"{source} has no {what}.")


def _run_of(source: str, client: "MlflowClient") -> str:
    if found := re.fullmatch(r"runs:/(\w+)", source):
        return str(client.get_run(found[1]).info.run_id)
    if found := re.fullmatch(r"models:/([^/@]+)@([^/@]+)", source):
        version = client.get_model_version_by_alias(found[1], found[2])
    elif found := re.fullmatch(r"models:/([^/@]+)/(\d+)", source):
        version = client.get_model_version(found[1], found[2])
    else:
        raise UserError(
            "a cell of MLflow is models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID, "
            f'got "{source}".'
        )
    if not version.run_id:
        raise UserError(f"{source} was not registered by nas: it has no run.")
    return str(version.run_id)


def _place(uri: str) -> Place:
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    check_tracking_uri(uri)
    return place(uri, Path.cwd())


@contextmanager
def _client(where: Place) -> "Iterator[MlflowClient]":
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    # What it refuses is told in one sentence, and the tables of a fresh database are no news.
    for name, level in (("mlflow", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    with initialising(where.database):
        client = MlflowClient(tracking_uri=where.uri, registry_uri=where.uri)
        client.search_experiments(max_results=1)
    yield client


@contextmanager
def _told(where: Place) -> Iterator[None]:
    """What MLflow refuses is one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"MLflow at {hidden(where.uri)}: {hidden(reason)}.") from None
