"""What is said of constraints before a search: the limits, and which given cells break them."""

from collections.abc import Iterator

from nas.session.plan import Plan
from nas.study.config import SearchConfig
from nas.study.rejections import broken_by


def told(plan: Plan[SearchConfig]) -> Iterator[str]:
    """A sentence on the constraints, and one for each given cell that breaks some."""
    limits = plan.limits
    if limits is None:
        return
    yield (
        f"Constraints: {', '.join(map(str, limits.constraints))}, for the largest model that a "
        "cell is trained as. A candidate that breaks one is not trained."
    )
    for cell in plan.cells:
        if broken := limits.broken(str(cell)):
            baseline = cell.key in plan.baselines
            why = "candidates are compared with it" if baseline else "it was asked for"
            yield (
                f"Given cell {cell.name}: {broken_by(broken)}; it is trained since {why}, and "
                "cannot win. Widths are the largest that --tasks.NAME.n-params allows: smaller "
                "budgets give smaller models."
            )
