"""Throughput of several worker processes, as a search has them, against that of one."""

from dataclasses import dataclass

from nas.bench.clock import Times, median_s, take_turns
from nas.cell.cell import Cell
from nas.errors import SearchError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.tasks import Text
from nas.workers.local import LocalWorkers


@dataclass(frozen=True)
class Workers:
    """Evaluations of the text task, given to one worker one by one, or to all at once."""

    cell: str
    n_params: int
    workers: int
    evaluations: dict[str, int]
    """A round, by arm."""
    times_s: dict[str, Times]

    def per_minute(self, arm: str) -> float:
        return 60 * self.evaluations[arm] / median_s(self.times_s[arm])

    @property
    def gain(self) -> float:
        """Throughput of all in that of one."""
        one, many = self.evaluations
        return self.per_minute(many) / self.per_minute(one)


def workers(
    cell: Cell, n_params: int, n_workers: int, steps: int, evaluations: int, rounds: int
) -> Workers:
    """Let processes of one thread train, by turns one of them and all.

    Raises:
        SearchError: if an evaluation fails.
    """
    task = Text(epochs=1, batches_per_epoch=steps, validation_batches=1)
    evaluation = Evaluation(str(cell), cell.key, task, (Settings(n_params=n_params),), seed=0)
    one, many = "1 worker", f"{n_workers} workers"
    counts = {one: evaluations, many: evaluations * n_workers}
    with LocalWorkers(n_workers) as processes:

        def train(at_once: int, count: int) -> None:
            for _ in range(count // at_once):
                futures = [processes.submit(evaluation) for _ in range(at_once)]
                for outcome in (future.result().outcomes[0] for future in futures):
                    if outcome.status != "ok":
                        raise SearchError(
                            f"a worker's evaluation {outcome.status}: {outcome.message}"
                        )

        train(n_workers, n_workers)  # they import what they need
        arms = {one: lambda: train(1, counts[one]), many: lambda: train(counts[many], counts[many])}
        times = take_turns(arms, rounds, warm_up=1)
    return Workers(cell.name, n_params, n_workers, counts, times)
