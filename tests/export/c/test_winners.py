"""A trained winner in C: raw data in, answers in its units and names out, in each number format."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import nas
import nas.nn.loading
from nas.export.c.accuracy import compiled_scores, exact_scores, metric_of, pieces
from nas.export.c.compiled import Compiled
from nas.export.c.files import write
from nas.export.c.folder import Wanted, write_folder
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.network import network_of
from nas.export.c.ranges import ranges_of
from nas.export.command import main
from nas.nn.trained import TrainedModel
from tests.export.c.written import SANITIZED, STRICT
from tests.nn.winners import TASKS, winner
from tests.tolerances import OTHER_RUNTIME_32

ONE_PER_CENT = 0.01
"""Of the metric on test: what a number format of 8-bit weights may cost."""


def raw(kind: str, path: str, model: TrainedModel) -> np.ndarray:
    """A sequence as a person has it, in numbers."""
    if kind == "text":
        return np.array(model.meaning.tokens_of("the cat sat on the dog"))
    frame = pandas.read_csv(path)
    if kind == "rides":
        frame = frame[frame["id"] == 3]
    return frame[list(model.meaning.columns)].to_numpy()[:40]


def wanted(model: TrainedModel, data: np.ndarray) -> Any:
    """The model's answers to a sequence: numbers, or probabilities of the last step."""
    if model.meaning.interface.head == "gaussian":
        return model.predict(data)
    return model.probabilities(data)


@pytest.mark.parametrize("kind", TASKS)
def test_c_answers_as_the_model_does(kind: Any, tmp_path: Path) -> None:
    found = winner(kind, tmp_path)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    network = network_of(model)
    ranges = ranges_of(network, pieces(found.task))
    made = {kind: write(network, ranges, kind, "net", "test") for kind in NUMBER_FORMATS}
    data = raw(kind, found.task.path, model)  # type: ignore[attr-defined]
    compiled = Compiled(made["float32"])
    answers = compiled.run(data, compiled.fresh())
    answers = answers if kind == "forecast" else answers[-1]
    np.testing.assert_allclose(answers, wanted(model, data), **OTHER_RUNTIME_32)
    state = compiled.fresh()
    parts = [compiled.run(data[:5], state), compiled.run(data[5:], state)]
    whole = compiled.run(data, compiled.fresh())
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    exact = metric_of(found.task, exact_scores(network))
    for number_format, one in made.items():
        metric = metric_of(found.task, compiled_scores(Compiled(one)))
        bound = 1e-5 if number_format == "float32" else ONE_PER_CENT
        assert metric == pytest.approx(exact, rel=bound), number_format


def test_the_metric_is_that_of_training(tmp_path: Path) -> None:
    found = winner("forecast", tmp_path)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    windows = list(found.task.windows("test", 0))
    scores = [model.network(torch.from_numpy(w.inputs))[0].detach().numpy() for w in windows]
    apart = [(s - w.targets)[w.scored] for s, w in zip(scores, windows, strict=True)]
    exact = metric_of(found.task, exact_scores(network_of(model)))
    assert exact == pytest.approx(float(np.square(np.concatenate(apart)).mean()), rel=1e-5)


def test_scores_of_a_stream_carry_the_state_from_window_to_window(tmp_path: Path) -> None:
    found = winner("text", tmp_path)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    network = network_of(model)
    written = write(network, ranges_of(network, pieces(found.task)), "float32", "net", "test")
    exact, of_c = exact_scores(network), compiled_scores(Compiled(written))
    windows = list(found.task.windows("train", 0))[:3]
    assert [window.fresh for window in windows] == [True, False, False]
    state = None
    for window in windows:
        with torch.no_grad():
            scores, state = model.network(torch.from_numpy(window.inputs), state)
        wanted = scores.log_softmax(-1).numpy()
        ours = torch.from_numpy(exact(window)).log_softmax(-1).numpy()
        np.testing.assert_allclose(ours, wanted, **OTHER_RUNTIME_32)
        np.testing.assert_allclose(of_c(window), wanted, **OTHER_RUNTIME_32)


@pytest.mark.parametrize("kind", ["rides", "text"])
def test_a_folder_says_what_goes_in_and_out(kind: Any, tmp_path: Path) -> None:
    found = winner(kind, tmp_path)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    folder = tmp_path / "c"
    write_folder(model, Wanted(folder, "net", "int16x8", "nas export x"), found.task)
    header, readme = ((folder / name).read_text() for name in ("net.h", "README.md"))
    assert "on test (" in readme
    assert "nothing was measured" not in readme
    names = model.classes if kind == "rides" else model.vocabulary
    text = (folder / "net.c").read_text()
    asked = "net_classes" if kind == "rides" else "net_symbols"
    assert f"extern const char *const {asked}[{len(names)}]" in header
    calls = [f'printf("%s\\n", {asked}[{k}]);' for k in range(len(names))]
    if kind == "text":
        calls = [f'printf("%d\\n", net_symbol("{name}"));' for name in (*names, "?", "")]
    program = (
        '#include "net.h"\n#include <stdio.h>\nint main(void) {' + "".join(calls) + "return 0; }"
    )
    (folder / "main.c").write_text(program)
    command = ["cc", *STRICT, *SANITIZED, "main.c", "net.c", "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    said = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True).stdout.split("\n")
    known = list(names) if kind == "rides" else [*map(str, range(len(names))), "-1", "-1"]
    assert said[:-1] == known
    assert "#define NET_SYMBOLS" in header or kind == "rides"
    assert "NET_SELF_TEST" in text


def test_a_clock_of_nine_digits_is_a_double(tmp_path: Path) -> None:
    found = winner("forecast", tmp_path)
    loaded = nas.nn.loading.read(found.path)
    legend = loaded.described["legend"]
    legend["means"] = [1.7e9, legend["means"][1]]
    legend["target_means"] = [1.7e9]
    model = nas.nn.loading.whole(loaded, "clock")
    assert isinstance(model, TrainedModel)
    network = network_of(model)
    written = write(network, ranges_of(network, pieces(found.task)), "float32", "net", "test")
    assert "const double *x, double *y" in written.h
    compiled = Compiled(written)
    data = np.array([[1.7e9 + 0.25 * k, 3.0] for k in range(8)])
    apart = compiled.run(data, compiled.fresh()) - model.predict(data)
    assert np.abs(apart).max() < 1e-5 * max(1.0, legend["target_scales"][0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gru", "--c", "full"], "full holds notes.txt, which this export did not write"),
        (["gru", "--c", "full/notes.txt"], "notes.txt is a file"),
        (["gru", "--c", "out", "--bidirectional"], "its second direction begins at the end"),
        (["gru", "--c", "out", "--name", "9lives"], '"9lives" is no name of C'),
        (["gru", "--c", "out", "--name", "double"], "no keyword"),
        (["gru", "--c", "out", "--hidden-size", "0"], "hidden_size must be a positive"),
        (["gru", "out.py", "--number-format", "int8"], "--number-format is for --c"),
        (["gru", "out.py", "--name", "cell"], "--name is for --c"),
        (["mut1", "--c", "out", "--input-size", "3"], "input_size must equal hidden_size"),
        (["gru", "--c", "no/such/folder/out"], "there is no folder no/such/folder"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    assert main(arguments) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert said in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"full", "notes.txt"}


def test_the_same_command_writes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--hidden-size", "4", "--input-size", "2", "--num-layers", "2", "--seed", "3"]
    sizes += ["--number-format", "int16x8"]
    assert main(["gru", "--c", "out", *sizes]) == 0
    first = Path("out/gru.c").read_text()
    assert main(["gru", "--c", "out", *sizes]) == 0
    assert Path("out/gru.c").read_text() == first
    assert "int16_t h[2][4];" in Path("out/gru.h").read_text()
    assert "seed 3: they know nothing" in capsys.readouterr().out
