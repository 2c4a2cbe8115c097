"""The warning before a search of which one example decides whether a candidate is rejected."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.session.few_examples import resolutions, warnings
from nas.tasks import Arrays, Xml
from tests.studies import finished


def staged(folder: Path, n_validation: int, **config: object) -> Staged:
    """A protocol of one task with so many labelled sequences for validation."""
    path = folder / "few.npz"
    n = 2 * n_validation
    split = np.array(["validation"] * n_validation + ["test"] + ["train"] * (n_validation - 1))
    x = np.random.default_rng(0).normal(size=(n, 3, 2))
    np.savez(path, x=x, y=np.arange(n) % 2, split=split)
    task = Arrays(str(path))
    return Staged(None, (task,), ProtocolConfig(**config), SettingsGrid(), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_validation", "pass_ratio", "warned"),
    [
        (9, 0.9, True),  # 0.111 is more than 0.1
        (10, 0.9, False),  # 1 - 0.9 is less than 0.1 in floating-point numbers, and is meant as 0.1
        (11, 0.9, False),
        (5, 0.8, False),
        (4, 0.8, True),
        (19, 0.95, True),
        (20, 0.95, False),
        (4, 0.0, False),
    ],
)
def test_a_search_warns_if_one_example_weighs_more_than_a_candidate_may_lack(
    tmp_path: Path, n_validation: int, pass_ratio: float, warned: bool
) -> None:
    found = list(warnings(staged(tmp_path, n_validation, pass_ratio=pass_ratio)))
    assert len(found) == warned
    if warned:
        assert f" {n_validation} sequences: one weighs {1 / n_validation:.3g}, more" in found[0]
        assert f"more than the {1 - pass_ratio:.3g} by which a candidate may be behind" in found[0]
        assert "--tasks.arrays." in found[0]
        assert "--protocol flat" in found[0]


def test_where_nothing_is_rejected_there_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert list(warnings(staged(tmp_path, 2)))
    assert not list(warnings(staged(tmp_path, 2, kind="flat")))


def test_the_flag_is_one_that_the_task_has(tmp_path: Path) -> None:
    protocol = staged(tmp_path, 2)
    few = Xml(validation_batches=1, batch_size=3)
    (found,) = warnings(dataclasses.replace(protocol, tasks=(few,)))
    assert "--tasks.xml.validation-batches 10 " in found
    assert "3 windows: one weighs 0.333" in found


def test_tasks_whose_data_are_not_here_are_left_out(tmp_path: Path) -> None:
    protocol = dataclasses.replace(staged(tmp_path, 2), tasks=(Arrays("absent.npz"),))
    assert resolutions(protocol) == {}
    assert not list(warnings(protocol))


@pytest.mark.process
def test_a_search_warns_before_it_begins_and_counts_examples_at_its_end(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 4, 2))
    np.savez(tmp_path / "few.npz", x=x, y=np.arange(80) % 2)
    fields = ["--tasks", "arrays", "--tasks.arrays.path", "few.npz", "--tracking-uri", "off"]
    small = ["--tasks.arrays.epochs", "1", "--tasks.arrays.batches_per_epoch", "2"]
    asked = [sys.executable, "-m", "nas.search", "own_data", *fields, *small, "--n-candidates", "1"]
    said = finished([*asked, "--workers", "1", "--study", "few"], tmp_path).stdout.splitlines()
    warned = next(k for k, line in enumerate(said) if line.startswith("Warning: arrays is valid"))
    begun = next(k for k, line in enumerate(said) if "1/3 gru: score" in line)
    assert warned < begun
    assert "on 8 sequences: one weighs 0.125, more than the" in said[warned]
    assert "--tasks.arrays.folds 5 " in said[warned]
    (levels,) = (line for line in said if line.startswith("arrays, accuracy"))
    assert levels.endswith("of 8 sequences, one weighs 0.125.")
