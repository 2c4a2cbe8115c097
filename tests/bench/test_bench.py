"""The benchmark: its arithmetic, and that its output is complete; no time is judged."""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.bench.arms import TWINS, make_arms, twin, work
from nas.bench.command import bench, main
from nas.bench.config import INPUTS, MODES, Shape, parse
from nas.bench.flops import folds, matrix_flops
from nas.bench.report import Report, Row, missing
from nas.bench.timing import Ratio, compare, take_turns
from nas.compile import loop
from nas.compile.native import CompilerError
from nas.compile.rows import Tokens
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.tolerances import OTHER_KERNEL_32, SEVEN_DIGITS


@dataclasses.dataclass(frozen=True)
class Smoke:
    code: int
    printed: str
    data: dict[str, Any]
    png: bytes
    markdown: str


ROWS = "--smoke --no-training --members 0 --mutants 0 --no-memory --workers 0".split()
PARTS = (
    "compiled ahead",
    "nas.train",
    "summed over members",
    "GFLOP/s of random mutants",
)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    place = tmp_path_factory.mktemp("bench")
    names = {"--json": "b.json", "--png": "b.png", "--markdown": "b.md"}
    written = [word for flag, name in names.items() for word in (flag, str(place / name))]
    quick = [
        "--smoke",
        "--no-memory",
        "--workers",
        "0",
    ]  # processes, in tests/bench/test_bench_parts.py
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*quick, *written])
    data = json.loads((place / "b.json").read_text())
    png, markdown = (place / "b.png").read_bytes(), (place / "b.md").read_text()
    return Smoke(code, out.getvalue(), data, png, markdown)


# --- the output ---


@pytest.mark.process  # the run takes half a minute
def test_the_smoke_run_succeeds_and_prints_every_part(smoke: Smoke) -> None:
    assert smoke.code == 0
    for part in ("nn.LSTM", "(nn.LSTM)", "Peak of torch.mm", "from a cell to a loop", *PARTS):
        assert part in smoke.printed
        assert part in smoke.markdown
    assert smoke.png.startswith(b"\x89PNG")


@pytest.mark.process  # the run takes half a minute
def test_every_row_is_there_with_all_rounds_of_all_arms(smoke: Smoke) -> None:
    rows = {(row["cell"], row["input"], row["mode"]): row for row in smoke.data["rows"]}
    assert set(rows) == set(itertools.product(("lstm", "gru"), INPUTS, MODES))
    for row in rows.values():
        assert (row["ours"], row["torch"]) == ("c", "nn.LSTM")
        assert row["same_cell"] == (row["cell"] == "lstm")
        assert list(row["times_s"]) == ["c", "nn.LSTM", "eager"]
        assert all(len(times) == 2 for times in row["times_s"].values())
        assert min(row["times_s"]["c"] + row["times_s"]["nn.LSTM"]) > 0
        assert row["times_s"]["eager"][1] is None, "the eager arm takes part seldom"
        assert (row["hidden"], row["batch"], row["steps"], row["vocabulary"]) == (16, 4, 8, 10)
        assert row["threads"] == 1


@pytest.mark.process  # the run takes half a minute
def test_ratios_and_speeds_follow_from_the_raw_times(smoke: Smoke) -> None:
    for row in smoke.data["rows"]:
        times = {arm: [t for t in raw if t is not None] for arm, raw in row["times_s"].items()}
        ours = statistics.median(times["c"])
        assert set(row["ratios"]) == {"nn.LSTM", "eager"}
        for arm, found in row["ratios"].items():
            ratio = statistics.median(times[arm]) / ours
            assert found["ratio"] == pytest.approx(ratio, **SEVEN_DIGITS)
        each = np.divide(row["times_s"]["nn.LSTM"], row["times_s"]["c"])
        quartiles = (row["ratios"]["nn.LSTM"]["low"], row["ratios"]["nn.LSTM"]["high"])
        assert quartiles == pytest.approx(np.percentile(each, (25, 75)), **SEVEN_DIGITS)
        assert row["gflops"] == pytest.approx(row["matrix_flops"] / ours / 1e9, **SEVEN_DIGITS)
        peak = smoke.data["peak_gflops"]["1"]
        assert row["share_of_peak"] == pytest.approx(row["gflops"] / peak, **SEVEN_DIGITS)


@pytest.mark.process  # the run takes half a minute
def test_arms_of_one_cell_give_the_same_output(smoke: Smoke) -> None:
    for row in smoke.data["rows"]:
        same = {"nn.LSTM", "eager"} if row["cell"] == "lstm" else {"eager"}
        assert set(row["differences"]) == same
        assert max(row["differences"].values()) < OTHER_KERNEL_32["atol"]


@pytest.mark.process  # the run takes half a minute
def test_the_json_says_how_it_was_made(smoke: Smoke) -> None:
    data = smoke.data
    assert data["command"].startswith("python -m nas.bench --smoke --no-memory ")
    assert data["versions"]["torch"] == torch.__version__
    assert (data["config"]["threads"], data["machine"]["dtype"]) == ([1], "float32")
    assert data["wall_s"] > 0
    assert data["command"] in smoke.markdown
    assert data["machine"]["processor"]
    assert data["machine"]["compiler"]
    assert data["config"]["rounds"] == 2
    compiled = [(one["cell"], one["hidden"]) for one in data["compile_times"]]
    assert compiled == [("lstm", 16), ("gru", 16)]
    for one in data["compile_times"]:
        assert one["cold_s"] > max(one["cached_s"]) > 0, "a C compiler runs only the first time"


@pytest.mark.process  # the run takes half a minute
def test_training_is_counted_in_steps_of_the_same_epoch(smoke: Smoke) -> None:
    training = smoke.data["training"]
    medians = {arm: statistics.median(times) for arm, times in training["times_s"].items()}
    assert set(medians) == {"nas.train", "by hand", "by hand, nn.LSTM"}
    assert training["steps_per_s"] == pytest.approx({arm: 4 / s for arm, s in medians.items()})
    overhead = 1 - medians["by hand"] / medians["nas.train"]
    assert training["overhead"] == pytest.approx(overhead)


def test_a_run_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    tiny = [*ROWS, "--cells", "rnn", "--modes", "fwd", "--inputs", "data"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(tiny) == 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert os.environ["NAS_CACHE_DIR"] == str(tmp_path)


def test_without_a_compiler_the_rest_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise CompilerError("no C compiler is installed")

    monkeypatch.setattr(loop, "compiled", refuse)
    path = tmp_path / "b.json"
    tiny = [*ROWS, "--cells", "gru_v1", "--inputs", "tokens", "--json"]
    config = parse([*tiny, str(path)])
    assert bench(config, tiny) == 0
    said = "backend c cannot run cell gru_v1: no C compiler is installed."
    assert said in capsys.readouterr().out
    data = json.loads(path.read_text())
    assert not data["compile_times"]
    assert [list(row["times_s"]) for row in data["rows"]] == [["eager", "nn.GRU"]] * len(MODES)


def test_missing_results_are_named() -> None:
    config = parse([*ROWS, "--modes", "fwd", "--inputs", "data", "--cells", "lstm"])
    times = {"c": [1.0, 1.0], "nn.LSTM": [2.0, 2.0]}
    shape = config.shapes()[0]
    row = Row("lstm", shape, "data", "fwd", 1, "c", "nn.LSTM", True, times, 1.0, {"nn.LSTM": 0.0})
    empty = Report("", config, {}, {})
    assert list(missing(empty)) == ["0 of 1 results of rows"]
    whole = dataclasses.replace(empty, rows=[row])
    assert list(missing(whole)) == [
        "0 of 1 results of compile_times",
        "the time of compiling ahead",
    ]
    short = dataclasses.replace(row, times_s={"c": [1.0], "nn.LSTM": [2.0]})
    assert any("times of c" in p for p in missing(dataclasses.replace(empty, rows=[short])))
    for difference in (1.0, None):
        wrong = dataclasses.replace(row, differences={"nn.LSTM": difference})
        problems = missing(dataclasses.replace(empty, rows=[wrong]))
        assert any("output differs" in problem for problem in problems)


# --- the clock ---


def test_ratios_are_of_medians_and_quartiles_of_rounds() -> None:
    assert compare([2.0, 4.0, None], [1.0, 1.0, 7.0]) == Ratio(3.0, 2.5, 3.5)


def test_arms_take_turns_in_a_rotating_order_after_a_warm_up() -> None:
    seen: list[str] = []
    arms = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    times = take_turns(arms, 5, seldom=["c"])
    assert seen[:9] == list("aaabbbccc"), "three calls each to warm up"
    assert "".join(seen[9:]) == "abc" + "ba" + "ab" + "ab" + "bca"
    assert [t is None for t in times["c"]] == [False, True, True, True, False]
    assert all(t is not None for t in times["a"] + times["b"])


def test_quick_arms_are_called_several_times_in_a_round() -> None:
    calls = {"quick": 0}

    def quick() -> None:
        calls["quick"] += 1

    take_turns({"quick": quick}, 2, round_s=10.0)
    assert calls["quick"] == 3 + 2 * 50


# --- the work of a mode ---


@pytest.mark.parametrize("given", INPUTS)
def test_a_mode_does_what_it_says(given: Any) -> None:
    for arm in make_arms(ZOO["lstm"], Shape(16, 3, 4, 5), given, eager=True).arms:
        before = [weight.detach().clone() for weight in arm.weights]
        assert any(weight.shape == (5, 16) for weight in before) == (given == "tokens")
        work(arm, "fwd")()
        assert all(weight.grad is None for weight in arm.weights)
        work(arm, "fwd+bwd")()
        first = [weight.grad.clone() for weight in arm.weights if weight.grad is not None]
        assert len(first) == len(before), "every weight has a gradient, the embedding too"
        assert all(map(torch.equal, arm.weights, before))
        work(arm, "fwd+bwd")()
        assert all(map(torch.equal, first, (weight.grad for weight in arm.weights))), "not summed"
        work(arm, "train")()
        assert not any(map(torch.equal, arm.weights, before))


def test_a_step_of_training_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.bench.arms.CLIP_NORM", 0.0)
    for arm in make_arms(ZOO["lstm"], Shape(16, 3, 4, 5), "tokens", eager=False).arms:
        before = [weight.detach().clone() for weight in arm.weights]
        work(arm, "train")()
        assert all(map(torch.equal, arm.weights, before))


def test_torch_modules_are_known_by_their_equations() -> None:
    for name in TWINS:
        assert twin(ZOO[name]) == name
    assert twin(ZOO["lstm_np"]) == "lstm", "the same under another name"
    assert twin(ZOO["gru"]) is None


# --- operations ---


def test_operations_of_the_lstm_by_hand() -> None:
    h, b, t, v = 32, 20, 35, 50
    shape, lstm = Shape(h, b, t, v), ZOO["lstm"]
    part = 2 * b * t * 4 * h * h  # four gates by x, or by h
    assert matrix_flops(lstm, shape, "data", backward=False) == 2 * part
    assert matrix_flops(lstm, shape, "data", backward=True) == 3 * part + 2 * part
    symbols = 2 * v * 4 * h * h
    assert matrix_flops(lstm, shape, "tokens", backward=True) == 3 * part + 3 * symbols
    unfolded = matrix_flops(lstm, shape, "tokens", backward=True, folding=False)
    assert unfolded == 48 * b * t * h * h
    many = dataclasses.replace(shape, vocabulary=10_000)
    assert matrix_flops(lstm, many, "tokens", backward=True) == unfolded


@pytest.mark.parametrize("name", ["lstm", "rnn", "gru", "gru_v1", "mut1", "mgu", "mingru"])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    h, b, t, v = 8, 3, 5, 7
    rnn = RNN(ZOO[name], h, h, backend="eager")
    table = torch.randn(v, h, requires_grad=True)
    state = [torch.zeros(1, b, h, requires_grad=True) for _ in ZOO[name].states]
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            tokens = torch.randint(v, (t, b))
            y, _ = rnn.forward_tokens(tokens, table, state[0] if len(state) == 1 else tuple(state))
            if backward:
                torch.autograd.backward(y.sum())
        counted = matrix_flops(
            ZOO[name], Shape(h, b, t, v), "tokens", backward=backward, folding=False
        )
        assert counted == counter.get_total_flops()


def test_tokens_are_folded_where_the_loop_folds_them() -> None:
    tokens = Tokens(torch.zeros(2, 1), torch.zeros(3, dtype=torch.int64))
    for cell in ZOO.values():
        assert folds(cell, "tokens") == loop._folds(cell, tokens)
        assert not folds(cell, "data")
