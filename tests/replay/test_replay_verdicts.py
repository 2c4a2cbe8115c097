"""What a replay says of samplers: right where there is a difference, else rarely wrong."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nas.cell.distance import distance, features
from nas.replay.bench import Bench, make_bench
from nas.replay.command import main
from nas.replay.compare import BASELINE, compare, curves, verdict
from nas.replay.run import ReplayConfig, make_replay
from nas.replay.table import write_table
from nas.report.statistics.intervals import LEVEL, intervals
from nas.samplers.evolution import EvolutionConfig
from nas.search.search import main as search
from tests.replay.replay_tables import RUNS, independent, smooth, table, walked

EVOLUTION = ("regularized", "jozefowicz")
CONFIG = ReplayConfig()


def hidden_bests(n_seeds: int) -> Iterator[tuple[int, Bench]]:
    """Of each seed another best cell; the nearer to it, the better."""
    cells = walked(6, 8)
    counted = [features(cell) for cell in cells]
    bench = make_bench(table(cells, [0.0] * len(cells)))
    for seed in range(n_seeds):
        best = counted[37 * seed % len(cells)]
        values = [1 - distance(best, one) for one in counted]
        visits = [
            replace(visit, value=value, score=value)
            for visit, value in zip(bench.visits, values, strict=False)
        ]
        yield seed, replace(bench, visits=(*visits, *bench.visits[len(values) :]))


@pytest.mark.parametrize("name", EVOLUTION)
def test_evolution_beats_random_where_neighbours_are_alike(name: str) -> None:
    """With a list of 3 of 96 cells: the paper's 100 are of 10,000. With 100 there is no choice."""
    config = ReplayConfig(EvolutionConfig(list_size=3), n_candidates=48)
    benches = list(hidden_bests(64))
    areas = []
    for one in (BASELINE, name):
        replay = make_replay(one, benches[0][1], config)
        found = [curves("", [replay(b, s)], b.values, b.costs("runs")) for s, b in benches]
        areas.append(np.array([each.area(RUNS * 48)[0] for each in found]))
    [gain] = intervals((areas[0] - areas[1])[:, None])
    assert gain.low > 0


def test_the_verdict_of_a_table_whose_neighbours_are_alike() -> None:
    [*_, (_, bench)] = hidden_bests(8)
    config = ReplayConfig(EvolutionConfig(population=8), n_candidates=30)
    comparison = compare(bench, ["regularized"], range(10), config)
    result = comparison.results[1]
    assert result.luck == 2 / 40
    said = verdict(comparison, result)
    assert said.startswith("regularized beats random: its mean regret is 0.")
    assert said.endswith(
        "and it is unusual among 39 tables with the results shuffled among the cells (p = 0.05)."
    )


def test_a_sampler_that_is_random_is_no_evidence() -> None:
    """Another seed of the same: the baseline against itself under another name."""
    bench = independent(4, 6)
    name = "nas.samplers.propose:RandomWalk"
    comparison = compare(bench, [name], range(8), CONFIG, n_shuffled=0)
    result = comparison.results[1]
    assert result.gain is not None
    assert (result.gain.mean, result.gain.low, result.gain.high) == (0, 0, 0)
    assert verdict(comparison, result).startswith(
        "No evidence of a difference between nas.samplers"
    )


def test_the_verdict_says_which_is_better() -> None:
    bench = smooth(2, 5, 3)
    comparison = compare(bench, ["regularized"], range(3), CONFIG, n_shuffled=0)
    result = comparison.results[1]
    worse = replace(result, gain=replace(result.area, mean=-0.3, low=-0.4, high=-0.2))
    by = "its mean regret is 0.3000 [0.2000, 0.4000] lower, 3 seeds"
    assert verdict(comparison, worse) == (
        f"random beats regularized on this table, by luck or not (see --shuffled): {by}."
    )
    usual = replace(worse, luck=0.1)
    assert verdict(replace(comparison, n_shuffled=39), usual) == (
        "No evidence of a difference between regularized and random beyond this table's luck: "
        "random's mean regret is 0.3000 [0.2000, 0.4000] lower, 3 seeds, but it is not unusual "
        "among 39 tables with the results shuffled among the cells (p = 0.1)."
    )


REPETITIONS = pytest.mark.parametrize(
    "n_repetitions", [4, pytest.param(40, marks=pytest.mark.process)]
)


def most_alarms(n_repetitions: int) -> float:
    """Of so many claims with a chance of 5 % each, more are false with a chance of 0.1 %."""
    return float(stats.binom.ppf(0.999, n_repetitions, LEVEL))


@REPETITIONS
@pytest.mark.parametrize("name", EVOLUTION)
def test_independent_values_are_no_evidence(name: str, n_repetitions: int) -> None:
    """On one table of them after the other: 5 % of the verdicts claim a difference, at most. The
    intervals alone would claim more."""
    bench, alarms, alone = independent(2, 7), 0, 0
    config = ReplayConfig(EvolutionConfig(population=5), n_candidates=14)
    for repetition in range(n_repetitions):
        other = bench.shuffled(1000 + repetition)
        comparison = compare(other, [name], range(4), config)
        result = comparison.results[1]
        assert result.gain is not None
        alarms += not verdict(comparison, result).startswith("No evidence")
        alone += result.gain.excludes_zero
    assert alarms <= most_alarms(n_repetitions)
    assert alarms < alone


@REPETITIONS
def test_false_alarms_are_as_rare_as_they_claim(n_repetitions: int) -> None:
    """Values that have nothing to do with the cells, another table for each seed: 5 % of the
    intervals leave out zero."""
    bench, n_seeds = independent(4, 5), 20
    config = ReplayConfig(EvolutionConfig(population=5, list_size=5), n_candidates=20)
    replays = {name: make_replay(name, bench, config) for name in (BASELINE, *EVOLUTION)}
    alarms = dict.fromkeys(EVOLUTION, 0)
    for repetition in range(n_repetitions):
        areas: dict[str, list[float]] = {name: [] for name in replays}
        for seed in range(repetition * n_seeds, (repetition + 1) * n_seeds):
            other = bench.shuffled(seed)
            for name, replay in replays.items():
                one = curves("", [replay(other, seed)], other.values, other.costs("runs"))
                areas[name].append(float(one.area(one.paid[0, -1])[0]))
        for name in EVOLUTION:
            gain = np.array(areas[BASELINE]) - np.array(areas[name])
            alarms[name] += intervals(gain[:, None])[0].excludes_zero
    assert max(alarms.values()) <= most_alarms(n_repetitions)


# --- the command ---


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bench: Bench = smooth(3, 5, 7)
    write_table(table(walked(3, 5), bench.values), Path("made.jsonl"))
    arguments = ["made.jsonl", "--samplers", "regularized", "--seeds", "6", "--shuffled", "0"]
    arguments += ["--out", "out"]
    assert main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "Study made, 30 recorded candidates, the best 1.0000: "
        "regret over 120 training runs, 6 seeds"
    )
    assert [line.split()[0] for line in said[1:4]] == ["sampler", "random", "regularized"]
    assert said[1].split()[1:7] == ["6", "12", "30", "60", "90", "mean"]
    results = json.loads(Path("out/results.json").read_text())
    direct = compare(bench, ["regularized"], range(6), CONFIG, n_shuffled=0)
    for result in direct.results:
        kept = results["samplers"][result.name]
        assert kept["mean_regret"]["mean"] == pytest.approx(result.area.mean, rel=1e-6)
        assert kept["regret"]["0.25"]["low"] == pytest.approx(result.at[2].low, rel=1e-6, abs=1e-9)
    assert results["samplers"]["regularized"]["verdict"] in said
    with Path("out/regret.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["runs"]) for row in rows[:101]] == pytest.approx(direct.points)
    assert len(rows) == 2 * 101
    assert {float(row["regret"]) for row in (rows[100], rows[201])} == {0.0}
    page = Path("out/results.md").read_text()
    assert page.count("\n| ") == 4
    assert Path("out/regret.png").read_bytes()[:4] == b"\x89PNG"


def test_a_search_is_replayed_on_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """nas.search --protocol replay is a comparison of its sampler with its other fields."""
    monkeypatch.chdir(tmp_path)
    bench = smooth(3, 5, 7)
    write_table(table(walked(3, 5), bench.values), Path("made.jsonl"))
    monkeypatch.setattr("nas.replay.command.N_SEEDS", 4)
    monkeypatch.setattr("nas.replay.command.N_SHUFFLED", 0)
    flags = "--protocol replay --table made.jsonl --sampler regularized --seed 3 --study one"
    fields = "--n-candidates 14 --in-flight 2 --evolution.population 6"
    assert search(["quickstart", *flags.split(), *fields.split()]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-4:] == [
        f"studies/one/replay/{name}"
        for name in ("regret.png", "regret.csv", "results.json", "results.md")
    ]
    config = ReplayConfig(EvolutionConfig(population=6), 2, n_candidates=14)
    direct = compare(bench, ["regularized"], range(3, 7), config, n_shuffled=0)
    assert verdict(direct, direct.results[1]) in said
    assert list(Path("studies/one").iterdir()) == [Path("studies/one/replay")]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--protocol replay", "--protocol replay needs a --table: python -m nas.replay write"),
        ("--table made.jsonl", "table made.jsonl is read by --protocol replay alone, got flat."),
        ("--protocol replay --table no.jsonl", "table no.jsonl cannot be read: No such file"),
    ],
)
def test_a_replay_needs_a_table(capsys: pytest.CaptureFixture[str], flags: str, said: str) -> None:
    assert search(["quickstart", *flags.split()]) == 2
    assert said in capsys.readouterr().err
