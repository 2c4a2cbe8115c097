"""A winner as a plain file and as a graph: the same raw data give the same answers, by name."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pandas
import pytest
import torch

import nas
from nas.export.command import main
from nas.export.verify import session_of
from nas.nn.loading import load_model
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.protocol.evaluation import Evaluation
from nas.tasks import Arrays, Task, Words
from nas.training.train import run
from nas.zoo import ZOO
from tests.nn.winners import SIZES, TASKS, Winner, winner
from tests.tasks.own_data import write
from tests.tolerances import OTHER_KERNEL_32, OTHER_RUNTIME_32

PROMPTS = ["the cat ", "the", "dog sat on"]


@pytest.fixture(params=TASKS)
def found(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Winner:
    monkeypatch.chdir(tmp_path)
    return winner(request.param, tmp_path)


def loaded(found: Winner) -> TrainedModel:
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    return model


def plain_of(found: Winner) -> ModuleType:
    assert main([str(found.path), "plain.py"]) == 0
    spec = importlib.util.spec_from_file_location("plain", "plain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sequences(found: Winner) -> list[Any]:
    """Raw sequences of unequal lengths, as a person has them."""
    if found.path.stem == "text":
        return PROMPTS
    frame = pandas.read_csv(found.task.path)  # type: ignore[attr-defined]
    if found.path.stem == "forecast":
        return [frame[:20], frame[50:57]]
    return [part for _, part in list(frame.groupby("id"))[:5]]


def test_a_plain_file_answers_as_the_model_does(found: Winner) -> None:
    model, plain = loaded(found), plain_of(found)
    plain.self_test()
    plain.check_weights()
    own, asked = plain.load(), sequences(found)
    Path(found.task.path).unlink()  # type: ignore[attr-defined]
    answers = own.predict(asked)
    for sequence, answer in zip(asked, answers, strict=True):
        if found.path.stem == "forecast":
            np.testing.assert_allclose(answer, model.predict(sequence), **OTHER_KERNEL_32)
            continue
        rows = sequence if isinstance(sequence, str) else sequence["value"].to_numpy()
        assert answer == model.predict(rows)
        np.testing.assert_allclose(
            own.probabilities([sequence])[0], model.probabilities(rows), **OTHER_KERNEL_32
        )
    alone = own.predict(asked[0])
    np.testing.assert_array_equal(alone, own.predict(asked[:1])[0], "one that is in no list")
    if found.path.stem != "forecast":
        shares = own.probabilities(asked[:1])[0]
        np.testing.assert_array_equal(own.probabilities(asked[0]), shares)
    if found.path.stem == "text":
        assert tuple(plain.SYMBOLS) == model.vocabulary
        greedy = own.generate("the cat ", 9, temperature=1e-6)
        assert greedy == model.generate("the cat ", 9, temperature=0)
    else:
        assert model.meaning.columns == plain.COLUMNS
    again = nas.load("plain.safetensors")
    assert again.meaning == model.meaning


@pytest.mark.parametrize(
    ("task", "data"),
    [
        (Words("my.txt", most_words=8, window=8, **SIZES), ["one two , three", "four five seven"]),
        (Arrays("keys.npz", head="bernoulli", horizon=1, **SIZES), np.eye(5)[np.newaxis, [0, 3]]),
        (Arrays("numbers.npz", head="gaussian", **SIZES), [np.eye(2), np.ones((4, 2))]),
    ],
    ids=["words", "bits", "numbers"],
)
def test_other_kinds_of_data_are_read_and_answered_alike(
    task: Task, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    cell = ZOO["gru"]
    settings = (Settings(3000, learning_rate=0.2),)
    weights = run(Evaluation(str(cell), cell.key, task, settings, 0)).weights
    assert weights is not None
    Path("winner.safetensors").write_bytes(weights)
    model = nas.load("winner.safetensors")
    assert isinstance(model, TrainedModel)
    plain = plain_of(Winner(Path("winner.safetensors"), task, None))  # type: ignore[arg-type]
    plain.check_weights()
    wanted = model.predict(data)
    for ours, theirs in zip(plain.load().predict(data), wanted, strict=True):
        if isinstance(theirs, str):
            assert ours == theirs
        else:
            np.testing.assert_allclose(ours, theirs, **OTHER_KERNEL_32)
    one = plain.load().predict(data[0])
    np.testing.assert_array_equal(one, plain.load().predict(data[:1])[0])
    assert main(["winner.safetensors", "--onnx", "out.onnx"]) == 0
    network = load_model("winner.safetensors")
    if task.interface.head == "gaussian":
        legend = task.legend()
        one = (np.array(data[1]) - legend["means"]) / legend["scales"]
        scores = network(torch.from_numpy(one).float().unsqueeze(1))[0][-1, 0].detach().numpy()
        by_hand = scores * legend["target_scales"] + legend["target_means"]
        np.testing.assert_allclose(wanted[1], by_hand, **OTHER_KERNEL_32)
    elif task.name == "words":
        tokens = torch.tensor([[model.vocabulary.index(w)] for w in data[0].split()])
        best = int(network(tokens)[0][-1, 0].argmax())
        assert wanted[0] == model.vocabulary[best]
        assert set(model.generate(data[0], 5).split()) <= set(model.vocabulary)
    else:
        bits = network(torch.from_numpy(data).float().transpose(0, 1))[0] > 0
        assert (wanted == bits.transpose(0, 1).numpy()).all()


def test_the_plain_state_dict_holds_the_scales(found: Winner) -> None:
    model, own = loaded(found), plain_of(found).load()
    if found.path.stem == "text":
        assert not [name for name in own.state_dict() if "means" in name]
        return
    assert torch.equal(own.state_dict()["input_means"], model.input_means)
    assert torch.equal(own.state_dict()["input_scales"], model.input_scales)


def test_a_graph_answers_as_the_model_does(found: Winner) -> None:
    model, asked = loaded(found), sequences(found)
    assert main([str(found.path), "--onnx", "out.onnx"]) == 0
    data = Path("out.onnx").read_bytes()
    session = session_of(data)
    names, lengths = [o.name for o in session.get_outputs()], np.array([len(s) for s in asked])
    if found.path.stem == "text":
        given = np.full((max(lengths), len(asked)), "", dtype=object)
        for k, text in enumerate(asked):
            given[: len(text), k] = list(text)
        inputs = {"symbols": given, "lengths": lengths}
        alone = {"symbols": given[:3, :1]}
    else:
        columns = list(model.meaning.columns)
        rows = np.zeros((max(lengths), len(asked), len(columns)))
        for k, frame in enumerate(asked):
            rows[: len(frame), k] = frame[columns].to_numpy()
        inputs, alone = {"x": rows, "lengths": lengths}, {"x": rows[: lengths[0], :1]}
    outputs = dict(zip(names, session.run(None, inputs), strict=True))
    for k, sequence in enumerate(asked):
        if found.path.stem == "forecast":
            wanted = model.predict(sequence)
            np.testing.assert_allclose(
                outputs["means"][: lengths[k], k], wanted, **OTHER_RUNTIME_32
            )
            continue
        one = sequence if isinstance(sequence, str) else sequence["value"].to_numpy()
        assert outputs["answer"][k] == model.predict(one)
        np.testing.assert_allclose(
            outputs["probabilities"][k], model.probabilities(one), **OTHER_RUNTIME_32
        )
    dict(zip(names, session.run(None, alone), strict=True))  # without lengths and states
    known = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    for name in ("columns", "targets", "classes", "symbols"):
        if wanted := getattr(model.meaning, name):
            assert json.loads(known[f"nas.{name}"]) == list(wanted)
    assert known["nas.answers"] == model.meaning.answers


def test_a_graph_goes_on_from_a_state_and_begins_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = winner("forecast", tmp_path)
    assert main([str(found.path), "--onnx", "out.onnx"]) == 0
    session = session_of(Path("out.onnx").read_bytes())
    rows = pandas.read_csv(found.task.path)[["load", "heat"]].to_numpy()[:30, np.newaxis]  # type: ignore[attr-defined]
    whole, last = session.run(None, {"x": rows})
    first, state = session.run(None, {"x": rows[:12]})
    second, after = session.run(None, {"x": rows[12:], "h_0": state})
    np.testing.assert_allclose(np.concatenate([first, second]), whole, **OTHER_RUNTIME_32)
    np.testing.assert_allclose(after, last, **OTHER_RUNTIME_32)
    np.testing.assert_allclose(whole[:, 0], loaded(found).predict(rows[:, 0]), **OTHER_RUNTIME_32)


def test_a_symbol_that_a_graph_does_not_know_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(winner("text", tmp_path).path), "--onnx", "out.onnx"]) == 0
    session = session_of(Path("out.onnx").read_bytes())
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"symbols": np.array([["ß"]], dtype=object)})


@pytest.mark.process
def test_plain_files_of_winners_are_formatted(found: Winner, tmp_path: Path) -> None:
    assert main([str(found.path), "plain.py"]) == 0
    root = Path(nas.__file__).parent.parent
    ruff = Path(sys.executable).parent / "ruff"
    for mode in (["format", "--check", "--diff"], ["check"]):
        command = [ruff, *mode, "--config", root / "pyproject.toml", "plain.py"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([sys.executable, "-I", "plain.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
