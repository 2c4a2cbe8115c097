"""What needs no network stands beside the cells of a comparison, in all that is written of it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.compare import picture, report
from nas.compare.record import entries
from nas.compare.result import Comparison
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.tasks import Xml
from nas.tasks.base import Baseline, Split
from tests.compare.test_compare_statistics import comparison, protocol


@dataclass(frozen=True)
class Known(Xml):
    """Levels that are known: on test other ones than on validation, and of the seed's own data."""

    simple: float = 0.45
    lacks: str = ""

    def chance(self, split: Split = "validation") -> float:
        return {"train": 0.9, "validation": 0.8, "test": 0.0625}[split]

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return Baseline("1-gram", self.simple + (seed - 100) + (split != "test"))

    def missing(self) -> str:
        return self.lacks


def compared(task: Known) -> Comparison:
    def make(evaluation: Evaluation, settings: Settings) -> Outcome:
        value = 0.4 + 0.2 * int(evaluation.key[:4], 16) / 16**4 + (evaluation.seed - 100) / 1000
        return Outcome("ok", 0.5, 0, n_params=8000, test=value)

    return comparison(protocol(task), make)


def test_the_table_ends_with_both() -> None:
    found = compared(Known(n_params=(9000,)))
    table = report.table(found, found.tasks[0])
    last = [row[:3] for row in table.rows[-2:]]
    assert last == [["1-gram", "0.4500", ""], ["blind guess", "0.0625", ""]]
    assert {len(row) for row in table.rows} == {len(table.head)}
    said = report.lines(found)
    at = next(place for place, line in enumerate(said) if line.startswith("1-gram"))
    assert said[at].split() == ["1-gram", "0.4500"]
    assert said[at + 1].split() == ["blind", "guess", "0.0625"]
    page = report.markdown(found)
    assert "| 1-gram | 0.4500 |  |" in page
    assert "| blind guess | 0.0625 |  |" in page


@pytest.mark.usefixtures("undrawn")
def test_numbers_hold_both(tmp_path: Path) -> None:
    found = compared(Known(n_params=(9000,)))
    report.write(found, tmp_path)
    levels = json.loads((tmp_path / "comparison.json").read_text())["tasks"]["xml"]["levels"]
    assert levels["chance"] == 0.0625
    assert levels["baseline"] == {"name": "1-gram", "value": 0.45}
    assert levels["why"] == ""
    summary = entries(found, tmp_path)[-1]
    assert summary.metrics["xml.blind guess"] == 0.0625
    assert summary.metrics["xml.1-gram"] == 0.45
    assert summary.metrics["xml.best possible"] == levels["best"] == Known().best_possible


@pytest.mark.usefixtures("undrawn")
def test_levels_that_cannot_be_computed_are_said_to_be_missing(tmp_path: Path) -> None:
    found = compared(Known(n_params=(9000,), lacks="tunes.mat is not here"))
    sentence = "xml: simple predictors are not computed: tunes.mat is not here."
    assert sentence in report.lines(found)
    assert sentence in report.markdown(found)
    assert len(report.table(found, found.tasks[0]).rows) == len(found.cells)
    report.write(found, tmp_path)
    levels = json.loads((tmp_path / "comparison.json").read_text())["tasks"]["xml"]["levels"]
    assert levels["chance"] is None
    assert levels["baseline"] is None
    assert levels["why"] == "tunes.mat is not here"
    assert not [name for name in entries(found, tmp_path)[-1].metrics if name.startswith("xml.")]


@pytest.mark.parametrize(("simple", "inside"), [(0.5, True), (0.95, False)])
def test_the_picture_has_both_on_the_scale_of_the_cells(simple: float, inside: bool) -> None:
    from matplotlib.figure import Figure

    found = compared(Known(n_params=(9000,), simple=simple))
    [on] = found.tasks
    values = [value for one in on.cells for value in one.values]
    panel = Figure().subplots()
    picture._metrics(panel, on)
    low, high = panel.get_xlim()
    assert min(values) - 0.1 < low < min(values), "blind guessing does not squeeze the cells"
    assert max(values) < high < max(values) + 0.1
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == [*found.cells, "best possible", "1-gram", "blind guess"]
    texts = {text.xy[1]: text for text in panel.texts}
    n = len(on.cells) + 1
    assert texts[n - 1].get_text() == f"{on.task.best_possible:.4g} →"
    assert texts[n].get_text() == ("0.5" if inside else "0.95 →")
    assert texts[n + 1].get_text() == "← 0.0625"
    marks = [tuple(line.get_data()) for line in panel.lines if line.get_marker() == "D"]
    assert [(x[0], y[0]) for x, y in marks] == ([(0.5, n)] if inside else [])


def test_few_examples_of_test_are_said_beside_the_verdicts() -> None:
    """Two batches of three streams; of 210 scored steps one weighs 1/210, six of them 0.0286."""
    few = compared(Known(n_params=(9000,), validation_batches=2, batch_size=3))
    sentence = (
        "The accuracy on xml is of 210 scored steps in 6 windows, one step weighs 0.00476, and a "
        "difference of less than 0.0286 is that of fewer than 6 of them, which other data may turn "
        "round: seeds vary the training, and not this test split."
    )
    (said,) = (line for line in report.sentences(few) if "scored steps" in line)
    assert said.startswith(sentence)
    named = dict(re.findall(r"(\w+ and \w+) \((by [\d.]+|a tie)\)", said))
    means = {cell.name: sum(cell.values) / len(cell.values) for cell in few.tasks[0].cells}
    pairs = [pair for of_other in few.tasks[0].against.values() for pair in of_other.values()]
    apart = {f"{p.first} and {p.other}": abs(means[p.first] - means[p.other]) * 210 for p in pairs}
    assert named == {pair: f"by {n:.1f}" for pair, n in apart.items() if n < 6}
    assert len(named) < len(apart), "both kinds are met"
    assert not any("scored steps" in line for line in report.sentences(compared(Known())))


def test_cells_below_the_simple_predictor_are_said_to_have_learnt_too_little() -> None:
    below = report.sentences(compared(Known(n_params=(9000,), simple=0.7)))
    (sentence,) = (line for line in below if "predictor without a network" in line)
    assert "gru" in sentence
    assert "(1-gram, 0.7)" in sentence
    assert "--tasks.xml.epochs 40" in sentence
    above = report.sentences(compared(Known(n_params=(9000,), simple=0.1)))
    assert not any("predictor without a network" in line for line in above)
