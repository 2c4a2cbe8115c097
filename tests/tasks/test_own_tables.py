"""Tables as users have them: what is read is what was meant, or one sentence says what to do."""

import dataclasses
import datetime
import decimal
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from nas.errors import UserError
from nas.study.config import SearchConfig, definition
from nas.tasks import Csv
from nas.tasks.config import TasksConfig
from nas.tasks.csv import _data
from tests.tasks.own_data import SMALL, waves
from tests.tasks.own_tables import FRAME, PLAIN, csv, inputs, lines, task

RANDOM = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(of: Csv) -> str:
    with pytest.raises(UserError) as caught:
        of.check()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# --- names and fields of a row ---


AT_ENDS = PLAIN.replace("\n", ",\n").replace("room,\n", "room\n", 1)
MORE_FIELDS = {
    "at each end": (AT_ENDS, "rows 1 to 60"),
    "decimal commas": (lambda: lines(lambda k: (k, 20, 5), "time,room"), "rows 1 to 60"),
    "names of rows": (FRAME.to_csv().replace(",time", "time", 1), "rows 1 to 60"),
    "in the first row": (PLAIN.replace("\n0,", "\n0,1,", 1), "row 1"),
    "in a later row": (PLAIN.replace("\n7,", "\n7,1,", 1), "row 8"),
    "now and then": (lambda: lines(lambda k: (k, k, *[1] * (k % 9 == 0)), "time,room"),
                     "rows 1, 10, 19 and 4 more"),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE_FIELDS)
def test_more_fields_than_names_are_refused(name: str) -> None:
    text, rows = MORE_FIELDS[name]
    sentence = refused(csv(text if isinstance(text, str) else text(), target=("room",)))
    assert f"names in its first line, and more fields in {rows}: remove" in sentence


def test_a_column_without_a_name_is_no_feature(caplog: pytest.LogCaptureFixture) -> None:
    """A saved index counts the rows: sorted by label, it tells the label of noise."""
    fields: dict[str, Any] = {"goal": "classify", "label": "kind", "label_of": "row"}
    frame = pandas.DataFrame({"x": RANDOM.normal(size=60), "kind": ["a"] * 30 + ["b"] * 30})
    once = csv(frame.to_csv(), **fields)
    assert np.allclose(inputs(once), frame[["x"]], atol=1e-6)
    assert 'name "Unnamed: 0" in tasks.csv.columns' in caplog.text
    twice = csv(pandas.read_csv("t.csv").to_csv(), "u.csv", **fields)
    assert inputs(twice).shape == (60, 1)
    names = ("Unnamed: 0", "x")
    caplog.clear()
    assert (inputs(task("t.csv", columns=names, **fields))[:, 0] == range(60)).all()
    assert not caplog.text
    empty = csv(AT_ENDS.replace("room\n", "room,\n", 1), "v.csv", target=("room",))
    assert np.allclose(inputs(empty), FRAME, atol=1e-6)


# --- labels and groups ---


NAMES = ("NA", "None", "null", "nan", "7", "007", "1.1", "1.10", "True", "TRUE")


@pytest.mark.parametrize("label_of", ["row", "sequence"])
def test_labels_are_what_is_written(label_of: str) -> None:
    text = lines(lambda k: (k, NAMES[k // 8 % 10], k // 8), "x,kind,ride", 800)
    read = csv(text, goal="classify", label="kind", label_of=label_of, group="ride")
    read.check()
    assert read.legend()["classes"] == sorted(NAMES)
    part = read.data.parts["train"]
    for name, code in zip([NAMES[k // 8 % 10] for k in range(800)], part.targets, strict=True):
        assert sorted(NAMES)[code] == name


def test_groups_are_what_is_written() -> None:
    text = lines(lambda k: (k, NAMES[k // 20]), "x,ride", 200)
    pieces = csv(text, target=("x",), group="ride", window=20).data.parts["validation"]
    assert len(pieces.starts) == 10
    assert pieces.starts.tolist() == [16 + 20 * k for k in range(10)]


def test_many_rows_have_as_many_groups_as_are_written() -> None:
    """pandas reads a long file in chunks, of which each has its own types: 7 here and 007 there."""
    n, words = 40_000, [*(f"{k:03}" for k in range(100)), "new"]
    rest = ",0" * 30  # of wide tables chunks have fewer rows
    text = lines(
        lambda k: (k, words[k % (100 if k < n / 2 else 101)] + rest),
        "x,ride" + "".join(f",c{k}" for k in range(30)),
        n,
    )
    fields: dict[str, Any] = {"columns": ("x",), "target": ("x",), "group": "ride"}
    assert len(csv(text, window=2000, **fields).data.parts["test"].starts) == 101


def test_what_is_read_otherwise_than_at_first_has_another_version() -> None:
    """A study whose outcomes are of other data is not gone on with; the others are."""
    fields: dict[str, Any] = {"target": ("x",), "columns": ("x",), "group": "ride"}

    def digest(names: Sequence[str], **more: Any) -> str:
        text = lines(lambda k: (k, names[k // 20]), "x,ride")
        return csv(text, f"{'-'.join(names)}.csv", **{**fields, **more}).data.sha256

    assert len(digest(["1", "2", "3"])) == 64
    assert len(digest(["01", "02", "10"])) == 64
    assert len(digest(["1.0", "2.0", "3.0"])) == 64
    assert digest(["7", "007", "8"]).endswith(", ride as text")
    classes: dict[str, Any] = {"goal": "classify", "label": "ride", "label_of": "row", "group": ""}
    assert len(digest(["1.0", "2.0", "3.0"], **classes)) == 64
    assert digest(["02", "1", "3"], **classes).endswith(", ride as text"), "the order is another"


# --- time ---


HOURS = pandas.date_range("2024-10-26T20:00", periods=60, freq="20min", tz="Europe/Berlin")
MIXED = RANDOM.permutation(60)
WRITTEN: dict[str, tuple[Callable[[pandas.Timestamp], object], str]] = {
    "offsets": (lambda t: t.isoformat(), ""),
    "offsets without a colon": (lambda t: t.strftime("%Y-%m-%d %H:%M%z"), ""),
    "UTC and offsets": (lambda t: t.isoformat() if t.minute else
                        t.tz_convert("UTC").strftime("%Y-%m-%dT%H:%MZ"), ""),
    "day first": (lambda t: t.tz_convert("UTC").strftime("%d.%m.%Y %H:%M"), "%d.%m.%Y %H:%M"),
    "AM and PM": (lambda t: t.tz_convert("UTC").strftime("%m/%d/%Y %I:%M %p"), "%m/%d/%Y %I:%M %p"),
    "offsets of a form": (lambda t: t.strftime("%d/%m/%Y %H:%M %z"), "%d/%m/%Y %H:%M %z"),
    "digits": (lambda t: t.tz_convert("UTC").strftime("%d%m%Y%H%M"), "%d%m%Y%H%M"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_rows_are_sorted_in_utc(name: str) -> None:
    """Over the night in which clocks are set back."""
    write, form = WRITTEN[name]
    text = lines(lambda k: (write(HOURS[MIXED[k]]), MIXED[k]), "when,x")
    read = inputs(csv(text, target=("x",), time="when", time_format=form))
    assert (read[:, 0] == range(60)).all()


NO_TIMES: dict[str, tuple[Callable[[int], object], str, str]] = {
    "day first": (lambda k: HOURS[k].strftime("%d/%m/%Y"), "", 'got "26/10/2024" in row 1: say'),
    "AM": (lambda k: HOURS[k].strftime("%m/%d/%Y %I %p"), "", "dates such as 2024-05-31 12:00, g"),
    "named zone": (lambda k: f"2024-10-26 {k % 24:02}:00 CET", "", '00:00 CET" in row 1: say how'),
    "one of them": (lambda k: "soon" if k == 8 else f"2024-10-26T{k % 24:02}:00", "", "in row 9"),
    "some offsets": (lambda k: HOURS[k].isoformat() if k != 3 else "2024-10-26T21:00", "",
                     'offset from UTC in every row or in none, got "2024-10-26T21:00" in row 4'),
    "a day without": (lambda k: HOURS[k].isoformat() if k != 3 else "2024-10-26", "",
                      'offset from UTC in every row or in none, got "2024-10-26" in row 4'),
    "gap": (lambda k: "" if k == 5 else HOURS[k].isoformat(), "", "has no date in row 6"),
    "other form": (lambda k: "1.2.2024" if k else "2.2.24", "%d.%m.%Y",
                   'written as %d.%m.%Y, as tasks.csv.time_format says, got "2.2.24" in row 1'),
    "no form": (lambda k: "1.2.2024", "%Q", 'time_format must be a form such as .* got "%Q"'),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_TIMES)
def test_what_is_no_time_is_one_sentence(name: str) -> None:
    write, form, message = NO_TIMES[name]
    text = lines(lambda k: (write(k), k), "when,x")
    with pytest.raises(UserError, match=message) as caught:
        csv(text, target=("x",), time="when", time_format=form).check()
    assert "\n" not in str(caught.value)
    assert "utc=" not in str(caught.value)


# --- separators, decimals and encodings ---


def german(separator: str = ";", decimal: str = ",", end: str = "\n") -> str:
    return FRAME.to_csv(index=False, sep=separator, decimal=decimal, lineterminator=end)


DIALECTS: dict[str, tuple[str | bytes, str, dict[str, Any]]] = {
    "semicolons": (german(), "t.csv", {}),
    "semicolons and points": (german(decimal="."), "t.csv", {}),
    "tabs": (german("\t"), "t.csv", {}),
    "tabs by their name": (german("\t", "."), "t.tsv", {}),
    "a wrong name": (german(";", "."), "t.tsv", {}),
    "bars, compressed": (german("|"), "t.csv.gz", {}),
    "Excel's line": ("sep=;\n" + german(), "t.csv", {}),
    "quotes": (german(","), "t.csv", {}),
    "given": (german(" ", ","), "t.csv", {"separator": " ", "decimal": ","}),
    "given by name": (german("\t", "."), "t.csv", {"separator": "tab"}),
    "mark": ("\ufeff" + german(), "t.csv", {}),
    "UTF-16": (german("\t", end="\r\n").encode("utf-16"), "t.csv", {}),
    "Latin": (german().replace("load", "lößd").encode("cp1252"), "t.csv", {"encoding": "cp1252"}),
    "line ends": (german(end="\r"), "t.csv", {}),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_table_in_another_dialect_is_read_as_the_plain_one(name: str) -> None:
    text, path, fields = DIALECTS[name]
    assert np.allclose(inputs(csv(text, path, target=("room",), **fields)), FRAME, atol=1e-6)


def test_one_column_may_have_decimal_commas() -> None:
    """Its commas part as many fields in every row, so that they may be meant so."""
    text = "x\n" + FRAME["room"].to_csv(index=False, header=False, decimal=",", sep=";")
    assert "or say in tasks.csv.separator what parts fields" in refused(csv(text, target=("x",)))
    read = inputs(csv(text, "u.csv", target=("x",), separator=";"))
    assert np.allclose(read[:, 0], FRAME["room"], atol=1e-6)


def test_a_damaged_table_is_one_sentence() -> None:
    whole = bytearray(gzip.compress(PLAIN.encode()))
    for place in range(12, len(whole), 40):
        changed = whole.copy()
        changed[place] ^= 0xFF
        Path(f"{place}.csv.gz").write_bytes(changed)
        assert "is no table" in refused(task(f"{place}.csv.gz", target=("room",)))


def test_what_was_found_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    csv(german(), target=("room",)).check()
    assert caplog.messages == [
        f'tasks.csv.path: "{Path("t.csv").absolute()}" is read with ";" between fields and "," in '
        "numbers."
    ]
    caplog.clear()
    task("t.csv", target=("room",), separator=";", decimal=",").check()
    csv(PLAIN, "plain.csv", target=("room",)).check()
    csv(german("\t", "."), "tabs.csv", target=("room",), separator="tab").check()
    csv(german("\t", "."), "tabs.tsv", target=("room",)).check()
    assert caplog.messages == []


BAD_DIALECTS: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "two separators": ("Heat (C, 2m);x\n" + "1,5;2\n" * 60, {}, 'may be parted by "," or ";"'),
    "thousands": ("y;x\n" + "1,234;5\n" * 60, {}, 'got "1,234" in row 1 .*set tasks.csv.decimal'),
    "thousands too": (
        "y;x\n" + "1,5;5\n4;5\n" * 15 + "1.234,5;6\n" * 30,
        {},
        'got "1.234,5" in row 31 of .*: leave out the signs between thousands',
    ),
    "wrong decimal": (german(), {"decimal": "."}, r'got "-?0,\d+" in row 1 .* tasks.csv.decimal'),
    "wrong point": (german(decimal="."), {"decimal": ","}, r'"-?0\.\d+" in row 1 .* to "\."'),
    "German thousands": ("y;x\n" + "0,5;1.234\n" * 60, {}, '0,5" in row 1 .*decimal to ","'),
    "German ones as told": (
        "y;x\n" + "0,5;1.234\n" * 60,
        {"decimal": ","},
        'got "1.234" in row 1 .* leave out the signs between thousands',
    ),
    "long": (PLAIN, {"separator": "::"}, 'separator must be one character, or tab, got "::"'),
    "decimal": (PLAIN, {"decimal": "x"}, "decimal must be one of"),
    "bytes": (
        PLAIN.replace("load", "lößd").encode("cp1252"),
        {},
        "is not UTF-8, line 1 has the byte 0xf6: name its encoding in tasks.csv.encoding, such",
    ),
    "late bytes": (PLAIN.encode() + b"60,\xb0,1\n", {}, "is not UTF-8, line 62 has the byte 0xb0"),
    "encoding": (PLAIN, {"encoding": "cp99"}, "encoding must be one that Python knows"),
    "no text": (PLAIN, {"encoding": "base64"}, "encoding must be one that Python knows"),
    "no mark": (PLAIN, {"encoding": "utf-16"}, "is not utf-16"),
}


@pytest.mark.parametrize("name", BAD_DIALECTS)
def test_a_dialect_that_is_none_is_one_sentence(name: str) -> None:
    text, fields, message = BAD_DIALECTS[name]
    target = "x" if "x" in str(text)[:20] else "room"
    with pytest.raises(UserError, match=message) as caught:
        csv(text, target=(target,), **fields).check()
    assert "\n" not in str(caught.value)


# --- Parquet ---


def test_a_named_index_of_parquet_is_a_column() -> None:
    days = pandas.date_range("2024-01-01", periods=60, tz="Europe/Berlin", name="when")
    frame = FRAME.set_index(days)[["load"]].iloc[MIXED]
    frame.to_parquet("days.parquet")
    wanted = FRAME[["load"]].to_numpy()
    read = task("days.parquet", target=("load",), time="when")
    assert np.allclose(inputs(read), wanted, atol=1e-6)
    levels = pandas.MultiIndex.from_product([["b", "a"], range(30)], names=["ride", "step"])
    FRAME.set_index(levels)[["load"]].to_parquet("rides.parquet")
    fields: dict[str, Any] = {"target": ("load",), "group": "ride", "time": "step"}
    rides = task("rides.parquet", **fields)
    assert np.allclose(inputs(rides), wanted, atol=1e-6), "an index is a feature if it is named"
    assert len(rides.data.parts["test"].starts) == 2
    assert inputs(task("rides.parquet", columns=("step", "load"), **fields)).shape == (60, 2)


def test_numbers_of_parquet_that_pandas_keeps_as_objects_are_numbers() -> None:
    prices = [decimal.Decimal(f"{value:.4f}") for value in FRAME["load"]]
    pandas.DataFrame({"price": prices}).to_parquet("prices.parquet")
    read = inputs(task("prices.parquet", target=("price",)))
    assert np.allclose(read[:, 0], FRAME["load"], atol=1e-6)


# --- what is no number ---


DAY, ONE_SECOND = datetime.date(2024, 5, 31), pandas.Timedelta(1, "s")
NO_NUMBERS: dict[str, tuple[Any, str]] = {
    "date": ("2024-05-31 12:00", "name it in tasks.csv.time; else mend it"),
    "day first": ("31.05.2024", "name it in tasks.csv.time; else mend it"),
    "time of day": ("12:30", "name it in tasks.csv.time; else mend it"),
    "word": ("north", "name it in tasks.csv.categories; else mend it"),
    "lines": ("two\nlines", 'got "two lines" in row 1 .* name it in tasks.csv.categories'),
    "a date": (DAY, 'got "2024-05-31" in row 1 .* name it in tasks.csv.time'),
    "a moment": (pandas.Timestamp(DAY), 'got "2024-05-31 00:00:00" .* name it in tasks.csv.time'),
    "a time": (ONE_SECOND, 'must be numbers, got "0 days 00:00:01" in row 1'),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_number_may_be_a_time_or_a_category(name: str) -> None:
    value, message = NO_NUMBERS[name]
    FRAME.assign(other=[value] * 60).to_parquet("t.parquet")
    with pytest.raises(UserError, match=message) as caught:
        task("t.parquet", target=("room",)).check()
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"set tasks\.csv\.goal to classify"):
        task("t.parquet", columns=("load",), target=("other",)).check()


# --- old studies ---


def test_fields_that_were_added_do_not_change_old_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is what it was before there were such fields."""
    waves(Path("waves.csv"))
    read = Csv("waves.csv", columns=("load", "heat"), target=("heat",), **SMALL, window=9)  # type: ignore[arg-type]
    assert read.version == "csv-b01406dbf81a"
    config = SearchConfig(tasks=TasksConfig(use=("csv",), csv=read))
    space = type("Space", (), {"version": "s"})
    stored = definition(config, space)["tasks"]["csv"]  # type: ignore[arg-type]
    added = {f.name for f in dataclasses.fields(Csv) if f.metadata.get("added")}
    assert len(added) == 8
    assert not added & set(stored)
    assert dataclasses.replace(read, decimal=".").version != read.version


def test_a_table_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = csv(PLAIN, target=("room",))
    read.check()
    monkeypatch.setattr(pandas, "read_csv", None)
    assert read.data is _data(read)
    read.check()
