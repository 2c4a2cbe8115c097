"""What a comparison says of made-up metrics, judged by the protocol and `compared` alone."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from scipy import stats

from nas.compare.config import CompareConfig
from nas.compare.protocol import FreshSeeds, protocol_of
from nas.compare.result import Comparison, compared, gains, too_few_seeds
from nas.errors import SearchError, UserError
from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, Reference
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import NeedReference
from nas.report.statistics.intervals import LEVEL
from nas.study.visit import Evaluated, Visit
from nas.tasks import Text, Xml
from nas.tasks.base import ACCURACY, LOSS, Task
from nas.zoo import ZOO

N_SIMULATIONS = 1000
GRID = SettingsGrid(init_scale=(1.0,), learning_rate=(0.1, 0.2), clip_norm=(5.0,), num_layers=(1,))
XML = Xml(n_params=(9000,))
TEXT = Text(n_params=(9000,))
CELLS = ("gru", "lstm", "mut1", "mut2", "mut3", "mgu", "rnn")

Make = Callable[[Evaluation, Settings], Outcome]


def protocol(task: Task = XML, n_seeds: int = 10, n_settings: int = 2) -> FreshSeeds:
    config = ProtocolConfig(filter=False, kind="flat", n_settings=n_settings)
    return FreshSeeds(None, (task,), config, GRID, 7, tuple(range(100, 100 + n_seeds)))


def visit(
    number: int, name: str, how: FreshSeeds, make: Make, reference: Reference | None
) -> Visit:
    """A cell measured to its end."""
    cell = ZOO[name]
    found = Visit(number, number, "given", name, str(cell), cell.key)
    evaluated: dict[str, Evaluated] = {}
    judging = how.measure(found.cell, found.key, is_reference=reference is None)
    request = next(judging)
    while True:
        try:
            if isinstance(request, NeedReference):
                assert reference is not None
                request = judging.send(reference)
                continue
            answer = []
            for one in request:
                outcomes = tuple(make(one, settings) for settings in one.settings)
                evaluated[one.digest()] = Evaluated.of(one, outcomes, found.key)
                answer.append(outcomes)
            request = judging.send(answer)
        except StopIteration as stop:
            judgement: Judgement = stop.value
            found.evaluated, found.judgement = evaluated, judgement
            return found


def comparison(how: FreshSeeds, make: Make, cells: tuple[str, ...] = CELLS) -> Comparison:
    visits = [visit(0, cells[0], how, make, None)]
    assert visits[0].judgement is not None
    reference = Reference.of(visits[0].judgement)
    visits += [visit(1 + k, name, how, make, reference) for k, name in enumerate(cells[1:])]
    return compared("test", visits, how)


@dataclass(frozen=True)
class MadeUp:
    """Metrics on test of known means; seeds are shared between cells, noise is not."""

    simulation: int
    effects: dict[str, float]
    """By the key of the cell."""
    skewed: bool = False

    def __call__(self, evaluation: Evaluation, settings: Settings) -> Outcome:
        shared = random.Random(f"{self.simulation} {evaluation.seed}").gauss(0, 1)
        own = random.Random(f"{self.simulation} {evaluation.seed} {evaluation.key}")
        noise = own.gammavariate(2, 0.7) - 1.4 if self.skewed else own.gauss(0, 1)
        value = 5 * shared + noise + self.effects.get(evaluation.key, 0.0)
        test = value if evaluation.measure_test else None
        return Outcome("ok", 0.5 + settings.learning_rate, 0, n_params=8000, test=test)


@pytest.mark.parametrize(
    "n_simulations", [100, pytest.param(N_SIMULATIONS, marks=pytest.mark.process)]
)
@pytest.mark.parametrize("skewed", [False, True], ids=["normal", "skewed"])
def test_coverage_and_false_alarms_over_simulated_comparisons(
    skewed: bool, n_simulations: int
) -> None:
    """Of 1,000 comparisons of 5 cells, of which two differ from GRU and LSTM: 95 % ± 2 of the
    intervals hold the true difference, and in at most 5 % anything false is said (more than 66 of
    1,000 have a chance of 1 %)."""
    effects = {ZOO["mut1"].key: 2.5, ZOO["rnn"].key: -2.5}
    how = protocol(Xml(n_params=(9000,)), n_settings=1)
    held, n_pairs, seen = 0, 0, 0
    alarms = {"gru": 0, "lstm": 0}
    for simulation in range(n_simulations):
        found = comparison(how, MadeUp(simulation, effects, skewed))
        [on] = found.tasks
        for baseline, pairs in on.against.items():
            false = False
            for one in pairs.values():
                true = effects.get(ZOO[one.first].key, 0.0)
                assert one.gain is not None
                held += one.gain.low <= true <= one.gain.high
                n_pairs += 1
                seen += one.is_claimed and true != 0 and (one.gain.mean > 0) == (true > 0)
                false |= one.is_claimed and (true == 0 or (one.gain.mean > 0) != (true > 0))
            alarms[baseline] += false
    assert held / n_pairs == pytest.approx(0.95, abs=0.02)
    for count in alarms.values():
        assert count <= stats.binom.ppf(0.99, n_simulations, LEVEL)
    assert seen > 0.9 * 4 * n_simulations, "differences that are there are found"


def test_the_direction_of_the_metric() -> None:
    """A higher loss is worse, a higher accuracy better, by the same amount."""
    effects = {ZOO["mut1"].key: 3.0}
    by = {}
    for task in (XML, TEXT):
        [on] = comparison(protocol(task), MadeUp(0, effects), ("gru", "lstm", "mut1")).tasks
        found = on.against["gru"]["mut1"].gain
        assert found is not None
        by[task.metric] = found.mean
    assert {ACCURACY, LOSS} == set(by)
    assert by[ACCURACY] == pytest.approx(-by[LOSS])
    assert by[ACCURACY] > 0


@pytest.mark.parametrize("task", [XML, TEXT], ids=["accuracy", "loss"])
def test_the_setting_is_the_best_on_validation_and_never_chosen_by_test(task: Task) -> None:
    """Even where evaluations of tuning hold a test metric, which they are not asked for."""
    sign = 1 if task.metric.higher_is_better else -1

    def make(evaluation: Evaluation, settings: Settings) -> Outcome:
        best = 0.5 + sign * settings.learning_rate
        return Outcome("ok", best, 0, n_params=8000, test=0.5 - sign * settings.learning_rate)

    [on] = comparison(protocol(task), make, ("gru", "lstm")).tasks
    for one in on.cells:
        assert one.settings is not None
        assert one.settings.learning_rate == 0.2
        assert one.tuned == pytest.approx(0.5 + sign * 0.2)
        assert one.values == pytest.approx([0.5 - sign * 0.2] * 10)


@pytest.mark.parametrize("test", [None, math.nan, math.inf])
def test_runs_without_a_metric_count_as_blind_guessing(test: float | None) -> None:
    def make(evaluation: Evaluation, settings: Settings) -> Outcome:
        if evaluation.key == ZOO["rnn"].key and evaluation.seed in (101, 104):
            return Outcome("diverged", None, None, n_params=8000, test=test)
        return Outcome("ok", 0.5, 0, n_params=8000, test=0.5)

    [on] = comparison(protocol(), make, ("gru", "lstm", "rnn")).tasks
    cell = on.cells[2]
    assert [place for place, why in enumerate(cell.missing) if why] == [1, 4]
    assert set(cell.missing) == {"", "diverged"}
    expected = [0.5] * 10
    expected[1] = expected[4] = XML.chance()
    assert list(cell.values) == expected
    of_gru = on.cells[0].values
    assert gains(XML.metric, cell.values, of_gru) == pytest.approx([v - 0.5 for v in expected])


def test_a_cell_that_no_setting_trains_guesses_blindly_on_every_seed() -> None:
    def make(evaluation: Evaluation, settings: Settings) -> Outcome:
        if evaluation.key == ZOO["rnn"].key:
            return Outcome("diverged")
        return Outcome("ok", 0.5, 0, n_params=8000, test=0.5)

    [on] = comparison(protocol(), make, ("gru", "lstm", "rnn")).tasks
    assert on.cells[2].settings is None
    assert on.cells[2].values == (XML.chance(),) * 10
    assert on.against["gru"]["rnn"].is_claimed


def test_a_gru_that_nothing_trains_ends_the_comparison() -> None:
    with pytest.raises(SearchError, match="gru reaches no finite metric on xml"):
        visit(0, "gru", protocol(), lambda *_: Outcome("diverged"), None)


def test_more_parameters_than_the_budget_are_not_compared() -> None:
    def make(evaluation: Evaluation, settings: Settings) -> Outcome:
        return Outcome("ok", 0.5, 0, n_params=9001, test=0.5)

    with pytest.raises(AssertionError, match="gru has 9001 of 9000 parameters"):
        comparison(protocol(), make, ("gru", "lstm"))


def test_what_few_seeds_cannot_show() -> None:
    assert too_few_seeds(10, 25) == ""
    assert "needs at least 11" in too_few_seeds(10, 26)
    assert "needs at least 6" in too_few_seeds(5, 1)
    # By the test itself: with one seed fewer, the smallest p value is not enough.
    made = MadeUp(0, {ZOO[name].key: 1e6 * place for place, name in enumerate(CELLS)})
    for n_seeds, claims in ((7, False), (8, True)):
        [on] = comparison(protocol(n_seeds=n_seeds), made).tasks
        assert on.against["gru"]["rnn"].is_claimed == claims
        assert bool(too_few_seeds(n_seeds, len(CELLS) - 1)) != claims


def test_further_baselines_have_pairs_and_corrections_of_their_own() -> None:
    """Against MUT1, too: SciPy's signed-rank test, corrected by Holm by hand over that baseline."""
    mut1 = ZOO["mut1"].key
    how = replace(protocol(n_settings=1), baselines=(*protocol().baselines, mut1))
    effects = {ZOO["mut2"].key: 2.0, ZOO["rnn"].key: -2.0}
    [on] = comparison(how, MadeUp(3, effects)).tasks
    assert list(on.against) == ["gru", "lstm", "mut1"]
    assert set(on.against["gru"]) == set(CELLS) - {"gru"}
    assert set(on.against["mut1"]) == set(CELLS) - {"gru", "lstm", "mut1"}
    values = {cell.name: cell.values for cell in on.cells}
    p = {name: stats.wilcoxon(values[name], values["mut1"]).pvalue for name in on.against["mut1"]}
    for name, pair in on.against["mut1"].items():
        smaller = [other for other in p if p[other] <= p[name]]
        corrected = max(
            min(1.0, (len(p) - place) * p[other])
            for place, other in enumerate(sorted(smaller, key=lambda other: p[other]))
        )
        assert pair.p == pytest.approx(p[name])
        assert pair.corrected == pytest.approx(corrected)


def test_cells_to_compare_against_are_measured_and_need_fresh_seeds() -> None:
    config = CompareConfig(cells=("mgu",), against=("mut1",), tracking_uri="off")
    assert ZOO["mut1"].key in protocol_of(config).baselines  # type: ignore[union-attr]  # FreshSeeds
    with pytest.raises(UserError, match="against names cells for a comparison on fresh seeds"):
        replace(config, best_share=0.1).check()
