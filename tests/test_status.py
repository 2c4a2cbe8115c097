"""What `python -m nas.status` says, against studies whose contents are known."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.protocol.evaluation import Cost, Evaluation, Outcome
from nas.protocol.judgement import Judgement
from nas.protocol.settings import SettingsGrid
from nas.samplers.point import PointSampler
from nas.status import main
from nas.study.lock import is_locked, lock
from nas.study.opening import open_storage
from nas.study.rejections import Reason
from nas.study.study import Study, open_study
from nas.study.visit import Visit
from nas.tasks import Memorization, Xml
from nas.zoo import ZOO
from tests.studies import command, environment, launched, run, write_config

FAKE = "tests.fake_training"


def visit(
    study: Study, name: str, kind: str, outcomes: tuple[Outcome, ...], judgement: Judgement | None
) -> None:
    """One visit of a cell of the zoo, with an evaluation of the task at which it ended."""
    made = study.ask(len(study.visits), PointSampler({}), lambda _: ZOO[name], kind)  # type: ignore[arg-type]
    task = Memorization() if judgement and judgement.stage == "memorization" else Xml()
    settings = SettingsGrid().draw(task, len(outcomes), 0)
    study.store(made, Evaluation(made.cell, made.key, task, settings, 0, 1.0), outcomes)
    if judgement is not None:
        study.judge(made, judgement)


def outcome(status: str, best: float | None, message: str = "") -> Outcome:
    cost = Cost(10, 100, 1e9, 30.0)
    return Outcome(status, best, None, (), 9000, 20, cost, message)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of two given cells and six candidates, one of them in flight."""
    monkeypatch.chdir(tmp_path)
    where = Path("studies/known")
    where.mkdir(parents=True)
    (where / "config.yaml").write_text("study: known\nn_candidates: 9\nstorage: ''\n")
    study = open_study("known", where, "", {})
    fine = (outcome("ok", 0.5), outcome("diverged", None))
    visit(study, "gru", "given", fine, Judgement("scored", {"xml": 0.5}, {"xml": 1.0}, 1.0, 1.0))
    visit(study, "lstm", "given", fine, Judgement("scored", {"xml": 0.4}, {"xml": 0.8}, 0.8, 0.8))
    visit(study, "mgu", "drawn", fine, Judgement("scored", {"xml": 0.6}, {"xml": 1.2}, 1.2, 1.2))
    behind = Judgement("xml", {"xml": 0.1}, {"xml": 0.2}, None, 0.1)
    visit(study, "rnn", "drawn", fine, behind)
    visit(study, "mut1", "drawn", fine, behind)
    visit(study, "mut2", "drawn", (outcome("diverged", None),), Judgement("xml", {"xml": None}))
    broken = (outcome("failed", None, "no such\nop"), outcome("diverged", None))
    visit(study, "mut3", "drawn", broken, Judgement("memorization", {"memorization": None}))
    visit(study, "lstm_b", "drawn", fine, None)
    study.set_attr("spent_s", 7260.0)
    study.set_attr("slot_s", 900.0)
    return where


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_it_says_what_the_study_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "known") == [
        "study known in studies/known: stopped",
        "candidates: 6 of 9 asked, 5 judged, 1 begun and not judged; 2 given cells",
        "stages: 1 scored, 3 rejected at xml, 1 rejected at memorization",
        "rejected because:",
        "       1  no result on memorization: runs failed (mut3: no such op)",
        "          newest: mut3",
        "       1  no result on xml: runs diverged",
        "          newest: mut2",
        "       2  too far behind the GRU on xml",
        "          newest: mut1, rnn",
        "all of them: python -m nas.status studies/known --rejected",
        "best so far: mgu: score 1.200 (xml 1.200)",
        "baseline: lstm: score 0.800 (xml 0.800)",
        "How well the score ranks is not measured: --protocol.repeat 0.1, under a new --study "
        "name, measures a tenth of the scored candidates a second time.",
        "cost: 15 training runs (8 diverged, 6 ok, 1 failed), 7:30 in training, 1.5e+10 FLOPs, "
        "2h01 in all",
        "utilisation: workers were busy 50% of the time, training 50%",
        "To go on: python -m nas.search studies/known/config.yaml",
    ]


def test_the_best_candidate_is_told_beside_a_given_cell_that_is_better(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study("known", folder, "", {})
    judged = Judgement("scored", {"xml": 0.7}, {"xml": 1.5}, 1.5, 1.5)
    visit(study, "irnn", "given", (outcome("ok", 0.7),), judged)
    lines = said(capsys, "known")
    place = lines.index("best so far: irnn: score 1.500 (xml 1.500)")
    assert lines[place + 1] == "best candidate: mgu: score 1.200 (xml 1.200)"


def test_rejected_candidates_are_listed_by_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study("known", folder, "", {})
    ended = Judgement("xml", {"xml": None}, set_aside="it died")
    visit(study, "fastgrnn", "drawn", (outcome("crashed", None),), ended)
    assert said(capsys, "known", "--rejected") == [
        "no result on memorization: runs failed (mut3: no such op):",
        "  mut3: rejected at memorization (no finite metric)",
        "no result on xml: runs diverged:",
        "  mut2: rejected at xml (no finite metric)",
        "too far behind the GRU on xml:",
        "  rnn: rejected at xml (xml 0.200)",
        "  mut1: rejected at xml (xml 0.200)",
        "set aside:",
        "  fastgrnn: set aside at xml (it died)",
    ]


def test_only_the_newest_of_many_are_named() -> None:
    visits = [Visit(n, n, "drawn", f"cell{n % 7}", "", "") for n in range(9)]
    assert Reason("why", visits).named(3) == "cell1, cell0, cell6, …"
    assert Reason("why", visits[:2]).named(3) == "cell1, cell0"


@pytest.mark.parametrize("name", ["studies/known", "studies/known/", "studies/known/study.db"])
def test_a_path_is_a_name(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert said(capsys, name) == said(capsys, "known")
    url = f"sqlite:///{folder / 'study.db'}"
    assert said(capsys, "known", "--storage", url) == said(capsys, "known")


def test_a_held_lock_is_a_running_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_locked(folder), "there is no lock"
    with lock(folder, "known"):
        lines = said(capsys, "known")
        assert lines[0].endswith(": running")
        assert "1 in flight" in lines[1]
        assert lines[-1].startswith("It may be stopped at any time")
    assert said(capsys, "known")[0].endswith(": stopped"), "the lock's file is still there"


def test_a_look_at_the_lock_does_not_stop_a_search_that_begins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search waits longer than a look takes; here much longer, however busy the machine is."""
    import threading

    monkeypatch.setattr("nas.study.lock.LOCK_WAIT_S", 60.0)

    with lock(folder, "known"):  # as long as a look could take
        pass
    held = threading.Event()

    def look() -> None:
        from filelock import FileLock

        with FileLock(folder / ".lock"):
            held.set()
            time.sleep(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    held.wait()
    with lock(folder, "known"):
        thread.join()


def test_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".db"}
    said(capsys, "known")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["know"], 'no study "know". Did you mean "known"? Known: known.'),
        (["known", "--studies", "elsewhere"], "there is none in elsewhere"),
        (["knwn", "--storage", "sqlite:///studies/known/study.db"], 'Did you mean "known"?'),
        (
            ["known", "--storage", "sqlite:///absent.db"],
            "absent.db does not answer: unable",
        ),
        (["known", "--storage", "sqlite:///empty.db"], "sqlite:///empty.db holds no study yet"),
        (["known", "--storage", "sqlite:///void.db"], "void.db holds no study yet."),
        (["known", "--storage", "sqlite:///half.db"], "half.db holds no study yet."),
    ],
    ids=str,
)
def test_a_wrong_name_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    # As they are while a search begins:
    Path("void.db").touch()
    open_storage("sqlite:///empty.db")
    open_storage("sqlite:///half.db")
    with sqlite3.connect("half.db") as half:
        half.execute("delete from version_info")
    half.close()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("absent.db").exists()


@pytest.mark.process
def test_torch_is_not_imported(folder: Path) -> None:
    code = "import sys, nas.status as s; s.main(['known']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=60)


@pytest.mark.process
def test_it_reads_while_a_search_runs_and_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    process = launched(command(FAKE, tmp_path / "small.yaml"), tmp_path, NAS_TEST_SLEEP_S="0.1")
    seen = []
    while process.poll() is None:
        if Path("studies/small/study.db").is_file() and main(["small"]) == 0:
            seen.append(capsys.readouterr().out.splitlines())
        time.sleep(0.05)
    _, err = process.communicate()
    assert process.returncode == 0, err
    running = [lines for lines in seen if lines[0].endswith("running")]
    assert len(running) >= 2
    last = said(capsys, "small")
    assert last[0].endswith(": complete")
    assert last[1].startswith("candidates: 5 of 5 asked, 5 judged, 0 begun")
    assert last[-1] == "To go on: python -m nas.search studies/small/config.yaml --n-candidates 10"
    again = run(FAKE, tmp_path, "--n-candidates", "6")
    assert again.returncode == 0, again.stderr
