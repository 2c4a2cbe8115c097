"""Files that earlier code wrote are opened, read, gone on with and replayed as they were then.

tests/data/README.md says which commands wrote them; the numbers below are those of that day.
"""

import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.curves.command import main as curves
from nas.replay.command import main as replay
from nas.report.command import main as report
from nas.status import main as status
from nas.study.command import main as study
from tests.curves import made_up
from tests.inline import Inline, finished_here
from tests.studies import command, compared, essences, stored
from tests.tolerances import OTHER_KERNEL_32, SEVEN_DIGITS

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = Path(__file__).parent.parent / "data"
DIGEST = "a32627d2fd4fb8bca49eaf8e4d038b6ecce80de400c867695ae84ed22c4c7912"
SCORES = {"lstm": "1.077", "rnn": "1.012", "gru": "1.000"}
BEST = {"lstm": ("0.534", "0.2869"), "rnn": ("0.5018", "0.2851"), "gru": ("0.4957", "0.2305")}
"""Accuracies on arithmetic and on xml."""
LOGITS = [[0.4599344, 0.1184247, 0.0390111], [0.5215444, 0.2585816, 0.1695877]]
"""Of the last of six symbols in two rows, for the first three symbols."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the studies lie as they lay then."""
    with zipfile.ZipFile(DATA / "studies.zip") as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_status_reads_an_old_study(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study small in studies/small: complete"
    assert "best so far: rnn: score 1.012 (arithmetic 1.012, xml 1.237)" in lines
    assert "baseline: lstm: score 1.077 (arithmetic 1.077, xml 1.244)" in lines
    assert any(line.startswith("cost: 21 training runs (21 ok)") for line in lines)


def test_the_digest_of_an_old_study_is_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(["digest", "small"]) == 0
    assert capsys.readouterr().out.split()[0] == DIGEST


def scores(output: str) -> dict[str, str]:
    found = re.findall(r"^ *\d+ +(\w+) \(\w+\) +(\d\.\d+) ", output, re.MULTILINE)
    return dict(found)


def test_an_old_search_goes_on_and_trains_nothing_again(folder: Path) -> None:
    log = folder / "log"
    log.touch()
    before, kept = essences(stored(folder)), set(stored(folder).cache)
    assert len(kept) == 21
    shutil.copy(DATA / "small.yaml", folder)
    again = command("tests.fake_training", Path("small.yaml"))
    done = finished_here(again, folder, NAS_TEST_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert scores(done.stdout) == SCORES
    assert log.read_text() == "", "what is finished is not trained again"
    done = finished_here([*again, "--n-candidates", "4"], folder, NAS_TEST_LOG=str(log))
    assert done.returncode == 0, done.stderr
    begun = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("start")]
    assert begun
    assert kept.isdisjoint(begun)
    assert essences(stored(folder))[: len(before)] == before
    assert len(stored(folder).visits) == len(before) + 2


def test_an_old_study_is_reported(folder: Path) -> None:
    assert report(["small"]) == 0
    page = (folder / "studies" / "small" / "report" / "report.md").read_text(encoding="utf-8")
    for name, score in SCORES.items():
        row = rf"^\|[^\n]*\b{name}\b[^\n]*\| *{score}"
        assert re.search(row, page, re.MULTILINE), name
        assert all(value in page for value in BEST[name])


def test_an_old_winner_is_a_module(folder: Path) -> None:
    rnn = nas.RNN("studies/small/winner", 4, 8)
    output, _ = rnn(torch.zeros(3, 2, 4))
    assert output.shape == (3, 2, 8)


def test_an_old_pack_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert study(["unpack", str(DATA / "packed.zip")]) == 0
    assert DIGEST in capsys.readouterr().out
    assert status(["small"]) == 0
    assert "best so far: rnn: score 1.012" in capsys.readouterr().out
    assert nas.RNN("studies/small/winner", 4, 8)


def test_an_old_comparison_goes_on_and_trains_nothing_again(folder: Path) -> None:
    before, log = compared(folder, "pair"), folder / "log"
    log.touch()
    again = [sys.executable, "-m", "tests.fake_comparing", "--config", "studies/pair/config.yaml"]
    done = finished_here(again, folder, NAS_TEST_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert log.read_text() == ""
    assert_kept(before, compared(folder, "pair"))


def assert_kept(before: Any, now: Any) -> None:
    """Everything that was written is there as it was; later versions may write more beside it."""
    if isinstance(before, dict):
        for name, value in before.items():
            assert name in now
            assert_kept(value, now[name])
    else:
        assert now == before


def test_old_curves_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Inline] = []

    def workers(*_: object, **__: object) -> Inline:
        made.append(Inline(work=made_up.run))
        return made[-1]

    monkeypatch.setattr("nas.workers.local.LocalWorkers", workers)
    monkeypatch.setattr("nas.curves.store.backend_of", lambda evaluation, outcomes: "c")
    monkeypatch.setattr("nas.curves.picture.figure_of", lambda on: None)
    monkeypatch.setattr("nas.curves.report.png_of", lambda figure: b"")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DATA / "curves", "curves")
    before = json.loads(Path("curves/curves.json").read_text())["memorization"]["cells"]
    assert curves(["--config", "curves/config.yaml"]) == 0
    assert not [evaluation for each in made for evaluation in each.submitted]
    assert json.loads(Path("curves/curves.json").read_text())["memorization"]["cells"] == before
    assert curves(["--config", "curves/config.yaml", "--cells", "lstm", "gru", "rnn"]) == 0
    assert len([evaluation for each in made for evaluation in each.submitted]) == 1
    after = json.loads(Path("curves/curves.json").read_text())["memorization"]["cells"]
    assert set(after) == {"lstm", "gru", "rnn"}
    assert {name: after[name] for name in before} == before


def test_an_old_table_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--samplers", "random", "regularized", "--seeds", "4", "--shuffled", "0")
    assert replay([str(DATA / "table.jsonl.gz"), *few, "--out", "replayed"]) == 0
    results = json.loads(Path("replayed/results.json").read_text())
    assert results["best"] == 0.930812324929972
    means = {name: one["mean_regret"]["mean"] for name, one in results["samplers"].items()}
    assert means == pytest.approx({"random": 0.1170973, "regularized": 0.1168277}, **SEVEN_DIGITS)


def test_an_old_table_is_written_again_from_its_study(folder: Path) -> None:
    assert replay(["write", "small", "table.jsonl.gz"]) == 0
    assert Path("table.jsonl.gz").read_bytes() == (DATA / "small.jsonl.gz").read_bytes()


def test_an_old_registered_model_answers() -> None:
    """As MLflow loads it, by the module that its file MLmodel names."""
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    model = pyfunc.load_model(str(DATA / "registered"))
    symbols = np.arange(12, dtype=np.int64).reshape(2, 6)
    answer = model.predict(symbols)
    assert answer.shape == (2, 6, 30)
    np.testing.assert_allclose(answer[:, -1, :3], LOGITS, **OTHER_KERNEL_32)


def test_no_old_file_names_a_machine() -> None:
    for path in DATA.rglob("*"):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                texts = [archive.read(name) for name in archive.namelist()]
        else:
            texts = [path.read_bytes()] if path.is_file() else []
        for text in texts:
            assert not re.search(rb"/(home|root|work|Users)/", text), path
