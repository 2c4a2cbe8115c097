"""The benchmark of the coordinator: it goes on with a study as a search does."""

from pathlib import Path

import pytest

from nas.bench.coordinator import AtOnce, Cost, _sentence, main, measure
from nas.bench.study import fill
from nas.protocol.evaluation import Evaluation
from nas.spaces import load_space
from nas.study.study import Study, open_study
from tests.refusals import assert_refused


def filled(folder: Path, n_candidates: int) -> Study:
    space = load_space("gates")
    made = open_study("bench", folder, "", {})
    fill(made, space, n_candidates, n_epochs=2)
    return made


def test_a_study_goes_on_by_so_many(tmp_path: Path) -> None:
    study = filled(tmp_path, 5)
    cost = measure(study, load_space("gates"), "random", more=4, in_flight=3, n_epochs=2)
    drawn = [v for v in study.visits if v and v.kind == "drawn"]
    assert len(drawn) == 5 + 4
    assert all(v.judgement for v in drawn)
    assert cost.n_evaluations >= 4
    assert cost.cpu_s > 0
    assert cost.wall_s > 0


def test_slots_are_what_the_slower_of_both_clocks_feeds() -> None:
    """20 ms of 50 evaluations a second: a coordinator that only waits for the disk is as slow."""
    assert Cost(1, 100, 2.0, 1.0).slots(10.0) == pytest.approx(500)
    assert Cost(1, 100, 1.0, 2.0).slots(60.0) == pytest.approx(3000)


@pytest.mark.parametrize("in_flight", [2, 16])
def test_an_answer_costs_the_same_however_many_are_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_flight: int
) -> None:
    """A digest takes a fifth of a millisecond, and all that run were once digested an answer."""
    study = filled(tmp_path, 3)
    digest, counts = Evaluation.digest, {"digests": 0}

    def counted(evaluation: Evaluation) -> str:
        counts["digests"] += 1
        return digest(evaluation)

    submitted: list[Evaluation] = []
    submit = AtOnce.submit
    monkeypatch.setattr(Evaluation, "digest", counted)
    monkeypatch.setattr(AtOnce, "submit", lambda w, e: submitted.append(e) or submit(w, e))  # type: ignore[func-returns-value]
    measure(study, load_space("gates"), "random", 20, in_flight, 2)
    assert counts["digests"] <= 8 * len(submitted)


def test_it_says_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = "--candidates 3 --more 3 --samplers random --in-flight 2 --epochs 1".split()
    assert main([*few, "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "random, 2 in flight, 8 trials" in said
    assert "ms of CPU time an evaluation" in said
    assert "at 600 s" in said


def test_without_an_evaluation_nothing_is_sentence_of_slots() -> None:
    assert _sentence(Cost(3, 0, 0.1, 0.1), "tpe", 4, 9) == (
        "tpe, 4 in flight, 9 trials: no candidate was new"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--more", "0"], "more must be at least 1, got 0"),
        (["--in-flight", "0"], "in_flight must be at least 1, got 0"),
        (["--samplers", "randum"], 'no sampler "randum"'),
    ],
    ids=str,
)
def test_wrong_arguments_are_one_sentence(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(main, wrong, "nas.bench.coordinator", message, capsys)
