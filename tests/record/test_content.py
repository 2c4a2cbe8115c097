"""What MLflow says of a cell is what the study holds."""

import csv
import dataclasses
import json
import time
import urllib.request
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from nas.cell.cell import renamed
from nas.cell.json import from_json
from nas.cell.reader import loads
from nas.protocol.evaluation import Epoch, Outcome
from nas.record.comparison import recorded_cell
from nas.record.entry import entry, family, shown
from nas.record.page import LONGEST_EQUATIONS
from nas.record.store import KIND, RECORD_FORMAT
from nas.record.view import VIEW_TAG, address, link, unpacked, view_of_search, where_to_look
from nas.study.visit import Evaluated
from nas.tasks import Text, Xml
from tests.record.server import served
from tests.record.visits import (
    BASELINES,
    FILTER,
    GRU,
    LSTM,
    MGU,
    RNN,
    SETTINGS,
    SQLALCHEMY,
    WAIT_S,
    client,
    curve,
    experiment,
    record,
    recorder,
    rejected,
    runs,
    scored,
)

pytestmark = SQLALCHEMY


def test_scalars_read_back(folder: Path) -> None:
    visit = scored(7, GRU, "given")
    assert visit.judgement is not None
    again = {"xml": 0.55, "text": 1.9}
    visit.judgement = dataclasses.replace(visit.judgement, repeated=again)
    assert record(folder, visit) == 0
    run = runs(folder)["gru"]
    # Runs of 3 epochs keep their last value for the others; one that failed or diverged guesses.
    blind, n = 1 / Xml().interface.outputs, Xml().epochs
    xml = [[best / 4, best / 2, *[best] * (n - 2)] for best in (0.5, 0.6)]
    xml = np.maximum([*xml, [blind] * n], blind)
    worst, n = np.log(Text().interface.outputs), Text().epochs
    text = [[2 - best / 4, 2 - best / 2, *[2 - best] * (n - 2)] for best in (2.0, 1.6)]
    text.append([2 - 1.7 / 4, 2 - 1.7 / 2, 2 - 1.7, *[worst] * (n - 3)])
    m, n = 0.99, FILTER.epochs
    memorization = np.array([m / 4, m / 2, *[m] * (n - 2)])
    expected = {
        **{
            f"{task}.{name}": value
            for task, name, value in (
                ("xml", "area", xml.mean()),
                ("xml", "last", xml[:, -1].mean()),
                ("xml", "repeated", 0.55),
                ("text", "area", np.mean(text)),
                ("text", "last", np.mean(text, axis=0)[-1]),
                ("text", "repeated", 1.9),
                ("memorization", "area", memorization.mean()),
                ("memorization", "last", 0.99),
            )
        },
        "score": 0.8,
        "ratio.xml": 1.2,
        "ratio.text": 0.8,
        "memorization.accuracy": 0.99,
        "xml.accuracy": 0.6,
        "text.loss": 1.6,
        "n_params": 24_900,
        "seconds": 17.5,
        "n_outcomes": 7,
        "n_diverged": 1,
        "n_failed": 1,
    }
    found = {name: v for name, v in run.data.metrics.items() if "/" not in name}
    assert found == {name: float(f"{value:.4g}") for name, value in expected.items()} | {
        "n_params": 24_900
    }
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 17_500
    assert abs(run.info.end_time / 1000 - time.time()) < WAIT_S
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("nas.")}
    assert tags == {
        "nas.key": GRU.key,
        "nas.kind": "baseline",
        "nas.family": "given",
        "nas.format": RECORD_FORMAT,
        "nas.stage": "scored",
        "nas.status": "scored",
        "nas.study": "study",
        "nas.trial": "7",
    }


def test_settings_and_curves_are_those_of_the_best_setting(folder: Path) -> None:
    record(folder, scored(0, MGU))
    run = runs(folder)["mgu"]
    names = ("learning_rate", "num_layers", "optimizer", "hidden_size")
    for task, rate in (("memorization", "0.1"), ("xml", "0.2"), ("text", "0.2")):
        assert [run.data.params[f"{task}.{name}"] for name in names] == [rate, "2", "sgd", "63"]
    assert len(run.data.params) == 3 * 10
    for task, best in (("memorization", 0.99), ("xml", 0.6), ("text", 1.6)):
        steps = [(1, best / 4), (2, best / 2), (3, best)]
        expected = {
            "validation accuracy": steps,
            "validation loss": [(step, 2 - value) for step, value in steps],
            "training loss": [(step, 3 - value) for step, value in steps],
            "learning rate": [(step, 0.5 / step) for step, _ in steps],
            "validation accuracy of closing tags_": [(step, value / 8) for step, value in steps],
        }
        for name, points in expected.items():
            digits = [(step, float(f"{value:.4g}")) for step, value in points]
            assert curve(folder, run, f"{task}/{name}") == digits


def test_the_files_are_the_cell_and_its_outcomes(folder: Path) -> None:
    record(folder, scored(0, LSTM))
    mlflow = client(folder)
    run_id = runs(folder)["lstm"].info.run_id
    texts = {
        item.path: Path(mlflow.download_artifacts(run_id, item.path)).read_text(encoding="utf-8")
        for item in mlflow.list_artifacts(run_id)
    }
    names = {"cell.cell", "cell.json", "cell.svg", "small.svg", "settings.json", "settings.csv"}
    assert set(texts) == names
    assert texts["cell.svg"] == LSTM.svg()
    assert texts["cell.cell"] == str(LSTM)
    assert from_json(json.loads(texts["cell.json"])) == LSTM
    rows = json.loads(texts["settings.json"])
    assert [(row["task"], row["settings"]["learning_rate"], row["best"]) for row in rows] == [
        ("memorization", 0.1, 0.99),
        ("xml", 0.1, 0.5),
        ("xml", 0.2, 0.6),
        ("xml", 0.3, None),
        ("text", 0.1, 2.0),
        ("text", 0.2, 1.6),
        ("text", 0.3, 1.7),
    ]
    assert {row["cost"]["wall_s"] for row in rows} == {2.5}
    table = list(csv.DictReader(texts["settings.csv"].splitlines()))
    names = ("task", "learning_rate", "best", "wall_s", "n_params", "parameter_budget")
    assert [[row[name] for name in names] for row in table[:4]] == [
        ["memorization", "0.1", "0.99", "2.5", "24900", "25000"],
        ["xml", "0.1", "0.5", "2.5", "24900", "25000"],
        ["xml", "0.2", "0.6", "2.5", "24900", "25000"],
        ["xml", "0.3", "", "2.5", "24900", "25000"],
    ]
    assert len(table) == len(rows)
    assert (folder / "mlartifacts" / "study" / run_id / "artifacts" / "cell.cell").is_file()


def test_a_run_names_its_parent_and_its_family(folder: Path) -> None:
    child = dataclasses.replace(
        rejected(3, MGU), parent=0, params={"generation": 2, "start": "gru"}
    )
    record(folder, scored(0, GRU, "given"), child)
    tags = runs(folder)["mgu"].data.tags
    assert tags["nas.parent"] == "gru (trial 0)"
    assert tags["nas.family"] == "mutants of gru"
    assert "nas.parent" not in runs(folder)["gru"].data.tags


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"update_gate": "x"}, "gates"),
        ({"origin": "gates", "update_gate": "x", "generation": 1}, "gates"),
        ({"origin": "gates", "generation": 3, "mutation_2": 1}, "mutants of gates"),
        ({"origin": "graph", "start": "lstm", "generation": 1}, "lstm"),
        ({"start": "lstm", "generation": 2}, "mutants of lstm"),
        ({"generation": 2}, "mutants of the start cell"),
        ({"origin": "walk", "start": "lstm", "generation": 2}, "mutants of lstm"),
        ({"origin": "child", "parent": 5, "mate": 0}, "children of one"),
        ({"origin": "child", "parent": 5, "mate": 7}, "children of two"),
        ({"choice": 1}, "other"),
    ],
    ids=str,
)
def test_the_family_of_a_cell_is_where_it_comes_from(
    params: dict[str, object], wanted: str
) -> None:
    assert family(dataclasses.replace(rejected(0, MGU), params=params)) == wanted
    assert family(dataclasses.replace(scored(0, MGU, "given"), params=params)) == "given"


def test_the_data_are_inputs_with_their_digests(folder: Path) -> None:
    record(folder, scored(0, GRU, "given"), rejected(1, RNN))
    for name, tasks in (("gru", {"memorization", "xml", "text"}), ("rnn", {"memorization"})):
        inputs = runs(folder)[name].inputs.dataset_inputs
        assert {(one.dataset.name, one.dataset.digest) for one in inputs} == {
            (task, "1") for task in tasks
        }


def test_the_note_shows_the_picture_of_its_own_run(folder: Path) -> None:
    record(folder, scored(0, GRU, "given"))
    run = runs(folder)["gru"]
    address = f"(get-artifact?path=cell.svg&run_uuid={run.info.run_id})"
    assert address in run.data.tags["mlflow.note.content"]


def test_a_record_of_an_earlier_version_is_written_anew(folder: Path) -> None:
    record(folder, scored(0, GRU, "given"))
    before = runs(folder)["gru"].info
    mlflow = client(folder)
    mlflow.set_tag(before.run_id, "nas.format", "3")
    mlflow.log_metric(before.run_id, "value", 0.8)  # what only that version recorded
    record(folder, scored(0, GRU, "given"))
    again = runs(folder)["gru"]
    assert again.info.run_id != before.run_id
    assert again.info.start_time == before.start_time
    assert "value" not in again.data.metrics
    assert again.data.tags["nas.family"] == "given"
    # Whoever noted the old one still gets its cell.
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert recorded_cell(f"runs:/{before.run_id}", uri) == GRU


def test_the_note_holds_the_equations_and_the_tasks(folder: Path) -> None:
    record(folder, scored(4, MGU), rejected(5, RNN), scored(0, GRU, "given"))
    notes = {name: run.data.tags["mlflow.note.content"] for name, run in runs(folder).items()}
    equations = str(renamed(MGU, "mgu", "")).rstrip()
    first = notes["mgu"].splitlines()[0]
    assert first.startswith('<table><tr><td><img src="get-artifact?path=small.svg&amp;run_uuid=')
    assert unescape(notes["mgu"]).partition("<pre><code>")[2].startswith(equations)
    assert notes["mgu"].splitlines()[-1].replace("\\", "") == " ".join(MGU.doc.split())
    table = notes["mgu"][notes["mgu"].index("| task") :].splitlines()
    assert table[2:5] == [
        "| memorization | accuracy | 0.99 | - | - |",
        "| xml | accuracy | 0.6 | 0.5 | 1.2 |",
        "| text | loss | 1.6 | 1.28 | 0.8 |",
    ]
    assert "on text: ahead of it on xml; behind it on text." in notes["mgu"]
    assert f"Trial 4, key `{MGU.key}`, 7 training runs, 1 diverged, 1 failed." in notes["mgu"]
    assert "\n**Rejected at memorization**: accuracy 0.25." in notes["rnn"]
    assert "\n**The reference**" in notes["gru"]


def test_a_long_note_is_cut_before_mlflow_cuts_it() -> None:
    lines = "".join(f"    v{i} = tanh(h)\n" for i in range(990))
    long = loads(f"def long(x, h):\n{lines}    return v989 + x * h\n")
    made = entry(rejected(0, long), "study", (FILTER,), BASELINES)
    assert LONGEST_EQUATIONS < len(str(long))
    assert len(made.note) < 8000
    assert "the rest is in cell.cell" in made.note
    assert made.note.endswith("1 training runs.")
    assert made.files["cell.cell"] == str(long)


def test_a_status_says_what_became_of_the_cell(folder: Path) -> None:
    record(folder, scored(0, GRU), rejected(1, RNN), rejected(2, LSTM, "out of memory"))
    found = runs(folder)
    statuses = {name: run.info.status for name, run in found.items()}
    assert statuses == {"gru": "FINISHED", "rnn": "FINISHED", "lstm": "FAILED"}, "red is a crash"
    words = {name: run.data.tags["nas.status"] for name, run in found.items()}
    assert words == {"gru": "scored", "rnn": "rejected", "lstm": "failed"}
    assert "score" not in found["rnn"].data.metrics
    assert found["rnn"].data.tags["nas.stage"] == "memorization"
    assert found["lstm"].data.metrics["n_failed"] == 1


def test_what_only_the_whole_study_knows_becomes_tags_of_the_runs(folder: Path) -> None:
    made = recorder(folder)
    made.sync([scored(0, GRU, "given"), scored(1, MGU)])
    whole = entry(scored(2, RNN), "study", (FILTER, Xml(), Text()), BASELINES)
    known = {MGU.key: {"nas.interval": "0.7 to 0.9"}, "no run": {"nas.interval": "-"}}
    made.conclude(dataclasses.replace(whole, key="summary", name="summary", beside=known))
    assert made.close(WAIT_S) == 0
    found = runs(folder)
    assert found["mgu"].data.tags["nas.interval"] == "0.7 to 0.9"
    assert "nas.interval" not in found["gru"].data.tags
    number = experiment(folder).experiment_id
    assert made.where_to_look()[-1].endswith(address(number))


def test_kinds_are_told_apart(folder: Path) -> None:
    record(folder, scored(0, GRU, "given"), scored(1, MGU, "given"), scored(2, RNN))
    kinds = {name: run.data.tags["nas.kind"] for name, run in runs(folder).items()}
    assert kinds == {"gru": "baseline", "mgu": "included", "rnn": "candidate"}


def test_the_experiment_says_what_it_is(folder: Path) -> None:
    record(folder, rejected(0, RNN))
    tags = experiment(folder).tags
    number = experiment(folder).experiment_id
    assert tags["mlflow.note.content"] == f"What this is. {link(number)}"
    view = unpacked(tags[VIEW_TAG])
    assert view["orderByKey"] == "metrics.`score`"
    wanted = ["score", "nas.interval", "ratio.xml", "ratio.text", "nas.stage"]
    assert [key for key in view["selectedColumns"] if key.split("`")[1] in wanted] == [
        f"{'tags' if name.startswith('nas.') else 'metrics'}.`{name}`" for name in wanted
    ]
    drawn = {chart["metricKey"] for chart in view["compareRunCharts"] if "metricKey" in chart}
    assert {"score", "ratio.xml", "xml/validation accuracy", "text/validation loss"} <= drawn
    assert tags["mlflow.experiment.primaryMetric.name"] == "score"
    assert tags[KIND] == "custom_model_development"


def test_a_view_of_many_tasks_fits_a_tag_of_every_version() -> None:
    names = [f"a_task_with_a_long_name_{i}" for i in range(40)]
    assert len(view_of_search(names, ["accuracy"] * 40)) < 5000


def test_the_address_is_whole_where_a_server_is_known() -> None:
    page = "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=cells-by-score"
    assert address("7") == page
    (line,) = where_to_look("https://me:secret@runs.example/", "7")
    assert line.endswith(f"@runs.example/{page}")
    assert "secret" not in line
    first, second = where_to_look("sqlite:////a b/mlflow.db", "7")
    assert first.endswith("mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'")
    assert second.endswith(f" http://127.0.0.1:5000/{page}")


def test_numbers_have_four_digits_and_counts_all() -> None:
    values = (1.1356452914681456, 0.00012345678, 24_913.0, 17.51234, 1.23456789e12, 1e30)
    assert [shown(v) for v in values] == [1.136, 0.0001235, 24_913, 17.51, 1.235e12, 1e30]


def test_a_description_that_a_person_wrote_stays(folder: Path) -> None:
    record(folder, rejected(0, RNN))
    number = experiment(folder).experiment_id
    client(folder).set_experiment_tag(number, "mlflow.note.content", "Mine.")
    client(folder).delete_experiment(number)
    record(folder, rejected(1, MGU))
    assert experiment(folder).tags["mlflow.note.content"] == "Mine."
    assert set(runs(folder)) == {"rnn", "mgu"}


def test_curves_longer_than_a_request_are_recorded(folder: Path) -> None:
    long = scored(0, RNN)
    epochs = tuple(Epoch(1.0, 2.0, n / 1000, 0.5) for n in range(500))
    result = Outcome("ok", 1.0, 0, epochs, 1, 1)
    long.evaluated = {"x": Evaluated("xml", "", SETTINGS[:1], 0, 1.0, (result,))}
    assert record(folder, long) == 0
    points = curve(folder, runs(folder)["rnn"], "xml/validation accuracy")
    assert points == [(n + 1, n / 1000) for n in range(500)]


def test_a_value_that_is_not_finite_is_left_out(folder: Path) -> None:
    odd = scored(0, RNN)
    epochs = (Epoch(float("nan"), float("inf"), 0.5, 0.1), Epoch(1.0, 2.0, 0.4, 0.1))
    result = Outcome("diverged", 0.5, 0, epochs, 1, 1)
    odd.evaluated = {"x": Evaluated("xml", "", SETTINGS[:1], 0, 1.0, (result,))}
    assert record(folder, odd) == 0
    run = runs(folder)["rnn"]
    assert curve(folder, run, "xml/training loss") == [(2, 1.0)]
    assert curve(folder, run, "xml/validation loss") == [(2, 2.0)]


def test_losses_of_a_run_that_diverges_are_drawn_at_an_edge(folder: Path) -> None:
    odd = scored(0, RNN)
    epochs = (Epoch(1.5, 1.0, 0.5, 0.1), Epoch(1e20, 3e7, 0.4, 0.1))
    result = Outcome("diverged", 0.5, 0, epochs, 1, 1)
    odd.evaluated = {"x": Evaluated("xml", "", SETTINGS[:1], 0, 1.0, (result,))}
    record(folder, odd)
    run = runs(folder)["rnn"]
    edge = float(f"{2 * np.log(Xml().interface.outputs):.4g}")
    assert curve(folder, run, "xml/training loss") == [(1, 1.5), (2, edge)]
    assert curve(folder, run, "xml/validation loss") == [(1, 1.0), (2, edge)]


@pytest.mark.process
def test_mlflow_ui_shows_the_files(folder: Path) -> None:
    assert record(folder, scored(0, LSTM)) == 0
    run_id = runs(folder)["lstm"].info.run_id
    with (
        served(folder) as address,
        urllib.request.urlopen(f"{address}/get-artifact?path=cell.cell&run_id={run_id}") as r,
    ):
        assert r.read().decode() == str(LSTM)
