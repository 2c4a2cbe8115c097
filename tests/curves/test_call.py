"""`nas.curves(...)`: the curves of the command, and a result that agrees with its files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.curves.call import CurvesFields
from nas.curves.command import main
from nas.curves.config import CurvesConfig
from nas.errors import UserError
from tests.curves.test_run import GIVEN
from tests.inline import Inline

SMALL: dict[str, Any] = {
    "tasks": {
        "use": ["parity", "memorization"],
        "parity": {"epochs": 4, "batches_per_epoch": 4, "validation_batches": 3},
        "memorization": {"epochs": 3},
    }
}


def test_a_call_draws_the_curves_of_the_command(
    tmp_path: Path, workers: list[Inline], capsys: pytest.CaptureFixture[str]
) -> None:
    result = nas.curves(["lstm", nas.zoo["gru"]], out=tmp_path / "called", **SMALL)
    assert capsys.readouterr().out == ""
    assert main([*GIVEN, "--out", str(tmp_path / "commanded")]) == 0
    texts = [
        (tmp_path / name / "curves.json").read_text(encoding="utf-8")
        for name in ("called", "commanded")
    ]
    assert texts[0] == texts[1]
    assert result.output.replace("called", "commanded").splitlines()[0] in capsys.readouterr().out
    assert main([*GIVEN, "--out", str(tmp_path / "called")]) == 0
    assert len(workers) == 2, "the command goes on with the call's folder: nothing is trained"
    _agrees(result, json.loads(texts[0]))
    html = result._repr_html_()
    assert all(text in html for text in ("lstm", "parity", "data:image/png"))
    assert repr(result) == f"<CurvesResult {tmp_path / 'called'}: 2 cells on 2 tasks>"


def _agrees(result: Any, written: dict[str, Any]) -> None:
    """Tables have the numbers of the file."""
    for row in result.table[result.table.kind == "cell"].itertuples():
        (seed,) = written[row.task]["cells"][row.cell]["seeds"].values()
        assert (row.validation, row.test) == (seed["best"], seed["test"])
        at = result.curves[(result.curves.task == row.task) & (result.curves.cell == row.cell)]
        assert list(at.value) == seed["curve"]
        assert list(at.epoch) == list(range(1, len(seed["curve"]) + 1))
    assert [path.is_file() for path in result.pictures] == [True, True]


def test_a_call_that_was_stopped_goes_on(tmp_path: Path, workers: list[Inline]) -> None:
    class Stop(nas.Callback):
        def on_training_end(self, cell: str, task: str, outcomes: Any) -> None:
            self.stops = True

    given: dict[str, Any] = {"out": tmp_path / "out", "workers": 1, **SMALL}
    path = tmp_path / "out" / "curves.jsonl"
    stopped = nas.curves(["lstm", "gru"], callbacks=[Stop()], **given)
    with pytest.raises(UserError, match="are not finished: the same call goes on"):
        _ = stopped.table
    assert "A callback stopped it" in stopped.output
    before = path.read_bytes()
    assert len(nas.curves(["lstm", "gru"], **given).table) > 4
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"cells": "lstmm"}, 'no cell "lstmm"'),
        ({"epoch": 3}, 'Did you mean "epochs"'),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"config": 1}, "config must be an experiment's name, .* got int"),
        ({"config": "quickstart"}, "quickstart draws no learning curves"),
        ({"workers": "ray:auto"}, "workers must be a whole number"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    tmp_path: Path, named: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        nas.curves(**{"out": tmp_path / "out", **named})


def test_every_field_of_the_configuration_is_an_argument() -> None:
    fields = {field.name for field in dataclasses.fields(CurvesConfig)}
    assert set(CurvesFields.__annotations__) | {"cells"} == fields
