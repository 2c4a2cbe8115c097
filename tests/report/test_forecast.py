"""What is said of the forecast of results, against means and SciPy's tau."""

import pytest
from scipy.stats import gmean, kendalltau

from nas.protocol.judgement import Judgement, Rung
from nas.report.forecast import sentence, worth
from nas.study.visit import Visit

FREE = [
    (0.2, 0.1),
    (0.5, 0.7),
    (0.4, 0.5),
    (0.9, 0.8),
    (0.6, 0.4),
    (0.3, 0.3),
    (1.1, 1.0),
    (0.8, 1.2),
]
CHOSEN = [(1.0, 0.9), (1.2, 0.6), (0.9, 1.4)]


def visit(forecast: float | None, result: float, n_children: int, turn: int = 0) -> Visit:
    rungs = (Rung(0, {}, {"a": result / 2, "b": result * 2}),)
    judgement = Judgement("rung 1", {}, {}, None, 0.5, rungs=rungs)
    about = (0, 0, "drawn", "cell", "def …", "key")
    return Visit(*about, judgement=judgement, forecast=forecast, n_children=n_children, turn=turn)  # type: ignore[arg-type]  # the kind is a literal


VISITS = [
    *(visit(forecast, result, 1) for forecast, result in FREE),
    *(visit(forecast, result, 16) for forecast, result in CHOSEN),
    visit(None, 9.0, 1),
    visit(0.1, 9.0, 16, turn=1),
]


def test_the_worth_is_that_of_first_visits_with_a_forecast() -> None:
    known = worth(VISITS)
    assert known is not None
    assert (known.n_chosen, known.n_free) == (3, 8)
    assert known.chosen == pytest.approx(gmean([result for _, result in CHOSEN]))
    assert known.free == pytest.approx(gmean([result for _, result in FREE]))
    assert known.agreement is not None
    assert known.agreement.tau is not None
    assert known.agreement.tau.mean == pytest.approx(kendalltau(*zip(*FREE, strict=True)).statistic)


def test_it_is_told_in_one_sentence() -> None:
    assert sentence(VISITS).startswith(
        "forecast: 3 candidates that it chose reach 0.911 in the geometric mean, 8 drawn without "
        "it 0.502; Kendall's tau with their results 0.71 ["
    )
    assert sentence(VISITS[:8]) == "", "none was chosen"
