"""Settings that are trained together, as one stack, against the same settings one at a time."""

from dataclasses import dataclass

from nas.bench.clock import Times, median_s, take_turns
from nas.cell.cell import Cell
from nas.nn.budget import count_params
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.tasks import Text
from nas.training.train import train

TOGETHER, IN_TURN = "together", "in turn"


@dataclass(frozen=True)
class Members:
    """An epoch of the text task for each of some settings."""

    cell: str
    hidden: int
    members: int
    steps: int
    """Minibatches of each member."""
    times_s: dict[str, Times]
    same: bool
    """Whether the outcomes are equal."""

    def steps_per_s(self, arm: str) -> float:
        """Of all members."""
        return self.members * self.steps / median_s(self.times_s[arm])


def train_members(cell: Cell, hidden: int, n_members: int, steps: int, rounds: int) -> Members:
    """Train models of one width that differ in their learning rate, in both ways by turns."""
    task = Text(epochs=1, batches_per_epoch=steps, validation_batches=1)
    n_params = count_params(cell, task.interface.inputs, hidden, num_layers=1)
    rates = [0.1 + 0.9 * k / n_members for k in range(n_members)]
    settings = [Settings(n_params=n_params, learning_rate=rate) for rate in rates]
    found: dict[str, list[Outcome]] = {}

    def together() -> None:
        found[TOGETHER] = train(cell, task, settings, seed=0)

    def in_turn() -> None:
        found[IN_TURN] = [train(cell, task, [one], seed=0)[0] for one in settings]

    times = take_turns({TOGETHER: together, IN_TURN: in_turn}, rounds, warm_up=1)
    same = found[TOGETHER] == found[IN_TURN]
    return Members(cell.name, hidden, n_members, steps, times, same)
