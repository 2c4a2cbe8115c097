"""`python -m nas.compare --best_share`: many random settings, on made-up metrics with known effects
and, in a small experiment, on real ones."""

import csv
import math
import random
import sqlite3
import statistics
import sys
import time
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from nas.compare.command import main, parse
from nas.compare.config import CompareConfig
from nas.compare.drawn import axes, draw
from nas.compare.result import Measured, Run, contrast, effects, sampled, welch
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.protocol.settings import SettingsGrid
from nas.record.entry import shown
from nas.tasks import Text, Xml
from nas.zoo import ZOO
from tests.fake_comparing import EFFECTS, outcome
from tests.inline import finished_here
from tests.studies import compared, finished, launched, stored
from tests.tolerances import FOREST_SHARE

pytestmark = pytest.mark.usefixtures("undrawn")

FAKE = "tests.fake_comparing"
CONFIG = """\
cells: [lstm_peephole, mut1, rnn]
study: many
tuning: 60
best_share: 0.1
settings_per_evaluation: 12
tasks:
  use: [arithmetic, xml]
  arithmetic: {epochs: 2, batches_per_epoch: 5, n_params: [3000, 4000], max_digits: 1}
  xml: {epochs: 2, batches_per_epoch: 5, n_params: [4000]}
settings: {init_scale: [1.0], learning_rate: [0.001, 1.0], clip_norm: [5.0], num_layers: [1]}
published:
  - arithmetic mut1 better
  - arithmetic rnn same
  - xml mut1 worse
"""
TASKS, CELLS = ("arithmetic", "xml"), ("lstm_peephole", "gru", "lstm", "mut1", "rnn")


def command(folder: Path, *arguments: str) -> list[str]:
    (folder / "many.yaml").write_text(CONFIG, encoding="utf-8")
    return [sys.executable, "-m", FAKE, "--config", "many.yaml", "--workers", "2", *arguments]


def run(folder: Path, *arguments: str, **extra: Any) -> Any:
    return finished_here(command(folder, *arguments), folder, **extra)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    done = run(folder, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout, encoding="utf-8")
    return folder


def numbers(folder: Path, study: str = "many") -> dict[str, Any]:
    return compared(folder, study)


def test_what_is_compared_is_the_best_on_validation(undisturbed: Path) -> None:
    """The fake's validation grows with the learning rate and its test falls, so that what is best
    on validation is worst on test: nothing was chosen by test."""
    config = parse(["--config", str(undisturbed / "many.yaml")])
    for on in config.compared:
        drawn = draw(config.settings, on, 60, config.tuning_seed)
        rates = sorted(drawn, key=lambda one: -one.learning_rate)[:6]
        found = numbers(undisturbed)["tasks"][on.name]["cells"]
        assert set(found) == set(CELLS)
        for name, one in found.items():
            asked = Evaluation("", ZOO[name].key, on, drawn, config.tuning_seed, measure_test=True)
            assert one["values"] == [outcome(asked, settings).test for settings in rates]


def test_every_cell_has_the_same_settings_and_seed(undisturbed: Path) -> None:
    config = parse(["--config", str(undisturbed / "many.yaml")])
    drawn = {on.name: draw(config.settings, on, 60, config.tuning_seed) for on in config.compared}
    visits = stored(undisturbed, "many").visits
    assert len(visits) == len(CELLS)
    for visit in visits:
        assert visit is not None
        assert {one.seed for one in visit.evaluated.values()} == {config.tuning_seed}
        for name, expected in drawn.items():
            own = [one for one in visit.evaluated.values() if one.task == name]
            assert [len(one.settings) for one in own] == [12] * 5
            assert {s for one in own for s in one.settings} == set(expected)
            assert all(o.test is not None for one in own for o in one.outcomes)


def test_known_effects_are_found_beside_what_was_published(undisturbed: Path) -> None:
    """mut1 is made better by 0.05 and rnn worse by 0.08."""
    found = numbers(undisturbed)["tasks"]
    assert numbers(undisturbed)["first"] == "lstm_peephole"
    for name in TASKS:
        contrasts = found[name]["contrasts"]
        assert (contrasts["mut1"]["found"], contrasts["rnn"]["found"]) == ("better", "worse")
        assert contrasts["mut1"]["corrected"] == pytest.approx(4 * contrasts["mut1"]["p"])
        gain = contrasts["rnn"]["gain"]["mean"]
        assert gain == pytest.approx(EFFECTS[ZOO["rnn"].key], abs=0.04)
    said = {
        (task, cell): found[task]["contrasts"][cell]["agreement"]
        for task, cell in [("arithmetic", "mut1"), ("arithmetic", "rnn"), ("xml", "mut1")]
    }
    assert list(said.values()) == ["same", "different", "different"]
    assert found["xml"]["contrasts"]["rnn"]["agreement"] == ""
    output = (undisturbed / "output").read_text(encoding="utf-8")
    assert "arithmetic, of 2 findings: 1 same, 1 different, 0 no evidence." in output
    assert "5 cells with GRU and LSTM" in output
    assert "600 training runs" in output


def test_the_learning_rate_explains_what_the_fake_makes_of_it(undisturbed: Path) -> None:
    shares = numbers(undisturbed)["tasks"]
    assert shares["xml"]["cells"]["gru"]["shares"]["single"] == {"learning_rate": pytest.approx(1)}
    both = shares["arithmetic"]["cells"]["gru"]["shares"]
    assert both["single"]["learning_rate"] > 0.8
    everything = [*both["single"].values(), *both["pairs"].values(), both["higher"]]
    assert sum(everything) == pytest.approx(1)


def test_files_say_the_same(undisturbed: Path) -> None:
    folder = undisturbed / "studies" / "many"
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert len(rows) == len(TASKS) * len(CELLS) * 60
    own = [r for r in rows if (r["task"], r["cell"]) == ("xml", "mut1") and r["rank"]]
    own.sort(key=lambda row: int(row["rank"]))
    assert [float(r["test"]) for r in own] == pytest.approx(
        numbers(undisturbed)["tasks"]["xml"]["cells"]["mut1"]["values"]
    )
    assert [float(r["learning_rate"]) for r in own] == sorted(
        (float(r["learning_rate"]) for r in own), reverse=True
    )
    page = unescape((folder / "comparison.md").read_text(encoding="utf-8"))
    assert all(f"- {one}" in page for one in numbers(undisturbed)["verdicts"])
    for name in ("comparison.png", "marginals.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_it_is_recorded(undisturbed: Path) -> None:
    """A run a cell and one of all, in MLflow's database."""
    with closing(sqlite3.connect(undisturbed / "mlflow.db")) as database:
        names = [name for (name,) in database.execute("select name from runs")]
        rows = database.execute("select m.key, m.value from metrics m join runs r using (run_uuid) "
                                "where r.name = 'rnn'")  # fmt: skip
        metrics = dict(rows.fetchall())
    assert sorted(names) == sorted([*CELLS, "comparison"])
    found = numbers(undisturbed)["tasks"]["xml"]["contrasts"]["rnn"]
    assert metrics["xml.better_than_first"] == shown(found["gain"]["mean"])
    assert metrics["xml.p"] == shown(found["corrected"])
    assert metrics["xml.share.learning_rate"] == pytest.approx(1)


@pytest.mark.process
def test_what_was_stopped_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    process = launched(
        command(tmp_path, "--tracking-uri", "off"),
        tmp_path,
        NAS_TEST_LOG=str(log),
        NAS_TEST_SLEEP_S="0.2",
    )
    deadline = time.monotonic() + 120
    while log.read_text().count("end") < 5:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = set(stored(tmp_path, "many").cache)
    assert 0 < len(kept) < 50
    n_before = len(log.read_text().splitlines())
    again = command(tmp_path, "--tracking-uri", "off")
    assert finished(again, tmp_path, NAS_TEST_LOG=str(log)).returncode == 0
    begun = {line.split()[1] for line in log.read_text().splitlines()[n_before:]}
    assert kept.isdisjoint(begun), "a stored evaluation was run again"
    assert numbers(tmp_path) == numbers(undisturbed)


def test_another_share_is_another_study(undisturbed: Path) -> None:
    done = run(undisturbed, "--best_share", "0.2")
    assert done.returncode == 2
    assert "study many was begun with best_share = 0.1, not 0.2" in done.stderr


def test_welch_is_welchs() -> None:
    """Welch 1947 by its formulas, on samples of unequal numbers and variances."""
    generator = random.Random(0)
    for n_first, n_other, spread in [(20, 20, 1.0), (5, 12, 4.0), (2, 3, 0.5)]:
        first = [generator.gauss(0.5, 1) for _ in range(n_first)]
        other = [generator.gauss(0, spread) for _ in range(n_other)]
        of_means = [statistics.variance(one) / len(one) for one in (first, other)]
        error, mean = math.sqrt(sum(of_means)), statistics.mean(first) - statistics.mean(other)
        freedom = sum(of_means) ** 2 / sum(
            v**2 / (n - 1) for v, n in zip(of_means, (n_first, n_other), strict=True)
        )
        gain, p = welch(first, other)
        assert p == pytest.approx(2 * t.sf(abs(mean) / error, freedom))
        assert gain.mean == pytest.approx(mean)
        reach = t.ppf(0.975, freedom) * error
        assert (gain.low, gain.high) == pytest.approx((mean - reach, mean + reach))


def with_values(values: list[float]) -> Measured:
    """A cell whose best settings have these metrics on test."""
    runs = [Run(Settings(), 0.5, one, "ok", rank, 10, 1.0) for rank, one in enumerate(values)]
    return sampled("", "", runs)


def test_welch_without_spread() -> None:
    assert welch([1.0, 1.0], [1.0, 1.0])[1] == 1.0
    assert welch([1.0, 1.0], [0.5, 0.5])[1] == 0.0


@pytest.mark.parametrize(
    ("shift", "published", "expected"),
    [
        (0.0, "same", ("same", "same")),
        (0.0, "worse", ("same", "no evidence")),
        (0.0, None, ("same", "")),
        (2.0, "worse", ("worse", "same")),
        (2.0, "better", ("worse", "different")),
        (2.0, "same", ("worse", "different")),
        (-2.0, "better", ("better", "same")),
    ],
)
def test_verdicts_of_made_up_losses(shift: float, published: Any, expected: Any) -> None:
    """Of losses, more is worse; standard normal values with a shift."""
    task = Text()
    assert not task.metric.higher_is_better
    values = [float(one) for one in t.ppf((np.arange(10) + 0.5) / 10, 30)]
    shifted = with_values([one + shift for one in values])
    found = contrast(task, shifted, with_values(values), 8, published)
    assert (found.found, found.agreement) == expected
    assert found.gain.mean == pytest.approx(-shift)


def test_bonferroni_needs_more() -> None:
    """A difference that one test claims is none among eight."""
    values = [float(one) for one in t.ppf((np.arange(10) + 0.5) / 10, 30)]
    lower = [one - 1.0 for one in values]
    cells = with_values(lower), with_values(values)
    alone, among = contrast(Xml(), *cells, 1), contrast(Xml(), *cells, 8)
    assert 0.05 / 8 < alone.p < 0.05
    assert among.p == alone.p
    assert (alone.found, among.found) == ("worse", "same")


def test_importances_of_runs_with_known_shares() -> None:
    """Accuracy falls linearly in two places, one with twice the slope; what is worse than guessing
    counts as that."""
    grid = SettingsGrid((0.5, 2.0), (0.01, 10.0), (1.0, 20.0), (1,), momentum=(0.0, 0.99))
    task = Xml(n_params=(3000, 6000))
    drawn = axes(grid, task)
    assert [axis.name for axis in drawn] == [
        "n_params", "learning_rate", "momentum", "init_scale", "clip_norm"
    ]  # fmt: skip
    rate, momentum = drawn[1], drawn[2]

    def tried(settings: Settings) -> Run:
        value = 0.9 - 0.2 * rate.place(settings) - 0.1 * momentum.place(settings)
        return Run(settings, value, value, "ok", None, 10, 1.0)

    runs = [tried(one) for one in draw(grid, task, 300, 0)]
    found = effects(task, drawn, runs)
    assert found is not None
    assert found.single["learning_rate"] == pytest.approx(0.8, abs=FOREST_SHARE)
    assert found.single["momentum"] == pytest.approx(0.2, abs=FOREST_SHARE)
    worse = [Run(one.settings, 0.0, -1e9, "ok", None, 10, 1.0) for one in runs[:30]]
    assert effects(task, drawn, runs[:19]) is None
    limited = effects(task, drawn, [*worse, *runs[30:]])
    at_chance = [
        Run(one.settings, 0.0, task.chance(), "diverged", None, 10, 1.0) for one in runs[:30]
    ]
    assert limited == effects(task, drawn, [*at_chance, *runs[30:]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"best_share": 1.5}, r"best_share must be in \[0, 1\], got 1.5"),
        ({"best_share": float("nan")}, "best_share must be in"),
        ({"best_share": 0.1, "tuning": 12}, "best_share 0.1 of tuning 12 leaves 1 setting"),
        ({"best_share": 0.1, "cells": ()}, "best_share needs cells"),
        ({"published": ("xml mut1 worse",)}, "published findings are shown with a best_share"),
        (
            {"best_share": 0.1, "published": ("xml mut1",)},
            'published is lines such as .* "xml mut1"',
        ),
        ({"best_share": 0.1, "published": ("xml mut1 bad",)}, "better, worse, same"),
        ({"best_share": 0.1, "published": ("music mut1 worse",)}, "published names tasks of"),
        ({"best_share": 0.1, "published": ("xml mutt1 worse",)}, 'no cell "mutt1"'),
    ],
)
def test_wrong_input_is_refused(fields: dict[str, Any], message: str) -> None:
    given = {"cells": ("mut1",), "tuning": 20, **fields}
    with pytest.raises((UserError, LookupError), match=message):
        CompareConfig(**given).check()


def test_several_budgets_are_for_many_settings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["mut1", "--tasks", "xml", "--tasks.xml.n_params", "3000", "4000"]
    with pytest.raises(UserError, match="one parameter budget in a comparison"):
        parse(given)
    config = parse([*given, "--best_share", "0.1"])
    assert config.n_best == 2
    assert "seeds" not in config.definition()
    assert main([*given, "--seeds", "3"]) == 2
    assert "n_params must be one" in capsys.readouterr().err
