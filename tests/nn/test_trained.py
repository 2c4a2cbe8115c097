"""A winner knows its data: raw rows and texts in, the data's units and names out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import nas
from nas.errors import UserError
from nas.export.command import main
from nas.nn.loading import load_model
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.protocol.evaluation import Evaluation
from nas.tasks import Csv
from nas.training.train import run
from nas.zoo import ZOO
from tests.nn.winners import PROSE, SIZES, Winner, winner
from tests.tasks.own_data import waves
from tests.tolerances import OTHER_KERNEL_32, SEVEN_DIGITS


def model_of(found: Winner) -> TrainedModel:
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    assert not model.training
    return model


@pytest.fixture
def forecast(tmp_path: Path) -> Winner:
    return winner("forecast", tmp_path)


@pytest.fixture
def rides(tmp_path: Path) -> Winner:
    return winner("rides", tmp_path)


@pytest.fixture
def text(tmp_path: Path) -> Winner:
    return winner("text", tmp_path)


def test_raw_rows_give_the_error_that_training_measured(forecast: Winner) -> None:
    """In the data's units, on the pieces of validation; the scale turns it into training's."""
    task, model = forecast.task, model_of(forecast)
    assert isinstance(task, Csv)
    frame = pandas.read_csv(task.path)
    pieces = task.data.parts["validation"]
    apart = []
    for start, length in zip(pieces.starts.tolist(), pieces.lengths.tolist(), strict=True):
        answers = model.predict(frame.iloc[start : start + length])
        assert list(answers.columns) == ["heat"]
        assert answers.index.tolist() == list(range(start, start + length))
        later = frame["heat"].iloc[start + task.horizon : start + length + task.horizon]
        apart += list((answers["heat"].to_numpy() - later.to_numpy())[task.warmup :])
    assert 4 < frame["heat"].mean() < 6, "units in which normalised values would be far off"
    scale = float(model.target_scales)
    assert np.mean(np.square(apart)) / scale**2 == pytest.approx(forecast.outcome.best, rel=1e-4)


def test_scales_are_in_the_state_dict_and_names_are_attributes(forecast: Winner) -> None:
    model = model_of(forecast)
    frame = pandas.read_csv(forecast.task.path)[:480]  # type: ignore[attr-defined]
    state = model.state_dict()
    wanted = frame[["load", "heat"]].to_numpy()
    for name, values in (
        ("input_means", wanted.mean(0)),
        ("input_scales", wanted.std(0)),
        ("target_means", wanted.mean(0)[1:]),
    ):
        assert state[name].tolist() == pytest.approx(values.tolist(), **SEVEN_DIGITS)
    assert model.columns == model.meaning.columns == ("load", "heat")
    assert (model.meaning.targets, model.meaning.horizon) == (("heat",), 3)
    other = nas.load(forecast.path)
    other.load_state_dict(state)
    x = torch.from_numpy(wanted[:9]).unsqueeze(1)
    assert torch.equal(other(x)[0], model(x)[0])


def test_all_forms_of_rows_give_the_same(forecast: Winner) -> None:
    model = model_of(forecast)
    frame = pandas.read_csv(forecast.task.path)  # type: ignore[attr-defined]
    rows = frame[["load", "heat"]].to_numpy()
    alone = [model.predict(rows[:20]), model.predict(rows[20:33])]
    assert alone[0].shape == (20, 1)
    np.testing.assert_allclose(
        model.predict(frame[["heat", "when", "load"]][:20])["heat"], alone[0][:, 0]
    )
    together = model.predict([rows[:20], rows[20:33]])
    padded = np.stack([rows[:20], np.pad(rows[20:33], ((0, 7), (0, 0)), constant_values=np.nan)])
    cut = model.predict(padded, lengths=[20, 13])
    batch = model.predict(np.stack([rows[:20], rows[20:40]]))
    for k, one in enumerate(alone):
        np.testing.assert_allclose(together[k], one, **OTHER_KERNEL_32)
        np.testing.assert_allclose(cut[k], one, **OTHER_KERNEL_32)
        np.testing.assert_allclose(batch[k][: len(one)], one, **OTHER_KERNEL_32)
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (2, 20, 1)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_series_in_two_pieces_is_a_series_in_one(tmp_path: Path, cell: str) -> None:
    found = winner("forecast", tmp_path, cell)
    model = model_of(found)
    frame = pandas.read_csv(found.task.path)  # type: ignore[attr-defined]
    whole, last = model.predict(frame[:30], with_state=True)
    first, state = model.predict(frame[:18], with_state=True)
    second, after = model.predict(frame[18:30], state=state, with_state=True)
    pandas.testing.assert_frame_equal(pandas.concat([first, second]), whole)
    for ours, theirs in zip(torch.atleast_2d(*after), torch.atleast_2d(*last), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert isinstance(after, tuple) == (cell == "lstm")


def test_sequences_are_classified_by_name_as_training_scored_them(rides: Winner) -> None:
    task, model = rides.task, model_of(rides)
    assert isinstance(task, Csv)
    frame = pandas.read_csv(task.path)
    pieces = task.data.parts["validation"]
    ids = frame["id"].iloc[pieces.starts].tolist()
    held_out = frame[frame["id"].isin(ids)]
    answers = model.predict(held_out)
    assert answers.columns.tolist() == ["kind"]
    assert answers.index.tolist() == ids
    wanted = held_out.groupby("id")["kind"].first()
    assert (answers["kind"] == wanted).mean() == rides.outcome.best
    shares = model.probabilities(held_out)
    assert shares.columns.tolist() == list(model.classes) == ["down", "up"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, **OTHER_KERNEL_32)
    assert (shares.idxmax(axis=1) == answers["kind"]).all()


def test_the_last_real_step_of_a_padded_sequence_answers(rides: Winner) -> None:
    model = model_of(rides)
    frame = pandas.read_csv(rides.task.path)  # type: ignore[attr-defined]
    sequences = [part["value"].to_numpy(copy=True) for _, part in frame.groupby("id")][:6]
    lengths = [len(sequence) for sequence in sequences]
    assert len(set(lengths)) > 1
    alone = np.stack([model.probabilities(sequence) for sequence in sequences])
    together = model.probabilities(sequences)
    np.testing.assert_allclose(together, alone, **OTHER_KERNEL_32)
    padded = torch.zeros(max(lengths), 6, 1, dtype=torch.float64)
    for k, sequence in enumerate(sequences):
        padded[: lengths[k], k, 0] = torch.from_numpy(sequence)
    scores, state = model(padded, lengths=torch.tensor(lengths))
    np.testing.assert_allclose(scores.detach().softmax(-1), alone, **OTHER_KERNEL_32)
    network = load_model(rides.path)
    x = (padded - model.input_means) / model.input_scales
    for k, length in enumerate(lengths):
        wanted, final = network(x[:length, k : k + 1].float(), None)
        torch.testing.assert_close(scores[k], wanted[-1, 0], **OTHER_KERNEL_32)
        torch.testing.assert_close(state[:, k], final[:, 0], **OTHER_KERNEL_32)


def test_a_text_model_has_its_vocabulary_and_writes_on(text: Winner) -> None:
    model = model_of(text)
    Path(text.task.path).unlink()  # type: ignore[attr-defined]
    assert model.vocabulary == tuple(sorted(set(PROSE)))
    shares = model.probabilities("the cat ")
    assert shares.shape == (len(model.vocabulary),)
    assert model.predict("the cat ") == model.vocabulary[int(shares.argmax())]
    tokens = torch.tensor([[model.vocabulary.index(c)] for c in "the cat "])
    wanted = load_model(text.path)(tokens, None)[0][-1, 0].softmax(-1)
    np.testing.assert_allclose(shares, wanted.detach(), **OTHER_KERNEL_32)
    text_so_far = "the cat "
    for _ in range(5):
        text_so_far += model.predict(text_so_far)
    assert "the cat " + model.generate("the cat ", 5, temperature=0) == text_so_far
    assert model.generate("the", 20, seed=3) == model.generate("the", 20, seed=3)
    assert model.generate("the", 20, seed=3) != model.generate("the", 20, seed=4)
    both = [model.predict("the cat "), model.predict("the")]
    assert list(model.predict(["the cat ", "the"])) == both
    frame = pandas.DataFrame({"text": ["the cat ", "the"]}, index=["a", "b"])
    assert model.predict(frame)["next"].to_dict() == dict(zip("ab", both, strict=True))


def test_draws_follow_the_probabilities(text: Winner) -> None:
    model = model_of(text)
    shares = model.probabilities("th")
    drawn = [model.generate("th", 1, seed=seed) for seed in range(400)]
    for share, symbol in zip(shares, model.vocabulary, strict=True):
        error = 4 * np.sqrt(share * (1 - share) / 400) + 1 / 400
        assert abs(drawn.count(symbol) / 400 - share) < error, symbol


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("forecast", pandas.DataFrame({"load": [1.0], "heats": [2.0]}), 'no column "heat"'),
        ("forecast", [[1.0, float("nan")]], "step 0 of sequence 0 has nan in column heat"),
        ("forecast", [[1.0, 2.0, 3.0]], r"reads \(time, 2\) or \(batch, time, 2\) numbers"),
        ("forecast", pandas.DataFrame({"load": ["a"], "heat": [2]}), "load, heat must be numbers"),
        ("forecast", np.zeros((0, 2)), "sequence 0 is empty"),
        ("text", "the cät", "'ä' at place 5 of the text is none of the"),
        ("text", [0, 99], "whole numbers from 0 to"),
        ("text", "", "sequence 0 is empty"),
    ],
)
def test_what_a_model_cannot_read_is_one_sentence(
    tmp_path: Path, kind: Any, data: Any, said: str
) -> None:
    model = model_of(winner(kind, tmp_path))
    with pytest.raises(UserError, match=said) as caught:
        model.predict(data)
    assert len(str(caught.value).splitlines()) == 1


def test_inputs_of_the_layers_alone_are_refused_with_the_way_out(
    forecast: Winner, text: Winner
) -> None:
    for found, said in (
        (forecast, r"reads features \(time, batch, 2\) in the data's units, got torch.float32 of"),
        (text, r"reads symbols \(time, batch\), whole numbers, got torch.float32 of the shape"),
    ):
        model = model_of(found)
        x = torch.zeros(3, 2, model.rnn.input_size)
        assert model.rnn(x)[0].shape == (3, 2, model.rnn.output_size)
        with pytest.raises(UserError, match=rf"{said}.*model\.rnn are its layers alone"):
            model(x)


def test_what_a_model_does_not_do_is_said(forecast: Winner, rides: Winner) -> None:
    model = model_of(forecast)
    with pytest.raises(UserError, match="gives no probabilities"):
        model.probabilities([[1.0, 2.0]])
    with pytest.raises(UserError, match="reads no text"):
        _ = model.vocabulary
    with pytest.raises(UserError, match="predicts no next symbol"):
        model.generate("a")
    with pytest.raises(UserError, match="one number for each of the 1 sequences, got 2"):
        model.predict([[1.0, 2.0]], lengths=[1, 1])
    with pytest.raises(UserError, match="from 1 to the 1 steps of a sequence, sequence 0 has 2"):
        model.predict([[1.0, 2.0]], lengths=[2])


def without(path: Path, *names: str) -> Path:
    """The file as it was written before its description had these parts."""
    with safe_open(path, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        described = json.loads(stored.metadata()["nas"])
    for name in names:
        described.pop(name, None)
        described.get("legend", {}).pop(name, None)
    old = path.with_name("old.safetensors")
    save_file(tensors, old, {"nas": json.dumps(described)})
    return old


def test_older_files_load_and_say_what_they_lack(
    forecast: Winner, rides: Winner, text: Winner
) -> None:
    frame = pandas.read_csv(forecast.task.path)[:9]  # type: ignore[attr-defined]
    old = nas.load(without(forecast.path, "answers"))
    pandas.testing.assert_frame_equal(old.predict(frame), model_of(forecast).predict(frame))
    assert old.meaning.lacks == ""
    old = nas.load(without(text.path, "answers", "legend"))
    tokens = [1, 2, 3]
    wanted = load_model(text.path)(torch.tensor(tokens).unsqueeze(1), None)[0][-1, 0].argmax()
    assert old.predict(tokens) == wanted
    for ask in (lambda: old.predict("the"), lambda: old.vocabulary):
        with pytest.raises(UserError, match="written without their vocabulary"):
            ask()
    old = nas.load(without(rides.path, "answers", "label", "group"))
    with pytest.warns(UserWarning, match="do not say whether each step is answered") as caught:
        answers = old.predict([1.0, 2.0, 3.0])
    assert len(str(caught[0].message).splitlines()) == 1
    assert answers.shape == (3,)
    assert set(answers) <= {"up", "down"}


def test_a_plain_file_reads_words_of_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    waves(tmp_path / "waves.csv")
    task = Csv(
        path=str(tmp_path / "waves.csv"), columns=("load", "heat"), categories=("state",),
        target=("heat",), window=12, n_params=(1500,), **SIZES,
    )  # fmt: skip
    cell = ZOO["gru"]
    weights = run(Evaluation(str(cell), cell.key, task, (Settings(1500),), 0)).weights
    assert weights is not None
    Path("csv.safetensors").write_bytes(weights)
    frame = pandas.read_csv(task.path)[:20]
    model = nas.load("csv.safetensors")
    assert isinstance(model, TrainedModel)
    assert main(["csv.safetensors", "plain.py"]) == 0
    names: dict[str, Any] = {"__name__": "plain", "__file__": "plain.py"}
    exec(Path("plain.py").read_text(encoding="utf-8"), names)
    own = names["load"]("plain.safetensors").predict([frame])[0]
    np.testing.assert_allclose(own, model.predict(frame), **OTHER_KERNEL_32)
