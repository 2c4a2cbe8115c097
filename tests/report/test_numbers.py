"""The numbers of a report, against a study in which each of them is known."""

import dataclasses
import json
import random
import re
import shlex
import statistics
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from nas.compare.command import parse
from nas.compare.config import cells_of
from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Outcome
from nas.protocol.judgement import Rung
from nas.protocol.measured import FILE, Measured
from nas.report import cost, endings, settings
from nas.report.ancestry import ancestry, descent, how
from nas.report.checklist import checklist
from nas.report.cost import front, measured
from nas.report.document import Card, Table, Text
from nas.report.endpoints import both
from nas.report.facts import Facts, Run
from nas.report.results import board, standing
from nas.report.settings import FEWEST, effects, effects_of, importances
from nas.study.visit import Visit
from nas.tasks import Text as TextTask
from nas.tasks import Xml
from nas.tasks.levels import Baseline, Levels
from nas.zoo import ZOO
from tests.report.made_up import PROVENANCE, TASKS, facts, make, outcome, reopened, scored, visit


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts(make(tmp_path_factory.mktemp("numbers")))


def test_the_leaderboard_ranks_by_score(known: Facts) -> None:
    _, table, _ = board(known, None).parts
    cells = [row for row in table.rows if row[2] != "no network"]  # type: ignore[union-attr]
    assert [row[:7] for row in cells] == [
        ("1", "hostile", "candidate", "1.100", "1.200", "1.100", "3"),
        ("2", "gru", "baseline", "1.000", "1.000", "1.000", "3"),
        ("3", "mgu", "candidate", "0.950", "0.950", "0.980", "3"),
        ("4", "lstm", "baseline", "0.900", "0.900", "1.100", "3"),
        ("5", "mut3", "candidate", "-", "0.200", "-", "2"),
        ("6", "rnn", "candidate", "-", "-", "-", "0"),
        ("7", "mut2", "candidate", "-", "-", "-", "0"),
    ]


def test_both_endpoints_are_means_over_settings_and_epochs(known: Facts) -> None:
    """Each run has accuracy 0.5 and loss 1 for 3 epochs; one of three on text diverged at once."""
    (table,) = both(known, None).parts
    assert isinstance(table, Table)
    assert table.head[1:4] == ["xml: fast", "xml: end", "xml: best"]
    rows = {row[0]: row[1:] for row in table.rows}
    blind = np.log(TASKS["text"].interface.outputs)
    text = f"{(1 + 1 + blind) / 3:.4g}"
    assert rows["gru"] == ("0.5", "0.5", "0.5", text, text, "2")
    # Of its two runs one was cut and kept 0.5, the other was vetoed.
    cut = f"{(0.5 + 1 / TASKS['xml'].interface.outputs) / 2:.4g}"
    assert rows["mut3"][:3] == (cut, cut, "0.1")
    assert rows["rnn"][:3] == ("-", "-", "-")


def test_what_each_candidate_cost_is_summed_up(known: Facts) -> None:
    """Given cells take 6 runs each; 2 s a run."""
    arm = cost.arm_of(known)
    assert [moment.candidates for moment in arm.moments] == [1, 2, 3, 4, 5, 6]
    assert [moment.best for moment in arm.moments] == [0.95, 0.95, 1.1, 1.1, 1.1, 1.1]
    runs = [18, 19, 25, 26, 29, 29]
    assert [moment.flops for moment in arm.moments] == [1e9 * n for n in runs]
    assert [moment.runs for moment in arm.moments] == runs
    seconds = [24 + 10, 36, 36 + 9, 47, 53, 53]
    assert [moment.hours for moment in arm.moments] == pytest.approx([s / 3600 for s in seconds])
    assert arm.best_at("flops", 17.9e9) is None
    assert arm.best_at("flops", 24.9e9) == 0.95
    assert arm.best_at("flops", 25e9) == 1.1


def test_arms_are_compared_where_both_had_spent_as_much(known: Facts) -> None:
    moments = cost.arm_of(known).moments
    short = cost.Arm("short", "random", moments[:2])
    found = cost.ties([cost.arm_of(known), short])
    assert found["candidates"] == (2, [0.95, 0.95])
    assert found["flops"][0] == 19e9


def test_a_score_on_further_settings_takes_the_place_of_the_first(tmp_path: Path) -> None:
    folder = make(tmp_path)
    study = reopened(folder)
    again = visit(study, ZOO["mut1"], {}, scored(0.7, 0.7))
    study._set_attr(again, "turn", 1)
    assert cost.arm_of(facts(folder)).moments[-1].best == 0.95


def test_what_was_measured_of_the_winner_stands_in_the_report(tmp_path: Path) -> None:
    folder = make(tmp_path)
    told = Measured("csv", "mean squared error", False, 0.163, 35, 0.281)
    winner = folder / "winner"
    winner.mkdir()
    (winner / FILE).write_text(json.dumps([told.described()]), encoding="utf-8")

    def said() -> list[str]:
        return [part.text for part in standing(facts(folder), None).parts if isinstance(part, Text)]

    assert not any(told.sentences in text for text in said()), "the winner of which cell?"
    best = facts(folder).winner
    assert best is not None
    (winner / "cell.cell").write_text(best.visit.cell, encoding="utf-8")
    assert f"Of the winner: {told.sentences}" in said()
    (winner / "cell.cell").write_text(str(ZOO["gru"]), encoding="utf-8")
    assert not any(told.sentences in text for text in said()), "an older winner's"


def test_time_and_size_are_those_of_the_best_settings(known: Facts) -> None:
    found = {one.name: one for one in measured(known)}
    assert {name: one.step_ms for name, one in found.items()} == {
        "hostile": 1000 * 2 * 0.5 / 200,
        "gru": 1000 * 2 * 2.0 / 200,
        "mgu": 1000 * 2 * 1.0 / 200,
        "lstm": 1000 * 2 * 2.0 / 200,
    }
    assert {one.n_params for one in found.values()} == {24_500}


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nothing_dominates(seed: int) -> None:
    rng = random.Random(seed)
    points = [(float(rng.randrange(8)), float(rng.randrange(8))) for _ in range(30)]

    def is_dominated(one: tuple[float, float]) -> bool:
        return any(o[0] <= one[0] and o[1] >= one[1] and o != one for o in points)

    found = front(points)
    assert {points[i] for i in found} == {one for one in points if not is_dominated(one)}
    assert len(found) == sum(not is_dominated(one) for one in points)
    assert found == sorted(found, key=lambda i: points[i][0])


def made_up_runs(n: int, seed: int = 0) -> list[Run]:
    """Whose metric depends on the learning rate, a little on the norm, and on chance."""
    rng = random.Random(seed)
    grid = [Settings(learning_rate=r, clip_norm=c) for r in (0.1, 0.2, 0.5) for c in (1.0, 5.0)]
    runs = []
    for i in range(n):
        chosen = rng.choice(grid)
        best = chosen.learning_rate + 0.01 * chosen.clip_norm + 0.02 * rng.random()
        result = Outcome("ok", best, 0, (), 1, 1, Cost())
        runs.append(Run(i, f"cell {i % 7}", "xml", "xml-1", 0, chosen, result, 3))
    return runs


def test_importances_are_optunas() -> None:
    runs = made_up_runs(120)
    study = optuna.create_study()
    for run in runs:
        spaces = {
            "learning_rate": optuna.distributions.CategoricalDistribution([0.1, 0.2, 0.5]),
            "clip_norm": optuna.distributions.CategoricalDistribution([1.0, 5.0]),
        }
        params = {name: getattr(run.settings, name) for name in spaces}
        value = run.outcome.best
        study.add_trial(optuna.create_trial(params=params, distributions=spaces, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    wanted = optuna.importance.get_param_importances(study, evaluator=evaluator)
    found = effects_of(Xml(), runs).importances
    assert found == pytest.approx(wanted, abs=1e-12)
    assert list(found) == ["learning_rate", "clip_norm"]
    assert importances(runs, ["learning_rate", "clip_norm"]) == found, "the same again"


def test_of_many_runs_some_of_each_setting_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though settings come in the same order with each cell."""
    order = {run.settings: run for run in made_up_runs(200)}
    runs = list(order.values()) * 40
    monkeypatch.setattr(settings, "MOST", len(runs) // len(order))
    assert set(importances(runs, ["learning_rate", "clip_norm"])) == {"learning_rate", "clip_norm"}


def test_few_runs_have_no_importances() -> None:
    assert effects_of(Xml(), made_up_runs(FEWEST)).importances
    assert not effects_of(Xml(), made_up_runs(FEWEST - 1)).importances


def test_the_variance_between_cells_is_that_of_an_analysis_of_variance() -> None:
    runs = made_up_runs(70)
    values = np.array([run.outcome.best for run in runs], dtype=float)
    keys = np.array([run.key for run in runs])
    fitted = np.array([values[keys == key].mean() for key in keys])
    share = fitted.var() / values.var()
    assert effects_of(Xml(), runs).between_cells == pytest.approx(share, rel=1e-9)


def test_marginals_are_of_all_runs_that_were_not_ended_early(known: Facts) -> None:
    xml, text = effects(known)
    assert (xml.n, xml.n_early, text.n, text.n_early) == (8, 2, 8, 0)
    assert set(xml.marginals) == {"learning_rate"}, "the third setting was tried on text alone"
    ratios = (1, 0.9, 0.95, 1.2)
    for one, values in zip(
        xml.marginals["learning_rate"],
        ([0.25 * r for r in ratios], [0.5 * r for r in ratios]),
        strict=True,
    ):
        assert sorted(one.values) == pytest.approx(sorted(values))
        assert one.quartiles[1] == pytest.approx(statistics.median(values))
        quartiles = statistics.quantiles(values, method="inclusive")
        assert list(one.quartiles) == pytest.approx(quartiles)
    norms = text.marginals["clip_norm"]
    assert [(m.value, m.n, m.n_without) for m in norms] == [(1.0, 8, 0), (5.0, 0, 4)]


def test_one_bad_run_of_a_loss_presses_no_box_flat() -> None:
    """Its axis is logarithmic then, with plain numbers at the ticks; one of an accuracy is not."""
    runs = made_up_runs(FEWEST - 1)
    worst = dataclasses.replace(runs[0], outcome=dataclasses.replace(runs[0].outcome, best=77.0))
    levels = Levels(4.4, Baseline("5-gram", 1.71))
    drawn = [
        settings.marginals_figure([effects_of(task, of)], {task.name: levels}, "").svg
        for task, of in ((TextTask(), [*runs, worst]), (TextTask(), runs), (Xml(), [*runs, worst]))
    ]
    ticks = [set(re.findall(r"<text[^>]*>([\d.]+)</text>", svg)) for svg in drawn]
    assert ticks[0] >= {"0.2", "0.5", "1", "2", "5", "10", "20", "50"}
    assert not ticks[1] & {"10", "50"}
    assert "60" in ticks[2] - ticks[0]
    assert not any("mathdefault" in svg for svg in drawn)


def test_a_winner_without_a_parent_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gates = Visit(3, 0, "drawn", "a", 'def a(x, h):\n    """Of the space."""\n    return h', "a")
    alone = [SimpleNamespace(visit=gates)]
    monkeypatch.setattr("nas.report.ancestry.ancestry", lambda *_: alone)
    (text,) = descent(SimpleNamespace(winner=gates), None).parts  # type: ignore[arg-type]
    assert text == Text("a has no parent in the study: Of the space.")


def test_the_funnel_counts_first_visits(known: Facts) -> None:
    # The second visit of mgu is a first one too, answered from the cache: nobody asked for more.
    assert endings.funnel(known) == [
        endings.Stage("memorization", 6, 2, 0, 0),
        endings.Stage("xml", 4, 1, 1, 0),
        endings.Stage("text", 3, 0, 0, 0),
        endings.Stage("scored", 3, 0, 0, 0),
    ]


def test_runs_are_counted_by_task_and_status(known: Facts) -> None:
    assert endings.statuses(known) == {
        "memorization": {"ok": 6, "failed": 1},
        "xml": {"ok": 8, "cut": 1, "vetoed": 1},
        "text": {"ok": 8, "diverged": 4},
    }
    assert endings.cached(known) == endings.Cached(7, 6, 0, 0, 1)


def test_the_line_of_the_winner_has_its_gains_and_changes(known: Facts) -> None:
    assert known.winner is not None
    line = ancestry(known, known.winner)
    assert [one.visit.name for one in line] == ["gru", "mgu", "hostile"]
    assert [one.gain for one in line] == [None, pytest.approx(-0.05), pytest.approx(0.15)]
    assert how(line[0]) == "given"
    before, after = str(ZOO["gru"]).splitlines(), str(ZOO["mgu"]).splitlines()
    gone = {line[2:] for line in line[1].change if line.startswith("-")}
    come = {line[2:] for line in line[1].change if line.startswith("+")}
    assert gone == set(before[2:]) - set(after[2:])
    assert come == set(after[2:]) - set(before[2:])


@pytest.mark.usefixtures("undrawn")
def test_on_a_ladder_gains_are_those_at_the_lowest_rung(tmp_path: Path) -> None:
    known = facts(make(tmp_path))
    ratios = {"gru": (1.0, 1.0), "mgu": (0.5, 2.0), "hostile": (2.0, 2.0)}
    for seen in known.visits:
        xml, text = ratios.get(seen.name, (0.1, 0.1))
        rungs = (Rung(0, {}, {"xml": xml, "text": text}),)
        if seen.judgement:
            seen.judgement = dataclasses.replace(seen.judgement, rungs=rungs)
    assert known.winner is not None
    line = ancestry(known, known.winner)
    assert [one.standing for one in line] == pytest.approx([1.0, 1.0, 2.0])
    assert [one.gain for one in line] == [None, pytest.approx(0.0), pytest.approx(1.0)]
    cards = [part for part in descent(known, None).parts if isinstance(part, Card)]
    assert "Ratios at rung 1: xml 0.50 (-0.50), text 2.00 (+1.00)." in cards[1].lines
    assert "Ratios at rung 1: xml 2.00 (+1.50), text 2.00 (+0.00)." in cards[2].lines


def test_the_report_says_what_a_score_is(known: Facts) -> None:
    assert "a score is a cell's smallest ratio to the GRU" in str(standing(known, None))
    protocol = dataclasses.replace(known.config.protocol, score="geometric")
    other = dataclasses.replace(known, config=dataclasses.replace(known.config, protocol=protocol))
    assert "a score is the geometric mean of a cell's ratios to the GRU" in str(
        standing(other, None)
    )


def test_the_checklist_is_answered_by_the_study(known: Facts, tmp_path: Path) -> None:
    answers = {one.rule.split(";")[0].split(":")[0]: one for one in checklist(known, None)}
    assert [one.answer for one in answers.values()] == [
        "yes", "yes", "no", "yes", "yes", "yes", "no", "yes",
    ]  # fmt: skip
    assert "xml 98.0% to 98.0% (n = 10)" in answers["Equal parameter budgets"].reason
    assert "xml: gru 2, lstm 2, hostile 2" in answers["Equal tuning budgets"].reason
    other = facts(make(tmp_path, "chance", "random"))
    assert checklist(known, other)[2].answer == "yes"
    assert checklist(other, None)[2].answer == "yes"
    few = checklist(known, dataclasses.replace(other, runs=other.runs[:20]))[2]
    assert few.answer == "in part"
    assert few.reason == "chance has spent 20 of 29 runs; nothing is known beyond"
    reopened(other.seen.folder).set_attr("definition", {"seed": 1})
    other = facts(other.seen.folder)
    assert checklist(known, other)[2].reason == "chance differs in tasks.use, seed"


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_names_the_command_that_gives_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "with a space")
    (folder / "winner").mkdir()
    (folder / "winner" / "cell.cell").write_text(str(ZOO["mut1"]))
    found = checklist(facts(folder), None)
    rules = ("Random search", "Final numbers")
    said_of = [one.reason for one in found if one.rule.startswith(rules)]
    parts = cost.race(facts(folder), None).parts
    said_of += [one.text for one in parts if isinstance(one, Text) and "missing" in one.text]
    assert len(said_of) == 3
    for said in said_of:
        command = re.search(r"python -m nas\.compare '.+?/winner' --config '.+?'", said)
        assert command, said
        config = parse(shlex.split(command[0])[3:])
        assert config.compared == facts(folder).protocol.tasks
        assert config.settings == facts(folder).config.settings
        assert [cell.key for cell in cells_of(config.cells)][2:] == [ZOO["mut1"].key]


def test_the_checklist_sees_what_is_missing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    study = reopened(folder)
    study.set_attr("provenance", {**PROVENANCE, "revision": ""})
    measured = Outcome("ok", 0.5, 0, (), 24_500, 60, Cost(1, 1, 1.0, 1.0), test=0.4)
    small = Outcome("ok", 0.5, 0, (), 20_000, 60, Cost(1, 1, 1.0, 1.0))
    runs = {"xml": [measured, small, outcome(0.7)]}
    visit(study, ZOO["ugrnn"], runs, scored(1.4, 1.3))
    found = checklist(facts(folder), None)
    assert found[0].answer == "in part"
    assert "not recorded: revision" in found[0].reason
    assert found[1].answer == "no"
    assert "1 run measured the test split" in found[1].reason
    assert found[3].answer == "in part", "a model of 80 % of its budget"
    assert found[4].answer == "no", "a winner with more settings than the GRU"
