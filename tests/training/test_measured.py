"""A winner's errors in the data's units, in pieces and with the state carried on."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas
import pytest

import nas
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.protocol.evaluation import Evaluation
from nas.protocol.measured import Measured
from nas.tasks import Csv
from nas.training.measured import measure_winner
from nas.training.train import run
from nas.zoo import ZOO
from tests.nn.winners import SIZES, Winner, winner
from tests.tasks.own_data import waves
from tests.tolerances import SEVEN_DIGITS


def measured(found: Winner) -> tuple[Measured, TrainedModel]:
    assert isinstance(found.task, Csv)
    told = measure_winner(found.path, found.task)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    assert model.measured["pieces"] == told.pieces
    return told, model


def test_the_errors_are_those_of_training_and_of_a_series_in_one(tmp_path: Path) -> None:
    found = winner("forecast", tmp_path)
    told, model = measured(found)
    task = found.task
    assert isinstance(task, Csv)
    assert told.pieces == pytest.approx(found.outcome.best, **SEVEN_DIGITS)
    assert told.rows == task.window
    scale = float(model.target_scales)
    assert told.units is not None
    assert told.carried is not None
    in_pieces, carried = told.units["heat"]
    assert in_pieces == pytest.approx(told.pieces * scale**2, **SEVEN_DIGITS)
    assert carried == pytest.approx(told.carried * scale**2, **SEVEN_DIGITS)
    frame = pandas.read_csv(task.path)
    answers = model.predict(frame)["heat"].to_numpy()
    pieces = task.data.parts["validation"]
    rows = np.arange(pieces.starts[0] + task.warmup, pieces.starts[-1] + pieces.lengths[-1])
    later = frame["heat"].to_numpy()[rows + task.horizon]
    assert carried == pytest.approx(float(np.mean((answers[rows] - later) ** 2)), rel=1e-4)
    assert carried != pytest.approx(in_pieces, rel=1e-3), "a case where the two differ"


def test_each_machine_is_a_series_and_labels_of_rows_are_measured(tmp_path: Path) -> None:
    waves(tmp_path / "waves.csv")
    task = Csv(
        path=str(tmp_path / "waves.csv"), goal="classify", label="state", label_of="row",
        columns=("load", "heat"), group="machine", window=12, n_params=(1500,), **SIZES,
    )  # fmt: skip
    cell = ZOO["gru"]
    result = run(Evaluation(str(cell), cell.key, task, (Settings(1500, learning_rate=0.2),), 0))
    assert result.weights is not None
    path = tmp_path / "csv.safetensors"
    path.write_bytes(result.weights)
    told, model = measured(Winner(path, task, result.outcomes[0]))
    assert told.pieces == result.outcomes[0].best
    assert told.units is None
    frame = pandas.read_csv(task.path)
    right = model.predict(frame)["state"] == frame["state"]
    parts = [part.iloc[160:180] for _, part in right.groupby(frame["machine"])]
    assert told.carried == pytest.approx(float(pandas.concat(parts).mean()))


def test_the_sentences_say_what_is_meant() -> None:
    told = Measured("csv", "mean squared error", False, 0.163, 35, 0.281, {"room": (0.652, 1.124)})
    assert told.sentences == (
        "csv, mean squared error on validation: 0.163 in pieces of 35 rows that begin at the "
        "initial state, as in training, and 0.281 with the state carried on from the first row of "
        "each series, as it is used. In the data's units the mean squared error is, of "
        "room 0.652 (its root 0.8075) in pieces and 1.124 carried on. Its state drifts: begin anew "
        "after about 35 rows, or search with a larger tasks.csv.window."
    )
    steady = dataclasses.replace(told, carried=0.16)
    assert "drifts" not in steady.sentences
    shares = Measured("csv", "share of right labels", True, 0.9, 35, 0.7)
    assert "drifts" in shares.sentences
    assert "drifts" not in dataclasses.replace(shares, carried=0.95).sentences
    whole = Measured("arrays", "mean squared error", False, 0.5, units={"output_0": (2.0, None)})
    assert whole.sentences == (
        "arrays, mean squared error on validation: 0.5 in whole sequences. In the data's units the "
        "mean squared error is, of output_0 2 (its root 1.414)."
    )
    assert Measured.from_json(told.described()) == told
