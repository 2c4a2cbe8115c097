"""From the command to its files: what is trained, what is not trained again, what is kept."""

import functools
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nas.curves.command import main, parse
from nas.curves.config import CurvesConfig
from nas.curves.run import plan, run
from nas.curves.store import FILE, backend_of, open_store
from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.training.train import run as trained
from nas.training.train import train
from nas.zoo import ZOO
from tests.curves import made_up
from tests.inline import Inline
from tests.processes import Running
from tests.studies import finished, launched

SMALL = ["--tasks.parity.epochs", "4", "--tasks.memorization.epochs", "3"]
SMALL += ["--tasks.parity.batches_per_epoch", "4", "--tasks.parity.validation_batches", "3"]
GIVEN = ["--cells", "lstm", "gru", "--tasks", "parity", "memorization", *SMALL]


def numbers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
    return found


def test_curves_are_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit what `nas.training.train.train` gives with the same settings and seed."""
    monkeypatch.setattr("nas.workers.local.LocalWorkers", lambda *_, **__: Inline(work=trained))
    arguments = ["--cells", "lstm", "--tasks", "memorization", "--epochs", "2", "--seed", "3"]
    arguments += ["--tasks.memorization.n_params", "3000", "--tasks.memorization.n_symbols", "3"]
    arguments += ["--tasks.memorization.batches_per_epoch", "5", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--settings.learning_rate", "0.01", "0.03"]) == 0
    config = parse([*arguments, "--settings.learning_rate", "0.01", "0.03"])
    (task,) = config.drawn
    settings = config.settings.points(task.n_params)
    assert [one.learning_rate for one in settings] == [0.01, 0.03]
    expected = train(ZOO["lstm"], task, settings, 3, on_test=True)
    best = max(expected, key=lambda outcome: outcome.best or 0.0)
    found = numbers(tmp_path / "out")["memorization"]["cells"]["lstm"]
    of_seed = found["seeds"]["3"]
    assert of_seed["curve"] == [epoch.accuracy for epoch in best.curve]
    assert len(of_seed["curve"]) == 2
    assert (of_seed["best"], of_seed["test"]) == (best.best, best.test)
    assert of_seed["hidden_size"] == best.hidden_size
    assert found["loop"] in ("compiled", "eager")
    with open_store(tmp_path / "out") as store:
        (kept,) = store.kept.values()
    assert kept.evaluated.outcomes == tuple(expected)
    assert "1/1 lstm on memorization, seed 3: accuracy" in capsys.readouterr().out


def test_a_table_says_what_was_trained_on_a_gpu(
    tmp_path: Path,
    workers: list[Inline],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [*GIVEN, "--out", str(tmp_path / "out"), "--devices", "cuda:0"]

    def refuse(device: str) -> None:
        raise UserError(f"--devices {device} cannot be used: torch sees no GPU here.")

    monkeypatch.setattr("nas.workers.start.check_device", refuse)
    assert main(asked) == 2
    said = "nas.curves: --devices cuda:0 cannot be used: torch sees no GPU here.\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("nas.workers.start.check_device", lambda device: None)
    assert main(asked) == 0
    found = numbers(tmp_path / "out")
    assert {cell["loop"] for task in found.values() for cell in task["cells"].values()} == {
        "on a GPU"
    }


def test_what_is_finished_is_not_trained_again(
    tmp_path: Path, workers: list[Inline], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main([*GIVEN, *out]) == 0
    assert "2 cells x 2 tasks x 1 seed: 12 training runs\n" in capsys.readouterr().out
    first = numbers(tmp_path / "out")
    assert len(workers[0].submitted) == 4
    assert main([*GIVEN, *out]) == 0
    assert len(workers) == 1, "nothing was left, so no workers were made"
    assert numbers(tmp_path / "out") == first
    assert main([*GIVEN, *out, "--cells", "lstm", "gru", "rnn", "--seeds", "2"]) == 0
    keys = [(one.key, one.task.name, one.seed) for one in workers[1].submitted]
    assert len(keys) == 8
    for task in ("parity", "memorization"):
        assert (ZOO["rnn"].key, task, 0) in keys
        assert (ZOO["lstm"].key, task, 0) not in keys
        assert (ZOO["lstm"].key, task, 1) in keys
    assert workers[1].closed


def test_other_settings_are_other_trainings(tmp_path: Path, workers: list[Inline]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main([*GIVEN, *out]) == 0
    assert main([*GIVEN, *out, "--settings.learning_rate", "0.5"]) == 0
    assert len(workers[1].submitted) == 4
    found = numbers(tmp_path / "out")["parity"]["cells"]["lstm"]["seeds"]["0"]
    assert found["settings"]["learning_rate"] == 0.5


def test_resumed_is_undisturbed(tmp_path: Path, workers: list[Inline]) -> None:
    """Interrupted after each number of trainings, and half of a line written."""
    config = parse([*GIVEN, "--out", str(tmp_path / "whole"), "--seeds", "2"])
    cells = [ZOO["lstm"], ZOO["gru"]]
    assert run(config, cells, "") == 0
    whole = numbers(tmp_path / "whole")
    lines = (tmp_path / "whole" / FILE).read_bytes().splitlines(keepends=True)
    assert len(lines) == 8
    for n_kept in range(8):
        folder = tmp_path / f"resumed{n_kept}"
        folder.mkdir()
        half = lines[n_kept][: len(lines[n_kept]) // 2]
        (folder / FILE).write_bytes(b"".join(lines[:n_kept]) + half)
        given = parse([*GIVEN, "--out", str(folder), "--seeds", "2"])
        assert run(given, cells, "") == 0
        assert len(workers[-1].submitted) == 8 - n_kept
        assert numbers(folder) == whole
        assert (folder / FILE).read_bytes() == b"".join(lines)


def test_an_interrupt_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Inline] = []

    class Interrupted(Inline):
        def submit(self, evaluation: Evaluation) -> Any:
            made.append(self)
            return super().submit(evaluation)

    added: list[str] = []
    from nas.curves.store import Store

    add = Store.store

    def interrupting(self: Store, visit: Any, evaluation: Evaluation, outcomes: Any) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(evaluation.digest())
        add(self, visit, evaluation, outcomes)

    monkeypatch.setattr(
        "nas.workers.local.LocalWorkers", functools.partial(Interrupted, work=made_up.run)
    )
    monkeypatch.setattr("nas.curves.store.backend_of", lambda evaluation, outcomes: "c")
    monkeypatch.setattr(Store, "store", interrupting)
    out = ["--out", str(tmp_path / "out")]
    assert main([*GIVEN, *out]) == 130
    said = capsys.readouterr().out
    assert "Interrupted: 2 of 4 trainings are finished and kept in" in said
    assert f"python -m nas.curves --config {tmp_path / 'out' / 'config.yaml'}" in said
    assert made[0].closed
    monkeypatch.setattr(Store, "store", add)
    assert main(["--config", str(tmp_path / "out" / "config.yaml")]) == 0
    assert len(numbers(tmp_path / "out")["parity"]["cells"]) == 2


def test_a_time_budget_ends_it(
    tmp_path: Path, workers: list[Inline], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "--time_budget", "0.000001s"]
    assert main([*GIVEN, *out]) == 0
    said = capsys.readouterr().out
    assert "The time budget of 0.000001s is used up: 0 of 4 trainings are finished" in said
    assert not (tmp_path / "out" / "curves.json").exists()


@pytest.mark.process
def test_a_folder_is_of_one_process_at_a_time(tmp_path: Path) -> None:
    with open_store(tmp_path / "out"):
        process = finished([sys.executable, "-m", "nas.curves", *GIVEN, "--out", "out"], tmp_path)
    assert process.returncode == 2
    assert "nas.curves: folder out is being run by another process" in process.stderr
    assert "use another --out folder." in process.stderr


@pytest.mark.parametrize(
    "line", ["nothing", "{}", '{"digest": "a", "cell": "", "backend": "c", "evaluated": {}}']
)
def test_a_damaged_line_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"curves.jsonl: line 1 is no finished training"):
        open_store(tmp_path).__enter__()


def test_a_full_disk_is_told(
    tmp_path: Path, workers: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    config = parse([*GIVEN, "--out", str(tmp_path / "out")])
    with pytest.raises(SearchError, match=r"curves.jsonl cannot be written \(No space left"):
        run(config, [ZOO["lstm"]], "")


def test_the_loop_is_told_as_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CurvesConfig(cells=("rnn",))
    evaluation = plan(config, [ZOO["rnn"]]).protocol.asked[0]
    outcomes = made_up.run(evaluation).outcomes
    monkeypatch.setenv("NAS_BACKEND", "eager")
    assert backend_of(evaluation, outcomes) == "eager"
    monkeypatch.delenv("NAS_BACKEND")

    def compiled(cell: Any, inputs: int, hidden: int, dtype: Any) -> None:
        assert (cell.key, inputs, hidden) == (ZOO["rnn"].key, 12, 12)

    monkeypatch.setattr("nas.compile.loop.compiled", compiled)
    assert backend_of(evaluation, outcomes) == "c"
    failed = Outcome("failed")
    without_a_step = Outcome("timed out", hidden_size=13)
    assert backend_of(evaluation, [failed, without_a_step]) == ""
    assert backend_of(evaluation, [without_a_step, *outcomes]) == "c"


@pytest.mark.process
def test_killed_at_random_moments(tmp_path: Path, workers: list[Inline]) -> None:
    """No training that was kept is run again, and the end is that of an undisturbed run."""
    arguments = ["--cells", "lstm", "gru", "rnn", "mgu", "--tasks", "parity", "memorization"]
    arguments += ["--tasks.parity.epochs", "4", "--workers", "2", "--out", "out"]
    command = [sys.executable, "-m", "tests.curves.made_up", *arguments]
    log, generator = tmp_path / "log", random.Random(0)
    for _ in range(3):
        wanted = n_ended(log) + generator.randint(2, 3)
        process = launched(
            command, tmp_path, NAS_TEST_LOG=str(log), NAS_TEST_SLEEP_S="0.2", NAS_BACKEND="eager"
        )
        until(log, wanted, process)
        process.kill()
        process.wait()
    with open_store(tmp_path / "out") as store:
        kept = set(store.kept)
    assert kept
    n_before = len(log.read_text().splitlines())
    done = finished(command, tmp_path, NAS_TEST_LOG=str(log), NAS_BACKEND="eager")
    assert done.returncode == 0
    begun = {line.split()[1] for line in log.read_text().splitlines()[n_before:]}
    assert kept.isdisjoint(begun)
    whole = parse([*arguments[:-1], str(tmp_path / "whole")])
    assert run(whole, [ZOO[name] for name in ("lstm", "gru", "rnn", "mgu")], "") == 0
    assert curves(tmp_path / "out") == curves(tmp_path / "whole")


def n_ended(log: Path) -> int:
    return log.read_text().count("end") if log.exists() else 0


def until(log: Path, wanted: int, process: Running) -> None:
    deadline = time.monotonic() + 120
    while n_ended(log) < wanted:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)


def curves(folder: Path) -> dict[str, Any]:
    return {
        f"{task} {name}": {seed: one["curve"] for seed, one in cell["seeds"].items()}
        for task, of_task in numbers(folder).items()
        for name, cell in of_task["cells"].items()
    }


def test_results_of_workers_are_results() -> None:
    evaluation = plan(CurvesConfig(), [ZOO["lstm"]]).protocol.asked[0]
    assert isinstance(made_up.run(evaluation), Result)
