"""The walk of a trained winner on data of one's own: what is drawn are the values of its gates."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import nas
from nas.nn.asking import asked
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel
from nas.nn.watched import inputs_of, memory, watch
from nas.report.heat import BAND, GAP, TOP, heat_map
from nas.report.trained_walk import tenth
from nas.show import main
from nas.zoo import studied
from tests.nn.winners import PROSE, winner


def page_of(tmp_path: Path, source: Path, on: str) -> str:
    out = tmp_path / "walk.html"
    assert main([str(source), "--walk", str(out), "--on", on]) == 0
    return out.read_text(encoding="utf-8")


def test_the_heat_map_of_a_text_has_the_values_of_the_gates(tmp_path: Path) -> None:
    found = winner("text", tmp_path)
    page = page_of(tmp_path, found.path, "the cat sat")
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    [sequence] = asked("the cat sat", model.meaning).sequences
    _, [values] = watch(model.rnn, inputs_of(model, sequence))
    gates = {model.cell.nodes[i].name: values[i] for i in model.cell.live}
    titles = re.findall(r'<h3 class="heat">(.*?)</h3>', page)
    assert [title[:8] for title in titles] == ["<i>z</i>", "<i>r</i>", "The stat"]
    maps = re.findall(r'<div class="scroll heat">(<svg.*?</svg>)', page, re.DOTALL)
    for drawn, name in zip(maps, ("z", "r"), strict=False):
        symbols = re.findall(r'font-family="monospace">(.)</text>', drawn)
        assert "".join(symbols) == "the␣cat␣sat"
        [data] = re.findall(r"base64,([^\"]+)", drawn)
        pixels = imread(io.BytesIO(base64.b64decode(data)), format="png")
        assert pixels.shape[:2] == gates[name].T.shape
        ordered = gates[name].T[np.argsort(-gates[name].mean(0), kind="stable")]
        # Blue is dark where the gate is open: red falls with the value.
        assert np.corrcoef(pixels[..., 0].ravel(), ordered.ravel())[0, 1] < -0.97
        [points] = re.findall(r'polyline points="([^"]+)"', drawn)
        heights = np.array([float(point.split(",")[1]) for point in points.split()])
        bottom = TOP + max(60.0, min(150.0, 6.0 * pixels.shape[0])) + GAP
        mean = 1 - (heights - bottom) / BAND
        np.testing.assert_allclose(mean, gates[name].mean(1), atol=2e-3)


def test_many_units_share_rows() -> None:
    values = np.linspace(0, 1, 3 * 300).reshape(3, 300)
    [data] = re.findall(r"base64,([^\"]+)", heat_map(values, [], "many"))
    pixels = imread(io.BytesIO(base64.b64decode(data)), format="png")
    assert pixels.shape[:2] == (96, 3)


def test_memory_is_told_beside_gru_and_lstm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner is a GRU, so that only the LSTM stands beside it: as the study trained it."""
    found = winner("text", tmp_path)
    (tmp_path / "lstm").mkdir()
    other = winner("text", tmp_path / "lstm", "lstm")
    asked_for = []

    def weights_of(source: str, task: str) -> Path:
        asked_for.append((source, task))
        return other.path

    monkeypatch.setattr(studied, "weights_of", weights_of)
    page = page_of(tmp_path, found.path, PROSE[:30])
    assert asked_for == [(f"{tmp_path.parent}/lstm", "text")]
    rows = re.findall(r"<tr><td>(\w+)</td><td>([^<]+)</td>\s*<td>([^<]+)</td><td>([^<]*)", page)
    said = [row[:2] for row in rows]
    assert said == [("gru", "trained, these"), ("lstm", "trained, of the study")]
    for row, path in zip(rows, (found.path, other.path), strict=True):
        model = nas.load(path)
        assert isinstance(model, TrainedModel)
        [sequence] = asked(PROSE[:30], model.meaning).sequences
        assert row[3] == tenth(memory(model.rnn, inputs_of(model, sequence)))
    assert "the weights with which its training began" in page


def test_a_series_is_shown_with_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.report.trained_walk.REMEMBERED", 12)
    found = winner("forecast", tmp_path)
    page = page_of(tmp_path, found.path, str(tmp_path / "waves.csv"))
    assert re.search(r"Of [\d,]+ steps the first 400 are shown.", page)
    assert ">load: " in page
    assert ">heat: " in page
    assert "fresh: the study has none of it" in page
    assert page.count("<section") == 4


def test_the_gap_at_which_a_tenth_is_left() -> None:
    assert tenth(np.array([1.0, 0.5, 0.2, 0.05, 0.01])) == "3 steps"
    assert tenth(np.array([1.0, 0.01, 0.2, 0.05])) == "3 steps"
    assert tenth(np.array([1.0, 0.05])) == "1 step"
    assert tenth(np.array([1.0, 2.0, 0.9])) == "more than 2 steps"


@pytest.mark.parametrize(
    ("kind", "on", "sentence"),
    [
        ("text", "the CAT", "'C' at place 4 of the text is none of the"),
        ("text", "", "sequence 0 is empty"),
        ("forecast", "the cat", "this model reads a table, .csv, got 'the cat'."),
        ("forecast", "{}/none.csv", "none.csv"),
        ("forecast", "{}/other.csv", 'no column "load"'),
        ("layers", "the cat", "holds layers without a task"),
    ],
)
def test_mistakes_are_one_sentence(
    kind: str, on: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n3,4\n")
    if kind == "layers":
        source = tmp_path / "layers.safetensors"
        layers(source)
    else:
        source = winner(kind, tmp_path).path  # type: ignore[arg-type]
    out = tmp_path / "a.html"
    assert main([str(source), "--walk", str(out), "--on", on.format(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not out.exists()


def layers(path: Path) -> None:
    import json

    from safetensors.torch import save_file

    from nas.nn.loading import described_layers

    rnn = RNN("gru", 3, 4)
    save_file(rnn.state_dict(), path, {"nas": json.dumps(described_layers(rnn))})


def test_data_without_a_walk_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["gru", "--on", "a text"])
    assert "--on goes with --walk" in capsys.readouterr().err


def test_a_text_can_be_a_file(tmp_path: Path) -> None:
    found = winner("text", tmp_path)
    shutil.copy(tmp_path / "prose.txt", tmp_path / "mine.txt")
    (tmp_path / "mine.txt").write_text("a dog", encoding="utf-8")
    page = page_of(tmp_path, found.path, str(tmp_path / "mine.txt"))
    assert page.count(">␣</text>") == 3
