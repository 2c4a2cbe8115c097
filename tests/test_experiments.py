"""The experiments that come with nas: each can be run, and says what it claims."""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from nas.compare.command import parse as parse_comparison
from nas.compare.config import cells_of
from nas.errors import UserError
from nas.report.statistics.intervals import differences
from nas.report.statistics.reliability import FEWEST
from nas.resources import curves, names, searches
from nas.spaces import load_space
from nas.spaces.listed import Listed
from nas.study.config import definition, protocol_of
from nas.study.parse import parse
from nas.zoo import ZOO
from tests.inline import finished_here

ROOT = Path(__file__).parent.parent / "experiments"
NAMES = searches()
COMPARISONS = sorted(set(names("experiments")) - set(NAMES) - set(curves()))
PARTS = ("**Question.**", "**Design", "**Choices", "ost.**")


def test_there_are_some() -> None:
    assert {"quickstart", "overnight", "jozefowicz2015", "from_rnn"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_complete(name: str) -> None:
    """A configuration that is accepted, a space, settings, a definition, and a question."""
    config = parse([name])
    protocol = protocol_of(config)
    assert config.study == name
    assert definition(config, load_space(config.space))
    how = config.protocol
    n_settings = how.ladder.n_settings[0] if how.kind == "ladder" else how.n_settings
    for task in protocol.tasks:
        assert len(protocol.settings_of(task)) == n_settings
    assert_explained(name)


def assert_explained(name: str) -> None:
    readme = (ROOT / name / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {name}\n")
    for part in PARTS:
        assert part in readme, part


def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let configurations be read whose data may have to be fetched."""
    monkeypatch.setattr("nas.tasks.config.TasksConfig.check", lambda self: None)
    monkeypatch.setattr("nas.compare.config.check_comparable", lambda task, seed, **_: None)


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch)
    config = parse_comparison(["--config", name])
    assert config.study == name
    assert config.definition()
    for task in config.compared:
        n_settings = len(config.settings.points(task.n_params))
        assert config.best_share or n_settings >= config.tuning
    assert_explained(name)


def test_found_cells_are_compared_on_held_out_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch)
    found = [str(path) for path in sorted((ROOT / "discover" / "cells").glob("*.cell"))]
    held_out = ROOT / "discover" / "held_out.yaml"
    config = parse_comparison([*found, "--config", str(held_out)])
    assert config.cells == tuple(found)
    assert config.against == ("lstm_b", "mut1", "mrnn", "mlstm", "tau_gru")
    assert not {task.name for task in config.compared} & set(parse(["discover"]).tasks.use)
    with pytest.raises(UserError, match="compares cells and is no search"):
        parse([str(held_out)])


KNOWN = {
    **{"GRU": "gru", "LSTM": "lstm", "LSTM, bias 1": "lstm_b", "MUT1": "mut1"},
    **{"multiplicative RNN": "mrnn", "multiplicative LSTM": "mlstm", "tau-GRU": "tau_gru"},
}
"""Names of cells in tables."""


def held_out(file: str) -> pd.DataFrame:
    """Runs on held-out tasks: accuracies and losses on test, and areas, more of all is better."""
    runs = pd.read_csv(ROOT / "discover" / file).set_index(["task", "cell", "seed"])
    assert not runs["missing"].notna().any()
    sign = runs["metric"].map({"accuracy": 1.0, "loss": -1.0})
    return runs[["test", "area"]].mul(sign, axis=0)


@pytest.mark.parametrize("file", ["held_out_whole.csv", "held_out_first.csv"])
def test_tables_of_held_out_tasks_are_those_of_their_runs(file: str) -> None:
    """Each number is a mean over seeds."""
    readme = (ROOT / "discover" / "README.md").read_text(encoding="utf-8")
    means = held_out(file).groupby(["task", "cell"], sort=False).mean()
    tasks, cells = (means.index.unique(level) for level in ("task", "cell"))
    found = set()
    end = readme.index(f"`{file}` has every run")
    for line in readme[readme.rindex("| cell | ", 0, end) : end].splitlines():
        name, *columns = (part.strip() for part in line.strip("| ").split("|"))
        cell = KNOWN.get(name, name.strip("`"))
        if cell not in cells or len(columns) != len(tasks):
            continue
        found.add(cell)
        for task, column in zip(tasks, columns, strict=True):
            shown = [float(part) for part in re.findall(r"[\d.]+", column)]
            assert shown == pytest.approx(means.loc[task, cell].abs().tolist(), abs=0.00051)
    assert found == set(cells)


def test_the_found_cell_is_above_known_ones_where_that_is_said() -> None:
    """On recall and music by both measures, on A5 but for the end of MUT1."""
    runs = held_out("held_out_whole.csv")
    above = {}
    for task in runs.index.unique("task"):
        for measure in ("test", "area"):
            by_cell = runs.loc[task][measure].unstack("cell")
            others = {cell: by_cell.drop(columns=cell) for cell in KNOWN.values()}
            above[task, measure] = {
                cell
                for cell, rest in others.items()
                for found in [differences(rest.sub(by_cell[cell], axis=0).to_dict("list"), cell)]
                if found["mutant_5811e5"].is_claimed
                and (gain := found["mutant_5811e5"].gain) is not None
                and gain.mean > 0
            }
    four = {"gru", "lstm", "lstm_b", "mut1"}
    both = {task for task, _ in above if four <= above[task, "test"] & above[task, "area"]}
    assert both == {"recall", "music"}
    assert four <= above["a5", "area"]
    assert four & above["a5", "test"] == four - {"mut1"}
    assert set(KNOWN.values()) == above["music", "test"] & above["music", "area"]


ARMS = {"lexicase": "lexicase", "random draws": "random", "jozefowicz": "jozefowicz"}


def arms() -> pd.DataFrame:
    """By task, seed and arm, the mean of an arm's five cells; known cells are arms of one."""
    cells = {name: path_cells(folder) for name, folder in ARMS.items()}
    cells |= {name: [cell] for name, cell in KNOWN.items()}
    runs = held_out("arms.csv").unstack("cell")
    return pd.concat(
        {
            (measure, name): runs[measure][members].mean(axis=1)
            for measure in ("test", "area")
            for name, members in cells.items()
            if set(members) <= set(runs[measure])
        },
        axis=1,
    )


def path_cells(arm: str) -> list[str]:
    return [path.stem for path in (ROOT / "discover" / "arms" / arm).glob("*.cell")]


def test_the_arms_of_discover_are_compared_as_their_table_says() -> None:
    readme = (ROOT / "discover" / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index("| arm | modular") :].splitlines()
    tasks = ["modular_arithmetic", "s3", "a5", "recall", "dyck", "digits", "music"]
    means = arms().groupby("task").mean()
    for line in shown[2:8]:
        name, *columns = (part.strip() for part in line.strip("| ").split("|"))
        for task, column in zip(tasks, columns, strict=True):
            found = [abs(means.loc[task, (measure, name)]) for measure in ("test", "area")]
            numbers = [float(part) for part in re.findall(r"[\d.]+", column)]
            assert numbers == pytest.approx(found, abs=0.00051)


def test_no_arm_of_discover_is_better_on_all_tasks() -> None:
    """Where they end: above, and below."""
    found = arms()["test"]
    claims = {}
    for one, other in (
        ("lexicase", "jozefowicz"),
        ("random draws", "jozefowicz"),
        ("lexicase", "random draws"),
    ):
        gains = (found[one] - found[other]).groupby("task").apply(list)
        claimed = {
            task: difference.gain.mean > 0
            for task, difference in differences(gains.to_dict(), other).items()
            if difference.is_claimed and difference.gain is not None
        }
        claims[one, other] = tuple(
            {t for t, up in claimed.items() if up is sign} for sign in (True, False)
        )
    assert claims == {
        ("lexicase", "jozefowicz"): ({"music", "recall"}, {"modular_arithmetic", "dyck"}),
        ("random draws", "jozefowicz"): (
            {"modular_arithmetic", "a5", "digits", "recall"},
            {"dyck"},
        ),
        ("lexicase", "random draws"): ({"music", "dyck"}, {"modular_arithmetic", "a5"}),
    }


def test_the_small_comparison_of_generative_models_is_the_large_one_in_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same tasks, and as few cells as Kendall's tau has an interval for."""
    without_data(monkeypatch)
    monkeypatch.chdir(ROOT.parent)
    small = parse_comparison(["--config", str(ROOT / "generative" / "small.yaml")])
    large = parse_comparison(["--config", "generative"])
    assert small.tasks.use == large.tasks.use
    assert len(cells_of(small.cells)) == FEWEST
    assert small.seeds >= 5
    assert len({task.n_params for task in small.compared}) == 1


def test_a_comparison_is_no_search() -> None:
    with pytest.raises(UserError, match=r"table1 compares cells .* nas\.compare --config table1"):
        parse(["table1"])


def test_the_papers_first_table_is_compared() -> None:
    assert "table1" in COMPARISONS


def test_the_odyssey_is_that_of_greff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine LSTMs, each on 200 settings of each task, of which 20 are compared; momentum, and four
    decades of learning rates."""
    monkeypatch.setattr("nas.tasks.config.TasksConfig.check", lambda self: None)
    monkeypatch.setattr("nas.compare.config.check_comparable", lambda task, seed, **_: None)
    config = parse_comparison(["--config", "odyssey2015"])
    space = load_space("odyssey")
    assert isinstance(space, Listed)
    nine = [cell.key for cell in space.cells]
    assert [ZOO[name].key for name in config.cells] == nine
    assert (config.tuning, config.n_best) == (200, 20)
    rates = config.settings.learning_rate
    assert rates[1] / rates[0] == pytest.approx(1e-2 / 1e-6)
    assert config.settings.momentum == (0.0, 0.99)
    told = {tuple(text.split()[:2]) for text in config.published}
    assert told == {(task, name) for task in config.tasks.use for name in config.cells[1:]}


@pytest.mark.process
def test_the_odyssey_runs_in_small(tmp_path: Path) -> None:
    """On the task that needs no data, from the command to its tables."""
    given = ["--config", "odyssey2015", "--study", "small", "--tasks", "digits", "--tuning", "4"]
    given += ["--best_share", "0.5", "--tasks.digits.n_params", "1500", "--tracking_uri", "off"]
    given += ["--tasks.digits.epochs", "1", "--tasks.digits.batches_per_epoch", "2"]
    given += ["--published", '["digits lstm_nfg worse", "digits lstm_np same"]']
    done = finished_here([sys.executable, "-m", "nas.compare", *given], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 cells with GRU and LSTM, tasks digits, 4 random settings each" in done.stdout
    found = json.loads((tmp_path / "studies" / "small" / "comparison.json").read_text())
    assert found["first"] == "lstm_peephole"
    on = found["tasks"]["digits"]
    assert len(on["cells"]) == 10
    assert all(len(one["values"]) == 2 for one in on["cells"].values())
    assert {name for name, one in on["contrasts"].items() if one["agreement"]} == {
        "lstm", "lstm_nfg"
    }  # fmt: skip
    page = (tmp_path / "studies" / "small" / "comparison.md").read_text(encoding="utf-8")
    assert "| learning_rate | momentum | init_scale | clip_norm | interactions |" in page
    rows = (tmp_path / "studies" / "small" / "comparison.csv").read_text().splitlines()
    assert len(rows) == 1 + 10 * 4


def test_the_papers_search_has_the_papers_numbers() -> None:
    """Sections 3.1, 3.4, 3.5 and 3.7; grid sizes as computed from them."""
    config = parse(["jozefowicz2015"])
    tasks = {name: config.tasks.task(name) for name in config.tasks.use}
    points = {name: len(config.settings.points(task.n_params)) for name, task in tasks.items()}
    assert points == {"arithmetic": 1680, "xml": 1680, "text": 840}
    assert tasks["arithmetic"].n_params == tasks["xml"].n_params == (250_000, 1_000_000)
    assert tasks["text"].n_params == (5_000_000,)
    assert {task.metric.name for task in tasks.values()} == {"accuracy"}
    assert {(task.batch_size, task.window) for task in tasks.values()} == {(20, 35)}
    assert (config.n_candidates, config.evolution.list_size) == (10_000, 100)
    protocol = config.protocol
    assert (protocol.n_settings, protocol.pass_ratio, protocol.filter_accuracy) == (20, 0.9, 0.95)
    assert (protocol.draws, protocol.kind, protocol.halving) == ("inherited", "staged", 0)
    assert not protocol.veto
    assert not protocol.first_look
    memorization = config.tasks.memorization
    assert (memorization.n_symbols, memorization.n_params) == (5, (25_000,))
    space = load_space(config.space)
    assert space == load_space("graph")
    assert config.evolution.reexamine


def test_only_the_tanh_rnn_is_the_beginning() -> None:
    config = parse(["from_rnn"])
    space = load_space(config.space)
    assert [cell.name for cell in space.start] == ["rnn"]  # type: ignore[attr-defined]
    assert config.include == ("rnn",)
