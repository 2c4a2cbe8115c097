"""The protocol with made-up outcomes: who is rejected where, what is asked, what the score is."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from nas.errors import SearchError, UserError
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, Reference, best_outcome
from nas.protocol.requests import Candidate
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Answer, Judging, NeedReference, Request, Staged
from nas.tasks import Arithmetic, Memorization, Task, Text, Xml

FILTER = Memorization()
ARITHMETIC, XML, LOSS = Arithmetic(), Xml(), Text()
ACCURACY = Text(metric_name="accuracy")
STAGED = Staged(FILTER, (ARITHMETIC, XML, LOSS), ProtocolConfig(n_settings=3), SettingsGrid(), 7)
REFERENCE = {"memorization": 0.99, "arithmetic": 0.8, "xml": 0.5, "text": 2.0}

Best = Mapping[str, float | None]
Answering = Callable[[Evaluation], Sequence[Outcome]]


@dataclass
class Heard:
    """What a protocol asked, in order, and how it ended."""

    judgement: Judgement
    requests: list[Request] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """A task a request; "reference" where the reference was waited for."""
        return [
            "reference" if isinstance(r, NeedReference) else "+".join(e.task.name for e in r)
            for r in self.requests
        ]


def outcome(value: float | None) -> Outcome:
    return Outcome("diverged" if value is None else "ok", value)


def candidate(staged: Staged = STAGED, turn: int = 0, filter_turn: int | None = None) -> Candidate:
    """One that is tried on the settings that all share."""
    return Candidate("def …", "key", staged.settings_of, turn, filter_turn)


def drive(
    judging: Judging,
    answering: Answering,
    reference: Best = REFERENCE,
    looks: Mapping[str, float] | None = None,
    compared: Mapping[str, float] | None = None,
) -> Heard:
    requests: list[Request] = []
    request = next(judging)
    while True:
        requests.append(request)
        answer: Answer
        if isinstance(request, NeedReference):
            best = {name: value for name, value in reference.items() if value is not None}
            answer = Reference(best, looks or {}, compared or {})
        else:
            answer = [tuple(answering(evaluation)) for evaluation in request]
        try:
            request = judging.send(answer)
        except StopIteration as stop:
            return Heard(stop.value, requests)


def giving(best: Best) -> Answering:
    """The best value with one of the settings, a worse one or none with the others."""

    def answer(evaluation: Evaluation) -> list[Outcome]:
        outcomes = [outcome(None) for _ in evaluation.settings]
        value = best[evaluation.task.name]
        if value is not None and len(outcomes) > 1:
            worse = value / 2 if evaluation.task.metric.higher_is_better else 2 * value
            outcomes[0] = outcome(worse)
        outcomes[-1] = outcome(value)
        return outcomes

    return answer


def judge(best: Best, staged: Staged = STAGED, reference: Best = REFERENCE) -> Heard:
    return drive(staged.judge(candidate(staged)), giving(best), reference)


GOOD = {"memorization": 0.95, "arithmetic": 0.8, "xml": 0.6, "text": 2.5}


# --- the order of things ---


def test_stages_come_in_order_and_the_score_is_the_smallest_ratio() -> None:
    lenient = dataclasses.replace(STAGED, config=ProtocolConfig(n_settings=3, pass_ratio=0.5))
    heard = judge(GOOD, lenient)
    assert heard.asked == ["memorization", "reference", "arithmetic", "xml", "text"]
    # 0.8 / 0.8, 0.6 / 0.5, and of losses 2.0 / 2.5
    assert heard.judgement.ratios == pytest.approx({"arithmetic": 1.0, "xml": 1.2, "text": 0.8})
    assert heard.judgement.score == heard.judgement.value == pytest.approx(0.8)
    assert heard.judgement.stage == "scored"
    assert heard.judgement.best == GOOD


def test_every_evaluation_is_what_the_study_is_about() -> None:
    heard = judge({**GOOD, "text": 1.9})
    for request in heard.requests:
        for one in () if isinstance(request, NeedReference) else request:
            assert (one.cell, one.key, one.seed, one.fidelity) == ("def …", "key", 7, 1.0)
            count = 1 if one.task is FILTER else 3
            assert one.settings == SettingsGrid().draw(one.task, count, 7)


def test_without_a_filter_the_first_stage_is_the_first_task() -> None:
    heard = judge(GOOD, dataclasses.replace(STAGED, filter=None))
    assert heard.asked[:2] == ["reference", "arithmetic"]
    assert "memorization" not in heard.judgement.best


# --- rejections ---


@pytest.mark.parametrize("accuracy", [0.9499, 0.5, 0.0, None])
def test_the_filter_rejects_below_its_accuracy(accuracy: float | None) -> None:
    heard = judge({**GOOD, "memorization": accuracy})
    assert heard.asked == ["memorization"]
    assert heard.judgement.stage == "memorization"
    assert heard.judgement.score is None
    assert heard.judgement.best == {"memorization": accuracy}
    assert heard.judgement.value == pytest.approx(0.9 * (accuracy or 0.0) / 0.95 / 5)


def test_the_filter_accepts_its_accuracy() -> None:
    assert judge(GOOD).asked[0:2] == ["memorization", "reference"]


PASSING = {"memorization": 0.95, "arithmetic": 0.7208, "xml": 0.4505, "text": 2.0 / 0.901}
FAILING = {"arithmetic": 0.7192, "xml": 0.4495, "text": 2.0 / 0.899}


@pytest.mark.parametrize("failed", [None, *FAILING])
def test_each_task_needs_nine_tenths_of_the_reference(failed: str | None) -> None:
    best = PASSING if failed is None else {**PASSING, failed: FAILING[failed]}
    heard = judge(best)
    tasks = ["arithmetic", "xml", "text"]
    until = tasks if failed is None else tasks[: 1 + tasks.index(failed)]
    assert heard.asked == ["memorization", "reference", *until], "nothing after a rejection"
    assert heard.judgement.stage == (failed or "scored")
    assert list(heard.judgement.ratios) == until
    if failed is None:
        assert heard.judgement.score == pytest.approx(0.901)
    else:
        assert heard.judgement.score is None
        assert heard.judgement.ratios[failed] == pytest.approx(0.899)


def test_exactly_the_needed_share_passes() -> None:
    config = ProtocolConfig(n_settings=3, pass_ratio=0.5)
    heard = judge({**GOOD, "arithmetic": 0.4}, dataclasses.replace(STAGED, config=config))
    assert heard.judgement.score == 0.5


def test_a_cell_that_always_diverges_is_rejected_at_the_first_task() -> None:
    heard = judge({**GOOD, "arithmetic": None})
    assert heard.judgement.stage == "arithmetic"
    assert heard.judgement.ratios == {"arithmetic": 0.0}
    assert heard.judgement.best["arithmetic"] is None


def test_the_value_rises_with_the_stage_and_with_closeness() -> None:
    shares = (0.0, 0.3, 0.6, 0.9, 0.999)
    values = []
    for task in (FILTER, *STAGED.tasks):
        for share in shares:
            if task is FILTER:
                needed = 0.95 * share
            elif task.metric.higher_is_better:
                needed = 0.9 * share * REFERENCE[task.name]
            else:
                needed = REFERENCE[task.name] / (0.9 * share) if share else float("inf")
            judgement = judge({**PASSING, task.name: needed}).judgement
            assert judgement.stage == task.name
            values.append(judgement.value)
    assert all(first < second for first, second in pairwise(values))
    assert values[0] >= 0
    accepted = judge(PASSING).judgement.value
    assert values[-1] < 0.9 <= accepted


# --- given cells ---


def test_a_given_cell_is_measured_on_everything_and_never_rejected() -> None:
    poor = {"memorization": 0.1, "arithmetic": 0.08, "xml": None, "text": 2.0}
    heard = drive(STAGED.measure("def …", "key"), giving(poor))
    assert heard.asked == ["memorization+arithmetic+xml+text", "reference"]
    assert heard.judgement.stage == "scored"
    assert heard.judgement.ratios == pytest.approx({"arithmetic": 0.1, "xml": 0.0, "text": 1.0})
    assert heard.judgement.score == 0.0
    assert heard.judgement.best == poor


def test_the_reference_is_its_own_unit() -> None:
    heard = drive(STAGED.measure("def …", "key", is_reference=True), giving(GOOD))
    assert heard.asked == ["memorization+arithmetic+xml+text"], "it waits for no reference"
    assert heard.judgement.ratios == {"arithmetic": 1.0, "xml": 1.0, "text": 1.0}
    assert heard.judgement.score == 1.0
    assert heard.judgement.best == GOOD


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"memorization": 0.9}, r"gru reaches accuracy 0\.900 on memorization, short of 0\.95, so"),
        ({"memorization": None}, r"gru reaches no finite metric on memorization, short of 0\.95"),
        (
            {"xml": None},
            r"gru reaches no finite metric on xml, so no candidate .* tasks\.xml\.epoc",
        ),
    ],
    ids=str,
)
def test_a_reference_that_learns_too_little_ends_the_search(
    changed: dict[str, float | None], message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        drive(STAGED.measure("def …", "key", is_reference=True), giving({**GOOD, **changed}))


# --- the numbers of the paper ---

TABLE_1 = {  # arithmetic, XML and PTB accuracy, and the score that follows
    "Tanh": (0.29493, 0.32050, 0.08782, 0.3293),
    "LSTM": (0.89228, 0.42470, 0.08912, 0.9240),
    "LSTM-f": (0.29292, 0.23356, 0.08808, 0.3270),
    "LSTM-i": (0.75109, 0.41371, 0.08662, 0.8386),
    "LSTM-o": (0.86747, 0.42117, 0.08933, 0.9163),
    "LSTM-b": (0.90163, 0.44434, 0.08952, 0.9667),
    "GRU": (0.89565, 0.45963, 0.09069, 1.0),
    "MUT1": (0.92135, 0.47483, 0.08968, 0.9889),
    "MUT2": (0.89735, 0.47324, 0.09036, 0.9964),
    "MUT3": (0.90728, 0.46478, 0.09161, 1.0101),
}
PAPER = Staged(None, (ARITHMETIC, XML, ACCURACY), ProtocolConfig(), SettingsGrid(), 0)
NAMES = ("arithmetic", "xml", "text")


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_of_the_paper_gives_its_scores(name: str) -> None:
    *values, score = TABLE_1[name]
    best = dict(zip(NAMES, values, strict=True))
    gru = dict(zip(NAMES, TABLE_1["GRU"][:3], strict=True))
    measured = drive(PAPER.measure("", ""), giving(best), gru).judgement
    assert measured.score == pytest.approx(score, abs=5e-5)
    judged = judge(best, PAPER, gru).judgement
    if name in ("Tanh", "LSTM-f", "LSTM-i"):
        assert (judged.stage, judged.score) == ("arithmetic", None)
    else:
        assert judged == measured


# --- settings, split and replayed ---


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_settings_can_be_split_between_workers(size: int) -> None:
    def answer(evaluation: Evaluation) -> list[Outcome]:
        return [
            outcome(1 - s.init_scale / 100 if s.learning_rate < 5 else None)
            for s in evaluation.settings
        ]

    whole = Staged(None, (ARITHMETIC, XML, LOSS), ProtocolConfig(), SettingsGrid(), 0)
    config = ProtocolConfig(settings_per_evaluation=size)
    split = dataclasses.replace(whole, config=config)
    parts = split.given_evaluations("def …", "key", XML)
    assert [len(part.settings) for part in parts[:-1]] == [size] * (len(parts) - 1)
    together = tuple(settings for part in parts for settings in part.settings)
    assert (together,) == tuple(e.settings for e in whole.given_evaluations("def …", "key", XML))
    expected = drive(whole.judge(candidate(whole)), answer).judgement
    assert expected.score is not None
    assert drive(split.judge(candidate(split)), answer).judgement == expected
    assert drive(split.measure("def …", "key"), answer).judgement == expected


@pytest.mark.parametrize("best", [GOOD, PASSING, {**PASSING, **FAILING}], ids=["a", "b", "c"])
def test_a_replay_on_the_same_answers_is_the_same(best: Best) -> None:
    first, again = judge(best), judge(best)
    assert again.judgement == first.judgement
    evaluations = [[r for r in heard.requests if isinstance(r, tuple)] for heard in (first, again)]
    assert evaluations[0] == evaluations[1]


def test_a_judgement_survives_json() -> None:
    for best in (GOOD, PASSING, {**PASSING, "xml": None}):
        judgement = judge(best).judgement
        assert Judgement(**json.loads(json.dumps(judgement.to_json()))) == judgement


@pytest.mark.parametrize(("task", "place"), [(XML, 2), (LOSS, 1)], ids=["accuracy", "loss"])
def test_the_best_outcome_is_the_first_of_equals(task: Task, place: int) -> None:
    values = [None, 0.2, 0.7, 0.5, 0.7, 0.2]
    outcomes = [dataclasses.replace(outcome(v), n_params=i) for i, v in enumerate(values)]
    best = best_outcome(task, outcomes)
    assert best is not None
    assert best.n_params == place
    assert best_outcome(task, outcomes[:1]) is None


def test_halving_is_of_the_settings_of_a_task() -> None:
    halved = dataclasses.replace(STAGED, config=ProtocolConfig(n_settings=3, halving=2))
    assert {e.halving for e in halved.given_evaluations("def …", "key", XML)} == {2}
    assert {e.halving for e in STAGED.given_evaluations("def …", "key", XML)} == {0}


FLAT = dataclasses.replace(STAGED, filter=None, config=ProtocolConfig(n_settings=3, kind="flat"))


@pytest.mark.parametrize("poor", [{}, {"arithmetic": 0.001}, {"xml": None, "text": 1e9}], ids=str)
def test_flat_trains_every_cell_on_all_tasks_at_once(poor: Best) -> None:
    heard = judge({**GOOD, **poor}, FLAT)
    assert heard.asked == ["arithmetic+xml+text", "reference"]
    assert (
        heard.judgement == drive(FLAT.measure("def …", "key"), giving({**GOOD, **poor})).judgement
    )
    assert heard.judgement.stage == "scored"
    assert heard.judgement.score == heard.judgement.value == min(heard.judgement.ratios.values())


def test_flat_scores_as_staged() -> None:
    best = {**GOOD, "xml": 0.6, "text": 2.1}
    flat, staged = judge(best, FLAT), judge(best)
    assert staged.judgement.score == pytest.approx(2.0 / 2.1)
    assert (flat.judgement.score, flat.judgement.ratios) == (
        staged.judgement.score,
        staged.judgement.ratios,
    )
    evaluations = [
        {one for r in heard.requests if isinstance(r, tuple) for one in r if one.task is not FILTER}
        for heard in (flat, staged)
    ]
    assert evaluations[0] == evaluations[1], "the same settings, seed and budget"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"filter_accuracy": 0.0}, r"protocol\.filter_accuracy must be in \(0, 1\], got 0\.0"),
        ({"filter_accuracy": 1.1}, r"protocol\.filter_accuracy must be in \(0, 1\], got 1\.1"),
        ({"fidelity": 0.0}, r"protocol\.fidelity must be in \(0, 1\], got 0\.0"),
        ({"pass_ratio": -0.1}, r"protocol\.pass_ratio must be at least 0, got -0\.1"),
        ({"pass_ratio": float("nan")}, r"protocol\.pass_ratio must be at least 0, got nan"),
        ({"n_settings": 0}, r"protocol\.n_settings must be at least 1, got 0"),
        ({"settings_per_evaluation": -1}, r"settings_per_evaluation must be at least 0, got -1"),
        ({"halving": -2}, r"protocol\.halving must be 0 or at least 2, got -2"),
        ({"halving": 1}, r"protocol\.halving must be 0 or at least 2, got 1"),
        ({"first_look": 1.0}, r"protocol\.first_look must be in \[0, 1\), got 1\.0"),
        ({"first_look": -0.1}, r"protocol\.first_look must be in \[0, 1\), got -0\.1"),
        ({"first_look_ratio": 0.0}, r"protocol\.first_look_ratio must be positive, got 0\.0"),
        ({"audit": 1.5}, r"protocol\.audit must be in \[0, 1\], got 1\.5"),
        ({"reference_settings": 19}, r"reference_settings must be at least .*, 20, .* got 19; 0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(changed: dict[str, float], message: str) -> None:
    ProtocolConfig().check()
    with pytest.raises(UserError, match=message):
        ProtocolConfig(**changed).check()  # type: ignore[arg-type]
