"""Models go into MLflow's registry and come back, without code or pickles."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import nas
from nas.errors import UserError
from nas.export.command import main
from nas.export.source import weights
from nas.nn.loading import RECORDED, described_layers, load_model, read
from nas.nn.meaning import SERVES, SERVES_DATA, meaning_of
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.record.model import Registration, register
from nas.zoo import ZOO
from nas.zoo.tracking import quiet
from tests.record.visits import SQLALCHEMY
from tests.tolerances import OTHER_KERNEL_32

pytestmark = SQLALCHEMY
TOKENS = np.array([[1, 2, 3, 0], [4, 0, 6, 6]])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a registry: "tokens" twice, and "layers"."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for k in range(2):
            metrics = {"score": 1.25, "ratio.xml": 1.5} if k else {}
            assert register(registration(model(k), metrics), "tokens") == str(k + 1)
        arguments = ["lstm_peephole", "--register", "layers", "--alias", "first"]
        assert main([*arguments, "--bidirectional", "--hidden-size", "6", "--num-layers", "2"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def model(seed: int) -> SequenceModel:
    torch.manual_seed(seed)
    return SequenceModel(ZOO["mut1"], 7, 5, 2, dropout=0.0).eval()


def registration(network: SequenceModel, metrics: dict[str, float]) -> Registration:
    described = {
        "cell": str(network.rnn.cell),
        "key": network.rnn.cell.key,
        "task": "xml",
        "vocabulary_size": 7,
        "hidden_size": 5,
        "num_layers": 2,
    }
    described[SERVES] = SERVES_DATA
    meaning = meaning_of(described, network.interface)
    kept = weights(network, described)
    return Registration(kept, described, metrics, {"nas.task": "xml"}, meaning)


def client():  # type: ignore[no-untyped-def]
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    return MlflowClient(uri, uri)


@pytest.mark.parametrize(
    ("source", "seed"),
    [("models:/tokens@champion", 1), ("models:/tokens/1", 0), ("models:/tokens/2", 1)],
)
def test_a_registered_model_comes_back(source: str, seed: int) -> None:
    wanted = model(seed).state_dict()
    for name, tensor in load_model(source).state_dict().items():
        assert torch.equal(tensor, wanted[name])
    assert nas.cell(source) == ZOO["mut1"]
    assert isinstance(nas.load(source).rnn, RNN)


def test_a_run_gives_the_cell_and_the_weights() -> None:
    run_id = client().get_model_version("tokens", "1").run_id
    assert nas.cell(f"runs:/{run_id}") == ZOO["mut1"]
    wanted = model(0).rnn.state_dict()
    assert all(
        torch.equal(wanted[k], v) for k, v in nas.load(f"runs:/{run_id}").rnn.state_dict().items()
    )


def test_layers_without_a_task_come_back() -> None:
    loaded = read("models:/layers@first")
    assert loaded.rnn.cell == ZOO["lstm_peephole"]
    assert described_layers(loaded.rnn) == loaded.described
    assert (loaded.rnn.num_layers, loaded.rnn.bidirectional, loaded.rnn.hidden_size) == (2, True, 6)
    with pytest.raises(UserError, match="layers without a task"):
        load_model("models:/layers@first")


def test_the_version_has_its_alias_its_metrics_and_tags() -> None:
    version = client().get_model_version_by_alias("tokens", "champion")
    assert version.version in (2, "2")
    assert {k: v for k, v in version.tags.items() if k.startswith("nas.")} == {
        "nas.key": ZOO["mut1"].key,
        "nas.task": "xml",
    }
    run = client().get_run(version.run_id)
    assert run.data.metrics == {"score": 1.25, "ratio.xml": 1.5}
    assert run.info.status == "FINISHED"
    assert str(ZOO["mut1"]).splitlines()[-1] in version.description
    assert client().get_model_version("layers", "1").tags["nas.weights"] == "fresh"


def test_mlflow_serves_what_the_model_gives() -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    served = mlflow.pyfunc.load_model("models:/tokens@champion")
    wanted = model(1)(torch.from_numpy(TOKENS).t(), None)[0][-1].softmax(-1).detach()
    shares = served.predict(TOKENS, {"probabilities": True})
    np.testing.assert_allclose(shares, wanted, **OTHER_KERNEL_32)
    assert served.predict(TOKENS).tolist() == wanted.argmax(-1).tolist()
    cut = served.predict(TOKENS, {"lengths": [4, 2]})
    assert cut.tolist() == [served.predict(TOKENS)[0], served.predict(TOKENS[1:, :2])[0]]
    signature = served.metadata.signature
    assert [spec.shape for spec in signature.inputs.inputs] == [(-1, -1)]
    assert [spec.shape for spec in signature.outputs.inputs] == [(-1,)]
    with pytest.raises(UserError, match=r"whole numbers from 0 to 6"):
        served.predict(TOKENS + 1)
    layers = mlflow.pyfunc.load_model("models:/layers@first")
    x = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    rnn = nas.load("models:/layers@first")
    wanted = rnn(x.transpose(0, 1))[0].transpose(0, 1).detach()
    np.testing.assert_allclose(layers.predict(x.numpy()), wanted, rtol=1e-6, atol=1e-6)


def test_files_are_tensors_and_text(place: Path) -> None:
    files = [path for path in (place / "mlartifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {"", ".safetensors", ".json", ".yaml", ".txt"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as stored:
                assert json.loads(stored.metadata()["nas"])["cell"].startswith("def ")
        else:
            assert path.read_text(encoding="utf-8")
    assert {path.name for path in files if not path.suffix} <= {"MLmodel", "registered_model_meta"}


def test_a_registered_model_is_exported_as_any_winner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models:/tokens@champion", "registered.py"]) == 0
    assert Path("registered.safetensors").is_file()
    assert main(["models:/layers@first", "layers.py"]) == 0
    assert Path("layers.py").is_file()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("models:/tokens@nobody", "alias nobody not found"),
        ("models:/tokens/7", "version=7"),
        ("models:/tokens", "models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID"),
        ("runs:/0123", "Run with id=0123 not found"),
    ],
)
def test_what_is_not_there_is_one_sentence(source: str, said: str) -> None:
    assert source.startswith(RECORDED)
    for get in (nas.load, nas.cell):
        with pytest.raises(UserError, match=said) as caught:
            get(source)
        assert len(str(caught.value).splitlines()) == 1


def test_a_run_without_weights_says_where_they_are() -> None:
    run = client().create_run(client().get_experiment_by_name("registered cells").experiment_id)
    with pytest.raises(UserError, match="leaves weights in studies/NAME/winner"):
        nas.load(f"runs:/{run.info.run_id}")
    with pytest.raises(UserError, match=r"has no cell\.json"):
        nas.cell(f"runs:/{run.info.run_id}")


def test_mlflow_is_left_as_its_user_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow  # noqa: F401  it sets levels of its own

    def settings() -> tuple[dict[str, str], list[int]]:
        names = ("mlflow", "mlflow.store", "alembic")
        return dict(os.environ), [logging.getLogger(name).level for name in names]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr(logging.getLogger("mlflow"), "level", logging.INFO)
    before = settings()
    nas.load("models:/layers@first")
    register(registration(model(0), {}), "another")
    assert settings() == before
    with quiet():
        with quiet():
            assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "600"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
        assert logging.getLogger("mlflow").level == logging.WARNING
    assert settings() == before
