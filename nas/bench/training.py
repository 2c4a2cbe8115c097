"""Steps a second of training: `nas.train` against loops by hand, members together against alone."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.bench.timing import Times, median_s, take_turns
from nas.cell.cell import Cell
from nas.nn.budget import count_params, solve_width
from nas.nn.layers import States
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.tasks import Text
from nas.training.train import train
from nas.zoo import ZOO

LIGHTNING = "nas.train"
SAME_MODEL = "by hand"
TORCH = "by hand, nn.LSTM"
TOGETHER, IN_TURN = "together", "in turn"
CELL = "lstm"

Steps = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Throughput:
    """Training an epoch of the text task, with validation on one window, in each way."""

    hidden: int
    batch: int
    window: int
    steps: int
    times_s: dict[str, Times]
    """Times of one epoch by round, for each arm."""

    @property
    def steps_per_s(self) -> dict[str, float]:
        """Minibatches a second of each arm."""
        return {arm: self.steps / median_s(times) for arm, times in self.times_s.items()}

    @property
    def overhead(self) -> float:
        """The share of nas.train's time that the same steps by hand do not take."""
        return 1 - median_s(self.times_s[SAME_MODEL]) / median_s(self.times_s[LIGHTNING])


@dataclass(frozen=True)
class Members:
    """Training an epoch of the text task with several settings, as one stack or one at a time."""

    cell: str
    hidden: int
    members: int
    steps: int
    """Minibatches of each member."""
    times_s: dict[str, Times]
    same: bool
    """Whether the outcomes are equal."""

    @property
    def steps_per_s(self) -> dict[str, float]:
        """Minibatches a second of each arm, summed over members."""
        steps = self.members * self.steps
        return {arm: steps / median_s(times) for arm, times in self.times_s.items()}


class _TorchModel(nn.Module):
    """`SequenceModel` with nn.LSTM in it."""

    def __init__(self, vocabulary_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, hidden_size)
        self.rnn = nn.LSTM(hidden_size, hidden_size)
        self.head = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens: Tensor, state: States | None) -> tuple[Tensor, States]:
        y, state = self.rnn(self.embedding(tokens), state)
        return self.head(y), state


def short_text(steps: int) -> Text:
    """The text task with so many minibatches, in one epoch, and one window of validation."""
    return Text(epochs=1, batches_per_epoch=steps, validation_batches=1)


def throughput(steps: int, rounds: int) -> Throughput:
    """Train an LSTM of the default settings in every way, by turns."""
    task = short_text(steps)
    settings, cell = Settings(), ZOO[CELL]
    vocabulary = task.interface.inputs
    width = solve_width(cell, vocabulary, settings)
    windows: Steps = [
        (torch.from_numpy(window.inputs), torch.from_numpy(window.targets))
        for split in ("train", "validation")
        for window in task.windows(split, seed=0)
    ]

    def ours() -> nn.Module:
        return SequenceModel(cell, vocabulary, width, num_layers=1, dropout=0.0)

    arms: dict[str, Callable[[], object]] = {
        LIGHTNING: lambda: train(cell, task, [settings], seed=0),
        SAME_MODEL: lambda: _by_hand(ours(), windows, settings),
        TORCH: lambda: _by_hand(_TorchModel(vocabulary, width), windows, settings),
    }
    return Throughput(width, task.batch_size, task.window, steps, take_turns(arms, rounds))


def _by_hand(model: nn.Module, windows: Steps, settings: Settings) -> None:
    """Plain SGD with clipping on all windows but the last, which is for validation."""
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.learning_rate)
    state: States | None = None
    for inputs, targets in windows[:-1]:
        logits, state = model(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        optimizer.zero_grad()
        torch.autograd.backward(loss / inputs.shape[1])
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        state = state.detach() if isinstance(state, Tensor) else tuple(s.detach() for s in state)
    with torch.no_grad():
        logits, _ = model(windows[-1][0], None)
        F.cross_entropy(logits.flatten(0, 1), windows[-1][1].flatten())


def train_members(cell: Cell, hidden: int, n_members: int, steps: int, rounds: int) -> Members:
    """Train models of one width that differ in their learning rate, in both ways by turns."""
    task = short_text(steps)
    n_params = count_params(cell, task.interface.inputs, hidden, num_layers=1)
    rates = [0.1 + 0.9 * k / n_members for k in range(n_members)]
    settings = [Settings(n_params=n_params, learning_rate=rate) for rate in rates]
    outcomes: dict[str, list[Outcome]] = {}

    def together() -> None:
        outcomes[TOGETHER] = train(cell, task, settings, seed=0)

    def in_turn() -> None:
        outcomes[IN_TURN] = [train(cell, task, [setting], seed=0)[0] for setting in settings]

    times = take_turns({TOGETHER: together, IN_TURN: in_turn}, rounds, warm_up=1)
    same = outcomes[TOGETHER] == outcomes[IN_TURN]
    return Members(cell.name, hidden, n_members, steps, times, same)
