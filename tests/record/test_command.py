"""`python -m nas.record`: all of a study in MLflow, from the study alone; twice is once."""

import csv
import hashlib
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from nas.report.command import main as report
from nas.report.recording import main
from tests.inline import run_here
from tests.record.visits import SQLALCHEMY
from tests.report.made_up import make, reopened, scored, visit
from tests.studies import run, write_config

pytestmark = [SQLALCHEMY, pytest.mark.usefixtures("undrawn")]


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beside a database in which it is not recorded."""
    monkeypatch.chdir(folder)
    return make(folder)


def recorded(folder: Path) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("known")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def contents(folder: Path) -> tuple[str, dict[str, str]]:
    """All that the database and the artifacts hold."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        text = "\n".join(database.iterdump())
    files = sorted(path for path in (folder / "mlartifacts").rglob("*") if path.is_file())
    return text, {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_all_of_a_study_is_recorded_once(study: Path, folder: Path) -> None:
    assert main(["known"]) == 0
    runs = recorded(folder)
    assert set(runs) == {"gru", "lstm", "mgu", "rnn", "hostile", "mut2", "mut3", "known"}
    assert runs["hostile"].data.tags["nas.parent"] == "mgu (trial 2)"
    before = contents(folder)
    assert main(["known"]) == 0
    assert contents(folder) == before


def test_the_summary_holds_the_study(study: Path, folder: Path) -> None:
    assert main(["known"]) == 0
    run = recorded(folder)["known"]
    assert run.data.metrics == {
        "best_score": 1.1,
        "best.ratio.xml": 1.2,
        "best.ratio.text": 1.1,
        "n_candidates": 5.0,
        "n_judged": 6.0,
        "n_scored": 2.0,
        "n_runs": 29.0,
        "flops": 29e9,
        "seconds": 53.0,
    }
    assert run.data.tags["nas.winner"].startswith("hostile (trial 4, key ")
    assert run.data.tags["nas.revision"] == "abc"
    [where] = (folder / "mlartifacts" / "known" / run.info.run_id).iterdir()
    rows = list(csv.DictReader((where / "leaderboard.csv").read_text().splitlines()))
    assert [row["cell"] for row in rows][:4] == ["hostile", "gru", "mgu", "lstm"]
    assert rows[0]["ratio xml"] == "1.2"
    # Each run has accuracy 0.5 after all epochs; no cell was measured twice, so no place is open.
    assert (rows[1]["area xml"], rows[1]["last xml"]) == ("0.5", "0.5")
    assert (rows[1]["repeated xml"], rows[1]["place from"]) == ("", "")
    page = (study / "report" / "report.html").read_bytes()
    assert (where / "report" / "report.html").read_bytes() == page
    assert (where / "report" / "figures" / "best_so_far.png").is_file()


def test_the_summary_is_updated_in_place(study: Path, folder: Path) -> None:
    from nas.zoo import ZOO

    assert main(["known"]) == 0
    before = recorded(folder)["known"]
    visit(reopened(study), ZOO["ugrnn"], {}, scored(1.4, 1.3))
    assert main(["known"]) == 0
    after = recorded(folder)["known"]
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["best_score"] == 1.3
    assert after.data.tags["nas.winner"].startswith("ugrnn")


def test_a_report_goes_to_the_summary_where_the_study_is_recorded(
    study: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert report(["known"]) == 0
    assert set(recorded(folder)) == {"known"}, "the summary alone"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert report([str(study)]) == 0
    assert not list(elsewhere.iterdir()), "no database is made unasked"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["knwn"], 2, 'no study "knwn". Did you mean "known"?'),
        (["known", "--tracking-uri", "mlruns"], 2, "tracking_uri mlruns is a file store"),
        (["known", "--tracking-uri", "sqlite:///broken.db"], 1, "lacks 8 runs: the same command"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_sentence(
    study: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (folder / "broken.db").write_bytes(b"no database" * 100)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.process
def test_a_complete_search_leaves_its_report_and_its_summary(folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    write_config(folder)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    for n in (3, 5):
        given = ("--n-candidates", f"{n}", "--tracking-uri", uri)
        done = run_here("tests.fake_training", folder, *given)
        assert done.returncode == 0, done.stderr
        assert "Report: studies/small/report/report.html" in done.stdout
        [experiment] = client.search_experiments(filter_string="name = 'small'")
        runs = client.search_runs([experiment.experiment_id], "tags.`nas.kind` = 'summary'")
        assert [one.data.metrics["n_judged"] for one in runs] == [n]
        page = (folder / "studies" / "small" / "report" / "report.html").read_text()
        assert "the search is running" not in page
        [where] = (folder / "mlartifacts" / "small" / runs[0].info.run_id).iterdir()
        assert (where / "report" / "report.html").read_text() == page


@pytest.mark.process
def test_a_server_that_hangs_holds_up_no_complete_search(tmp_path: Path) -> None:
    """It takes what it is sent and answers nothing; MLflow would wait for longer than `run`."""
    write_config(tmp_path)
    extra = {"NAS_TEST_PATIENCE": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = run("tests.faulty_training", tmp_path, "--tracking-uri", uri, **extra)
    assert done.returncode == 0, done.stderr
    assert "9 runs are not recorded in MLflow yet; the same command catches up." in done.stdout
    assert "Winner: studies/small/winner" in done.stdout
    assert "Traceback" not in done.stderr
