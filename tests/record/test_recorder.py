"""Whatever happens in between, each cell is recorded once, and the search goes on."""

import dataclasses
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import nas.record.recorder
import nas.record.store
from nas.protocol.judgement import Judgement
from nas.record.store import Store
from tests.record.visits import (
    GRU,
    LSTM,
    MGU,
    RNN,
    SQLALCHEMY,
    WAIT_S,
    client,
    curve,
    evaluated,
    experiment,
    outcome,
    record,
    recorder,
    rejected,
    runs,
    scored,
    visit,
)

pytestmark = SQLALCHEMY


def test_the_database_is_made_under_a_lock(fresh: tuple[Path, bool]) -> None:
    assert fresh[1]


def test_a_cell_is_one_run_however_often_it_is_visited_and_synced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = [scored(0, GRU, "given"), None, rejected(2, RNN), scored(3, GRU)]
    visits.append(visit(4, LSTM, "drawn", {}, None))
    assert record(folder, *visits) == 0
    before = runs(folder)
    monkeypatch.delattr(Store, "write")
    assert record(folder, *visits) == 0
    assert record(folder, scored(3, GRU)) == 0
    after = runs(folder)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: before[name].info.run_id for name in ("gru", "rnn")
    }
    assert after["gru"].data.tags["nas.trial"] == "0"
    assert len(curve(folder, after["gru"], "xml/training loss")) == 3


def test_a_run_that_a_crash_left_unfinished_is_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    class Killed(BaseException):
        """Not caught, like a kill."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", kill)
        patch.setattr(threading, "excepthook", lambda _: None)
        assert record(folder, scored(0, GRU, "given"), rejected(1, RNN)) == 2
    half = runs(folder)
    assert [run.info.status for run in half.values()] == ["RUNNING"]
    assert record(folder, scored(0, GRU, "given"), rejected(1, RNN)) == 0
    whole = runs(folder)
    assert whole["gru"].info.run_id == half["gru"].info.run_id
    assert whole["gru"].info.status == "FINISHED"
    assert len(client(folder).list_artifacts(whole["gru"].info.run_id)) == 6
    assert len(curve(folder, whole["gru"], "xml/training loss")) == 3
    assert whole["rnn"].info.status == "FINISHED"


def test_a_cell_given_after_it_was_drawn_is_written_again(folder: Path) -> None:
    record(folder, rejected(0, MGU))
    assert record(folder, rejected(0, MGU), scored(1, MGU, "given"), scored(2, MGU)) == 0
    run = runs(folder)["mgu"]
    assert (run.info.status, run.data.tags["nas.kind"]) == ("FINISHED", "included")


def test_a_cell_that_is_visited_again_is_written_again(folder: Path) -> None:
    first = scored(0, MGU)
    fresh = {"x2": evaluated("xml", [outcome(0.7)])}
    best: dict[str, float | None] = {"xml": 0.7, "text": 1.6}
    judgement = Judgement("scored", best, {"xml": 1.4, "text": 0.8}, 0.8, 0.8)
    again = dataclasses.replace(visit(5, MGU, "drawn", fresh, judgement), turn=1)
    assert record(folder, first) == 0
    for visits in ((first, again), (again, first), (first,)):
        assert record(folder, *visits) == 0
        [run] = runs(folder).values()
        assert run.data.metrics["ratio.xml"] == 1.4
        assert run.data.metrics["n_outcomes"] == 1 + 3 + 3 + 1, "of both visits"
        assert (run.data.tags["nas.trial"], run.data.tags["nas.turn"]) == ("5", "1")


def test_evaluations_that_lie_with_another_visit_are_recorded(folder: Path) -> None:
    whole = scored(1, RNN)
    first, *others = whole.evaluated.items()
    other = visit(0, RNN, "drawn", {}, None)
    other.evaluated = dict([first])
    whole.evaluated = dict(others)
    made = recorder(folder)
    made.stored(other, None, None)  # type: ignore[arg-type]
    made.judged(whole)
    assert made.close(WAIT_S) == 0
    run = runs(folder)["rnn"]
    assert run.data.metrics["n_outcomes"] == 7
    assert "memorization.learning_rate" in run.data.params


def test_a_deleted_experiment_is_restored(folder: Path) -> None:
    record(folder, rejected(0, RNN))
    client(folder).delete_experiment(experiment(folder).experiment_id)
    assert record(folder, rejected(0, RNN), rejected(1, MGU)) == 0
    assert set(runs(folder)) == {"rnn", "mgu"}


def test_a_server_that_is_down_costs_a_warning_and_a_later_sync_catches_up(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visits = [scored(0, GRU, "given"), rejected(1, RNN), scored(2, MGU)]
    down = recorder(folder, "http://me:pass/w@127.0.0.1:9")
    for one in visits:
        down.judged(one)
    assert down.close(WAIT_S) == 3
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    ours = [text for text in warnings if text.startswith("MLflow at http://…@127.0.0.1:9 ")]
    assert len(ours) == 1
    assert "the same command catches up" in ours[0]
    assert "pass" not in "".join(warnings)
    assert record(folder, *visits) == 0
    assert set(runs(folder)) == {"gru", "rnn", "mgu"}


def test_a_server_that_hangs_holds_up_neither_the_search_nor_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    open_store = nas.record.store.open_store

    def hang(*arguments: Any) -> Store:
        go_on.wait(WAIT_S)
        return open_store(*arguments)

    monkeypatch.setattr(nas.record.recorder, "open_store", hang)
    made = recorder(folder)
    made.judged(scored(0, GRU, "given"))
    made.judged(rejected(1, RNN))
    assert made.close(timeout_s=0.05) == 2
    go_on.set()
    assert made.close(WAIT_S) == 0


def test_what_failed_is_tried_again_and_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nas.record.recorder, "FIRST_PAUSE_S", 0.01)
    open_store, failures = nas.record.store.open_store, iter([OSError("no"), OSError("no")])

    def fail_twice(*arguments: Any) -> Store:
        for failure in failures:
            raise failure
        return open_store(*arguments)

    monkeypatch.setattr(nas.record.recorder, "open_store", fail_twice)
    made = recorder(folder)
    made.judged(scored(0, GRU, "given"))
    deadline = time.monotonic() + WAIT_S
    while not experiment(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert made.close(WAIT_S) == 0
    assert set(runs(folder)) == {"gru"}
    assert sum("does not take the record (no)" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize("closing", [True, False], ids=["closing", "running"])
def test_a_cell_that_cannot_be_written_does_not_hold_up_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closing: bool
) -> None:
    monkeypatch.setattr(nas.record.recorder, "FIRST_PAUSE_S", 0.01)
    write, judged = Store.write, threading.Event()

    def refuse_rnn(store: Store, made: Any) -> None:
        judged.wait(WAIT_S)
        if made.name == "rnn":
            raise OSError("no")
        write(store, made)

    monkeypatch.setattr(Store, "write", refuse_rnn)
    made = recorder(folder)
    made.sync([rejected(0, RNN), scored(1, GRU, "given"), scored(2, MGU)])
    if not closing:
        judged.set()
        deadline = time.monotonic() + WAIT_S
        while not (experiment(folder) and len(runs(folder)) == 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert set(runs(folder)) == {"gru", "mgu"}
    threading.Timer(0.1, judged.set).start()
    assert made.close(WAIT_S) == 1
    assert set(runs(folder)) == {"gru", "mgu"}


@pytest.mark.process
def test_mlflow_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, nas.record.recorder; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
