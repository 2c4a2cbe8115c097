"""The leaderboard: order, one row a cell, who may win, and what the last sentence says."""

import itertools

import pytest

from nas.protocol.evaluation import Cost, Outcome
from nas.protocol.judgement import Judgement
from nas.protocol.requests import spent
from nas.study.leaderboard import leaderboard, ranks, shown_ratio, verdict, winner
from nas.study.visit import Evaluated, Kind, Visit
from nas.tasks.base import ACCURACY
from nas.tasks.resolution import Resolution

BASELINES = ("key of gru", "key of lstm")
TRIED = "2 settings a task, 1 seed"
numbers = itertools.count()


def visit(
    name: str,
    score: float | None,
    kind: Kind = "drawn",
    value: float | None = None,
    evaluated: dict[str, Evaluated] | None = None,
    key: str = "",
) -> Visit:
    number = next(numbers)
    stage = "xml" if score is None else "scored"
    shown = value if value is not None else score or 0.0
    judgement = Judgement(stage, {"xml": 0.5}, {"xml": score or 0.1}, score, shown)
    key = key or f"key of {name}"
    return Visit(number, number, kind, name, "def …", key, {}, evaluated or {}, judgement)


def ranked(*visits: Visit) -> list[str]:
    return [row.name for row in leaderboard(visits, BASELINES)]


def test_scored_cells_come_by_score_and_rejected_ones_by_how_far_they_came() -> None:
    visits = [
        visit("early", None, value=0.1),
        visit("third", 0.95),
        visit("gru", 1.0, "given"),
        visit("late", None, value=0.7),
        visit("first", 1.2),
        visit("zero", 0.0, "given"),
    ]
    order = ["first", "gru", "third", "zero", "late", "early"]
    assert ranked(*visits) == order
    assert ranked(*reversed(visits)) == order
    rejected = [row.name for row in leaderboard(visits, BASELINES) if row.rejected]
    assert rejected == ["late", "early"]


def test_a_cell_that_was_visited_twice_has_one_row() -> None:
    again = visit("alias", 1.0, key="key of gru")
    rows = leaderboard([visit("gru", 1.0, "given"), visit("a", 0.9), again], BASELINES)
    assert [(row.name, row.kind) for row in rows] == [("gru", "baseline"), ("a", "candidate")]


def test_a_visit_without_a_judgement_has_no_row() -> None:
    waiting = visit("waiting", 1.0)
    waiting.judgement = None
    assert ranked(waiting, visit("a", 0.9)) == ["a"]


def test_a_cell_that_is_named_after_it_was_rejected_is_shown_as_measured() -> None:
    visits = [visit("new", None, value=0.4), visit("new", 0.8, "given")]
    (row,) = leaderboard(visits, BASELINES)
    assert (row.kind, row.score) == ("included", 0.8)


def test_kinds_tell_baselines_from_what_the_user_named_and_what_was_drawn() -> None:
    visits = [visit("lstm", 0.9, "given"), visit("rnn", 0.8, "given"), visit("new", 0.7)]
    kinds = [row.kind for row in leaderboard(visits, BASELINES)]
    assert kinds == ["baseline", "included", "candidate"]


def test_a_row_adds_up_what_its_cell_cost() -> None:
    def outcome(n_params: int, wall_s: float) -> Outcome:
        return Outcome("ok", 0.5, 0, (), n_params, 10, Cost(1, 1, 1.0, wall_s))

    evaluated = {
        "a": Evaluated("xml", "1", (), 0, 1.0, (outcome(10, 1.0), outcome(30, 2.0))),
        "b": Evaluated("text", "1", (), 0, 1.0, (outcome(20, 4.0),)),
    }
    (row,) = leaderboard([visit("a", 1.0, evaluated=evaluated)], BASELINES)
    assert (row.n_params, row.seconds) == (30, 7.0)
    assert leaderboard([visit("b", 1.0)], BASELINES)[0].n_params == 0


def test_the_winner_is_the_best_scored_cell_that_is_no_baseline() -> None:
    rows = leaderboard(
        [
            visit("gru", 1.0, "given"),
            visit("lstm", 1.3, "given"),
            visit("rnn", 0.7, "given"),
            visit("new", 0.6),
            visit("rejected", None, value=0.8),
        ],
        BASELINES,
    )
    best = winner(rows)
    assert best is not None
    assert best.name == "rnn", "a cell that the user named may win"
    assert winner([row for row in rows if row.name not in ("rnn", "new")]) is None


@pytest.mark.parametrize(
    ("visits", "sentence"),
    [
        (
            [visit("gru", 1.0, "given"), visit("new", 1.0313), visit("worse", 1.01)],
            "new beat the GRU on this budget (2 settings a task, 1 seed): its worst ratio over the "
            "tasks is 1.031. A search result is not yet a comparison: ",
        ),
        (
            [visit("gru", 1.0, "given"), visit("new", 0.97), visit("worse", 0.93)],
            "No candidate beat the GRU on this budget (2 settings a task, 1 seed): the best, "
            "new, scores 0.970. A search result is not yet a comparison: ",
        ),
        (
            [visit("gru", 1.0, "given"), visit("equal", 1.0)],
            "No candidate beat the GRU on this budget (2 settings a task, 1 seed): the best, "
            "equal, scores 1.000. ",
        ),
        (
            [visit("gru", 1.0, "given"), visit("rejected", None)],
            "No candidate was scored, so none beat the GRU on this budget (2 settings a task, 1 "
            "seed).",
        ),
        ([], "No candidate was scored, so none beat the GRU"),
        (
            [visit("gru", 1.0, "given"), visit("lstm", 1.0049, "given"), visit("new", 0.97)],
            "No candidate beat the GRU on this budget (2 settings a task, 1 seed): the best, "
            "new, scores 0.970. Of the baselines, lstm 1.005 did better than the GRU. ",
        ),
    ],
    ids=["beat", "not", "equal", "rejected", "empty", "lstm"],
)
def test_the_verdict_says_what_was_found(visits: list[Visit], sentence: str) -> None:
    assert verdict(leaderboard(visits, BASELINES), TRIED).startswith(sentence)
    assert spent(1, 1) == "1 setting a task, 1 seed"


# --- what few examples can tell ---

OF_64 = {"vowels": Resolution(ACCURACY, "sequence", 64, 64)}


def told(name: str, right: int, kind: Kind = "drawn", gru: int = 60) -> Visit:
    """A cell that is right on so many of 64 sequences, of which the GRU has 60."""
    made = visit(name, right / gru, kind)
    reached = {"vowels": right / 64}
    made.judgement = Judgement("scored", reached, {"vowels": right / gru}, right / gru, right / gru)
    return made


GRU = told("gru", 60, "given")


@pytest.mark.parametrize(
    ("visits", "first", "second"),
    [
        (
            [GRU, told("a", 61), told("b", 59)],
            "a is ahead of the GRU on this budget (2 settings a task, 1 seed), by 1 of 64 "
            "sequences on vowels, where fewer than 6 are no evidence: "
            "its worst ratio over the tasks is 1.017.",
            "A search result",
        ),
        (
            [GRU, told("a", 61), told("b", 61), told("lstm", 61, "given"), told("c", 58)],
            "a is ahead of the GRU on this budget (2 settings a task, 1 seed), by 1 of 64 "
            "sequences on vowels, where fewer than 6 are no evidence: "
            "its worst ratio over the tasks is 1.017.",
            "Tied with it on every task: b, lstm. Of the baselines, lstm 1.017 did better",
        ),
        (
            [GRU, told("a", 60), told("b", 59)],
            "No candidate beat the GRU on this budget (2 settings a task, 1 seed): the best, a, "
            "ties with it, score 1.000.",
            "Tied with it on every task: gru. A search",
        ),
        (
            [GRU, told("a", 58)],
            "No candidate beat the GRU on this budget (2 settings a task, 1 seed): the best, a, is "
            "behind by 2 of 64 sequences on vowels, where fewer than 6 are no evidence, and scores "
            "0.967.",
            "A search result",
        ),
        (
            [told("gru", 50, "given", 50), told("a", 56, gru=50)],
            "a beat the GRU on this budget (2 settings a task, 1 seed): its worst ratio over the "
            "tasks is 1.120.",
            "A search result",
        ),
    ],
    ids=["ahead by one", "three are tied", "a tie with the GRU", "behind by two", "ahead by six"],
)
def test_the_verdict_counts_a_small_difference_in_examples(
    visits: list[Visit], first: str, second: str
) -> None:
    rows = leaderboard(visits, BASELINES)
    said = verdict(rows, TRIED, OF_64)
    assert said.startswith(f"{first} {second}")


def test_many_ties_are_not_all_named() -> None:
    visits = [GRU, *(told(f"cell{n}", 61) for n in range(9))]
    rows = sorted(leaderboard(visits, BASELINES), key=lambda row: row.name)
    assert "Tied with it on every task: cell1, cell2, cell3, cell4, cell5 and 3 more. " in verdict(
        rows, TRIED, OF_64
    )


def test_ratios_are_followed_by_a_difference_of_few_examples() -> None:
    rows = leaderboard([GRU, told("a", 61), told("b", 60), told("c", 54)], BASELINES)
    shown = [shown_ratio(row, "vowels", OF_64) for row in rows]
    assert shown == ["1.017 (1 of 64 sequences)", "1.000 (tie)", "1.000", "0.900"]
    assert [shown_ratio(row, "vowels") for row in rows] == ["1.017", "1.000", "1.000", "0.900"]
    assert shown_ratio(rows[0], "another", OF_64) == ""
    narrow = [shown_ratio(row, "vowels", OF_64, narrow=True) for row in rows]
    assert narrow == ["1.017 (1 of 64)", "1.000 (tie)", "1.000", "0.900"]


def test_tied_cells_share_a_rank() -> None:
    worse = visit("rejected", None)
    told_ = [told("a", 61), told("b", 61), GRU, told("c", 59), told("d", 58), told("e", 58)]
    rows = leaderboard([*told_, worse, visit("also", None)], BASELINES)
    assert ranks(rows, OF_64) == ["1=", "1=", "3", "4", "5=", "5=", "7", "8"]
    assert ranks(rows) == [str(rank) for rank in range(1, 9)]
    assert ranks([]) == []
