"""From a search to a server: the same raw data give the same answers in the same units everywhere.

A forecast, a classification and a text model are searched, loaded, exported as a plain file and as
a graph, registered and served over HTTP.
"""

import importlib.util
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml

import nas
from nas.export.command import main
from nas.export.verify import session_of
from nas.nn.trained import TrainedModel
from tests.nn.winners import PROSE
from tests.record.server import served
from tests.record.visits import SQLALCHEMY
from tests.tasks.own_data import ramps, waves
from tests.tolerances import OTHER_RUNTIME_32

pytestmark = [pytest.mark.process, SQLALCHEMY]
SIZES = {
    "n_params": [1500], "epochs": 2, "batches_per_epoch": 20, "validation_batches": 20,
    "batch_size": 8,
}  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "forecast": {
        "use": ["csv"],
        "csv": {"path": "waves.csv", "time": "when", "columns": ["load", "heat"],
                "target": ["heat"], "horizon": 3, "window": 12, **SIZES},
    },
    "rides": {
        "use": ["csv"],
        "csv": {"path": "ramps.csv", "goal": "classify", "columns": ["value"], "label": "kind",
                "group": "id", **SIZES},
    },
    "text": {"use": ["text"], "text": {"path": "prose.txt", "window": 16, **SIZES}},
}  # fmt: skip
PROMPTS = ["the cat ", "the", "dog sat on"]


def searched(kind: str) -> Path:
    """The winner of a search that measures the GRU, the LSTM and one more cell."""
    config = {
        "include": ["mgu"], "n_candidates": 0, "tasks": TASKS[kind], "study": kind, "workers": "1",
        "protocol": {"filter": False, "n_settings": 1},
        "settings": {"init_scale": [1.0], "learning_rate": [0.2], "num_layers": [1]},
    }  # fmt: skip
    Path(f"{kind}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    root = str(Path(nas.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "nas.search", f"{kind}.yaml", "--tracking-uri", "off"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Winner: studies/" in done.stdout
    assert "; y, h = rnn(x)" in done.stdout
    is_series = kind == "forecast"
    assert ("with the state carried on from the first row" in done.stdout) == is_series
    assert (Path("studies") / kind / "winner" / "measured.json").is_file() == is_series
    return Path("studies") / kind / "winner"


def asked(kind: str) -> Any:
    """Raw data as a person has them, in a frame."""
    if kind == "text":
        return pandas.DataFrame({"text": PROMPTS})
    if kind == "forecast":
        return pandas.read_csv("waves.csv")[["heat", "load"]][100:125]
    frame = pandas.read_csv("ramps.csv")[["id", "value"]]
    return frame[frame["id"] < 5]


def of_plain_file(kind: str, winner: Path, data: Any) -> Any:
    assert main([str(winner), "plain.py"]) == 0
    spec = importlib.util.spec_from_file_location("plain", "plain.py")
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    model = plain.load()
    if kind == "forecast":
        return model.predict([data])[0][:, 0].tolist()
    sequences = PROMPTS if kind == "text" else [part for _, part in data.groupby("id")]
    return model.predict(sequences)


def of_graph(kind: str, winner: Path, data: Any) -> Any:
    assert main([str(winner), "--onnx", "out.onnx"]) == 0
    session = session_of(Path("out.onnx").read_bytes())
    if kind == "forecast":
        rows = data[["load", "heat"]].to_numpy()[:, np.newaxis]
        return session.run(["means"], {"x": rows})[0][:, 0, 0].tolist()
    parts = PROMPTS if kind == "text" else [part["value"] for _, part in data.groupby("id")]
    lengths = np.array([len(part) for part in parts])
    shape = (max(lengths), len(parts))
    rows = np.full(shape, "", object) if kind == "text" else np.zeros(shape)
    for k, part in enumerate(parts):
        rows[: len(part), k] = list(part)
    name, given = ("symbols", rows) if kind == "text" else ("x", rows[..., np.newaxis])
    return session.run(["answer"], {name: given, "lengths": lengths})[0].tolist()


def of_server(winner: Path, data: Any, kind: str) -> tuple[Any, Any]:
    """What a registered model answers in this process, and what it answers over HTTP."""
    import mlflow

    assert main([str(winner), "--register", kind]) == 0
    uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"models:/{kind}@champion")
    names = [column.name for column in model.metadata.signature.inputs.inputs]
    assert set(names) == set(data.columns)
    own = model.predict(data)
    root = str(Path(nas.__file__).parent.parent)
    arguments = ("models", "serve", "-m", f"models:/{kind}@champion", "--env-manager", "local")
    tools = Path("tools")
    tools.mkdir()
    # MLflow starts the uvicorn of PATH, which must be this interpreter's.
    starter = tools / "uvicorn"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -m uvicorn "$@"\n', encoding="utf-8")
    starter.chmod(0o755)
    path = os.pathsep.join([str(tools.absolute()), os.environ["PATH"]])
    places = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": root, "PATH": path}
    with served(Path.cwd(), *arguments, **places) as address:
        body = json.dumps({"dataframe_split": data.to_dict(orient="split", index=False)})
        request = urllib.request.Request(
            f"{address}/invocations", body.encode(), {"Content-Type": "application/json"}
        )
        _refused(f"{address}/invocations", data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return own.iloc[:, 0].tolist(), json.load(answer)["predictions"]


def _refused(address: str, data: Any) -> None:
    """What a model cannot read is answered with one sentence that says so."""
    name = data.columns[-1]
    body = json.dumps({"dataframe_records": [{**data.iloc[0].to_dict(), name: "ß"}]}, default=int)
    request = urllib.request.Request(address, body.encode(), {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 400
    said = json.load(caught.value)["message"]
    assert ("'ß' at place 0 of the text" if name == "text" else "must be numbers") in said


@pytest.mark.parametrize("kind", TASKS)
def test_the_same_data_give_the_same_answers_everywhere(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    waves(Path("waves.csv"))
    ramps(Path("ramps.csv"))
    Path("prose.txt").write_text(PROSE * 80, encoding="utf-8")
    winner, data = searched(kind), asked(kind)
    Path("prose.txt").unlink()  # a model has its vocabulary
    model = nas.load(winner)
    assert isinstance(model, TrainedModel)
    wanted = model.predict(data)
    (name,) = wanted.columns
    assert name == {"forecast": "heat", "rides": "kind", "text": "next"}[kind]
    answers = wanted[name].tolist()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    registered, over_http = of_server(winner, data, kind)
    over_http = [row[name] for row in over_http]
    again = nas.load(f"models:/{kind}@champion")
    assert isinstance(again, TrainedModel)
    pandas.testing.assert_frame_equal(again.predict(data), wanted)
    alone = of_plain_file(kind, winner, data), of_graph(kind, winner, data)
    for other in (registered, over_http, *alone):
        if kind == "forecast":
            assert min(answers) > 1, "heat, and not its normalised value"
            np.testing.assert_allclose(other, answers, **OTHER_RUNTIME_32)
        else:
            assert other == answers
