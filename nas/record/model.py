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
    from mlflow.types import ParamSchema, Schema

    from nas.nn.meaning import Meaning

EXPERIMENT = "registered cells"


@dataclass(frozen=True)
class Registration:
    """A model to register; `described` is the metadata of the weights."""

    weights: bytes
    """The bytes of a safetensors file."""
    described: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    meaning: "Meaning | None" = None
    """What the data of a trained model mean; None for layers."""


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


def refusal(error: UserError) -> Exception:
    """Return an error of the same sentence that is MLflow's, too: a server answers with 400."""
    from mlflow.exceptions import MlflowException

    class Refusal(MlflowException, UserError):
        """A request that a model cannot answer."""

    refused: Exception = Refusal.invalid_parameter_value(str(error))
    return refused


def _write_model(what: Registration, folder: Path) -> None:
    data = folder / Path(DATA).name
    data.mkdir()
    cell = to_json(loads(str(what.described["cell"])))
    (data / "cell.json").write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
    (data / "model.safetensors").write_bytes(what.weights)
    # MLflow would look for these packages for seconds.
    packages = ("mlflow", "numpy", "pandas", "recurrent-nas", "safetensors", "torch")
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
    """The signature of a model of data as they are, or of tensors."""
    from mlflow.models import ModelSignature

    if what.meaning is not None:
        return ModelSignature(*_schemas(what.meaning), _params(what.meaning))
    import numpy as np
    from mlflow.types import Schema, TensorSpec

    width = what.described.get("input_size", -1)
    given = TensorSpec(np.dtype("float32"), (-1, -1, int(width)))
    return ModelSignature(Schema([given]), Schema([TensorSpec(np.dtype("float32"), (-1, -1, -1))]))


def _schemas(known: "Meaning") -> "tuple[Schema, Schema]":
    """The columns of the data and those of the answers, or arrays where they have no names."""
    import numpy as np
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    ends = known.interface
    numbers = ends.head == "gaussian"
    named = known.targets if numbers else (known.label or "class",)
    if known.answers == "next symbol":
        named = ("next",)
    answers = Schema([ColSpec("double" if numbers else "string", name) for name in named])
    if known.symbols:
        return Schema([ColSpec("string", "text")]), answers
    if known.columns:
        # Numbers of any type are taken; declared as double, MLflow would refuse whole ones.
        kind: Any = AnyType()  # type: ignore[no-untyped-call]  # MLflow declares no types of it
        names = known.recipe.names if known.recipe else known.columns
        columns = [ColSpec(kind, name) for name in names]
        groups = [ColSpec(kind, known.group, required=False)] if known.group else []
        return Schema([*columns, *groups]), answers
    shape = (-1, -1) if ends.tokens else (-1, -1, ends.inputs)
    given = TensorSpec(np.dtype("int64" if ends.tokens else "float64"), shape)
    of_answers = np.dtype("float64" if numbers else "int64" if not known.outcomes else "str")
    per_step = (-1,) if known.answers == "each step" else ()
    width = () if ends.head == "categorical" else (ends.outputs,)
    return Schema([given]), Schema([TensorSpec(of_answers, (-1, *per_step, *width))])


def _params(known: "Meaning") -> "ParamSchema":
    """What a request may ask besides its data."""
    from mlflow.types import ParamSchema, ParamSpec

    asked = [ParamSpec("lengths", "long", [], shape=(-1,))]
    if known.interface.head != "gaussian":
        asked.append(ParamSpec("probabilities", "boolean", False))
    if known.symbols and known.answers == "next symbol":
        asked.append(ParamSpec("length", "long", 0))
        asked.append(ParamSpec("temperature", "double", 1.0))
        asked.append(ParamSpec("seed", "long", 0))
    return ParamSchema(asked)
