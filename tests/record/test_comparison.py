"""A comparison in MLflow: a run a cell, one of all, and a cell that is read back."""

from pathlib import Path

import pytest

from nas.compare.record import entries, view
from nas.compare.report import markdown, write
from nas.compare.result import Comparison
from nas.errors import SearchError, UserError
from nas.record.comparison import record, recorded_cell
from nas.record.entry import shown
from nas.record.view import VIEW_TAG, unpacked
from nas.zoo import ZOO
from tests.compare.test_compare_statistics import MadeUp, comparison, protocol
from tests.record.visits import SQLALCHEMY, client

pytestmark = [SQLALCHEMY, pytest.mark.usefixtures("undrawn")]
EFFECTS = {ZOO["mut1"].key: 3.0}


def compared(*cells: str) -> Comparison:
    return comparison(protocol(), MadeUp(0, EFFECTS), ("gru", "lstm", *cells))


def recorded(folder: Path, found: Comparison) -> dict[str, object]:
    """Write a comparison twice; the runs by name."""
    write(found, folder)
    for _ in range(2):
        record("", "test", entries(found, folder), view(found), folder)
    mlflow = client(folder)
    experiment = mlflow.get_experiment_by_name("test")
    runs = mlflow.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs), "a run is there once"
    assert {run.info.status for run in runs} == {"FINISHED"}
    columns = unpacked(experiment.tags[VIEW_TAG])["selectedColumns"]
    known = {f"metrics.`{name}`" for run in runs for name in run.data.metrics}
    assert columns[:3] == [f"metrics.`xml.test{end}`" for end in ("", ".low", ".high")]
    assert {"metrics.`xml.better_than_gru`", "metrics.`xml.better_than_gru.p`", *columns} <= known
    return {run.info.run_name: run for run in runs}


def test_a_run_a_cell_and_one_of_all(folder: Path) -> None:
    found = compared("mut1")
    runs = recorded(folder, found)
    assert set(runs) == {"gru", "lstm", "mut1", "comparison"}
    [on] = found.tasks
    gain = on.against["gru"]["mut1"]
    assert gain.gain is not None
    data = runs["mut1"].data  # type: ignore[attr-defined]
    assert data.metrics["xml.better_than_gru"] == shown(gain.gain.mean)
    assert data.metrics["xml.better_than_gru.p"] == shown(gain.corrected)
    assert data.metrics["xml.test"] == shown(sum(on.cells[2].values) / 10)
    assert data.params["xml.learning_rate"] == "0.2"
    assert "mut1 is better than gru on xml" in data.tags["mlflow.note.content"]
    info = runs["comparison"].info  # type: ignore[attr-defined]
    fetched = Path(client(folder).download_artifacts(info.run_id, "comparison.md", str(folder)))
    assert fetched.read_text(encoding="utf-8") == markdown(found)
    names = {one.path for one in client(folder).list_artifacts(info.run_id)}
    kinds = ("md", "json", "csv", "tex", "png", "svg", "pdf")
    assert names == {f"comparison.{kind}" for kind in kinds}


def test_further_cells_write_all_anew(folder: Path) -> None:
    before = recorded(folder, compared("mut1"))
    after = recorded(folder, compared("mut1", "mgu", "rnn"))
    assert set(after) == {*before, "mgu", "rnn"}
    p_values = [
        runs["mut1"].data.metrics["xml.better_than_gru.p"]  # type: ignore[attr-defined]
        for runs in (before, after)
    ]
    assert p_values[0] < p_values[1]


def test_a_recorded_cell_is_read_back(folder: Path) -> None:
    runs = recorded(folder, compared("mut1"))
    run_id = runs["mut1"].info.run_id  # type: ignore[attr-defined]
    cell = recorded_cell(f"runs:/{run_id}", "", folder)
    assert (cell.key, str(cell)) == (ZOO["mut1"].key, str(ZOO["mut1"]))
    assert recorded_cell(f"runs:/{run_id}/cell.cell", "", folder).key == cell.key
    with pytest.raises(UserError, match=r"cell runs:/abc: .* id=abc not found: give the ID"):
        recorded_cell("runs:/abc", "", folder)
    whole = runs["comparison"].info.run_id  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=rf"cell runs:/{whole}: .* has no cell.cell: give the ID"):
        recorded_cell(f"runs:/{whole}", "", folder)
    with pytest.raises(UserError, match=r"there is no MLflow database .*none\.db"):
        recorded_cell(f"runs:/{run_id}", "sqlite:///none.db", folder)


def test_a_store_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    found = compared("mut1")
    write(found, tmp_path)
    with pytest.raises(SearchError, match=r"does not take the record .*: the same command tries"):
        record("", "test", entries(found, tmp_path), view(found), tmp_path)
