"""What a search says at its end of the levels that its tasks have."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nas.session.conclude import levels
from nas.tasks import Memorization
from tests.inline import run_here
from tests.studies import write_config


def row(name: str, kind: str, value: float | None, *, rejected: bool = False) -> Any:
    judgement = SimpleNamespace(best={"memorization": value})
    visit = SimpleNamespace(judgement=judgement)
    may_win = kind == "candidate" and not rejected
    return SimpleNamespace(name=name, kind=kind, rejected=rejected, visit=visit, may_win=may_win)


def test_levels_are_of_the_best_cell_the_baselines_and_no_network() -> None:
    rows = [
        row("winner", "candidate", 0.75),
        row("lstm", "baseline", 0.5),
        row("second", "candidate", 0.6),
        row("gru", "baseline", None),
        row("worst", "candidate", 0.9, rejected=True),
    ]
    task = Memorization(alphabet=25)
    said = levels(task, rows, seed=0)
    assert said == (
        "memorization, accuracy (share of scored symbols, more is better): winner 0.75, lstm 0.5, "
        f"best possible 1, one symbol always {1 / 25:.4g}, blind guess {1 / 26:.4g}."
    )
    assert math.isclose(task.chance(), 1 / 26)


def test_a_search_that_ends_before_a_cell_is_judged_shows_no_empty_table(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = run_here("tests.fake_training", tmp_path, "--time-budget", "0.001s")
    assert done.returncode == 0, done.stderr
    assert "No cell is judged yet; what was trained is kept.\n" in done.stdout
    assert "python -m nas.search studies/small/config.yaml --time-budget TIME\n" in done.stdout
    for word in ("Leaderboard", "0 candidates", "report is not written"):
        assert word not in done.stdout
