"""What is said of runs that were not begun: no failure while a search runs, but a reason after."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.judgement import Judgement
from nas.session.progress import Progress
from nas.status import main
from nas.study.study import open_study
from nas.study.visit import Visit
from nas.tasks import Xml
from nas.zoo import ZOO
from tests.test_status import outcome, visit

MESSAGE = "no output of 100 steps depends on an input: all gradients are 0"


def test_a_candidate_whose_runs_were_all_vetoed_was_rejected_because_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "known"
    folder.mkdir()
    study = open_study("known", folder, "", {})
    dead = (outcome("vetoed", None, MESSAGE), outcome("vetoed", None, MESSAGE))
    visit(study, "mut1", "drawn", dead, Judgement("xml", {"xml": None}))
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"       1  no result on xml: runs vetoed (mut1: {MESSAGE})" in said


@pytest.mark.parametrize("status", ["vetoed", "cut", "ok", "diverged", "failed"])
def test_a_running_search_tells_of_failures_alone(status: str) -> None:
    cell = ZOO["mut1"]
    asked = Visit(0, 0, "drawn", "mut1", str(cell), cell.key)
    evaluation = Evaluation(str(cell), cell.key, Xml(), (Settings(),), 0)
    written = io.StringIO()
    progress = Progress(Console(file=written), None, 0.0)
    progress.stored(asked, evaluation, Result((outcome(status, None, MESSAGE),)))
    said = f"mut1 on xml: {status}, {MESSAGE}" in " ".join(written.getvalue().split())
    assert said == (status in ("diverged", "failed"))


def test_settings_that_failed_alike_are_told_once() -> None:
    cell = ZOO["mut1"]
    asked = Visit(0, 0, "drawn", "mut1", str(cell), cell.key)
    evaluation = Evaluation(str(cell), cell.key, Xml(), (Settings(),) * 4, 0)
    written = io.StringIO()
    progress = Progress(Console(file=written, width=200), None, 0.0)
    failed = [outcome("diverged", None, f"at step {step}") for step in (4, 4, 5)]
    progress.stored(asked, evaluation, Result((outcome("ok", 0.5, ""), *failed)))
    said = [line.partition("] ")[2].rstrip() for line in written.getvalue().splitlines()]
    assert said == [
        "mut1 on xml, 2 of 4 settings: diverged, at step 4",
        "mut1 on xml, 1 of 4 settings: diverged, at step 5",
    ]
