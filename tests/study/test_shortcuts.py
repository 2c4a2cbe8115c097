"""The protocol with made-up outcomes: first looks, audits, comebacks, the reference's tuning."""

import dataclasses

import pytest

from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Bar, Cost, Epoch, Evaluation, Outcome, Status
from nas.protocol.judgement import Judgement, Reference
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.study.shortcuts import lines, looks, savings, vetoes
from nas.study.visit import Evaluated, Visit
from nas.tasks.base import Task
from nas.zoo import ZOO
from tests.protocol.test_protocol import (
    GOOD,
    PASSING,
    STAGED,
    XML,
    Answering,
    Best,
    candidate,
    drive,
    giving,
    outcome,
)

# --- shortcuts ---

LOOKING = dataclasses.replace(
    STAGED, config=ProtocolConfig(n_settings=3, first_look=0.3, first_look_ratio=0.5, audit=0.0)
)
LOOKS = {"arithmetic": 0.5, "xml": 0.4, "text": 2.4}


def learning(at_look: Best, at_end: Best) -> Answering:
    """Curves of 10 epochs; the first setting has a value after 3 of them, the last at the end."""

    def answer(evaluation: Evaluation) -> list[Outcome]:
        task = evaluation.task
        look, end = at_look.get(task.name), at_end[task.name]
        poor = 0.0 if task.metric.higher_is_better else 9.0
        first = [poor, poor, poor if look is None else look] + [poor] * 7
        last = [poor] * 9 + [poor if end is None else end]
        curves = [tuple(Epoch(v, v, v, 0.5) for v in values) for values in (first, last)]
        found = [Outcome("ok", None, curve=curve) for curve in curves]
        found[-1] = dataclasses.replace(found[-1], best=end)
        return found if len(evaluation.settings) > 1 else found[-1:]

    return answer


@pytest.mark.parametrize(
    ("task", "look", "is_cut"),
    [
        ("arithmetic", 0.25, False),
        ("arithmetic", 0.249, True),
        ("xml", 0.2, False),
        ("xml", 0.199, True),
        ("text", 4.8, False),
        ("text", 4.801, True),
        ("text", None, True),
    ],
)
def test_a_candidate_behind_the_reference_at_the_first_look_is_rejected(
    task: str, look: float | None, is_cut: bool
) -> None:
    """Bars by hand: half of 0.5 and of 0.4 and, of losses, twice 2.4."""
    looks: Best = {**LOOKS, task: look}
    heard = drive(LOOKING.judge(candidate(LOOKING)), learning(looks, PASSING), looks=LOOKS)
    assert heard.judgement.cut is is_cut
    assert heard.judgement.stage == (task if is_cut else "scored")
    bars = {e.task.name: e.bar for r in heard.requests if isinstance(r, tuple) for e in r}
    assert bars["memorization"] is None
    assert bars["arithmetic"] == Bar(3, 0.25)
    assert is_cut or bars["text"] == Bar(5, 4.8)  # of 20 epochs
    if look is not None:
        assert heard.judgement.looks[task] == look


@pytest.mark.parametrize("passing_visit", [0, 1, 2])
def test_a_candidate_passes_the_first_look_with_the_settings_of_any_visit(
    passing_visit: int,
) -> None:
    """A cell that comes back has its best of all visits counted, at the first look as well."""
    one = dataclasses.replace(candidate(LOOKING, turn=2), tried=grid_settings)
    passes = grid_settings(XML, passing_visit)

    def answer(evaluation: Evaluation) -> list[Outcome]:
        good = evaluation.task is not XML or evaluation.settings == passes
        return learning(LOOKS if good else {"xml": 0.1}, PASSING)(evaluation)

    heard = drive(LOOKING.judge(one), answer, looks=LOOKS)
    assert heard.judgement.stage == "scored"
    assert not heard.judgement.cut
    assert heard.judgement.looks["xml"] == LOOKS["xml"]


def grid_settings(task: Task | None, turn: int) -> tuple[Settings, ...]:
    return LOOKING.settings_of(task, turn)


@pytest.mark.parametrize("status", ["diverged", "vetoed", "failed", "out of memory", "timed out"])
def test_a_candidate_whose_runs_all_failed_was_not_cut(status: Status) -> None:
    """Also if it had a metric, below the bar, before it diverged."""
    for curve in ((), (Epoch(1.0, 1.0, 0.01, 0.5),)):

        def answer(evaluation: Evaluation, curve: tuple[Epoch, ...] = curve) -> list[Outcome]:
            if evaluation.task is XML:
                best = curve[0].accuracy if curve else None
                return [Outcome(status, best, curve=curve) for _ in evaluation.settings]
            return learning(LOOKS, PASSING)(evaluation)

        heard = drive(LOOKING.judge(candidate(LOOKING)), answer, looks=LOOKS)
        assert heard.judgement.stage == "xml"
        assert not heard.judgement.cut


def test_the_reference_notes_what_it_had_at_the_first_look() -> None:
    judging = LOOKING.measure("def …", "key", is_reference=True)
    heard = drive(judging, learning(LOOKS, GOOD))
    assert heard.judgement.looks == LOOKS
    assert not any(e.bar for r in heard.requests if isinstance(r, tuple) for e in r)
    reference = Reference.of(heard.judgement)
    assert reference is not None
    assert (dict(reference.best), dict(reference.looks)) == (GOOD, LOOKS)


def test_a_look_at_the_end_is_none() -> None:
    short = dataclasses.replace(XML, epochs=1)
    assert LOOKING.look_epoch(XML) == 3
    assert LOOKING.look_epoch(short) is None
    assert STAGED.look_epoch(XML) is None


def test_the_look_is_at_as_many_settings_as_a_candidate_has() -> None:
    """The reference may have more: those beyond a candidate's number do not raise the bar."""
    config = dataclasses.replace(LOOKING.config, n_settings=1, reference_settings=2)
    staged = Staged(None, (XML,), config, SettingsGrid(), 0)

    def answer(evaluation: Evaluation) -> list[Outcome]:
        curves = [(Epoch(v, v, v, 0.5),) for v in (0.2, 0.7)]
        assert len(evaluation.settings) == 2
        return [Outcome("ok", 0.99, curve=curve) for curve in curves]

    heard = drive(staged.measure("", "", is_reference=True), answer)
    assert heard.judgement.looks == {"xml": 0.2}


def test_an_audited_candidate_is_trained_whatever_the_shortcuts_say() -> None:
    config = dataclasses.replace(LOOKING.config, audit=0.25, veto=True)
    staged = dataclasses.replace(LOOKING, config=config)
    keys = [f"key {n}" for n in range(2000)]
    audited = [key for key in keys if staged.is_audited(key)]
    assert len(audited) / 2000 == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 2000) ** 0.5)
    other = next(key for key in keys if not staged.is_audited(key))
    for key, is_audited in ((audited[0], True), (other, False)):
        one = dataclasses.replace(candidate(staged), key=key)
        heard = drive(staged.judge(one), learning({}, PASSING), looks=LOOKS)
        asked = [e for r in heard.requests if isinstance(r, tuple) for e in r]
        assert {e.veto for e in asked} == {"note" if is_audited else "end"}
        assert heard.judgement.cut is not is_audited
        assert heard.judgement.stage == ("scored" if is_audited else "arithmetic")


def test_evaluations_with_and_without_a_bar_are_kept_apart() -> None:
    [plain] = STAGED.own(candidate(), XML, Reference({}))
    barred = [dataclasses.replace(plain, bar=Bar(3, value)) for value in (0.1, 0.2)]
    vetoed = dataclasses.replace(plain, veto="end")
    noted = dataclasses.replace(plain, veto="note")
    assert len({one.digest() for one in (plain, *barred, vetoed, noted)}) == 5


# --- candidates that come back ---


def test_a_rejected_candidate_comes_back_on_fresh_settings() -> None:
    """It skips the filter that it passed, and counts all its settings, as the GRU does."""
    ours = {"arithmetic": [0.5, 0.85], "xml": [0.5, 0.48], "text": [2.0, 2.1]}
    grus = {"arithmetic": 0.9, "xml": 0.4, "text": 1.9}

    def answer(evaluation: Evaluation) -> list[Outcome]:
        name = evaluation.task.name
        if name == "memorization":
            return [outcome(0.96)]
        if evaluation.key == ZOO["gru"].key:
            return [outcome(grus[name])] * 3
        turns = [STAGED.settings_of(evaluation.task, turn) for turn in range(2)]
        return [outcome(ours[name][turns.index(evaluation.settings)])] * 3

    again = candidate(STAGED, turn=1, filter_turn=0)
    heard = drive(STAGED.judge(again), answer)
    both = "{0}+{0}+{0}".format
    assert heard.asked == ["memorization", "reference", *(both(t.name) for t in STAGED.tasks)]
    [passed] = heard.requests[0]  # type: ignore[misc]
    assert passed.settings == STAGED.settings_of(None, 0), "what it has passed, which is known"
    ratios = {"arithmetic": 0.85 / 0.9, "xml": 0.5 / 0.5, "text": 1.9 / 2.0}
    assert heard.judgement.ratios == pytest.approx(ratios)
    assert heard.judgement.stage == "scored"


def test_one_that_the_filter_rejected_is_filtered_on_another_setting() -> None:
    heard = drive(STAGED.judge(candidate(STAGED, turn=2)), giving({**GOOD, "memorization": 0.1}))
    [filtered] = heard.requests[0]  # type: ignore[misc]
    assert filtered.settings == STAGED.settings_of(None, 2)
    assert len({STAGED.settings_of(None, turn) for turn in range(3)}) == 3
    assert heard.judgement.stage == "memorization"


# --- the reference's tuning ---


@pytest.mark.parametrize(("n_given", "turn", "expected"), [(3, 2, 6), (7, 1, 0), (7, 3, 6)])
def test_the_reference_is_tuned_no_less_than_a_candidate(
    n_given: int, turn: int, expected: int
) -> None:
    config = ProtocolConfig(n_settings=3, reference_settings=n_given)
    staged = dataclasses.replace(STAGED, config=config)
    [first] = staged.given_evaluations("", "", XML)
    further = [s for e in staged.further(XML, candidate(staged, turn)) for s in e.settings]
    assert len(first.settings) == n_given
    assert len(further) == expected
    assert len({*first.settings, *further}) == n_given + expected >= 3 * (turn + 1)


# --- what they saved, and whether they agree ---

AUDITED = dataclasses.replace(
    LOOKING, tasks=(XML,), config=dataclasses.replace(LOOKING.config, audit=0.5)
)


def visited(number: int, look: float, best: float | None, *, cut: bool = False) -> Visit:
    """A candidate whose ratio is twice its best; it was rejected below 0.45."""
    passed = best is not None and best >= 0.45
    found = {"xml": best}, {"xml": 2 * (best or 0.0)}
    score = 2 * (best or 0.0) if passed else None
    judgement = Judgement("scored" if passed else "xml", *found, score, 0.0, {"xml": look}, cut)
    cost = Cost(1, 1, flops=3.0, saved_flops=5.0 if cut else 0.0)
    run = Outcome("cut" if cut else "ok", best, cost=cost)
    evaluated = {str(number): Evaluated("xml", XML.version, (Settings(),), 0, 1.0, (run,))}
    key = f"key {number}"
    return Visit(number, number, "drawn", key, "def …", key, {}, evaluated, judgement)


def reference_visit() -> Visit:
    judgement = Judgement("scored", {"xml": 0.5}, {"xml": 1.0}, 1.0, 1.0, {"xml": 0.4})
    return Visit(0, 0, "given", "gru", "def …", "gru", judgement=judgement)


def test_the_agreement_of_a_look_with_the_end() -> None:
    """The bar is 0.2. By hand: ranks 1 2 3 4 against 2 1 4 3 are correlated by 0.6."""
    audited = [n for n in range(1, 60) if AUDITED.is_audited(f"key {n}")]
    others = [n for n in range(1, 60) if not AUDITED.is_audited(f"key {n}")]
    visits = [
        reference_visit(),
        visited(audited[0], 0.1, 0.46),  # below the bar, passes: the look is wrong
        visited(audited[1], 0.15, 0.4),  # below the bar, fails: the look is right
        visited(others[0], 0.3, 0.6),
        visited(audited[2], 0.35, 0.5),
        visited(others[1], 0.19, 0.19, cut=True),
        visited(others[2], 0.05, 0.05, cut=True),
        dataclasses.replace(visited(others[3], 0.9, 0.1), turn=1),  # another visit is no sample
    ]
    [report] = looks(AUDITED, visits)
    assert (report.task, report.n_cut, report.n_whole) == ("xml", 2, 4)
    assert report.rank_correlation == pytest.approx(0.6)
    assert (report.n_audited, report.n_doubted, report.n_wrong) == (3, 2, 1)
    spent = savings(visits)
    assert (spent.flops, spent.saved_flops) == (7 * 3.0, 2 * 5.0)
    told = "\n".join(lines(AUDITED, visits))
    assert "first look at xml: 2 candidates cut; rank correlation with the end of" in told
    assert "of 3 audited candidates it would have ended 2, 1 of them wrongly" in told
    assert "saved 10 FLOPs at most, 32% of" in told


def test_too_few_or_equal_candidates_have_no_correlation() -> None:
    two = [reference_visit(), visited(1, 0.1, 0.2), visited(2, 0.2, 0.3)]
    assert [one.rank_correlation for one in looks(AUDITED, two)] == [None]
    equal = [reference_visit(), *(visited(n, 0.3, 0.1 * n) for n in range(1, 5))]
    assert [one.rank_correlation for one in looks(AUDITED, equal)] == [None]
    assert looks(AUDITED, two[1:]) == [], "nothing is known without the reference"
    assert looks(STAGED, two) == [], "nothing is looked at"


def test_what_the_veto_ended_and_what_it_would_have_ended_wrongly() -> None:
    """A doubted run passes the filter from 0.95 on, and XML from 0.9 of 0.5 on."""
    staged = dataclasses.replace(AUDITED, config=dataclasses.replace(AUDITED.config, veto=True))
    audited = next(n for n in range(1, 60) if staged.is_audited(f"key {n}"))
    other = next(n for n in range(1, 60) if not staged.is_audited(f"key {n}"))
    dead = {"doubt": "dead"}
    filtered = (Outcome("ok", 0.96, **dead), Outcome("ok", 0.94, **dead), Outcome("ok", 0.99))
    tried = (Outcome("ok", 0.45, **dead), Outcome("ok", 0.44, **dead), Outcome("diverged", **dead))
    evaluated = {
        name: Evaluated(name, "", (Settings(),) * 3, 0, 1.0, outcomes)
        for name, outcomes in (("memorization", filtered), ("xml", tried))
    }
    noted = dataclasses.replace(visited(audited, 0.3, 0.4), evaluated=evaluated)
    ended = (Outcome("vetoed", message="dead"), Outcome("ok", 0.5))
    other_runs = {"xml": Evaluated("xml", "", (Settings(),) * 2, 0, 1.0, ended)}
    vetoed = dataclasses.replace(visited(other, 0.3, 0.4), evaluated=other_runs)
    visits = [reference_visit(), noted, vetoed]
    report = vetoes(staged, visits)
    assert report is not None
    assert (report.n_runs, report.n_noted, report.n_wrong) == (1, 5, 2)
    said = "veto: 1 runs not begun; of audited candidates' runs it would have ended 5, 2 of them"
    assert said in "\n".join(lines(staged, visits))
    assert vetoes(AUDITED, visits) is None
