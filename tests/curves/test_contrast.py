"""How far chosen cells are above the others, against shares that are computed by hand."""

import json
from pathlib import Path

import pytest

from nas.curves.command import main
from nas.curves.contrast import chosen_of, contrasts
from nas.curves.report import contrast_table, lines
from nas.curves.result import by_task, evaluations, rows
from nas.curves.store import Finished
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.study.visit import Evaluated
from nas.tasks import Adding, Parity
from nas.tasks.base import Task
from nas.zoo import ZOO
from tests.curves.made_up import outcome_of
from tests.curves.test_run import numbers

NAMES = {ZOO[name].key: name for name in ("gru", "lstm", "rnn", "irnn")}
GATED = {ZOO["gru"].key, ZOO["lstm"].key}
SETTINGS = [Settings(learning_rate=rate) for rate in (0.1, 0.2)]
FAILED = Outcome("diverged", message="the loss was not finite")
PARITY, ADDING = Parity(epochs=2), Adding(epochs=2, batches_per_epoch=2, validation_batches=2)


def kept(task: Task, given: dict[str, list[tuple[Outcome, ...]]]) -> tuple[list[Evaluation], dict]:
    """The evaluations of cells, and what each seed's two settings gave."""
    n_seeds = len(next(iter(given.values())))
    asked = evaluations([ZOO[name] for name in given], [task], [SETTINGS], range(n_seeds))
    return asked, {
        one.digest(): Finished(
            one.cell, "c", Evaluated.of(one, given[NAMES[one.key]][one.seed], "")
        )
        for one in asked
    }


def runs(task: Task, *curves: tuple[float, float]) -> tuple[Outcome, ...]:
    return tuple(outcome_of(task, curve) for curve in curves)


def test_both_leads_are_shares_of_the_way_from_blind_guessing() -> None:
    """Parity goes from 1/2 to 1: an accuracy a is the share 2 a - 1. GRU and IRNN are the best of
    their kind in learning, LSTM and RNN in where they end."""
    asked, finished = kept(
        PARITY,
        {
            "gru": [runs(PARITY, (0.8, 0.9), (0.9, 0.9))],  # shares .6 .8 .8 .8: mean 0.75, best .8
            "lstm": [runs(PARITY, (0.5, 0.5), (0.5, 1.0))],  # 0 0 0 1: 0.25, 1
            "rnn": [runs(PARITY, (0.4, 0.4), (0.5, 0.95))],  # 0 0 0 .9: 0.225, .9
            "irnn": [runs(PARITY, (0.7, 0.7), (0.7, 0.7))],  # 0.4, .4
        },
    )
    apart = contrasts(asked, NAMES, finished, GATED)["parity"]
    learning, ending = apart.learning, apart.ending
    assert (learning.chosen, learning.other) == ("gru", "irnn")
    assert (learning.chosen_share, learning.other_share) == pytest.approx((0.75, 0.4))
    assert learning.difference == pytest.approx(0.35)
    assert (ending.chosen, ending.other) == ("lstm", "rnn")
    assert (ending.chosen_share, ending.other_share) == pytest.approx((1.0, 0.9))
    assert ending.by_seed == pytest.approx((0.1,))


def test_a_loss_is_a_share_too_and_a_run_without_a_metric_is_blind_guessing() -> None:
    blind = ADDING.chance()
    half = runs(ADDING, (blind, blind / 2), (blind / 2, blind / 2))
    asked, finished = kept(ADDING, {"gru": [half, half], "rnn": [(FAILED, FAILED), half]})
    apart = contrasts(asked, NAMES, finished, GATED)["adding"]
    assert apart.ending.by_seed == pytest.approx((0.5, 0.0))
    assert apart.ending.difference == pytest.approx(0.25)
    assert apart.learning.by_seed == pytest.approx((0.375, 0.0))
    assert apart.learning.chosen_share == pytest.approx(0.375)


def test_what_is_unfinished_or_not_asked_for_has_no_contrast() -> None:
    some = [runs(PARITY, (0.6, 0.7), (0.6, 0.7))]
    asked, finished = kept(PARITY, {"gru": some, "rnn": some})
    assert contrasts(asked, NAMES, finished, ()) == {}
    assert contrasts(asked, NAMES, {asked[0].digest(): finished[asked[0].digest()]}, GATED) == {}
    (on,) = by_task(rows(asked, NAMES, finished, 0.99), 0.99, 0)
    assert contrast_table([on]) is None
    assert not any("Contrast" in line for line in lines([on]))


def test_chosen_cells_are_some_of_the_cells() -> None:
    gru, rnn, lstm = ZOO["gru"], ZOO["rnn"], ZOO["lstm"]
    assert chosen_of([gru, rnn], []) == frozenset()
    assert chosen_of([gru, rnn], [gru]) == {gru.key}
    with pytest.raises(UserError, match=r"contrast names some of cells \(gru, rnn\), got lstm"):
        chosen_of([gru, rnn], [gru, lstm])
    with pytest.raises(UserError, match=r"needs cells beside those that it names, got all"):
        chosen_of([gru, rnn], [gru, rnn])


def test_the_command_writes_the_table(
    workers: list,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Made-up cells go 0.4, 0.3 and 0.1 of the way an epoch: after 2 epochs the GRU leads by 0.6
    in where it ends, and by half of 0.3 + 0.6 in learning."""
    small = ["--tasks.parity.batches_per_epoch", "4", "--tasks.parity.validation_batches", "3"]
    given = ["--cells", "lstm", "gru", "rnn", "--tasks", "parity", "--epochs", "2", *small]
    given += ["--settings.learning_rate", "1", "--out", str(tmp_path / "out")]
    assert main([*given, "--contrast", "gru", "lstm"]) == 0
    assert "| gru" not in capsys.readouterr().out
    page = (tmp_path / "out" / "curves.md").read_text(encoding="utf-8")
    assert "| parity | gru 0.600 | rnn 0.150 | +0.450 | gru 0.800 | rnn 0.200 | +0.600 |" in page
    apart = numbers(tmp_path / "out")["parity"]["contrast"]
    assert apart["learning"]["by_seed"] == pytest.approx([0.45])
    assert json.dumps(apart["ending"]["chosen"]) == '"gru"'
    assert main([*given, "--contrast", "mgu"]) == 2
    assert "contrast names some of cells (lstm, gru, rnn), got mgu" in capsys.readouterr().err
