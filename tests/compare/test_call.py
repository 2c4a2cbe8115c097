"""`nas.compare([...])`: the comparison of the command, and a result that agrees with its files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

import nas
from nas.compare.call import CompareFields, CompareResult, configured
from nas.compare.command import parse
from nas.compare.config import CompareConfig
from nas.errors import UserError
from nas.study.parse import parse as parse_search
from tests import fake_comparing
from tests.compare.test_compare import CONFIG
from tests.inline import workers_here

pytestmark = pytest.mark.usefixtures("undrawn")

FEW: dict[str, Any] = {"seeds": 5, "tuning": 3, "tracking_uri": "off"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("called")
    (made / "small.yaml").write_text(CONFIG, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def result(folder: Path) -> CompareResult:
    with workers_here(folder, fake_comparing.run) as workers:
        found = nas.compare(["mut1", nas.zoo["rnn"]], "small.yaml", study="mine", **FEW)
        nas.compare(["mut1", "rnn"], "small.yaml", study="mine", **FEW)
    assert not workers[1].submitted, "the same call goes on, and a cell is its name"
    return found


def test_the_command_finds_the_same(folder: Path, result: CompareResult, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG, encoding="utf-8")
    with workers_here(tmp_path, fake_comparing.run):
        from nas.compare.command import main

        arguments = "mut1 rnn --config small.yaml --study mine --seeds 5 --tuning 3".split()
        assert main([*arguments, "--tracking-uri", "off"]) == 0
    theirs = (tmp_path / "studies" / "mine" / "comparison.json").read_text(encoding="utf-8")
    ours = (result.folder / "comparison.json").read_text(encoding="utf-8")
    without = [json.loads(text) for text in (theirs, ours)]
    assert _numbers(without[0]) == _numbers(without[1])


def _numbers(data: Any) -> Any:
    return {name: task["cells"]["mut1"]["values"] for name, task in data["tasks"].items()}


def test_tables_are_those_of_the_files(result: CompareResult) -> None:
    written = json.loads((result.folder / "comparison.json").read_text(encoding="utf-8"))
    for row in result.table[result.table.kind == "cell"].itertuples():
        cell = written["tasks"][row.task]["cells"][row.cell]
        assert (row.test, row.low, row.high) == pytest.approx(tuple(cell["mean"].values()))
        assert row.test == pytest.approx(sum(cell["values"]) / 5)
    assert list(result.verdicts.verdict) == written["verdicts"]
    for row in result.verdicts.itertuples():
        pair = written["tasks"][row.task]["against"][row.other][row.cell]
        assert (row.gain, row.p) == (pair["gain"]["mean"], pair["p"])
    runs = pandas.read_csv(result.folder / "comparison.csv")
    assert list(result.values.test) == pytest.approx(list(runs.test))
    levels = result.table[result.table.kind == "no network"]
    assert "blind guess" in set(levels.cell)


def test_a_notebook_shows_verdicts_table_and_pictures(result: CompareResult) -> None:
    html = result._repr_html_()
    assert all(name in html for name in ("gru", "lstm", "mut1", "data:image/png", "svg+xml"))
    assert all(path.is_file() for path in result.pictures)
    assert "<CompareResult mine: 4 cells on 2 tasks" in repr(result)
    assert len(result.study.trials) == 4


def test_a_comparison_that_was_stopped_goes_on(folder: Path) -> None:
    told = list[int]()

    class Stop(nas.Callback):
        def on_trial_end(self, study: Any, trial: Any) -> None:
            told.append(trial.number)
            self.stops = trial.number == 0

    with workers_here(folder, fake_comparing.run):
        given = {"study": "stopped", **FEW}
        stopped = nas.compare("mut1", "small.yaml", callbacks=[Stop()], **given)
        whole = nas.compare("mut1", "small.yaml", **given)
    assert len(whole.comparison.cells) == 3
    assert told == [0], "a cell's trial ends when it is judged, not when all are"
    with pytest.raises(UserError, match="is not finished: the same call goes on"):
        _ = stopped.table
    assert "not finished" in stopped._repr_html_()


def test_configurations_of_a_search_and_of_a_comparison(folder: Path) -> None:
    path = str(folder / "small.yaml")
    of_search = configured("mut1", parse_search([path]), {"seeds": 3})
    assert of_search == parse(["mut1", "--config", path, "--seeds", "3"])
    assert configured((), of_search, {"tuning": 2}) == dataclasses.replace(of_search, tuning=2)


@pytest.mark.parametrize(
    ("cells", "named", "message"),
    [
        ((), {}, r"name at least one cell .* nas.compare\(\"mut1\"\) in Python"),
        ("gruu", {}, 'no cell "gruu"'),
        ("mut1", {"seeds": 0}, "seeds must be at least 1, got 0"),
        ("mut1", {"seeds": "x"}, "seeds must be a whole number"),
        ([3.5j], {}, "cells must be text, .*, got complex"),
        ("mut1", {"config": 3}, "config must be a search's name, .* got int"),
        ("mut1", {"config": "nope"}, 'no experiment "nope"'),
        ("mut1", {"tasks": {"text": {"n_params": [9000, 8000]}}, "config": ""},
         r"choose one with tasks=\{\"text\": \{\"n_params\": …\}\}"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_sentence(
    folder: Path, cells: Any, named: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=message):
        nas.compare(cells, **{"config": "small.yaml", "tracking_uri": "off", **named})


def test_every_field_of_the_configuration_is_an_argument() -> None:
    fields = {field.name for field in dataclasses.fields(CompareConfig)}
    assert set(CompareFields.__annotations__) | {"cells"} == fields
