"""The oracle of training: the same run in plain torch, with nn.LSTM and updates written out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.protocol.evaluation import Epoch
from nas.tasks import Task, Xml
from nas.tasks.base import LOSS, Baseline, Interface, Metric, Split, Window
from nas.training.train import weight_seed
from nas.zoo import ZOO

LSTM = ZOO["lstm"]
XML = Xml(epochs=2, batches_per_epoch=4, validation_batches=3, batch_size=4, window=8)
SETTINGS = Settings(1500, num_layers=2, learning_rate=0.5, clip_norm=2.0)
ADAMW = replace(SETTINGS, optimizer="adamw", learning_rate=0.01)
MOMENTUM = replace(SETTINGS, momentum=0.9, learning_rate=0.1)
SEED = 3


@dataclass(frozen=True)
class Endless(Task):
    """Uniform symbols in streams that go on from epoch to epoch: the state is never reset.

    Asking for the test split fails. Only half of the positions are scored.
    """

    name: ClassVar[str] = "endless"

    @property
    def metric(self) -> Metric:
        return LOSS

    @property
    def interface(self) -> Interface:
        return Interface(5, 5)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        assert split != "test", "a search never asks for the test split"
        count = self.batches_per_epoch if split == "train" else self.validation_batches
        random = np.random.default_rng([split == "train", seed, epoch])
        for number in range(count):
            shape = (self.window + 1, self.batch_size)
            symbols = random.integers(self.interface.inputs, size=shape)
            scored = random.random((self.window, self.batch_size)) < 0.5
            fresh = number == 0 and (split == "validation" or epoch == 0)
            yield Window(symbols[:-1], symbols[1:], scored, fresh)

    def chance(self, split: Split = "validation") -> float:
        return math.log(self.interface.inputs)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return Baseline("uniform", self.chance())


ENDLESS = Endless(epochs=3, batches_per_epoch=3, validation_batches=2, batch_size=4, window=6)


@dataclass
class Plain:
    """Embedding, nn.LSTM and output layer with the weights that `train` begins with."""

    model: SequenceModel
    settings: Settings
    task: Task
    steps: int = 0
    lengths: list[float] = field(default_factory=list)
    """Norms of the gradients, before clipping."""

    def __post_init__(self) -> None:
        rnn = self.model.rnn
        self.embedding = nn.Embedding.from_pretrained(
            self.model.embedding.weight.detach().clone(), freeze=False
        )
        self.lstm = nn.LSTM(rnn.hidden_size, rnn.hidden_size, rnn.num_layers)
        self.head = nn.Linear(rnn.hidden_size, self.task.interface.inputs)
        self.head.load_state_dict(self.model.head.state_dict())
        with torch.no_grad():
            for k, layer in enumerate(rnn.layers):
                both = torch.cat([layer.get_parameter(f"{gate}_weight") for gate in "ifgo"])
                bias = torch.cat([layer.get_parameter(f"{gate}_bias") for gate in "ifgo"])
                w_ih, w_hh = both.split(rnn.hidden_size, 1)
                getattr(self.lstm, f"weight_ih_l{k}").copy_(w_ih)
                getattr(self.lstm, f"weight_hh_l{k}").copy_(w_hh)
                getattr(self.lstm, f"bias_ih_l{k}").copy_(bias)
                getattr(self.lstm, f"bias_hh_l{k}").zero_().requires_grad_(False)
        modules = (self.embedding, self.lstm, self.head)
        self.weights = [p for m in modules for p in m.parameters() if p.requires_grad]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.weights]
        self.state: tuple[Tensor, Tensor] | None = None

    def logits(
        self, window: Window, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        embedded = self.embedding(torch.from_numpy(window.inputs))
        outputs, state = self.lstm(embedded, None if window.fresh else state)
        return self.head(outputs), (state[0].detach(), state[1].detach())

    def update(self, window: Window) -> Tensor:
        """One step; the loss is summed over time and divided by the streams."""
        logits, self.state = self.logits(window, self.state)
        losses = nll(logits, window)
        self.steps += 1
        gradients = torch.autograd.grad(losses.sum() / window.inputs.shape[1], self.weights)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        self.lengths.append(norm)
        scale = min(1.0, self.settings.clip_norm / (norm + 1e-6))
        with torch.no_grad():
            for p, g, (m, v) in zip(self.weights, gradients, self.moments, strict=True):
                if self.settings.optimizer == "sgd":
                    m.mul_(self.settings.momentum).add_(scale * g)
                    p -= self.settings.learning_rate * m
                else:
                    self.adamw(p, scale * g, m, v)
        return losses

    def adamw(self, p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> None:
        """Loshchilov & Hutter 2019, algorithm 2, with the constants of torch."""
        rate, t = self.settings.learning_rate, self.steps
        p -= rate * 0.01 * p
        m += (1 - 0.9) * (g - m)
        v += (1 - 0.999) * (g * g - v)
        p -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)

    @torch.no_grad()
    def validate(self) -> tuple[float, float, dict[str, float]]:
        losses: list[float] = []
        hits: list[bool] = []
        marked: dict[str, list[bool]] = {}
        state = None
        for window in self.task.windows("validation", SEED):
            logits, state = self.logits(window, state)
            losses += nll(logits, window).tolist()
            right = logits.argmax(-1).numpy() == window.targets
            hits += right[window.scored].tolist()
            for name, mark in window.marks.items():
                marked.setdefault(name, []).extend(right[mark & window.scored].tolist())
        marks = {name: float(np.mean(values)) for name, values in marked.items()}
        return float(np.mean(losses)), float(np.mean(hits)), marks

    def curve(self) -> list[Epoch]:
        epochs: list[Epoch] = []
        for number in range(self.task.epochs):
            windows = self.task.windows("train", SEED, number)
            losses = torch.cat([self.update(window).detach() for window in windows])
            loss, accuracy, marks = self.validate()
            rate = self.settings.learning_rate
            epochs.append(Epoch(float(losses.mean()), loss, accuracy, rate, marks))
        return epochs


def nll(logits: Tensor, window: Window) -> Tensor:
    """Of the scored positions."""
    logs = logits - logits.logsumexp(-1, keepdim=True)
    chosen = logs.gather(-1, torch.from_numpy(window.targets).unsqueeze(-1)).squeeze(-1)
    return -chosen[torch.from_numpy(window.scored)]


def begun(task: Task, settings: Settings, width: int) -> SequenceModel:
    """The model of `train` before its first step."""
    model = SequenceModel(LSTM, task.interface.inputs, width, settings.num_layers, 0.0)
    generator = torch.Generator().manual_seed(weight_seed(LSTM.key, settings, SEED))
    model.reset_parameters(settings.init_scale, generator)
    return model
