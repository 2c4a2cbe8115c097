"""Which tracking URIs are taken, and what they mean for files."""

import shutil
from pathlib import Path

import pytest

import nas
from nas.errors import UserError
from nas.record.comparison import record as record_comparison
from nas.record.recorder import check_tracking_uri
from nas.session.plan import check_machine
from nas.study.config import SearchConfig
from nas.zoo.tracking import current_place, effective_uri, hidden, place
from tests.record.visits import RNN, SQLALCHEMY, client, record, recorder, rejected, runs

pytestmark = SQLALCHEMY


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "sqlite:///mlflow.db",
        "sqlite+pysqlite:////data/a.db",
        "postgresql://me@host/db",
        "postgresql+psycopg://me@host/db",
        "mysql+pymysql://host/db",
        "mssql+pyodbc://host/db",
        "http://host:5000",
        "https://host/path",
        "databricks",
        "databricks://profile",
    ],
)
def test_uris_that_mlflow_takes_pass(uri: str) -> None:
    check_tracking_uri(uri)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nonsense://me:secret@x", "nonsense://…@x is not a URI that MLflow knows"),
        ("http+unix://x", "is not a URI that MLflow knows"),
        ("http://", "is not a URI that MLflow knows"),
        ("file:///data/mlruns", "file store, which MLflow 3 no longer accepts: use sqlite:///"),
        ("./mlruns", "file store, which MLflow 3 no longer accepts: use sqlite:///"),
        ("mlruns", "file store"),
        ("sqlite:mlflow.db", "is not a URI that MLflow knows"),
        ("sqlite://mlflow.db", "is sqlite:///PATH"),
        ("sqlite:///:memory:", "is sqlite:///PATH"),
    ],
)
def test_other_uris_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UserError, match="tracking_uri") as raised:
        check_tracking_uri(uri)
    assert message in str(raised.value)
    with pytest.raises(UserError):
        recorder(Path(), uri)


def test_a_database_lies_where_the_search_is_run_and_its_files_beside_it(tmp_path: Path) -> None:
    default = place("", tmp_path)
    assert default.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert default.artifacts == f"file://{tmp_path}/mlartifacts"
    assert place("sqlite:///sub/a.db", tmp_path).database == tmp_path / "sub" / "a.db"
    assert place("sqlite:////data/a.db", tmp_path).artifacts == "file:///data/mlartifacts"
    assert place("postgresql://h/d", tmp_path).artifacts == f"file://{tmp_path}/mlartifacts"
    assert place("http://h:5000", tmp_path).artifacts is None


def test_the_environment_names_the_place_of_whoever_names_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path, own = folder, f"sqlite:///{folder}/own.db"
    shutil.move(folder / "mlflow.db", folder / "own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
    assert place("", tmp_path).uri == current_place("").uri == effective_uri("") == own
    assert place("http://h", tmp_path).uri == effective_uri("http://h") == "http://h"
    assert record(folder, rejected(0, RNN)) == 0
    assert not (folder / "mlflow.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    for use in (
        lambda: place("", tmp_path),
        lambda: check_machine(SearchConfig()),
        lambda: record_comparison("", "x", [], ""),
    ):
        with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI: .*file store"):
            use()
    check_machine(SearchConfig(tracking_uri="off"))


def test_no_other_file_chooses_a_place() -> None:
    files = {path for path in Path(nas.__file__).parent.rglob("*.py") if path.stem != "tracking"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert '"MLFLOW_TRACKING_URI"' not in text, path
        assert '"sqlite:///mlflow.db"' not in text, path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://u:p/w@host/db now", "at postgresql://…@host/db now"),
        ("at postgresql+psycopg://u@host/db now", "at postgresql+psycopg://u@host/db now"),
        ("at postgresql://u@x:p@host/db now", "at postgresql://…@host/db now"),
        ("postgresql://u@host/db?password=p&a=b", "postgresql://u@host/db?password=…&a=b"),
        ("https://token@host", "https://…@host"),
        ("postgresql://me@host and http://u:p@host", "postgresql://me@host and http://…@host"),
        ("http://host/?api_token=abc&x=1", "http://host/?api_token=…&x=1"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_a_folder_may_be_called_anything(folder: Path) -> None:
    odd = folder / "50%20of ä?b"
    odd.mkdir()
    shutil.copy(folder / "mlflow.db", odd)
    assert record(odd, rejected(0, RNN)) == 0
    shutil.copy(odd / "mlflow.db", folder)
    run = runs(folder)["rnn"]
    files = client(folder).list_artifacts(run.info.run_id)
    names = {"cell.cell", "cell.json", "cell.svg", "small.svg", "settings.json", "settings.csv"}
    assert {file.path for file in files} == names
    assert {path.name for path in odd.iterdir()} >= {"mlflow.db", "mlartifacts"}
