"""The parts of the benchmark that are no rows: their arithmetic; no time is judged."""

import contextlib
import dataclasses
import io
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.bench import memory, mutants, throughput, training
from nas.bench.command import bench, main
from nas.bench.config import SMOKE, Parts, Shape, parse
from nas.bench.goals import GOALS, goal
from nas.bench.report import Report, Row, missing
from nas.bench.tables import sections
from nas.compile import loop
from nas.compile.cost import cost_of
from nas.errors import SearchError
from nas.report.document import Table
from nas.zoo import ZOO

NOTHING = "--smoke --no-training --members 0 --mutants 0 --no-memory --workers 0".split()
ONE_ROW = [*NOTHING, "--cells", "lstm", "--modes", "fwd+bwd", "--inputs", "data"]


def run(flags: list[str], path: Path) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*flags, "--json", str(path)]) == 0
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def ms(*seconds: float) -> list[float | None]:
    return list(seconds)


def tables(report: Report) -> dict[str, Table]:
    """The table of each section by its title."""
    found = {section.title: section.parts[0] for section in sections(report)}
    return {title: table for title, table in found.items() if isinstance(table, Table)}


# --- goals ---


def test_goals_belong_to_a_cell_a_baseline_and_a_width() -> None:
    assert [goal("lstm", "nn.LSTM", "data", "fwd+bwd", h) for h in (32, 512)] == [1.5, 1.05]
    assert goal("lstm", "nn.LSTM", "tokens", "train", 64) == 1.9
    assert goal("gru_v1", "nn.GRU", "data", "train", 128) == 1.7
    assert goal("mut1", "eager", "tokens", "fwd+bwd", 32) == 6
    for nothing in (
        ("lstm", "nn.LSTM", "data", "fwd", 32),
        ("lstm", "nn.LSTM", "data", "train", 48),
        ("lstm", "eager", "data", "train", 32),
        ("mut1", "nn.LSTM", "data", "train", 32),
    ):
        assert goal(*nothing) is None
    assert {cell for one in GOALS for cell in one.cells} <= set(ZOO)


def row(hidden: int, ours: float, theirs: float, cell: str = "lstm") -> Row:
    times = {"c": ms(ours), "nn.LSTM": ms(theirs), "eager": ms(10 * ours)}
    shape = Shape(hidden, 20, 50, 50)
    return Row(cell, shape, "data", "train", 1, "c", "nn.LSTM", cell == "lstm", times, 1.0, {})


def test_the_table_of_goals_says_what_is_met() -> None:
    rows = [row(32, 1, 1.6), row(64, 1, 1.2), row(32, 1, 1, "mgu"), row(32, 1, 9, "mgru")]
    report = Report("", parse(ONE_ROW), {}, {}, peak_gflops={1: 1.0}, rows=rows)
    table = tables(report)["Ratios and their goals, by width"]
    assert table.head[-2:] == ["32", "64"]
    assert {found[0]: found[-2:] for found in table.rows} == {
        "lstm": ["1.60 (1.5)", "1.20 below (1.3)"],
        "mgu": ["10.00 (6)", ""],
    }
    assert table.note == "2 of 3 goals are met."


# --- threads ---


def test_each_number_of_threads_has_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = set()
    original = loop._run

    def counted(*arguments: Any, **named: Any) -> Any:
        seen.add(torch.get_num_threads())
        return original(*arguments, **named)

    monkeypatch.setattr(loop, "_run", counted)
    before = torch.get_num_threads()
    data = run([*ONE_ROW, "--threads", "1", "2"], tmp_path / "b.json")
    assert [found["threads"] for found in data["rows"]] == [1, 2]
    assert set(data["peak_gflops"]) == {"1", "2"}
    assert seen == {1, 2}
    assert torch.get_num_threads() == before


# --- mutants ---


def test_mutants_are_distinct_random_and_always_the_same() -> None:
    cells = mutants.draw(8)
    parents = {ZOO[name].key for name in mutants.PARENTS}
    assert len({cell.key for cell in mutants.draw(120)} | parents) == 122
    assert [str(cell) for cell in mutants.draw(8)] == [str(cell) for cell in cells]
    assert cells[:3] == mutants.draw(3)


def test_a_share_is_of_the_lstm_that_took_turns(tmp_path: Path) -> None:
    data = run([*NOTHING, "--mutants", "3", "--cells", "rnn"], tmp_path / "b.json")
    assert [found["cell"] for found in data["mutants"]] == [str(cell) for cell in mutants.draw(3)]
    for found in data["mutants"]:
        assert len(found["times_s"]) == len(found["lstm_times_s"]) == 2
        gflops = found["flops"] / statistics.median(found["times_s"]) / 1e9
        lstm = found["lstm_flops"] / statistics.median(found["lstm_times_s"]) / 1e9
        assert found["gflops"] == pytest.approx(gflops)
        assert found["share"] == pytest.approx(gflops / lstm)
    first, second, third = (found["lstm_times_s"] for found in data["mutants"])
    assert first == second != third, "two turns, the group has two"


def test_operations_of_a_plan_hold_those_of_its_products() -> None:
    from nas.bench.flops import matrix_flops

    for name in ("lstm", "gru", "mgu"):
        for hidden in (32, 64):
            shape = Shape(hidden, 20, 50, 50)
            products = matrix_flops(ZOO[name], shape, "data", backward=True)
            whole = mutants.plan_flops(ZOO[name], shape)
            assert products < whole < (1 + 8 / hidden) * products


def test_quantiles_of_mutants_are_those_of_numpy() -> None:
    times = np.random.default_rng(0).uniform(1, 3, size=50)
    shape = Shape(32, 20, 50, 50)
    rows = [
        mutants.MutantRow(f"m{k}", "", shape, 1.0, 1.0, ms(time), ms(1.0))
        for k, time in enumerate(times)
    ]
    report = Report("", parse(ONE_ROW), {}, {}, mutants=rows)
    (table,) = tables(report).values()
    (found,) = table.rows
    expected = np.quantile(1 / times, [0, 0.1, 0.25, 0.5, 0.75, 1])
    assert found[2:8] == [f"{value:.2f}" for value in expected]
    assert found[8:] == ["0.6", f"{np.mean(1 / times >= 0.6):.0%}", f"m{times.argmax()}"]


# --- members ---


def test_members_give_what_they_give_alone() -> None:
    found = training.train_members(ZOO["gru"], 6, 3, 2, 2)
    assert found.same
    assert found.hidden == 6
    assert list(found.times_s) == ["together", "in turn"]
    for arm, times in found.times_s.items():
        assert len(times) == 2
        assert found.steps_per_s[arm] == pytest.approx(3 * 2 / statistics.median(times))


def test_members_that_differ_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = training.train

    def train(cell: Any, task: Any, settings: Any, seed: int) -> Any:
        return original(cell, task, settings, seed + (len(settings) == 1))

    monkeypatch.setattr(training, "train", train)
    found = training.train_members(ZOO["gru"], 6, 2, 2, 1)
    assert not found.same
    config = dataclasses.replace(SMOKE, members=2, mutants=0, memory=False, workers=0)
    config = dataclasses.replace(config, parts=Parts(member_hidden=(6,)))
    said = list(missing(Report("", config, {}, {}, members=[found])))
    assert said[-1] == "members of gru 6 differ from those that train alone"


# --- memory ---


@pytest.mark.process
@pytest.mark.skipif(not memory.STATUS.exists(), reason="reads /proc")
def test_memory_is_what_the_plan_keeps_and_a_little_more() -> None:
    hidden, batch, steps = 128, 64, 100
    found = memory.memory("lstm", hidden, batch, steps, 2)
    cost = cost_of(loop.compiled(ZOO["lstm"], hidden, hidden, torch.float32).plan)
    rows = batch * steps
    # What is kept, the weights and their gradients, y and its gradient, x.
    least = cost.kept_bytes * rows + 2 * cost.parameter_bytes + 3 * 4 * hidden * rows
    assert list(found.peak_bytes) == ["c", "nn.LSTM"]
    assert least < found.peak_bytes["c"] < 2.5 * least
    assert least / 2 < found.peak_bytes["nn.LSTM"] < 6 * least


@pytest.mark.process
@pytest.mark.skipif(not memory.STATUS.exists(), reason="reads /proc")
def test_imports_are_not_counted() -> None:
    assert memory.memory("rnn", 2, 2, 2, 1).peak_bytes["c"] < 8 * 2**20


@pytest.mark.process
def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(SearchError, match=r"the memory of c was not measured: .*positive whole"):
        memory.memory("lstm", 0, 2, 2, 1)


# --- workers ---


def test_the_gain_is_in_evaluations() -> None:
    times = {"1 worker": ms(2.0, 2.0), "2 workers": ms(2.5, 2.5)}
    found = throughput.Workers("lstm", 1, 2, {"1 worker": 2, "2 workers": 4}, times)
    assert found.per_minute["1 worker"] == pytest.approx(60)
    assert found.gain == pytest.approx(1.6)


@pytest.mark.process
def test_workers_train_one_by_one_and_all_at_once() -> None:
    found = throughput.workers(ZOO["rnn"], 5_000, 2, 2, 1, 2)
    assert found.evaluations == {"1 worker": 1, "2 workers": 2}
    assert [len(times) for times in found.times_s.values()] == [2, 2]
    with pytest.raises(SearchError, match=r"a worker's evaluation failed: .*n_params must be at"):
        throughput.workers(ZOO["rnn"], 5, 2, 2, 1, 2)


@pytest.mark.process
def test_the_smoke_run_measures_in_processes_too(tmp_path: Path) -> None:
    """The parts that start some; tests/bench/test_bench.py has the others."""
    flags = "--smoke --no-training --members 0 --mutants 0 --cells lstm --modes fwd --inputs data"
    data = run(flags.split(), tmp_path / "b.json")
    assert [found["cell"] for found in data["workers"]] == ["lstm"]
    assert bool(data["memory"]) == memory.STATUS.exists()


# --- searches ---


@pytest.mark.process
def test_a_search_runs_on_the_backend_that_is_asked_for() -> None:
    for backend in throughput.BACKENDS:
        found = throughput.search(backend, 1, tiny=True)
        assert (found.backend, found.judged) == (backend, 4)
        assert (found.loops > 4) == (backend == "c"), "one for each cell, and the products"
        assert found.per_minute == pytest.approx(240 / found.wall_s)


@pytest.mark.process
def test_a_search_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "TINY", ("--space", "nowhere"))
    with pytest.raises(
        SearchError, match=r'backend c failed, exit code 2: nas\.search: no space "nowhere"'
    ):
        throughput.search("c", 1, tiny=True)


# --- the whole ---


def test_a_part_that_fails_is_said_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise SearchError("it rains")

    monkeypatch.setattr(training, "train_members", refuse)
    flags = [*ONE_ROW, "--members", "2", "--mutants", "1", "--json", str(tmp_path / "b.json")]
    assert bench(parse(flags), flags) == 1
    data = json.loads((tmp_path / "b.json").read_text())
    assert data["notes"][-1] == "members was left out: it rains"
    assert len(data["mutants"]) == 1
    assert "missing or wrong: 0 of 1 results of members" in capsys.readouterr().err


def test_every_part_has_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(32, 20, 50, 50)
    pair = {"together": ms(1.0), "in turn": ms(3.0)}
    crew = {"1 worker": ms(2.0), "2 workers": ms(2.2)}
    report = Report(
        "",
        parse(ONE_ROW),
        {},
        {},
        members=[training.Members("lstm", 32, 5, 10, pair, True)],
        mutants=[mutants.MutantRow("m", "", shape, 2.0, 1.0, ms(1.0), ms(1.0))],
        memory=[memory.Memory("lstm", 32, 2, 3, "nn.LSTM", {"c": 2**20, "nn.LSTM": 2**21})],
        workers=[throughput.Workers("lstm", 5000, 2, {"1 worker": 1, "2 workers": 2}, crew)],
        search=[throughput.Search("eager", 2, 10, 0, 60.0), throughput.Search("c", 2, 10, 9, 20.0)],
    )
    found = tables(report)
    assert len(found) == 5

    def only(title: str) -> list[str]:
        return list(found[title].rows[0])

    assert only("Training steps a second, summed over members")[3:6] == ["50", "17", "3.00"]
    assert only("Peak memory of training")[4:] == ["1.0", "nn.LSTM", "2.0", "0.50"]
    assert only("Evaluations a minute, each worker on one thread")[-2:] == ["1.82", "1.9"]
    searches = found["The quickstart's search"]
    assert [row[-1] for row in searches.rows] == ["10.0", "30.0"]
    assert searches.note.endswith("Ratio: 3.00.")


@pytest.mark.process
def test_a_step_in_c_is_measured_against_others(tmp_path: Path) -> None:
    flags = [*ONE_ROW, "--exported", "--cells", "gru", "--hidden", "8"]
    (part,) = run(flags, tmp_path / "bench.json")["exported"]
    ours = part["median_s"]["C float32"]
    assert part["torch"] == "nn.LSTM", "torch has another GRU"
    for arm in ("onnxruntime", "onnxruntime's LSTM", "nn.LSTM", "nas.RNN.step", "C int16x8"):
        assert part["ratios"][arm]["ratio"] == pytest.approx(part["median_s"][arm] / ours, rel=1e-5)
    assert part["flash_bytes"]["int8"] < part["flash_bytes"]["float32"]
    assert part["ram_bytes"]["int16x8"] < part["ram_bytes"]["float32"]
