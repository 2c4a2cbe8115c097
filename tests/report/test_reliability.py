"""How well a study's score ranks, from visits whose every number is made up here."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import Judgement
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.report.reliability import (
    AWAITED,
    UNKNOWN,
    Reliability,
    beside_leaderboard,
    lines,
    open_places,
    reliability_of,
    sentence,
)
from nas.study.leaderboard import leaderboard, ranks, verdict
from nas.study.visit import Evaluated, Visit
from nas.tasks import Text, Xml

XML, TEXT = Xml(), Text()
PROTOCOL = Staged(None, (XML, TEXT), ProtocolConfig(filter=False), SettingsGrid(), 0)
GRU = {"xml": 0.5, "text": 2.0}
Values = NDArray[np.float64]


def judged(xml: float, text: float, again: tuple[float, float] | None = None) -> Judgement:
    """Of a cell with these metrics, beside those of the GRU above."""

    def ratios(xml: float, text: float) -> dict[str, float]:
        return {"xml": xml / 0.5, "text": 2.0 / text}

    first = ratios(xml, text)
    best: dict[str, float | None] = {"xml": xml, "text": text}
    judgement = Judgement("scored", best, first, min(first.values()), min(first.values()))
    if again is None:
        return judgement
    second = {"repeated": dict(zip(GRU, again, strict=True)), "repeated_ratios": ratios(*again)}
    return dataclasses.replace(judgement, **second)  # type: ignore[arg-type]  # of both fields


def visit(number: int, judgement: Judgement, turn: int = 0, key: str = "") -> Visit:
    name = key or f"cell{number}"
    kind = "given" if number == 0 else "drawn"
    return Visit(number, number, kind, name, "def …", name, judgement=judgement, turn=turn)  # type: ignore[arg-type]


def study(n: int, noise: float, seed: int = 0) -> tuple[list[Visit], Values]:
    """n cells, measured twice; and all numbers, [cells, first or second, task]."""
    random = np.random.default_rng(seed)
    truth = np.stack([random.uniform(0.3, 0.55, n), random.uniform(1.9, 2.6, n)], axis=1)
    values = truth[:, None] + noise * random.normal(size=(n, 2, 2)) * [0.5, 2.0]
    pairs = enumerate(values.tolist())
    return [visit(i, judged(*a, (b[0], b[1]))) for i, (a, b) in pairs], values


def test_second_measurements_say_how_well_the_score_and_each_task_rank() -> None:
    visits, values = study(40, 0.02)
    rows = leaderboard(visits, ("cell0", ""))
    known = reliability_of(PROTOCOL, rows, visits)
    assert known.source == "second measurements"
    assert set(known.tasks) == {"xml", "text"}
    for place, name in enumerate(GRU):
        first, second = values[:, 0, place], values[:, 1, place]
        one = known.tasks[name]
        assert one.n == 40
        assert one.deviation == pytest.approx(np.sqrt(np.mean((first - second) ** 2) / 2))
        assert one.tau is not None
        assert one.tau.mean == pytest.approx(kendalltau(first, second).statistic)
    half = np.argsort(values[:, 0, 1])[:20]  # a loss: the better half are the smallest
    better = known.tasks["text"].better
    assert better is not None
    expected = kendalltau(values[half, 0, 1], values[half, 1, 1]).statistic
    assert better.mean == pytest.approx(expected)
    scores = np.minimum(values[..., 0] / 0.5, 2.0 / values[..., 1])
    assert known.score is not None
    assert known.score.deviation == pytest.approx(
        np.sqrt(np.mean((scores[:, 0] - scores[:, 1]) ** 2) / 2)
    )
    assert known.noise == pytest.approx(1.96 * np.sqrt(2) * known.score.deviation)
    told = "\n".join(lines(known))
    assert f"tau of two measurements {known.score.tau.mean:.2f} [" in told  # type: ignore[union-attr]
    assert "n = 40 cells measured a second time on the same settings, with fresh seeds" in told


def test_only_cells_with_a_second_measurement_count() -> None:
    visits, _ = study(12, 0.02)
    bare = [visit(100 + i, judged(0.4, 2.2)) for i in range(5)]
    rejected = visit(200, Judgement("xml", {"xml": 0.1}, {"xml": 0.2}, None, 0.1))
    rows = leaderboard([*visits, *bare, rejected], ())
    known = reliability_of(PROTOCOL, rows, [*visits, *bare, rejected])
    assert known.score is not None
    assert known.score.n == 12


def test_differences_below_the_noise_are_ties_and_places_are_open() -> None:
    visits, _ = study(30, 0.05)
    rows = leaderboard(visits, ())
    known = reliability_of(PROTOCOL, rows, visits)
    assert known.noise is not None
    text = beside_leaderboard(known, rows)
    assert text.startswith(f"Differences of scores below {known.noise:.2g} are noise (30 cells ")
    tied = [r.name for r in rows[1:] if rows[0].score - r.score < known.noise]  # type: ignore[operator]
    assert f"; tied with {rows[0].name} by that: {', '.join(tied[:5])}" in text
    found = open_places(known, rows)
    assert set(found) == {row.key for row in rows}
    for place, row in enumerate(rows, start=1):
        low, high = found[row.key]
        assert low <= place <= high
    shown = ranks(rows, places=found)
    low, high = found[rows[0].key]
    assert shown[0] == f"1 [{low}-{high}]"
    assert ranks(rows)[0] == "1"


def test_a_lead_that_is_noise_is_no_win() -> None:
    visits = [visit(0, judged(0.5, 2.0), key="gru"), visit(1, judged(0.51, 1.9))]
    rows = leaderboard(visits, ["gru"])
    assert verdict(rows, "1 seed").startswith("cell1 beat the GRU")
    assert verdict(rows, "1 seed", noise=0.01).startswith("cell1 beat the GRU")
    assert verdict(rows, "1 seed", noise=0.031).startswith(
        "No candidate beat the GRU on this budget (1 seed): the best, cell1, is ahead of it by "
        "less than 0.031, which is noise: its worst ratio over the tasks is 1.020."
    )


def test_a_baseline_that_is_ahead_by_noise_is_not_said_to_be() -> None:
    visits = [visit(0, judged(0.5, 2.0), key="gru"), visit(1, judged(0.51, 1.9))]
    visits[1].kind = "given"
    visits.append(visit(2, judged(0.6, 1.5), key="best"))
    rows = leaderboard(visits, ["gru", "cell1"])
    said = "Of the baselines, cell1 1.020 did better than the GRU"
    assert said in verdict(rows, "1 seed")
    assert said not in verdict(rows, "1 seed", noise=0.03)


def test_without_second_measurements_later_visits_are_told_as_what_they_are() -> None:
    random = np.random.default_rng(1)
    visits, first, second = [], [], []
    numbers = itertools.count(1)
    for cell in range(10):
        early, late = random.uniform(0.4, 0.55, 2), random.uniform(1.9, 2.5, 2)
        visits.append(visit(next(numbers), judged(early[0], late[0]), key=f"c{cell}"))
        best = judged(max(early), min(late))  # over both visits
        again = visit(next(numbers), best, turn=1, key=f"c{cell}")
        again.evaluated = {
            task.name: Evaluated(task.name, task.version, (), 0, 1.0, (Outcome("ok", value),))
            for task, value in ((XML, early[1]), (TEXT, late[1]))
        }
        visits.append(again)
        first.append(min(early[0] / 0.5, 2 / late[0]))
        second.append(min(early[1] / 0.5, 2 / late[1]))
    known = reliability_of(PROTOCOL, leaderboard(visits, ()), visits)
    assert known.source == "later visits"
    assert known.score is not None
    assert known.score.tau is not None
    assert known.score.tau.mean == pytest.approx(kendalltau(first, second).statistic)
    assert "that the sampler visited again, on further settings with" in sentence(known)


def test_what_was_not_measured_says_how_to_measure_it() -> None:
    visits = [visit(i, judged(0.4 + i / 100, 2.2)) for i in range(12)]
    rows = leaderboard(visits, ())
    known = reliability_of(PROTOCOL, rows, visits)
    assert known == Reliability()
    assert list(lines(known)) == [UNKNOWN] == [beside_leaderboard(known, rows)]
    config = ProtocolConfig(filter=False, repeat=0.1)
    asked = Staged(None, (XML, TEXT), config, SettingsGrid(), 0)
    known = reliability_of(asked, rows, visits)
    assert list(lines(known)) == [AWAITED] == [beside_leaderboard(known, rows)]
    assert not open_places(known, rows)
    few, _ = study(3, 0.02)
    rows = leaderboard(few, ())
    known = reliability_of(PROTOCOL, rows, few)
    assert known.noise is None
    assert beside_leaderboard(known, rows).startswith(
        "How well the score ranks needs 5 cells or more; there are 3 cells measured a second time"
    )
    assert sentence(known).startswith("How well the score ranks cannot be told: fewer than 8")
    assert not open_places(known, rows)
