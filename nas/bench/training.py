"""Steps a second of `nas.train` against loops by hand that take the same steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.bench.clock import Times, median_s, take_turns
from nas.nn.budget import solve_width
from nas.nn.model import SequenceModel
from nas.nn.rnn import States
from nas.nn.settings import Settings
from nas.tasks import Text
from nas.training.train import train
from nas.zoo import ZOO

LIGHTNING = "nas.train"
SAME_MODEL = "by hand"
TORCH = "by hand, nn.LSTM"
CELL = "lstm"

Steps = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Throughput:
    """An epoch of the text task, validation on one window, in each way."""

    hidden: int
    batch: int
    window: int
    steps: int
    times_s: dict[str, Times]
    """Of one epoch, by round."""

    def steps_per_s(self, arm: str) -> float:
        return self.steps / median_s(self.times_s[arm])

    @property
    def overhead(self) -> float:
        """The share of nas.train's time that the same steps by hand do not take."""
        return 1 - median_s(self.times_s[SAME_MODEL]) / median_s(self.times_s[LIGHTNING])


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


def throughput(steps: int, rounds: int) -> Throughput:
    """Train an LSTM of the default settings in every way, by turns."""
    task = Text(epochs=1, batches_per_epoch=steps, validation_batches=1)
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
