"""Tasks of a user's own files: what they predict, what they are split by, what they are told."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest

from nas.errors import UserError
from nas.search.search import main
from nas.tasks import Arrays, Csv, Module, Task, Words
from nas.tasks.base import SPLITS, Split, scored_rows
from nas.tasks.labelled import build
from nas.tasks.sequences import scaling
from nas.testing import check_task, steps
from tests.tasks.own_data import SMALL, TASKS_OF_FILES, write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write(folder)
    return folder


@pytest.fixture(autouse=True)
def _there(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(str(files))


@pytest.mark.parametrize("name", TASKS_OF_FILES)
def test_tasks_of_files_conform(name: str) -> None:
    check_task(TASKS_OF_FILES[name])


@pytest.mark.parametrize(
    "name", ["forecast", "forecast far, warm", "forecast of machines", "kind of sequences"]
)
def test_no_row_is_in_two_splits(name: str) -> None:
    """The numbers of the files are all different, so that a row is known by its values."""
    check_task(TASKS_OF_FILES[name], steps)


def column(name: str) -> np.ndarray:
    lines = [line.split(",") for line in Path("waves.csv").read_text().splitlines()]
    return np.array([float(line[lines[0].index(name)]) for line in lines[1:]])


def pairs(task: Task, split: Split) -> tuple[np.ndarray, np.ndarray]:
    targets, inputs = scored_rows(task.windows(split, 0))
    return inputs, targets


@pytest.mark.parametrize(("name", "horizon"), [("forecast", 1), ("forecast far, warm", 3)])
def test_a_forecast_is_the_row_so_much_later_normalised_by_training(
    name: str, horizon: int
) -> None:
    heat = column("heat")
    known = heat[:480]
    scaled = (heat - known.mean()) / known.std()
    for split, low, high in (("train", 0, 480), ("validation", 480, 540), ("test", 540, 600)):
        inputs, targets = pairs(TASKS_OF_FILES[name], split)
        wanted = {
            (round(a, 4), round(b, 4))
            for a, b in zip(scaled[low : high - horizon], scaled[low + horizon : high], strict=True)
        }
        found = {
            (round(float(a), 4), round(float(b), 4))
            for a, b in zip(inputs[:, 1], targets[:, -1], strict=True)
        }
        near = {(round(a + e, 4), round(b + f, 4)) for a, b in wanted for e in (-1e-4, 0, 1e-4)
                for f in (-1e-4, 0, 1e-4)}  # fmt: skip
        assert found <= near
        if split != "train":  # every row is scored once, but for the first ones of the split
            warmup = TASKS_OF_FILES[name].warmup  # type: ignore[attr-defined]
            assert len(inputs) == high - low - horizon - warmup


def test_rows_are_sorted_by_time(files: Path, tmp_path: Path) -> None:
    lines = (files / "waves.csv").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines) - 1) + 1
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("\n".join([lines[0], *(lines[k] for k in order)]))
    task = TASKS_OF_FILES["forecast far, warm"]
    other = dataclasses.replace(task, path=str(mixed))  # type: ignore[call-arg]
    for split in ("train", "test"):
        for one, two in zip(pairs(task, split), pairs(other, split), strict=True):  # type: ignore[arg-type]
            assert np.array_equal(one, two)


def test_parquet_is_read_as_csv_is(files: Path, tmp_path: Path) -> None:
    import pandas

    stored = tmp_path / "waves.parquet"
    pandas.read_csv(files / "waves.csv").to_parquet(stored)
    task = TASKS_OF_FILES["forecast"]
    other = dataclasses.replace(task, path=str(stored))  # type: ignore[call-arg]
    assert np.array_equal(pairs(task, "train")[0], pairs(other, "train")[0])
    assert task.version != other.version


def test_labels_of_sequences_are_scored_at_their_last_row() -> None:
    task = TASKS_OF_FILES["kind of sequences"]
    assert task.interface.outputs == 2
    assert task.legend()["classes"] == ["down", "up"]
    n = 0
    for window in task.windows("validation", 0):
        for k in range(window.scored.shape[1]):
            (last,) = np.flatnonzero(window.scored[:, k])
            assert (window.inputs[last + 1 :, k] == 0).all(), "behind the end is nothing"
            assert window.inputs[: last + 1, k].all()
            n += 1
    assert n == 6, "a tenth of 60 sequences"


def test_baselines_are_what_they_say() -> None:
    task = TASKS_OF_FILES["forecast"]
    heat = column("heat")
    held_out = heat[480:540]
    expected = np.mean((held_out[1:] - held_out[:-1]) ** 2) / heat[:480].var()
    found = task.baseline(0)
    assert found.name == "last value"
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert task.chance() == pytest.approx(
        np.mean((held_out[1:] - heat[:480].mean()) ** 2) / heat[:480].var(), rel=1e-4
    )
    keys = TASKS_OF_FILES["keys"]
    assert keys.chance() == pytest.approx(5 * math.log(2))
    shares, held_out = pairs(keys, "train")[1].mean(0), pairs(keys, "validation")[1]
    losses = -np.log(np.where(held_out > 0, shares, 1 - shares)).sum(1)
    assert keys.baseline(0).name == "share of each bit"
    # The shares here are of the 40 of 48 sequences that 5 batches have.
    assert keys.baseline(0).value == pytest.approx(losses.mean(), rel=0.02)


def test_the_version_follows_the_file(tmp_path: Path) -> None:
    for task, name in ((TASKS_OF_FILES["labels"], "labels.npz"),
                       (TASKS_OF_FILES["forecast"], "waves.csv"),
                       (TASKS_OF_FILES["words"], "my.txt")):  # fmt: skip
        one, two = tmp_path / f"a{name}", tmp_path / f"b{name}"
        shutil.copy(name, one)
        if name.endswith("npz"):
            with np.load(name) as stored:
                np.savez(two, **{**stored, "x": stored["x"] + 1})
        else:
            two.write_text(Path(name).read_text().replace("1", "2", 1).replace("one", "two", 1))
        found = [dataclasses.replace(task, path=str(path)).content() for path in (one, two)]  # type: ignore[call-arg]
        assert found[0] == task.content()
        assert found[0] != found[1]


def test_the_data_of_a_module_do_not_depend_on_its_shuffling() -> None:
    task = TASKS_OF_FILES["module"]
    assert isinstance(task, Module)
    from nas.tasks.module import _read

    one, two = _read(task), _read(task)
    assert one.sha256 == two.sha256
    assert np.array_equal(one.parts["train"].inputs, two.parts["train"].inputs)
    assert _read(dataclasses.replace(task, arguments=("n=100", "seed=1"))).sha256 != one.sha256
    with pytest.raises(UserError, match="gives other data each time that it is read"):
        dataclasses.replace(task, arguments=("n=99", "drop=true")).check()


def test_the_vocabulary_is_of_the_training_words_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    path.write_text("The cat sat, the dog ran.\n" * 400 + "A late word.\n" * 50)
    task = Words(str(path), most_words=5, lower_case=True, lines=True, batch_size=2, window=5)
    task.check()
    assert task.vocabulary == ("<unk>", "the", ",", ".", "<eos>", "cat")
    stream = next(task.windows("test", 0)).inputs
    assert set(stream.ravel().tolist()) <= {0, 3, 4}, "late, a and word are unknown"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में, cafe\u0301 ", ["हिन्दी", "में", ",", "cafe\u0301"]),
        ("l'e\u0301te\u0301! ", ["l'e\u0301te\u0301", "!"]),
        ("\u0645\u06cc\u200c\u0631 so\u00adft. ", ["\u0645\u06cc\u200c\u0631", "so\u00adft", "."]),
        ("❤\ufe0f \u2764\ufe0f! ", ["❤\ufe0f", "!"]),
        ("İ! ", ["i\u0307", "!"]),
    ],
    ids=["marks", "apostrophes", "joiners", "signs", "small letters"],
)
def test_marks_belong_to_their_word(text: str, words: list[str], tmp_path: Path) -> None:
    """By rule WB4 of Unicode's annex 29; at first they split words."""
    path = tmp_path / "w.txt"
    path.write_text(text * 100, encoding="utf-8")
    task = Words(str(path), lower_case=True, batch_size=2, window=2)
    assert set(task.vocabulary) == {"<unk>", *words}
    assert "marks" in task.content()
    assert "marks" not in dataclasses.replace(task, split_at="space").content()


def test_a_column_of_one_value_keeps_its_scale() -> None:
    """Its standard deviation by rounding is 1e-17, and another value would become 1e16 of them."""
    known = np.full((1000, 1), 0.1)
    assert known.std(0) != 0
    assert scaling(known, on=True).scales.tolist() == [1]


def test_numbers_of_pandas_own_types_are_numbers() -> None:
    columns = {"a": pandas.array(range(90), "Int64"), "b": pandas.array([0.5] * 90, "Float64")}
    pandas.DataFrame(columns).to_parquet("own.parquet")
    task = Csv("own.parquet", target=("a",), normalise=False, **SMALL)
    task.check()
    window = next(task.windows("train", 0))
    assert (window.targets[..., 0] - window.inputs[..., 0] == 1)[window.scored].all()
    assert (window.inputs[..., 1] == 0.5)[window.scored].all()


def test_targets_of_two_widths_are_refused() -> None:
    declared = Arrays(head="gaussian")
    inputs, targets = [np.ones((3, 1))] * 3, [np.ones(2), np.ones(3), np.ones(2)]
    dealt = {split: np.array([place]) for place, split in enumerate(SPLITS)}
    with pytest.raises(UserError, match=r"targets must have one width, got \(2,\), \(3,\)\."):
        build(declared, inputs, targets, dealt, "")


BAD = {
    "no path": (Csv(target=("a",)), "tasks.csv.path must name a .csv, .tsv or .parquet file"),
    "no file": (Csv("gone.csv", target=("a",)), 'tasks.csv.path: there is no file "gone.csv"'),
    "folder": (Csv(".", target=("a",)), r'"\." is a folder'),
    "ending": (Csv("my.txt", target=("a",)), "by its ending"),
    "no target": (Csv("waves.csv"), r"target must name a column to forecast. Known: when, machine"),
    "column": (
        Csv("waves.csv", columns=("load",), target=("heta",)),
        'tasks.csv.target: no column "heta". Did you mean "heat"',
    ),
    "text": (
        Csv("waves.csv", target=("heat",)),
        'column "when" must be numbers, got "2024-05-01T00:00" in row 1 of waves.csv: if it tells',
    ),
    "gap": (Csv("gap.csv", target=("a",)), 'column "a" has no number in row 2 of gap.csv: fill'),
    "infinite": (Csv("inf.csv", target=("a",)), 'column "a" has an infinite number in row 1'),
    "short": (Csv("short.csv", target=("a",)), "the validation split of the 4 rows"),
    "empty": (Csv("empty.csv", target=("a",)), '"empty.csv" is no table: No columns'),
    "no rows": (Csv("bare.csv", target=("a",)), '"bare.csv" has no rows'),
    "no label": (Csv("ramps.csv", goal="classify"), "label must name a column to classify"),
    "no group": (
        Csv("ramps.csv", goal="classify", label="kind"),
        "group must name the column that says which rows are one sequence, or label_of be row",
    ),
    "two labels": (
        Csv("waves.csv", goal="classify", label="state", group="machine", columns=("load",)),
        "rows of one machine must have one state, got high, low",
    ),
    "one label": (
        Csv("ramps.csv", goal="classify", label="one", group="id", columns=("value",)),
        'no column "one"',
    ),
    "date": (
        Csv("waves.csv", columns=("load",), target=("load",), time="state"),
        'column "state" of waves.csv must be numbers or dates',
    ),
    "metric": (
        Csv("waves.csv", columns=("load",), target=("load",), metric_name="accuracy"),
        "metric_name must be loss for numbers",
    ),
    "warmup": (Csv("waves.csv", target=("load",), warmup=35), r"warmup must be 0 to window - 1"),
    "horizon": (Csv("waves.csv", target=("load",), horizon=0), "horizon must be at least 1"),
    "shares": (Csv("waves.csv", target=("load",), test_share=0), "test_share > 0"),
    "no npz": (Arrays("my.txt"), r'"my.txt" is no .npz file of plain arrays'),
    "pickled": (Arrays("pickled.npz"), "is no .npz file of plain arrays"),
    "no x": (Arrays("nox.npz"), "has no array x, got y"),
    "name": (Arrays("name.npz"), "arrays are named x, y, lengths, split, got z"),
    "no y": (Arrays("keys.npz"), "has no array y, which head class needs"),
    "y of head": (
        Arrays("tokens.npz"),
        r"y of head class must be \(N,\) with the 80 sequences and 9 steps of x, got \(80, 9\)",
    ),
    "rows": (Arrays("rows.npz"), r"y must have a row for each of the 4 sequences of x, got .*5"),
    "nan": (Arrays("nan.npz"), "inputs must be finite numbers, sequence 3 has one that is not"),
    "lengths": (Arrays("lengths.npz"), "lengths must be whole numbers from 1 to the 3 steps"),
    "bits": (
        Arrays("numbers.npz", head="bernoulli"),
        "targets of head bernoulli must be 0 or 1, got",
    ),
    "classes": (Arrays("numbers.npz"), "classes must be whole numbers or names, got the type flo"),
    "few": (Arrays("few.npz"), "the validation split has none of the 3 sequences"),
    "tokens": (
        Arrays("tokens.npz", head="gaussian", horizon=1),
        "head gaussian with a horizon predicts features, and the inputs are tokens",
    ),
    "class ahead": (Arrays("labels.npz", horizon=1), "horizon must be 0 for head class"),
    "long": (Arrays("labels.npz", head="gaussian", horizon=4), "longer than the horizon 4"),
    "no module": (Module("gone:Mine"), r'"gone:Mine" cannot be imported: No module named'),
    "no class": (Module("my_data:Mine"), r"cannot be imported: module 'my_data' has no attr"),
    "no form": (Module("my_data"), r"must be package.module:Class"),
    "other class": (Module("json:JSONDecoder"), "must be a LightningDataModule, it has no setup"),
    "argument": (Module("my_data:MyData", ("m=1",)), "MyData does not take them: .*'m'"),
    "value": (Module("my_data:MyData", ("m",)), 'arguments are name=value, got "m"'),
    "no test": (Module("my_data:NoTest"), '"my_data:NoTest" has no loader for test'),
    "flat": (
        Module("my_data:Flat"),
        r"x of .* must be \(batch, time\) or .* the shape \(7,\)",
    ),
    "few rows to train": (
        Csv("short.csv", target=("a",), validation_share=0.5, test_share=0.4),
        "the train split of the 4 rows .* or lower validation_share or test_share",
    ),
    "nothing": (Csv("nothing.parquet", target=("a",)), 'column "a" has no number in row 2 of'),
    "few words": (Words("short.csv"), "the train split has 5 words, but one window takes"),
}


def write_bad() -> None:
    Path("gap.csv").write_text("a\n1\nnan\n3\n")
    Path("inf.csv").write_text("a\ninf\n2\n")
    Path("short.csv").write_text("a\n1\n2\n3\n4\n")
    Path("empty.csv").write_text("")
    Path("bare.csv").write_text("a,b\n")
    pandas.DataFrame({"a": pandas.array([1, None, 3], "Int64")}).to_parquet("nothing.parquet")
    x = np.ones((4, 3, 1))
    np.savez("pickled.npz", x=x, y=np.array([{}] * 4, dtype=object))
    np.savez("nox.npz", y=x)
    np.savez("name.npz", x=x, z=x)
    np.savez("rows.npz", x=x, y=np.zeros(5, int))
    np.savez("nan.npz", x=np.where(np.arange(40)[:, None, None] == 3, np.nan, np.ones((40, 3, 1))),
             y=np.arange(40) % 2)  # fmt: skip
    np.savez("lengths.npz", x=x, y=np.zeros(4, int), lengths=[1, 2, 3, 4])
    np.savez("few.npz", x=x[:3], y=np.arange(3))


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_sentence(name: str) -> None:
    write_bad()
    task, message = BAD[name]
    with pytest.raises(UserError, match=message) as caught:
        task.check()
    text = str(caught.value)
    assert text.endswith((".", "?"))
    assert "\n" not in text


def test_a_bad_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    write_bad()
    arguments = ["--tasks", "csv", "--tasks.csv.path", "gap.csv", "--tasks.csv.target", "a"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith('nas.search: tasks.csv.columns: column "a" has no number in row 2')
    assert said.count("\n") == 1


def test_legends_are_plain() -> None:
    for task in TASKS_OF_FILES.values():
        json.dumps(task.legend())


def test_small_is_small() -> None:
    assert all(task.batch_size == SMALL["batch_size"] for task in TASKS_OF_FILES.values())
