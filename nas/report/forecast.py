"""What the forecast of results was worth: candidates that it chose against those drawn without."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import TYPE_CHECKING

from nas.report.statistics.reliability import Agreement, agreement

if TYPE_CHECKING:
    from nas.study.visit import Visit

LEAST = 0.01
"""Results below this count as this, as they do for the forecast."""


@dataclass(frozen=True)
class Worth:
    """Candidates whose result was forecast, at their first visits."""

    n_chosen: int
    """Candidates that were the best of several children by the forecast."""
    n_free: int
    """Candidates that were drawn without regard to it."""
    chosen: float
    """The geometric mean of the results of the chosen ones."""
    free: float
    """That of the others."""
    agreement: Agreement | None
    """Of forecast and result over the others, which are a fair sample."""


def worth(visits: "Sequence[Visit]") -> Worth | None:
    """What is known of the forecast; None where fewer than two candidates of either kind have a
    result."""
    known = [
        (visit.n_children, visit.forecast, result)
        for visit in visits
        if visit.forecast is not None and (result := _result(visit)) is not None
    ]
    chosen = [result for n_children, _, result in known if n_children > 1]
    free = [(forecast, result) for n_children, forecast, result in known if n_children == 1]
    if min(len(chosen), len(free)) < 2:
        return None
    first, second = zip(*free, strict=True)
    agreed = agreement(first, second, higher_is_better=True)
    means = (geometric_mean(chosen), geometric_mean(second))
    return Worth(len(chosen), len(free), *means, agreed)


def _result(visit: "Visit") -> float | None:
    """The number that is forecast: on a ladder the mean ratio at the lowest rung, else the value
    that the sampler is told."""
    if visit.judgement is None or visit.turn:
        return None
    rungs = visit.judgement.rungs
    return max(LEAST, rungs[0].mean if rungs else visit.judgement.value)


def sentence(visits: "Sequence[Visit]") -> str:
    """What the forecast was worth; empty where too little is known."""
    known = worth(visits)
    if known is None:
        return ""
    tau = known.agreement.tau if known.agreement else None
    agrees = "too few to tell how it agrees with results"
    if tau is not None:
        agrees = f"Kendall's tau with their results {tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]"
    return (
        f"forecast: {known.n_chosen:,} candidates that it chose reach {known.chosen:.3f} in the "
        f"geometric mean, {known.n_free:,} drawn without it {known.free:.3f}; {agrees}"
    )
