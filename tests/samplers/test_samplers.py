"""Samplers by name and by import path, as the coordinator uses them: a new one a candidate."""

from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, FrozenTrial

from nas.cell import Cell
from nas.errors import UserError
from nas.samplers.point import PointSampler
from nas.samplers.registry import NAMES, Repeatable, find_sampler
from nas.spaces import load_space
from nas.zoo import ZOO

SPACE = load_space("gates")
N = 30
SIZE = 8


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


class Own(RandomSampler):
    """A sampler of one's own, found as module:Class."""


class Counting(RandomSampler):
    """Counts the trials that it is told about before they are drawn."""

    seen = 0

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        Counting.seen += 1


class Relative(RandomSampler):
    """Draws one choice together with others, before it is asked for."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {"states": CategoricalDistribution(("separate", "merged"))}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        assert list(search_space) == ["states"]
        return {"states": "merged"}


def n_params(cell: Cell) -> float:
    return float(cell.n_params(SIZE, SIZE))


def fewest(cell: Cell) -> float:
    return -n_params(cell)


def drawn(name: str, seed: int, value: Callable[[Cell], float] = fewest) -> list[str]:
    """The keys of the cells of a small study."""
    study = optuna.create_study(direction="maximize")
    keys: list[str] = []
    for number in range(N):
        study.sampler = Repeatable(find_sampler(name, SPACE), seed, number)
        trial = study.ask()
        cell = SPACE.propose(trial)
        keys.append(cell.key)
        study.tell(trial, value(cell))
    return keys


BY_NAME = [*NAMES, f"{__name__}:Own"]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_sampler_proposes_cells_that_follow_from_the_seed(name: str) -> None:
    first = drawn(name, seed=0)
    assert len(first) == N
    assert len(set(first)) > N // 2, "and they differ"
    assert drawn(name, seed=0) == first
    assert drawn(name, seed=1) != first


@pytest.mark.parametrize(("name", "learns"), [("tpe", True), ("random", False), ("qmc", False)])
def test_tpe_learns_from_results_and_the_others_do_not(name: str, learns: bool) -> None:
    fewer, more = drawn(name, 0, fewest), drawn(name, 0, n_params)
    assert (fewer != more) == learns
    assert fewer[:10] == more[:10], "tpe begins with ten random candidates"


def test_a_sampler_is_told_when_a_trial_begins() -> None:
    Counting.seen = 0
    drawn(f"{__name__}:Counting", seed=0)
    assert Counting.seen == N


def test_what_a_sampler_draws_together_is_taken() -> None:
    study = optuna.create_study()
    for number in range(10):
        study.sampler = Repeatable(find_sampler(f"{__name__}:Relative", SPACE), 0, number)
        assert len(SPACE.propose(study.ask()).states) == 1


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_peephole", "rnn", "ugrnn"])
def test_the_point_sampler_draws_the_point(name: str) -> None:
    params = SPACE.params_of(ZOO[name])
    assert params is not None
    study = optuna.create_study(sampler=PointSampler(params))
    for _ in range(12):
        trial = study.ask()
        assert SPACE.propose(trial).key == ZOO[name].key
        assert trial.params == params
        study.tell(trial, 0.0)


def test_the_point_sampler_has_no_other_answer() -> None:
    study = optuna.create_study(sampler=PointSampler({"states": "merged"}))
    with pytest.raises(KeyError, match=r"candidate_activation|update_gate"):
        SPACE.propose(study.ask())
    assert SPACE.propose(FixedTrial(SPACE.params_of(ZOO["gru"]) or {})).key == ZOO["gru"].key


def not_a_sampler(seed: int) -> object:
    return seed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tpee",
            r'no sampler "tpee"\. Did you mean "tpe"\? '
            r"Known: jozefowicz, lexicase, nsgaii, qmc, random, regularized, tpe\. Or m",
        ),
        ("", r'no sampler ""\. Known: .* Or module:Class of your own'),
        ("no_such:Class", r'"no_such:Class" cannot be imported: No module named'),
        (f"{__name__}:Absent", r'Absent" cannot be imported: .* has no attribute'),
        (":Class", r'":Class" cannot be imported: Empty module name'),
        (f"{__name__}:not_a_sampler", r"must make an optuna BaseSampler, got <class 'int'>"),
        ("os:path", r'"os:path" must be made by path\(seed=…\): .* not callable'),
        ("optuna.samplers:GridSampler", r"must be made by GridSampler\(seed=…\): .*search_space"),
    ],
)
def test_a_sampler_that_is_none_is_refused_at_once(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_sampler(name, SPACE)
