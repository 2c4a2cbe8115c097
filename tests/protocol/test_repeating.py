"""The second measurement of some cells: who has one, what is asked, and what it changes not."""

import dataclasses
import json
from collections.abc import Sequence

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Epoch, Evaluation, Outcome
from nas.protocol.judgement import Judgement
from nas.protocol.repeating import again, repeat_seed
from nas.protocol.requests import Candidate
from nas.protocol.staged import Staged
from tests.protocol.test_protocol import (
    ARITHMETIC,
    GOOD,
    LOSS,
    REFERENCE,
    STAGED,
    XML,
    drive,
    giving,
)
from tests.protocol.test_protocol import candidate as candidate_of

SECOND = {"arithmetic": 0.6, "xml": 0.7, "text": 3.0}
LENIENT = ProtocolConfig(n_settings=3, pass_ratio=0.5)


def with_repeat(repeat: float = 1.0, **fields: object) -> Staged:
    config = dataclasses.replace(LENIENT, repeat=repeat, veto=True, **fields)  # type: ignore[arg-type]  # of one field each
    return dataclasses.replace(STAGED, config=config)


def answering(evaluation: Evaluation) -> Sequence[Outcome]:
    return giving(SECOND if evaluation.repeat else GOOD)(evaluation)


def second(heard_requests: Sequence[object]) -> list[Evaluation]:
    asked = [e for request in heard_requests if isinstance(request, tuple) for e in request]
    return [e for e in asked if e.repeat]


def test_a_scored_candidate_is_measured_again_whole_and_with_another_seed() -> None:
    staged = with_repeat(first_look=0.3, audit=0.0)

    def curves(evaluation: Evaluation) -> list[Outcome]:
        seen = (Epoch(1.0, 1.0, 0.5, 0.1),)
        return [dataclasses.replace(o, curve=seen) for o in answering(evaluation)]

    heard = drive(staged.judge(candidate_of(staged)), curves, looks={"arithmetic": 0.1})
    first = [e for r in heard.requests[2:-1] if isinstance(r, tuple) for e in r]
    repeated = second(heard.requests)
    assert [e.task for e in repeated] == [ARITHMETIC, XML, LOSS]
    assert [e.settings for e in repeated] == [e.settings for e in first]
    assert {e.seed for e in repeated} == {repeat_seed(7)}
    assert {(e.bar, e.veto) for e in repeated} == {(None, "off")}
    assert any(e.bar for e in first)
    assert {e.veto for e in first} == {"end"}
    assert not {e.digest() for e in first} & {e.digest() for e in repeated}


def test_score_and_value_are_those_of_the_first_measurement() -> None:
    staged = with_repeat()
    judged = drive(staged.judge(candidate_of(staged)), answering).judgement
    without = drive(STAGED_LENIENT.judge(candidate_of(STAGED_LENIENT)), answering).judgement
    assert judged.repeated == SECOND
    ratios = {"arithmetic": 0.6 / 0.8, "xml": 0.7 / 0.5, "text": 2.0 / 3.0}
    assert judged.repeated_ratios == pytest.approx(ratios)
    assert dataclasses.replace(judged, repeated={}, repeated_ratios={}) == without
    assert "repeated" not in without.to_json()
    assert Judgement(**json.loads(json.dumps(judged.to_json()))) == judged


STAGED_LENIENT = dataclasses.replace(STAGED, config=LENIENT)


def test_a_rejected_candidate_is_not_measured_again() -> None:
    staged = with_repeat()
    heard = drive(staged.judge(candidate_of(staged)), giving({**GOOD, "xml": 0.01}))
    assert heard.judgement.stage == "xml"
    assert not second(heard.requests)


def test_runs_that_all_fail_the_second_time_count_as_blind_guessing() -> None:
    staged = with_repeat()

    def fails(evaluation: Evaluation) -> Sequence[Outcome]:
        failed = [Outcome("diverged")] * len(evaluation.settings)
        return failed if evaluation.repeat else answering(evaluation)

    judged = drive(staged.judge(candidate_of(staged)), fails).judgement
    assert judged.score == pytest.approx(0.8)
    assert judged.repeated == {task.name: task.chance() for task in staged.tasks}


def test_given_cells_have_a_second_measurement_where_any_cell_has() -> None:
    for is_reference in (True, False):
        few = with_repeat(1e-9)
        heard = drive(few.measure("def …", "key", is_reference=is_reference), answering)
        assert heard.judgement.repeated == SECOND
        unit = GOOD if is_reference else REFERENCE
        assert heard.judgement.repeated_ratios["xml"] == pytest.approx(0.7 / unit["xml"])
    none = drive(STAGED.measure("def …", "key", is_reference=True), answering)
    assert not none.judgement.repeated


@pytest.mark.parametrize("kind", ["staged", "flat"])
def test_the_share_of_keys_is_that_of_the_field_and_a_part_of_the_audited(kind: str) -> None:
    staged = with_repeat(0.1, kind=kind, audit=0.3)
    keys = [f"key{i}" for i in range(2000)]
    repeated = {key for key in keys if staged.is_repeated(key)}
    assert 0.08 < len(repeated) / 2000 < 0.12
    assert repeated < {key for key in keys if staged.is_audited(key)}
    one, other = next(iter(repeated)), next(key for key in keys if key not in repeated)
    for key in (one, other):
        heard = drive(staged.judge(Candidate("def …", key, staged.settings_of)), answering)
        assert bool(second(heard.requests)) == (key == one)


def test_a_later_visit_repeats_all_settings_of_all_visits() -> None:
    staged = with_repeat()
    heard = drive(staged.revisit(candidate_of(staged, turn=1)), answering)
    settings = {e.task.name: 0 for e in second(heard.requests)}
    for evaluation in second(heard.requests):
        settings[evaluation.task.name] += len(evaluation.settings)
    assert set(settings.values()) == {6}
    first = drive(staged.judge(candidate_of(staged)), answering)
    known = {e.digest() for e in second(first.requests)}
    assert known < {e.digest() for e in second(heard.requests)}, "nothing is trained twice"


def test_the_seed_of_the_second_measurement_is_none_of_the_small_numbers() -> None:
    seeds = {repeat_seed(seed) for seed in range(1000)}
    assert len(seeds) == 1000
    assert min(seeds) > 1000
    (evaluation,) = STAGED.given_evaluations("def …", "key", XML)
    assert again(evaluation).seed == repeat_seed(7)
