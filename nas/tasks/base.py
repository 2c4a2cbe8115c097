"""What a task is: data, a loss and the metric that is compared, with three splits.

A task is a frozen dataclass whose fields are its configuration, in NumPy alone:
`nas/training/train.py` turns its windows into tensors. To add one, write a file like
`memorization.py`, list its class in `nas/tasks/__init__.py`, and hand it to
`nas.testing.check_task`. Its `interface` says what a model reads and gives, its head, and its
windows which positions count:

- the next of V symbols, everywhere: `Interface(V, V)`, all positions scored;
- a label for a whole sequence: `Interface(F, C, tokens=False)`, only the last step scored;
- 88 keys of each frame: `Interface(88, 88, "bernoulli", tokens=False)`;
- a number at the last step: `Interface(F, 1, "gaussian", tokens=False)`, only the last step scored;
- a text for a source that is attended to: `attention=Attention("additive", divider, padding)`, only
  the steps from the divider on scored;
- an accuracy of some positions though all are trained on: a mark of the windows, and
  `replace(ACCURACY, mark="recall")` as the metric.
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import check_fields

Split = Literal["train", "validation", "test"]
Head = Literal["categorical", "bernoulli", "gaussian"]
"""What the output layer's numbers mean: scores of classes, of which one is right; logits of bits,
each 0 or 1; means of numbers. The losses are -ln of the probability, for a Gaussian head the
squared error, the mean of its numbers."""
WORD_LOSS = "nats a word"
"""The unit of losses that are told with their perplexity."""


AttentionForm = Literal["additive", "general"]
"""What a step that is written attends by: in "additive" its context is computed from the output of
the step before and is an input of the cell (Bahdanau et al. 2015); in "general" it is computed from
the step's own output, and the cell does not see it (Luong et al. 2015)."""


@dataclass(frozen=True)
class Attention:
    """How a model reads a window of whole examples: a source, then a divider, then what it writes.

    Sources end at the same step, padded at their start, and the divider is the first input of the
    steps that are written; the others are the targets before, padded at their end.
    """

    form: AttentionForm
    divider: int
    """The symbol after all sources."""
    padding: int
    """The symbol that nothing attends to."""


@dataclass(frozen=True)
class Interface:
    """What a model of a task reads and gives at each step."""

    inputs: int
    """Symbols of the vocabulary, or features."""
    outputs: int
    """Classes, bits or numbers."""
    head: Head = "categorical"
    tokens: bool = True
    """Whether inputs are symbols; else they are vectors of features."""
    attention: Attention | None = None
    """None: a model reads each step once, in its turn."""

    @property
    def predicts_next(self) -> bool:
        """Whether this is what a predictor of the next symbol has."""
        return self == Interface(self.inputs, self.inputs)


def interface_of(given: Interface | int) -> Interface:
    """A size of a vocabulary stands for a predictor of its next symbol."""
    return given if isinstance(given, Interface) else Interface(given, given)


@dataclass(frozen=True)
class Metric:
    """The quantity that is compared, always with its direction."""

    name: Literal["accuracy", "loss"]
    unit: str
    higher_is_better: bool
    mark: str = ""
    """The named set of positions whose accuracy it is; all scored ones if empty."""

    def better(self, value: float, than: float) -> bool:
        return value > than if self.higher_is_better else value < than

    def ratio(self, value: float, reference: float) -> float:
        """`value` relative to `reference`: more than 1 is better, whatever the direction."""
        over, under = (value, reference) if self.higher_is_better else (reference, value)
        return over / under if under > 0 else float(over > 0)

    def at_ratio(self, ratio: float, reference: float) -> float:
        """The value whose `ratio` to `reference` is the given one, which is not 0 for a loss."""
        return ratio * reference if self.higher_is_better else reference / ratio

    def shown(self, value: float) -> str:
        """In four digits; a loss of words with its perplexity, as language models are told."""
        number = f"{value:.4g}"
        return f"{number} (perplexity {exp(value):.4g})" if self.unit == WORD_LOSS else number


ACCURACY = Metric("accuracy", "share of scored symbols", higher_is_better=True)
LOSS = Metric("loss", "nats a symbol", higher_is_better=False)
ERROR = Metric("loss", "mean squared error", higher_is_better=False)


@dataclass(frozen=True)
class Window:
    """A piece of `time` steps of `batch` parallel streams, all arrays of shape (time, batch)."""

    inputs: NDArray[np.int64] | NDArray[np.float32]
    """Tokens in [0, interface.inputs), or features, (time, batch, interface.inputs)."""
    targets: NDArray[np.int64] | NDArray[np.float32]
    """Classes in [0, interface.outputs), or bits or numbers, (time, batch, interface.outputs)."""
    scored: NDArray[np.bool_]
    """The positions that count for the loss and the metric."""
    fresh: bool
    """Whether the states start anew here; else they are carried over from the window before."""
    marks: dict[str, NDArray[np.bool_]] = dataclasses.field(default_factory=dict)
    """Further named sets of positions whose accuracy is reported beside the metric."""


@dataclass(frozen=True)
class Baseline:
    """A simple predictor without a network, as the line that a cell must pass."""

    name: str
    value: float
    """In the unit of the task's metric."""


@dataclass(frozen=True, kw_only=True)  # a subclass's own fields come first: Text("my.txt")
class Task(ABC):
    """Prediction at the steps of sequences, trained in windows with the state carried over.

    Subclasses are final, add fields for every free choice, and set `name` and `revision`.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    """Raised whenever the same fields would give other data: old outcomes no longer apply."""
    forced: ClassVar[bool] = True
    """Whether every scored target is the next input (teacher forcing), as `check_task` verifies."""
    perfect: ClassVar[float | None] = None
    """The metric of a predictor that makes no mistake; None where what is predicted is not
    determined by what was read."""

    n_params: tuple[Annotated[int, "at least 1"], ...] = (25_000,)
    """Parameter budgets that settings are drawn from."""
    epochs: Annotated[int, "at least 1"] = 10
    """Most epochs of a training run; the learning-rate schedule may stop it earlier."""
    batches_per_epoch: Annotated[int, "at least 1"] = 100
    """Minibatches, of one window each, between two looks at the validation split."""
    validation_batches: Annotated[int, "at least 1"] = 20
    batch_size: Annotated[int, "at least 1"] = 20
    """Parallel streams."""
    window: Annotated[int, "at least 1"] = 35
    """Steps of truncated backpropagation through time."""
    stop_at: float | None = None
    """A training run stops once validation reaches this value of the metric; None: never."""

    @property
    @abstractmethod
    def metric(self) -> Metric: ...

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """What a model reads and gives: of its sizes follows the width that a budget allows."""

    @abstractmethod
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        """Yield one epoch of a split: a function of (fields, split, seed, epoch) alone.

        `epoch` matters for "train" only. The validation and test splits give
        `validation_batches` windows at most. No example of one split occurs in another. Batches
        have `batch_size` streams; the last ones of validation and test may have fewer.
        """

    @abstractmethod
    def chance(self, split: Split = "validation") -> float:
        """The metric of blind guessing on a split: uniform over the classes or bits; for numbers,
        always 0, to which the training part's mean is normalised."""

    @abstractmethod
    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """A simple predictor fitted on the training split and measured on another."""

    def baselines(self, seed: int, split: Split = "validation") -> tuple[Baseline, ...]:
        """All simple predictors that are shown, `baseline` first."""
        return (self.baseline(seed, split),)

    def check(self) -> None:
        """Raise UserError if a field is out of range; subclasses extend it."""
        check_fields(self, f"tasks.{self.name}.")

    def missing(self) -> str:
        """Why the data would have to be fetched before they can be read; empty if they are here."""
        return ""

    def content(self) -> str:
        """A digest of data that the fields do not determine, such as a file's SHA-256."""
        return ""

    def legend(self) -> dict[str, Any]:
        """What a user of trained weights must know of inputs and outputs, as plain data."""
        return {}

    @property
    def version(self) -> str:
        """Digest of all that determines the data and the budget: outcomes are cached under it."""
        parts: list[Any] = [self.name, self.revision, dataclasses.asdict(self), self.content()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.name}-{digest}"


def generator(task: Task, split: Split, seed: int, epoch: int = 0) -> np.random.Generator:
    """The random generator of one epoch of one split; validation and test have one epoch."""
    place = ("train", "validation", "test").index(split)
    name = int.from_bytes(hashlib.sha256(task.name.encode()).digest()[:4])
    return np.random.default_rng([name, place, seed, epoch if split == "train" else 0])


FEWEST_EXAMPLES = 1000
"""With so many different examples, the smallest split of 1 in 10 has some for certain."""


def split_of(example: bytes) -> Split:
    """The split that an example belongs to by its hash: 1 in 10 validation, 1 in 10 test.

    Generators draw again until an example falls into the split that they fill, so that no example
    is in two splits (after Zaremba & Sutskever 2014, who split by the hash of the string).
    """
    bucket = hashlib.blake2b(example, digest_size=2).digest()[0] % 10
    return ("validation", "test")[bucket] if bucket < 2 else "train"
