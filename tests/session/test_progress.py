"""What a running search shows."""

import dataclasses
import io
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.console import Console

from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.judgement import Judgement
from nas.session.progress import TimeNotes, clock, counts, table_of, utilisation, wide
from nas.study.leaderboard import leaderboard
from nas.study.rejections import describe, standings
from nas.study.study import open_study
from nas.study.visit import Visit
from nas.workers.local import Workers


def visit(name: str, judgement: Judgement, kind: str = "drawn") -> Visit:
    return Visit(0, 0, kind, name, "", name, judgement=judgement)  # type: ignore[arg-type]


SCORED = Judgement("scored", {"xml": 0.5}, {"xml": 0.97}, 0.97, 0.97)
REJECTED = Judgement("xml", {"xml": 0.4}, {"xml": 0.81}, None, 0.6)
FILTERED = Judgement("memorization", {"memorization": 0.25}, {}, None, 0.1)
DIVERGED = Judgement("memorization", {"memorization": None}, {}, None, 0.0)


def test_a_judged_cell_in_one_line() -> None:
    assert describe(visit("a", SCORED)) == "a: score 0.970 (xml 0.970)"
    assert describe(visit("b", REJECTED)) == "b: rejected at xml (xml 0.810)"
    cut = dataclasses.replace(REJECTED, cut=True)
    assert describe(visit("b", cut)) == "b: rejected at a first look at xml (xml 0.810)"
    again = dataclasses.replace(visit("a", SCORED), turn=1)
    assert describe(again) == "a on fresh settings: score 0.970 (xml 0.970)"
    assert describe(visit("c", FILTERED)) == "c: rejected at memorization (0.250)"
    assert describe(visit("d", DIVERGED)) == "d: rejected at memorization (no finite metric)"


def test_the_funnel_counts_candidates_alone() -> None:
    visits = [
        visit("gru", SCORED, "given"),
        visit("a", SCORED),
        visit("b", REJECTED),
        visit("c", FILTERED),
        visit("d", DIVERGED),
    ]
    assert standings(visits) == "1 scored, 1 rejected at xml, 2 rejected at memorization"


def test_counts_of_what_was_drawn() -> None:
    first = [visit(name, SCORED) for name in "abc"]
    assert counts(first) == "3 candidates, 3 different"
    again = dataclasses.replace(visit("a", SCORED), turn=1)
    redrawn = dataclasses.replace(visit("d", FILTERED), n_draws=5)
    expected = "5 candidates, 4 different, 1 re-evaluated (9 drawn, 4 known before)"
    assert counts([*first, again, redrawn]) == expected
    assert standings([*first, again, redrawn]) == "3 scored, 1 rejected at memorization"
    assert counts([*first, visit("a", SCORED)]).endswith("(4 drawn, 1 known before)")


def test_durations() -> None:
    assert [clock(s) for s in (0, 59.9, 61, 3600, 3725)] == ["0:00", "0:59", "1:01", "1h00", "1h02"]


def test_the_table_fits_a_terminal_and_shows_every_number() -> None:
    name = "gates_0123ab"
    visits = [visit("gru", SCORED, "given"), visit("lstm", SCORED, "given")]
    visits += [visit(name, SCORED), visit("c", FILTERED)]
    text = io.StringIO()
    console = Console(file=text, width=80)
    found = leaderboard(visits, ["gru", "lstm"])
    ranked = [dataclasses.replace(row, n_params=19_879, seconds=1117.0) for row in found]
    console.print(table_of(ranked, ["xml", "arithmetic"]))
    lines = text.getvalue().splitlines()
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert ["1", "gates_0123ab", "0.970", "0.970", "19,879", "1117"] in rows
    assert ["2", "gru", "(baseline)", "0.970", "0.970", "19,879", "1117"] in rows
    assert ["3", "lstm", "(baseline)", "0.970", "0.970", "19,879", "1117"] in rows, "on one line"
    assert ["4", "c", "-", "19,879", "1117", "memorization"] in rows
    assert max(map(len, lines)) <= 80


def test_nothing_is_cut_from_a_table_that_is_too_wide() -> None:
    visits = [visit("gru", SCORED, "given"), visit("mutant_0123ab", SCORED)]
    tasks = ["xml", "arithmetic", "selective_copying", "cycle_navigation", "parity", "adding"]
    text = io.StringIO()
    found = leaderboard(visits, ["gru", "lstm"])
    Console(file=text, width=80).print(table_of(found, tasks))
    lines = text.getvalue().splitlines()
    assert "…" not in text.getvalue()
    (head,) = (line for line in lines if " cell " in line)
    start, end = head.index("cell"), head.index("score")
    assert "mutant_0123ab" in "".join(line[start:end].strip() for line in lines)


def test_a_file_has_a_line_for_each_cell_and_a_terminal_its_own_width() -> None:
    visits = [visit("gru", SCORED, "given"), visit("mutant_0123ab", SCORED)]
    text = io.StringIO()
    table = table_of(leaderboard(visits, ["gru", "lstm"]), ["xml", "arithmetic", "parity"])
    wide(Console(file=text, width=30)).print(table)
    rows = [line.split() for line in text.getvalue().splitlines()]
    assert ["1", "gru", "(baseline)", "0.970", "0.970", "0", "0"] in rows
    terminal = Console(file=text, width=30, force_terminal=True)
    assert wide(terminal) is terminal


class Three(Workers):
    """Three slots that have had 60 s of work."""

    n_slots = 3
    busy_s = 60.0

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        raise NotImplementedError

    def close(self, *, wait: bool) -> None:
        pass


def test_the_share_of_the_time_is_told_for_work_and_training() -> None:
    assert utilisation(95.0, 50.4, 100.0) == "workers were busy 95% of the time, training 50%"
    assert utilisation(101.0, 0.0, 100.0) == "workers were busy 100% of the time, training 0%"


def test_the_time_spent_is_noted_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 110.0, 125.0, 125.0, 130.0, 150.0])
    monkeypatch.setattr("nas.session.progress.time.monotonic", lambda: next(now))
    study = open_study("study", tmp_path, "", {})
    study.set_attr("spent_s", 7.0)
    study.set_attr("busy_s", 5.0)
    notes = TimeNotes(study, Three())  # at 100
    notes.tick(None)  # type: ignore[arg-type]  # at 110: too early
    assert study.attrs["spent_s"] == 7.0
    notes.tick(None)  # type: ignore[arg-type]  # at 125
    assert (study.attrs["spent_s"], study.attrs["slot_s"]) == (32.0, 75.0)
    notes.tick(None)  # type: ignore[arg-type]  # at 130: too early again
    notes.note()  # at 150
    assert (study.attrs["spent_s"], study.attrs["slot_s"]) == (57.0, 150.0)
    assert study.attrs["busy_s"] == 65.0
