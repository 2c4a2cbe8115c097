"""MLflow's registry: trained cells go in as tensors and JSON, and come back without running code.

A registered model is a run with metrics, and a version whose files are a description for MLflow
(`MLmodel`, which names `nas.serving`), cell.json and model.safetensors.
"""

import importlib.metadata
import json
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.errors import UserError
from nas.zoo.tracking import DATA, FOLDER, current_place, open_client

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.models import ModelSignature

EXPERIMENT = "registered cells"


@dataclass(frozen=True)
class Registration:
    """A model to register; `described` is the metadata of the weights."""

    weights: bytes
    """The bytes of a safetensors file."""
    described: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def register(what: Registration, name: str, alias: str = "champion", uri: str = "") -> str:
    """Register a model, and return its version.

    Raises:
        UserError: if a name cannot be one, or MLflow refuses.
    """
    for kind, text in (("a model", name), ("an alias", alias)):
        if not re.fullmatch(r"[\w.-]+", text) or re.fullmatch(r"(?i)latest|v?\d+", text):
            raise UserError(
                f'the name of {kind} has letters, digits, "_", "-" and ".", and is no version, '
                f'got "{text}".'
            )
    where = current_place(uri)
    with open_client(where) as client, tempfile.TemporaryDirectory() as folder:
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
    # MLflow would look for these packages for seconds.
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
