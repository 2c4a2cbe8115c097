"""Learning curves, what the winner answers, and labels: against numbers computed another way."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from nas.protocol.evaluation import Cost, Epoch, Outcome
from nas.report.document import Code, Document, Section, Table, Thumbnail
from nas.report.figures import labels, level_lines
from nas.report.html import html
from nas.report.learning import band_of, outcomes_of, path_of
from nas.report.own_data import confusion_of, in_units
from nas.tasks import Text, Xml
from nas.zoo import ZOO
from tests.report.made_up import facts, make


def run(*losses: float) -> Outcome:
    curve = tuple(Epoch(1.0, loss, 1 / (1 + loss), 0.1) for loss in losses)
    return Outcome("ok", min(losses), 0, curve, 1, 1, Cost(1, 1, 1.0, 1.0))


def test_a_band_is_the_range_and_median_of_the_runs_that_got_so_far() -> None:
    band = band_of(Text(), [run(3.0, 2.0, 1.0), run(2.0, 1.0), run(1.0, 3.0, 2.0), Outcome("ok")])
    assert band is not None
    assert band.n == 3
    assert band.low.tolist() == [1, 1, 1]
    assert band.median.tolist() == [2, 2, 1.5]
    assert band.high.tolist() == [3, 3, 2]
    assert band_of(Text(), [Outcome("failed")]) is None


def test_losses_that_explode_end_at_the_edge_and_accuracies_are_as_they_were() -> None:
    exploded = run(1.0, 1e30, float("nan"), float("inf"))
    edge = 2 * np.log(Text().interface.outputs)
    assert path_of(Text(), exploded).tolist() == pytest.approx([1, edge, edge, edge])
    assert path_of(Xml(), run(1.0, 3.0)).tolist() == [0.5, 0.25]


def test_the_runs_of_the_gru_are_those_of_all_its_settings(tmp_path: Path) -> None:
    known = facts(make(tmp_path))
    found = outcomes_of(known, ZOO["gru"].key, Text())
    assert [outcome.best for outcome in found] == [4.0, 2.0, None]
    assert len(found[0].curve) == 3


def test_a_confusion_matrix_is_scikit_learns() -> None:
    from sklearn.metrics import confusion_matrix

    random = np.random.default_rng(0)
    scores = random.normal(size=(200, 4)).astype(np.float32)
    targets = random.integers(0, 4, 200)
    expected = confusion_matrix(targets, scores.argmax(1), labels=range(4))
    assert (confusion_of((scores, targets), 4) == expected).all()


def test_forecasts_are_shown_in_the_datas_units() -> None:
    class Scaled:
        interface = Xml().interface.__class__(2, 2, "gaussian", tokens=False)

        @staticmethod
        def legend() -> dict[str, object]:
            return {"targets": ["load", "heat"], "target_means": [50, 3], "target_scales": [10, 2]}

    raw = np.array([[60.0, 1.0], [40.0, 5.0]])
    scaled = ((raw - [50, 3]) / [10, 2]).astype(np.float32)
    found, true, names = in_units(Scaled(), (scaled, scaled[::-1]))  # type: ignore[arg-type]
    assert names == ["load", "heat"]
    assert found == pytest.approx(raw)
    assert true == pytest.approx(raw[::-1])


def test_labels_of_points_that_lie_together_do_not_overlap() -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    panel = figure.subplots()
    points = [(f"gates_a0b4{i}", 1 + i / 900, 1 + i / 800) for i in range(40)]
    panel.scatter([x for _, x, _ in points], [y for _, _, y in points])
    written = labels(panel, points)
    boxes = [text.get_window_extent() for text in panel.texts]
    assert len(boxes) == len(written) >= 2
    assert written[0] == "gates_a0b40", "the first come first"
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_levels_that_are_close_share_a_line_of_text() -> None:
    panel = Figure(figsize=(5, 4)).subplots()
    panel.set_ylim(0, 1)
    level_lines(panel, {"gru": 0.5, "lstm": 0.501, "far": 0.9})
    assert [text.get_text() for text in panel.texts] == ["gru, lstm", "far"]
    assert len(panel.lines) == 3


def test_a_page_folds_code_with_a_title_and_a_thumbnail_opens_its_equations() -> None:
    thumbnails = [Thumbnail("<svg>&</svg>", "h = x < 1"), None]
    table = Table("", ("cell",), [("gru",), ("none",)], cells=thumbnails)
    parts = (table, Code("a: 1", "yaml", "config.yaml"), Code("b"))
    page = html(Document("A", "b", (Section("C", parts),)))
    assert "<details><summary>config.yaml</summary><pre>a: 1</pre></details>" in page
    assert "<pre>b</pre>" in page
    row = page[page.index("<tbody>") : page.index("</tbody>")]
    assert row.count("<tr>") == row.count('src="data:image/svg+xml;base64,') + 1 == 2
    assert "<pre>h = x &lt; 1</pre>" in row
