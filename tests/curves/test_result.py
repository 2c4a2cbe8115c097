"""What is told of a cell on a task, from outcomes that are made up."""

import pytest

from nas.curves.result import Row, evaluations, goal, shown
from nas.curves.result import rows as rows_of
from nas.curves.store import Finished
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.study.visit import Evaluated
from nas.tasks import TASKS, Adding, CopyMemory, Memorization, Parity, Text
from nas.tasks.base import Task
from nas.zoo import ZOO
from tests.curves.made_up import outcome_of

SETTINGS = tuple(Settings(learning_rate=rate) for rate in (0.1, 0.2, 0.3))
FAILED = Outcome("diverged", message="the loss was not finite")


def test_tasks_whose_answers_are_determined_have_a_perfect_score() -> None:
    perfect = {name: kind.perfect for name, kind in TASKS.items() if kind.perfect is not None}
    ones = "memorization arithmetic parity even_pairs cycle_navigation modular_arithmetic dyck"
    ones += " cyclic s3 a5 copy_memory selective_copying recall copy_attention arithmetic_attention"
    assert perfect == {**dict.fromkeys(ones.split(), 1.0), "adding": 0.0}
    for name, value in perfect.items():
        assert TASKS[name]().metric.higher_is_better == (value == 1.0)


def test_a_task_is_solved_near_its_perfect_score() -> None:
    """0.99 of the way from blind guessing: 1/2 to 1, 1/27 to 1, 1/6 to 0."""
    assert goal(Parity(), 0.99) == pytest.approx(0.995)
    assert goal(Memorization(), 0.99) == pytest.approx(0.99 + 0.01 / 27)
    assert goal(Adding(), 0.99) == pytest.approx(0.01 / 6, abs=1e-4)
    assert goal(Adding(), 1.0) == 0.0
    assert goal(Text(), 0.99) is None


def test_the_setting_that_solves_first_is_shown_and_not_the_one_that_ends_higher() -> None:
    outcomes = (
        outcome_of(Parity(), (0.5, 0.6, 0.9, 1.0)),
        outcome_of(Parity(), (0.5, 0.995, 0.6, 0.6)),
        outcome_of(Parity(), (0.5, 0.6, 0.7, 0.8)),
    )
    run = shown(Parity(), 5, SETTINGS, outcomes, 0.99)
    assert run is not None
    assert (run.seed, run.settings, run.solved) == (5, SETTINGS[1], 2)
    assert run.outcome is outcomes[1]


def test_of_those_that_solve_at_once_the_better_is_shown_then_the_first() -> None:
    one, two, three = (outcome_of(Parity(), (0.5, best)) for best in (0.996, 1.0, 1.0))
    run = shown(Parity(), 0, SETTINGS, (one, two, three), 0.99)
    assert run is not None
    assert run.outcome is two


@pytest.mark.parametrize(
    ("task", "values", "best"),
    [
        (Parity(), ((0.5, 0.6), (0.5, 0.7), (0.8, 0.2)), 2),
        (Adding(), ((0.5, 0.6), (0.5, 0.07), (0.8, 0.2)), 1),
        (Text(), ((3.0, 2.0), (4.0, 3.0), (1.5, 9.0)), 2),
        (CopyMemory(), ((0.2, 0.3), (0.2, 0.25), (0.2, 0.4)), 2),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_if_none_solves_it_the_best_is_shown(
    task: Task, values: tuple[tuple[float, ...], ...], best: int
) -> None:
    outcomes = tuple(outcome_of(task, of_one) for of_one in values)
    run = shown(task, 0, SETTINGS, outcomes, 0.99)
    assert run is not None
    assert run.outcome is outcomes[best]
    assert run.settings is SETTINGS[best]
    assert run.solved is None


def test_a_run_without_a_metric_is_never_shown() -> None:
    good = outcome_of(Parity(), (0.5,))
    run = shown(Parity(), 0, SETTINGS, (FAILED, good, FAILED), 0.99)
    assert run is not None
    assert run.outcome is good
    assert shown(Parity(), 0, SETTINGS, (FAILED,) * 3, 0.99) is None


def asked(task: Task, *names: str, seeds: range = range(1)) -> list[Evaluation]:
    return evaluations([ZOO[name] for name in names], [task], [SETTINGS[:1]], seeds)


def finished(
    given: list[Evaluation], outcomes: dict[tuple[str, int], Outcome], backend: str = "c"
) -> dict[str, Finished]:
    """Of the cells and seeds that have an outcome."""
    return {
        one.digest(): Finished(
            one.cell, backend, Evaluated.of(one, (outcomes[ZOO.named(one.key), one.seed],), "")
        )
        for one in given
        if (ZOO.named(one.key), one.seed) in outcomes
    }


def rows(given: list[Evaluation], kept: dict[str, Finished], share: float) -> list[Row]:
    names = {one.key: str(ZOO.named(one.key)) for one in given}
    return rows_of(given, names, kept, share)


def test_each_cell_task_and_seed_is_one_evaluation_that_is_measured_on_test() -> None:
    tasks, cells = (Parity(), Adding()), [ZOO["lstm"], ZOO["rnn"]]
    found = evaluations(cells, tasks, [SETTINGS, SETTINGS[:1]], range(3, 5))
    assert [(one.task.name, ZOO.named(one.key), one.seed) for one in found] == [
        (task, cell, seed)
        for task in ("parity", "adding")
        for cell in ("lstm", "rnn")
        for seed in (3, 4)
    ]
    assert [len(one.settings) for one in found] == [3] * 4 + [1] * 4
    assert all(one.measure_test for one in found)
    assert len({one.digest() for one in found}) == 8


def test_means_are_over_seeds_and_the_median_is_of_epochs() -> None:
    given = asked(Parity(), "lstm", seeds=range(3))
    curves = ((1.0,), (0.5, 0.6, 0.7, 0.8, 1.0), (0.5, 1.0))
    outcomes = {("lstm", seed): outcome_of(Parity(), curves[seed]) for seed in range(3)}
    (row,) = rows(given, finished(given, outcomes), 0.99)
    assert [run.seed for run in row.runs] == [0, 1, 2]
    assert row.best == 1.0
    assert row.test == 0.5
    assert row.epochs_to_solve == 2
    assert row.seconds == 0.75


def test_a_cell_solves_a_task_only_with_all_seeds() -> None:
    given = asked(Parity(), "lstm", seeds=range(3))
    outcomes = {("lstm", seed): outcome_of(Parity(), (1.0,)) for seed in range(3)}
    almost = {**outcomes, ("lstm", 1): outcome_of(Parity(), (0.9,))}
    (row,) = rows(given, finished(given, almost), 0.99)
    assert row.epochs_to_solve is None
    assert row.best == pytest.approx(2.9 / 3)
    (row,) = rows(given, finished(given, {**outcomes, ("lstm", 1): FAILED}), 0.99)
    assert row.epochs_to_solve is None
    assert row.best == 1.0
    assert row.trouble == ("diverged, the loss was not finite",)


def test_the_best_is_first_by_epochs_then_by_the_metric() -> None:
    names = ("gru", "lstm", "rnn", "mgu", "mut1")
    given = asked(Parity(), *names)
    values = ((0.5, 1.0), (1.0, 0.5), (0.6,), (0.7,))
    outcomes = {
        (name, 0): outcome_of(Parity(), of_one)
        for name, of_one in zip(names[:4], values, strict=True)
    }
    outcomes["mut1", 0] = FAILED
    found = rows(given, finished(given, outcomes), 0.99)
    assert [row.name for row in found] == ["lstm", "gru", "mgu", "rnn", "mut1"]


def test_a_loss_is_better_where_it_is_lower() -> None:
    given = asked(Text(), "gru", "lstm")
    outcomes = {("gru", 0): outcome_of(Text(), (2.0,)), ("lstm", 0): outcome_of(Text(), (1.5,))}
    assert [row.name for row in rows(given, finished(given, outcomes), 0.99)] == ["lstm", "gru"]


def test_what_is_not_finished_with_all_seeds_has_no_row() -> None:
    given = asked(Parity(), "gru", "lstm", seeds=range(2))
    outcomes = {
        ("gru", 0): outcome_of(Parity(), (0.5,)),
        ("lstm", 0): outcome_of(Parity(), (0.5,)),
        ("lstm", 1): outcome_of(Parity(), (0.5,)),
    }
    found: list[Row] = rows(given, finished(given, outcomes), 0.99)
    assert [row.name for row in found] == ["lstm"]
