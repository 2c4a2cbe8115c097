"""How many examples a metric rests on, counted by hand."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nas.tasks import TASKS, Arrays, CopyMemory, Csv, Text
from nas.tasks.base import ACCURACY, LOSS
from nas.tasks.levels import Levels, below, levels_of
from nas.tasks.resolution import ENOUGH, Resolution, resolution_of
from tests.tasks.own_data import EMBEDDED, ramps, waves

OF_64 = Resolution(ACCURACY, "sequence", 64, 64)


def labelled(folder: Path, n: int) -> Arrays:
    """A file of n sequences with labels 0 and 1, one tenth of them in validation."""
    path = folder / f"labels{n}.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(n, 4, 2)), y=np.arange(n) % 2)
    return Arrays(str(path))


def test_labelled_sequences_are_an_example_each(tmp_path: Path) -> None:
    found = resolution_of(labelled(tmp_path, 80), 0)
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored, found.step) == ("sequence", 8, 8, 0.125)
    assert found.described == "of 8 sequences, one weighs 0.125"
    assert found.is_coarse
    few = replace(labelled(tmp_path, 80), validation_batches=1, batch_size=5)
    found = resolution_of(few, 0)
    assert found is not None
    assert found.n_examples == 5, "those that are read"


def test_windows_of_a_longer_sequence_are_the_examples(tmp_path: Path) -> None:
    """Of 600 rows 60 are validation, of which 59 have a target: pieces of 25, 25 and 9 rows."""
    waves(tmp_path / "waves.csv")
    task = Csv(str(tmp_path / "waves.csv"), columns=("load",), target=("load",), window=25)
    found = resolution_of(task, 0)
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored) == ("window", 3, 59)
    assert found.step is None
    assert found.described == "the mean over 59 scored steps in 3 windows"
    assert found.is_coarse
    rows = replace(task, goal="classify", label="state", label_of="row", target=())
    found = resolution_of(rows, 0)
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored) == ("window", 3, 60)
    assert found.described == "of 60 scored steps in 3 windows, one step weighs 0.0167"
    ramps(tmp_path / "ramps.csv")
    by_group = Csv(str(tmp_path / "ramps.csv"), goal="classify", label="kind", group="id")
    found = resolution_of(by_group, 0)
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored) == ("sequence", 6, 6)


def test_streams_are_counted_by_window_and_marked_steps_alone() -> None:
    text = Text(validation_batches=3, batch_size=4, window=10)
    found = resolution_of(text, 0)
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored) == ("window", 12, 120)
    task = CopyMemory(validation_batches=2, batch_size=3)
    found = resolution_of(task, 0)
    marked = sum(int(w.marks[task.metric.mark].sum()) for w in task.windows("validation", 0))
    assert found is not None
    assert (found.noun, found.n_examples, found.n_scored) == ("sequence", 6, marked)


def test_data_that_are_not_here_have_no_resolution() -> None:
    assert resolution_of(Arrays("absent.npz"), 0) is None


@pytest.mark.parametrize(
    ("right", "of_gru", "shown"),
    [
        (60, 60, "tie"),
        (61, 60, "1 of 64 sequences"),
        (59, 60, "1 of 64 sequences"),
        (60, 55, "5 of 64 sequences"),
        (60, 54, ""),
        (54, 60, ""),
        (64, 63, "1 of 64 sequences"),
    ],
)
def test_differences_are_counted_in_examples(right: int, of_gru: int, shown: str) -> None:
    value, reference = right / 64, of_gru / 64
    ratio = ACCURACY.ratio(value, reference)
    assert OF_64.apart(value, ratio) == abs(right - of_gru)
    assert OF_64.shown(value, ratio) == shown
    assert OF_64.tied(value, reference) is (right == of_gru)


def test_every_difference_of_any_size_is_found_again() -> None:
    """The other metric is known by the ratio alone, which is rounded."""
    for n in (7, 64, 999, 14_000):
        resolution = Resolution(ACCURACY, "window", 5, n)
        for right in range(1, n + 1, max(1, n // 50)):
            for other in range(1, n + 1, max(1, n // 50)):
                assert resolution.apart(right / n, (right / n) / (other / n)) == abs(right - other)


def test_fewer_than_enough_examples_are_no_evidence_and_enough_may_be() -> None:
    from scipy.stats import binomtest

    assert binomtest(ENOUGH - 1, ENOUGH - 1).pvalue > 0.05
    assert binomtest(ENOUGH, ENOUGH).pvalue < 0.05


def test_losses_have_no_steps_and_tie_if_they_are_equal() -> None:
    losses = Resolution(LOSS, "window", 20, 700)
    assert losses.step is None
    assert losses.apart(2.0, 1.01) is None
    assert losses.shown(2.0, 1.01) == ""
    assert losses.shown(2.0, 1.0) == "tie"
    assert losses.tied(2.0, 2.0)
    assert not losses.tied(2.0, 2.0001)
    assert losses.is_coarse
    assert not replace(losses, n_examples=100).is_coarse


def test_the_unknown_metric_of_a_reference_is_no_difference() -> None:
    assert OF_64.apart(0.5, 0.0) is None
    assert OF_64.shown(0.0, 0.0) == ""


def test_one_example_outweighs_what_is_less_than_its_share() -> None:
    of_10 = Resolution(ACCURACY, "sequence", 10, 10)
    assert not of_10.outweighs(Fraction("0.1")), "as much is not more"
    assert of_10.outweighs(Fraction("0.0999"))
    assert Resolution(ACCURACY, "sequence", 9, 9).outweighs(Fraction("0.1"))


def test_networks_below_the_simple_predictor_are_named(tmp_path: Path) -> None:
    task = labelled(tmp_path, 80)
    levels = levels_of(task, 0)
    assert levels.baseline is not None
    level = levels.baseline.value
    assert below(task, {"gru": level + 0.125, "mgu": level + 0.25}, levels) == ""
    said = below(task, {"gru": level - 0.125, "mgu": level + 0.125}, levels)
    assert said.startswith("gru is no better on arrays than a predictor without a network (")
    assert below(task, {"gru": level}, levels) == said, "the majority class alone"
    assert "--tasks.arrays.epochs 40" in said
    assert "--tasks.arrays.batches-per-epoch 400" in said
    both = below(task, {"gru": 0.0, "mgu": 0.0, "rnn": 0.0}, levels)
    assert both.startswith("gru, mgu and rnn are no better on arrays ")
    perfect = replace(levels, baseline=replace(levels.baseline, value=1.0))
    assert below(task, {"gru": 1.0}, perfect) == "", "nothing can be better"
    text = Text()
    of_text = levels_of(text, 0)
    assert of_text.baseline is not None
    assert below(text, {"gru": of_text.baseline.value - 0.1}, of_text) == "", "less is better"
    assert below(text, {"gru": of_text.baseline.value + 0.1}, of_text) != ""
    assert below(text, {"gru": 9.0}, Levels(None, None, "no data")) == ""


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_carries_a_state_over_is_read_in_pieces(name: str) -> None:
    """A window of whole sequences begins anew; one of a stream does so in the beginning alone."""
    task = replace(TASKS[name](), validation_batches=2, batch_size=4)
    windows = list(task.windows("validation", 0))
    assert task.reads_pieces is not all(window.fresh for window in windows)
