"""Tables of recorded studies: what is written is what is read, and what a study holds."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest

from nas.cell import loads
from nas.protocol.evaluation import Cost, Evaluation, Outcome
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Judgement
from nas.replay.bench import make_bench
from nas.replay.command import main
from nas.replay.table import Header, Recorded, Table, read_table, write_table
from nas.samplers.point import PointSampler
from nas.spaces import load_space
from nas.study.study import open_study
from nas.tasks import Xml
from nas.zoo import ZOO
from tests.replay.replay_tables import table, walked

DOC = '"""Between\u2028lines, "quoted", \\\\ and ü."""'
ODD = f"def odd(x, h):\n    {DOC}\n    return tanh(linear(x, h))\n"
FULL = Recorded(
    3,
    "drawn",
    "odd",
    "0123456789abcdef",
    ODD,
    "xml",
    0.1 + 0.2,
    None,
    {"xml": None, "text": 1e-300},
    {"xml": 0.0},
    25_000,
    7,
    1.5e12,
    0.1,
    2,
    1,
    {"start": "gru", "a": 1, "b": 0.5, "c": True},
)
HEADER = Header(
    "mine", "gates", "gates-1", "kind: gates\n", "tpe", 3, {"xml": "1"}, {"xml": 0.3}, {"a": [1]}
)


@pytest.mark.parametrize("name", ["table.jsonl", "table.jsonl.gz"])
def test_what_is_written_is_what_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for one in (
        Table(HEADER, (FULL,)),
        Table(Header("bare"), ()),
        table(walked(1, 3), [0.1, 0.2, 0.3] * 2),
    ):
        write_table(one, path)
        assert read_table(path) == one
        again = path.read_bytes()
        write_table(one, path)
        assert path.read_bytes() == again
    assert (again[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_no_field_of_a_visit_is_left_unset_by_the_round_trip_above() -> None:
    plain = Recorded(0, "given", "gru", "", "", "", 0.0)
    assert all(
        getattr(FULL, one.name) != getattr(plain, one.name)
        for one in dataclasses.fields(Recorded)
        if one.name != "score"
    )


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with a given cell, a drawn one, its re-evaluation, and one that is in flight."""
    monkeypatch.chdir(tmp_path)
    where = Path("studies/known")
    where.mkdir(parents=True)
    (where / "config.yaml").write_text("study: known\nspace: gates\nstorage: ''\n")
    definition = {
        "space": load_space("gates").version,
        "sampler": "random",
        "seed": 5,
        "tasks.use": ["xml"],
        "tasks": {"xml": {"version": "xml-1"}},
    }
    study = open_study("known", where, "", definition)
    task, grid = Xml(), SettingsGrid()
    scored = Judgement("scored", {"xml": 0.6}, {"xml": 1.2}, 1.2, 1.2)
    first = Judgement("scored", {"xml": 0.5}, {"xml": 1.0}, 1.0, 1.0)
    for number, (name, kind, judgement) in enumerate(
        [("gru", "given", first), ("mgu", "drawn", first), ("mgu", "drawn", scored)]
    ):
        visit = study.ask(number, PointSampler({}), lambda _, name=name: ZOO[name], kind)  # type: ignore[arg-type, misc]
        study._set_attr(visit, "turn", int(number == 2))
        cost = Cost(10, 100, 1e9, 30.0)
        outcomes = tuple(
            Outcome("ok", 0.5, None, (), 9000 + number, 20, cost) for _ in range(number + 1)
        )
        settings = grid.draw(task, number + 1, number)
        study.store(visit, Evaluation(visit.cell, visit.key, task, settings, 0), outcomes)
        if number == 2:  # the reference on the same settings: a cost, and another cell's size
            gru = ZOO["gru"]
            beside = (Outcome("ok", 0.5, None, (), 99_999, 20, cost),)
            on = grid.draw(task, 1, number)
            study.store(visit, Evaluation(str(gru), gru.key, task, on, 0), beside)
        study.judge(visit, judgement)
    study.ask(3, PointSampler({}), lambda _: ZOO["rnn"], "drawn")
    return where


def test_a_study_becomes_a_table(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", "known", "known.jsonl"]) == 0
    assert capsys.readouterr().out == "known.jsonl: 3 visits of study known\n"
    found = read_table(Path("known.jsonl"))
    header = found.header
    assert (header.study, header.space, header.sampler, header.seed) == (
        "known",
        "gates",
        "random",
        5,
    )
    assert header.reference == {"xml": 0.5}
    assert header.tasks == {"xml": "xml-1"}
    assert header.space_version == load_space("gates").version
    Path("copy.yaml").write_text(header.space_file, encoding="utf-8")
    assert load_space("copy.yaml").version == header.space_version
    seen = [(v.number, v.kind, v.name, v.value, v.runs, v.n_params) for v in found.visits]
    assert seen == [
        (0, "given", "gru", 1.0, 1, 9000),
        (1, "drawn", "mgu", 1.0, 2, 9001),
        (2, "drawn", "mgu", 1.2, 4, 9002),
    ]
    assert [v.turn for v in found.visits] == [0, 0, 1]
    assert [(v.flops, v.seconds) for v in found.visits] == [(1e9, 30.0), (2e9, 60.0), (4e9, 120.0)]
    assert [loads(v.cell).key for v in found.visits] == [v.key for v in found.visits]
    bench = make_bench(found)
    assert [v.number for v in bench.visits] == [1, 0], "first visits count, candidates come first"
    assert bench.values == [1.0]


def test_a_given_cell_that_is_drawn_later_is_no_candidate() -> None:
    cells = (*walked(1, 2), ZOO["gru"])
    bench = make_bench(table(cells, [0.1, 0.2, 0.3, 0.4, 0.9]))
    assert [visit.number for visit in bench.visits] == [2, 3, 4, 5, 0, 1]
    assert bench.n_candidates == 4
    assert max(bench.values) == 0.4


def test_a_space_that_has_changed_since_is_not_taken_for_the_recorded_one(studies: Path) -> None:
    (studies / "config.yaml").write_text("study: known\nspace: graph\nstorage: ''\n")
    assert main(["write", "known", "known.jsonl"]) == 0
    assert read_table(Path("known.jsonl")).header.space_file == ""


def written(lines: list[str]) -> Path:
    Path("bad.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path("bad.jsonl")


FIRST = '{"format": "nas table 1", "study": "s"}'
LINE = json.dumps(
    {
        "number": 0,
        "kind": "drawn",
        "name": "gru",
        "key": "k",
        "cell": str(ZOO["gru"]),
        "stage": "scored",
        "value": 1.0,
    }
)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([FIRST], "the table of study s holds no candidate to replay."),
        ([FIRST, LINE.replace("drawn", "given")], "study s holds no candidate to replay."),
        ([FIRST, LINE], "the table of study s has no training runs."),
        (["kind: gates"], 'bad.jsonl, line 1: a table begins with {"format": "nas table 1", …}'),
        (['{"study": "s"}'], 'line 1: a table begins with {"format": "nas table 1", …}, got'),
        ([FIRST, LINE, LINE[:60]], "bad.jsonl, line 3: a line is a JSON object, got "),
        ([FIRST, LINE, ""], "line 3: a line is a JSON object, got ''."),
        (
            [FIRST, LINE.replace("stage", "stange")],
            'line 2: no field "stange". Did you mean "stage"? Known: best,',
        ),
        ([FIRST, '{"number": 0}'], 'line 2: the field "kind" is missing.'),
        (
            [FIRST, LINE.replace("1.0}", '"1"}')],
            "line 2: value: Input should be a valid number, got '1'.",
        ),
        ([FIRST, LINE.replace("1.0}", "NaN}")], "line 2: value must be finite, got nan."),
        (
            [FIRST, LINE.replace("1.0}", '1, "best": {"xml": "a"}}')],
            "best.xml: Input should be a valid number, got 'a'.",
        ),
        ([FIRST, LINE.replace("return", "retrun")], "bad.jsonl, line 2: "),
    ],
)
def test_a_broken_table_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(written(lines))]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("nas.replay: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl"], "table none.jsonl cannot be read: No such file or directory."),
        (["empty.jsonl"], "table empty.jsonl is empty: python -m nas.replay write STUDY FILE"),
        (["plain.gz"], "table plain.gz cannot be read: not a gzip file."),
        (["cut.gz"], "table cut.gz cannot be read: not a gzip file."),
        (["wrong.gz"], "table wrong.gz cannot be read: not a gzip file."),
        (["bytes.jsonl"], "table bytes.jsonl is not UTF-8 text."),
        (["good.jsonl", "--seeds", "1"], "--seeds must be at least 2, got 1."),
        (["good.jsonl", "--in-flight", "0"], "--in-flight must be at least 1, got 0."),
        (["good.jsonl", "--samplers", "randon"], 'no sampler "randon". Did you mean "random"?'),
        (["good.jsonl", "--samplers", "tpe"], "(unknown), which the table does not hold."),
        (["write", "known", "x.jsonl"], 'no study "known": there is none in studies'),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").write_text("")
    Path("plain.gz").write_text("plain")
    Path("cut.gz").write_bytes(gzip.compress(b"cut" * 1000)[:-9])
    Path("wrong.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    Path("bytes.jsonl").write_bytes(b"\xff\xfe")
    write_table(table(walked(1, 1), [0.5, 0.7]), Path("good.jsonl"))
    few = ["--seeds", "2"] if arguments[0] == "good.jsonl" and "--seeds" not in arguments else []
    assert main([*arguments, *few]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_nothing_is_replayed_for_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nas.replay.compare.compare", lambda *_, **__: pytest.fail("it ran"))
    write_table(table(walked(1, 1), [0.5, 0.7]), Path("good.jsonl"))
    assert main(["good.jsonl", "--out", "good.jsonl/x"]) == 2
    error = capsys.readouterr().err
    assert error == "nas.replay: --out good.jsonl/x cannot be written: Not a directory.\n"


def test_a_table_that_cannot_be_written_is_one_sentence(
    studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["write", "known", "no/such/folder.jsonl"]) == 2
    assert "table no/such/folder.jsonl cannot be written: No such file" in capsys.readouterr().err
