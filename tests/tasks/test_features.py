"""Words and gaps of a table as features: a trained model makes those that its training had."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from nas.errors import UserError
from nas.nn.asking import asked
from nas.nn.meaning import meaning_of
from nas.testing import check_task
from tests.tasks.own_tables import PLAIN, csv, inputs, lines, task


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weather(n: int = 90) -> pandas.DataFrame:
    """Two stations with gaps; the first row of each has none of the numbers."""
    random = np.random.default_rng(3)
    frame = pandas.DataFrame({
        "station": np.repeat(["b", "a", "c"], n // 3), "wind": random.choice(list("NESW"), n),
        "load": random.normal(3, 2, n), "room": random.normal(size=n),
    })  # fmt: skip
    frame.loc[random.random(n) < 0.3, "wind"] = None
    frame.loc[random.random(n) < 0.3, "load"] = np.nan
    frame.loc[[0, 30, 60], ["load", "wind"]] = None  # the first rows
    return frame


IN_TURN = np.arange(90).reshape(3, 30).T.ravel()
TRAINING = np.concatenate([np.arange(24) + first for first in (0, 30, 60)])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("how", ["fill", "mark"])
def test_gaps_are_filled_from_their_own_sequence(how: str, kind: str) -> None:
    frame = weather()
    getattr(frame, f"to_{kind}")(f"t.{kind}", index=False)
    fields: dict[str, Any] = {"group": "station", "categories": ("wind",), "missing_values": how}
    read = task(f"t.{kind}", target=("room",), normalise=True, window=4, **fields)
    check_task(read)
    # As pandas fills within a station; before the first number the mean of those in training.
    filled = frame.groupby("station", sort=False)[["wind", "load"]].ffill()
    load = filled["load"].fillna(frame["load"][TRAINING].mean())
    scaled = (load - load[TRAINING].mean()) / load[TRAINING].std(ddof=0)
    room = (frame["room"] - frame["room"][TRAINING].mean()) / frame["room"][TRAINING].std(ddof=0)
    wanted = pandas.get_dummies(filled["wind"], prefix="wind", prefix_sep="=", dtype=float)
    if how == "mark":
        wanted["wind is missing"] = frame["wind"].isna() * 1.0
    wanted["load"] = scaled
    if how == "mark":
        wanted["load is missing"] = frame["load"].isna() * 1.0
    wanted["room"] = room
    assert read.legend()["features"] == list(wanted.columns)
    assert np.allclose(inputs(read), wanted, atol=1e-5)


@pytest.mark.parametrize("how", ["fill", "mark"])
def test_a_trained_model_makes_the_same_features_of_a_table(how: str) -> None:
    """Of the table as it is, sequence by sequence, with the legend that is kept as JSON."""
    frame = weather().assign(turn=np.arange(90) % 3 + 1.0, code=[f"{k % 4:02}" for k in range(90)])
    frame.loc[:5, "turn"] = np.nan
    frame.to_csv("t.csv", index=False)
    read = task(
        "t.csv", target=("room",), group="station", categories=("wind", "turn", "code"), window=4,
        missing_values=how, normalise=True,
    )  # fmt: skip
    wanted = inputs(read)
    legend = json.loads(json.dumps(read.legend()))
    meaning = meaning_of({"task": "csv", "answers": "each step", "legend": legend}, read.interface)
    raw = pandas.read_csv("t.csv").iloc[IN_TURN]
    for k, sequence in enumerate(asked(raw, meaning).sequences):
        scaled = (sequence - meaning.inputs.means) / meaning.inputs.scales
        assert np.allclose(scaled, wanted[30 * k : 30 * k + 30], atol=1e-5)
    made = pandas.DataFrame(sequence, columns=meaning.columns)
    assert np.array_equal(asked(made, meaning).sequences[0], sequence), "it may have features"
    with pytest.raises(UserError, match=r'the rows: no column "wind"'):
        asked(raw.drop(columns="wind"), meaning)


def test_a_category_that_training_has_not_is_none() -> None:
    text = lines(lambda k: (k, "new" if k > 50 else "ab"[k % 2]), "x,kind")
    read = csv(text, target=("x",), categories=("kind",))
    assert read.legend()["features"] == ["x", "kind=a", "kind=b", "kind=new"]
    assert inputs(read)[51:, 1:].sum() == 0
    assert (inputs(read)[:51, 1:3].sum(1) == 1).all()
    assert inputs(read)[:51, 3].sum() == 0


def test_features_are_the_same_in_all_folds() -> None:
    """Each fold has another training part, which may lack a word."""
    text = lines(lambda k: (k, f"w{k // 10}", k // 5, k // 5 % 2), "x,word,ride,kind", 200)
    read = csv(
        text, goal="classify", label="kind", group="ride", categories=("word",), columns=("x",),
        folds=4, missing_values="mark",
    )  # fmt: skip
    names = {tuple(fold.legend()["features"]) for fold in read.in_folds()}
    assert len(names) == 1
    lacks = [np.array(fold.data.parts["train"].inputs)[:, 1:].sum(0) for fold in read.in_folds()]
    assert any((counts == 0).any() for counts in lacks)


def test_a_missing_target_is_not_scored() -> None:
    gaps = [k for k in range(200) if k % 7 == 3 or 100 <= k < 130]
    text = lines(lambda k: (k / 9, "" if k in gaps else k), "x,y", 200)
    read = csv(text, target=("y",), columns=("x",), missing_values="fill", horizon=2)
    check_task(read)
    for split, low, high in (("train", 0, 160), ("validation", 160, 180), ("test", 180, 200)):
        pairs = set()
        for window in read.windows(split, 0):  # type: ignore[arg-type]
            assert window.scored.any(0).all(), "each piece has something to learn"
            x, y = window.inputs[window.scored], window.targets[window.scored]
            pairs |= set(zip((x[:, 0] * 9).round().astype(int).tolist(), y[:, 0], strict=True))
        every = {(k, k + 2) for k in range(low, high - 2) if k + 2 not in gaps}
        assert pairs <= every
        assert split == "train" or pairs == every


GAPS: dict[str, tuple[str, dict[str, Any], str]] = {
    "number": (lines(lambda k: (k, "" if k == 4 else k), "x,y"), {},
               'column "y" has no number in row 5 .* set tasks.csv.missing_values to fill or mark'),
    "numbers": (lines(lambda k: (k, "" if k % 9 == 4 else k), "x,y"), {},
                'column "y" has no number in rows 5, 14, 23 and 4 more of .*: fill them in'),
    "word": (lines(lambda k: (k, "" if k == 4 else k), "x,w"), {"categories": ("w",)},
             'column "w" has nothing in row 5'),
    "infinite": (lines(lambda k: (k, "inf" if k == 4 else k), "x,y"), {"missing_values": "fill"},
                 'column "y" has an infinite number in row 5'),
    "all": (lines(lambda k: (k, "" if k < 50 else k), "x,y"), {"missing_values": "mark"},
            'column "y" has no number in the training part'),
    "no words": (lines(lambda k: (k, ""), "x,w"),
                 {"missing_values": "mark", "categories": ("w",)}, "1 to 1000 different words"),
    "words": (lines(lambda k: (k, k), "x,w", 1300), {"categories": ("w",)},
              'column "w" must have 1 to 1000 different words, got 1300'),
    "target": (lines(lambda k: (k if k < 48 else "", k), "x,w"), {"missing_values": "fill"},
               "the validation split has no row whose x 1 row later is there"),
    "label": (lines(lambda k: (k, "" if k == 4 else k % 2), "x,w"),
              {"goal": "classify", "label": "w", "label_of": "row", "missing_values": "fill"},
              'column "w" has nothing in row 5'),
    "nothing to read": (lines(lambda k: (k, k % 2), "g,w"),
                        {"goal": "classify", "label": "w", "group": "g"},
                        "columns must name a column to read. Known: g, w"),
    "no column": (PLAIN, {"categories": ("wind",), "target": ("room",)},
                  'tasks.csv.categories: no column "wind"'),
}  # fmt: skip


@pytest.mark.parametrize("name", GAPS)
def test_gaps_that_cannot_be_filled_are_one_sentence(name: str) -> None:
    text, fields, message = GAPS[name]
    with pytest.raises(UserError, match=message) as caught:
        csv(text, **{"target": ("x",), **fields}).check()
    assert "\n" not in str(caught.value)
