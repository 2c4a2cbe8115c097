"""How well one run ranks cells, and both endpoints, in a comparison with known effects."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.compare.ranking import across, across_table, rankings
from nas.compare.report import lines, plain, rows_of_runs
from nas.nn.settings import Settings
from nas.protocol.evaluation import Epoch, Evaluation, Outcome
from nas.report.statistics.intervals import interval
from nas.tasks import Xml
from nas.tasks.base import ACCURACY, LOSS
from nas.zoo import ZOO
from tests.compare.test_compare_statistics import comparison, protocol


@pytest.mark.parametrize("metric", [ACCURACY, LOSS], ids=["accuracy", "loss"])
def test_one_run_ranks_as_seeds_agree_and_more_seeds_rank_better(metric: object) -> None:
    random = np.random.default_rng(0)
    truth, n_seeds = random.normal(size=(20, 1)), 10
    values = truth + random.normal(size=(20, n_seeds))
    found = rankings({"test": values.tolist()}, metric)["test"]  # type: ignore[arg-type]
    ring = [*pairwise(range(n_seeds)), (n_seeds - 1, 0)]
    taus = [kendalltau(values[:, a], values[:, b]).statistic for a, b in ring]
    assert found.one_run.tau is not None
    assert found.one_run.tau.mean == pytest.approx(np.mean(taus))
    assert found.one_run.tau.low < np.mean(taus) < found.one_run.tau.high
    assert found.one_run.deviation == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))
    sign = 1 if metric is LOSS else -1
    halves = []
    for a, b in ring:
        half = np.argsort(sign * values[:, a], kind="stable")[:10]
        halves.append(kendalltau(values[half, a], values[half, b]).statistic)
    assert found.one_run.better is not None
    assert found.one_run.better.mean == pytest.approx(np.mean(halves))
    even, odd = values[:, ::2].mean(axis=1), values[:, 1::2].mean(axis=1)
    assert found.halves.tau is not None
    assert found.halves.tau.mean == pytest.approx(kendalltau(even, odd).statistic)
    assert found.halves.tau.mean > found.one_run.tau.mean + 0.1
    assert found.halves.deviation == pytest.approx(1 / np.sqrt(5), rel=0.3)


def test_one_cell_or_one_seed_ranks_nothing() -> None:
    assert not rankings({"test": [[0.1, 0.2]]}, ACCURACY)
    assert not rankings({"test": [[0.1], [0.2]]}, ACCURACY)


def test_an_order_carries_over_as_scipy_says_whatever_is_better() -> None:
    random = np.random.default_rng(0)
    good, other = random.normal(size=(2, 9))
    loss = -(good + 0.5 * other)
    found = across({"a": (ACCURACY, good.tolist()), "b": (LOSS, loss.tolist())})
    assert list(found) == ["a, b"]
    tau = found["a, b"]
    assert tau.mean == pytest.approx(kendalltau(good, -loss).statistic)
    assert tau.low < tau.mean < tau.high
    assert not across({"a": (ACCURACY, good[:7].tolist()), "b": (LOSS, loss[:7].tolist())})
    (row,) = across_table(found).rows
    assert row[:2] == ("a", "b")


TASK = Xml(n_params=(9000,), epochs=4)
CELLS = ("gru", "lstm", "mut1", "mut2", "mut3", "mgu", "rnn", "ligru")


def learning(evaluation: Evaluation, settings: Settings) -> Outcome:
    """All cells end alike; mut1 is there two epochs earlier, and ligru diverges after the first."""
    random = np.random.default_rng([evaluation.seed, int(evaluation.key[:6], 16)])
    end = 0.6 + 0.01 * random.normal()
    steps = {ZOO["mut1"].key: [0.4, 0.9, 1.0, 1.0]}.get(evaluation.key, [0.4, 0.5, 0.6, 1.0])
    fails = evaluation.key == ZOO["ligru"].key
    values = [end * step for step in steps[: 1 if fails else 4]]
    curve = tuple(Epoch(1.0, 1.0, value, 0.1) for value in values)
    test = end if evaluation.measure_test else None
    status, best = ("diverged", None) if fails and test else ("ok", max(values))
    return Outcome(status, best, 0, curve, n_params=8000, test=None if fails else test)  # type: ignore[arg-type]


def test_both_endpoints_of_a_comparison_have_differences_of_their_own() -> None:
    found = comparison(protocol(TASK), learning, CELLS)
    [on] = found.tasks
    cells = {cell.name: cell for cell in on.cells}
    ends = np.array(cells["mut1"].curves["last"])
    assert cells["mut1"].curves["area"] == pytest.approx(ends * (0.4 + 0.9 + 2) / 4)
    assert cells["gru"].curves["best"] == cells["gru"].curves["last"]
    blind = TASK.chance()
    first = np.array(cells["ligru"].curves["area"]) * 4 - 3 * blind
    assert first == pytest.approx(0.24, abs=0.02), "blind guessing from the second epoch on"
    assert cells["ligru"].curves["last"] == (blind,) * 10
    pair = on.fast["gru"]["mut1"]
    areas = np.array(cells["mut1"].curves["area"]) - np.array(cells["gru"].curves["area"])
    assert pair.gain == interval(areas.tolist())
    assert pair.is_claimed
    assert not on.against["gru"]["mut1"].is_claimed
    said = "mut1 is better than gru on xml: the area under the curve of validation accuracy by "
    assert any(one.startswith(said) for one in found.fast_verdicts)
    assert not any(said in one for one in found.verdicts)


def test_what_a_comparison_writes_has_both_endpoints_and_how_well_one_run_ranks() -> None:
    found = comparison(protocol(TASK), learning, CELLS)
    [on] = found.tasks
    rows = [row for row in rows_of_runs(found) if row["cell"] == "mut1"]
    assert [row["area"] for row in rows] == list(on.cells[2].curves["area"])
    assert [row["last"] for row in rows] == list(on.cells[2].curves["last"])
    tau = on.rankings["test"].one_run.tau
    assert tau is not None
    numbers = plain(found)["tasks"]["xml"]
    assert numbers["how well one run ranks"]["test"]["one_run"]["tau"]["mean"] == tau.mean
    assert numbers["how fast"]["gru"]["mut1"]["gain"]["mean"] > 0.1
    printed = "\n".join(lines(found))
    assert "How well one run ranks these cells" in printed
    assert f"{tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]" in printed
    assert "how fast they learn, and where they end" in printed
