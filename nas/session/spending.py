"""The budget of training runs: how many runs a study has spent, as far as its sampler sees it.

A budget must end a search at the same candidate, whatever the number and speed of the workers. So
two things count before candidate n: all runs of the visits that the sampler knows by then, and what
each visit in flight asks for first, which is certain whatever has come back of the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nas.protocol.staged import NeedReference, Request
from nas.study.visit import Shelf, Visit


@dataclass
class Spending:
    """Counts the runs of a study; an evaluation that two visits ask for is one."""

    asks_first: Callable[[Visit], Request]
    """What a visit asks for when it begins."""
    runs_by_digest: dict[str, int] = field(default_factory=dict)
    """Runs of the first `n_known` visits, which have their results."""
    n_known: int = 0

    def runs(self, visits: Sequence[Visit | None], n_known: int) -> int:
        """Runs of the first `n_known` visits, and those that the others are certain to take.

        `n_known` never shrinks: what is counted is not looked at again.
        """
        for visit in visits[self.n_known : n_known]:
            assert visit is not None
            self.runs_by_digest |= _runs_of(visit)
        self.n_known = max(self.n_known, n_known)
        certain: dict[str, int] = {}
        for visit in visits[self.n_known :]:
            assert visit is not None
            request = self.asks_first(visit)
            for evaluation in () if isinstance(request, NeedReference) else request:
                certain[evaluation.digest()] = len(evaluation.settings)
        return sum((certain | self.runs_by_digest).values())


def _runs_of(visit: Visit) -> dict[str, int]:
    shelves = [s for s in (visit.evaluated, visit.beside) if isinstance(s, Shelf)]
    return {
        digest: summary.n_runs for shelf in shelves for digest, summary in shelf.summaries.items()
    }
