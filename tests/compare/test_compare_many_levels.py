"""What needs no network stands beside the cells of a comparison by many settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.compare import picture, report
from nas.compare.record import entries
from nas.compare.result import Comparison, OnTask, Run, _beside, contrast, limited, sampled
from nas.nn.settings import Settings
from nas.tasks.levels import levels_of
from nas.zoo import ZOO
from tests.compare.test_compare_levels import Known

NAMES = ("lstm", "gru", "rnn")


def compared(task: Known) -> Comparison:
    """Two settings, both compared; the third cell's runs are worse than blind guessing."""
    cells = []
    for place, name in enumerate(NAMES):
        values = (0.01, 0.02) if name == "rnn" else (0.4 + place / 100, 0.42 + place / 100)
        runs = tuple(
            Run(Settings(), value, value, "ok", rank, 10, 1.0) for rank, value in enumerate(values)
        )
        cells.append(sampled(name, ZOO[name].key, runs))
    first = cells[0]
    pairs = {one.name: contrast(task, one, first, 2) for one in cells[1:]}
    on = OnTask(task, tuple(cells), {first.name: pairs}, levels_of(task, 100, "test"))
    return Comparison("made up", {name: str(ZOO[name]) for name in NAMES}, (on,), 2, n_best=2)


def test_tables_end_with_both() -> None:
    found = compared(Known())
    table = report.table(found, found.tasks[0])
    assert [row[:4] for row in table.rows[-2:]] == [
        ["1-gram", "", "0.4500", ""],
        ["blind guess", "", "0.0625", ""],
    ]
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert "| 1-gram |  | 0.4500 |  |" in report.markdown(found)
    said = [line.split() for line in report.lines(found)]
    assert ["blind", "guess", "0.0625"] in said


def test_numbers_hold_both(tmp_path: Path) -> None:
    found = compared(Known())
    levels = report.plain(found)["tasks"]["xml"]["levels"]
    assert (levels["chance"], levels["baseline"]["value"]) == (0.0625, 0.45)
    for name in report.files(found):
        (tmp_path / name).touch()
    summary = entries(found, tmp_path)[-1]
    assert summary.metrics["xml.blind guess"] == 0.0625
    assert summary.metrics["xml.1-gram"] == 0.45


def test_levels_that_cannot_be_computed_are_said_to_be_missing() -> None:
    found = compared(Known(lacks="tunes.mat is not here"))
    sentence = "xml: simple predictors are not computed: tunes.mat is not here."
    assert sentence in report.lines(found)
    assert f"- {sentence}" in report.markdown(found)
    assert len(report.table(found, found.tasks[0]).rows) == len(NAMES)


def test_boxes_have_rows_and_lines_of_both() -> None:
    from matplotlib.figure import Figure

    found = compared(Known(simple=0.95))
    [on] = found.tasks
    panel = Figure().subplots()
    values = [[limited(on.task, run.test) for run in one.runs] for one in on.cells]
    picture.box_rows(panel, on, values, "", named=True)
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == [*NAMES, "best possible", "1-gram", "blind guess"]
    texts = {text.xy[1]: text.get_text() for text in panel.texts}
    assert texts == {4: f"{on.task.best_possible:.4g} →", 5: "0.95 →", 6: "0.0625"}
    lines = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":"]
    assert lines == [0.0625], "the other one is off the scale"


@pytest.mark.parametrize(("value", "shown"), [(0.01, 0.0625), (0.0625, 0.0625), (0.4, 0.4)])
def test_worse_than_blind_guessing_on_test_counts_as_that(value: float, shown: float) -> None:
    assert limited(Known(), value) == shown


def test_verdicts_read_as_sentences() -> None:
    """A p value that is too small to be told has no sign of equality before it."""
    gru, rnn = compared(Known()).verdicts
    assert gru.startswith("gru beside lstm on xml: no evidence of a difference (accuracy better")
    assert "n = 2 settings of each, corrected p = " in gru
    assert rnn.startswith("rnn beside lstm on xml: worse (accuracy better by -0.3950 [")
    pair = next(iter(compared(Known()).tasks[0].contrasts.values()))
    for p, text in ((0.03, "corrected p = 0.03)"), (1e-7, "corrected p < 0.0001)")):
        assert text in _beside(replace(pair, corrected=p), Known())
