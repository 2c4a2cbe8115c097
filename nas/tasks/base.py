"""What a task is: data, a loss and the metric that is compared, with three splits.

A task is a frozen dataclass whose fields are its configuration. It uses NumPy alone:
`nas/training/window_tensors.py` turns its windows into tensors. To add a task, choose a base class
by the table in `nas/tasks/README.md`, list its class in `nas/tasks/__init__.py` and
`nas/tasks/config.py`, and test it with `nas.testing.check_task`. Its `interface` says what a model
reads and writes, and its windows say which positions count:

- the next of V symbols, everywhere: `Interface(V, V)`, all positions scored;
- a label for a whole sequence: `Interface(V, C)` of symbols, `Interface(F, C, tokens=False)` of
  features, only the last step scored;
- 88 keys of each frame: `Interface(88, 88, "bernoulli", tokens=False)`;
- a number at the last step: `Interface(F, 1, "gaussian", tokens=False)`, only the last step scored;
- a text written with attention to a source: `attention=Attention("additive", divider, padding)`,
  only the steps from the divider on scored;
- 88 keys of each frame, by a model with latent variables: as above with `kind=StornKind(16)`, whose
  loss is the model's own (`nas.tasks.kinds`);
- all positions trained on, but the accuracy of some compared: a mark of the windows, and
  `replace(ACCURACY, mark="recall")` as the metric.
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import exp
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, check_fields
from nas.tasks.fields import described
from nas.tasks.kinds import AttentionForm as AttentionForm
from nas.tasks.kinds import ModelKind

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Head = Literal["categorical", "bernoulli", "gaussian"]
"""What the output layer's numbers mean: scores of classes, of which one is right; logits of bits,
each 0 or 1; means of numbers. The loss is -ln of the probability; for a Gaussian head it is the
squared error, averaged over the numbers."""
WORD_LOSS = "nats a word"
"""The unit of losses that are shown with their perplexity."""


@dataclass(frozen=True)
class Attention:
    """How a model reads a window of whole examples: a source, a divider, then the written text.

    Sources are padded at their start, so that all end at the same step. The divider is the first
    input of the written steps; each further input is the target of the step before. Texts are
    padded at their end.
    """

    form: AttentionForm
    divider: int
    """The symbol after every source."""
    padding: int
    """The symbol without a meaning: no step attends to it."""


@dataclass(frozen=True)
class Interface:
    """What a model of a task reads and writes at each step."""

    inputs: int
    """Symbols of the vocabulary, or features."""
    outputs: int
    """Classes, bits or numbers."""
    head: Head = "categorical"
    tokens: bool = True
    """Whether inputs are symbols; else they are vectors of features."""
    attention: Attention | None = None
    """None: a model reads each step once, in order."""
    kind: ModelKind | None = None
    """A model that has more around the cell, such as a latent variable and a loss of its own; None
    for the usual one and for attention."""

    @property
    def predicts_next(self) -> bool:
        """Whether this is the interface of a predictor of the next symbol."""
        return self == Interface(self.inputs, self.inputs)


def interface_of(interface: Interface | int) -> Interface:
    """Return the interface; a size of a vocabulary stands for a predictor of its next symbol."""
    return interface if isinstance(interface, Interface) else Interface(interface, interface)


@dataclass(frozen=True)
class Metric:
    """The quantity that is compared, always with its direction."""

    name: str
    """"accuracy", "loss", or the name of a function of a user's own, of all scores at once."""
    unit: str
    higher_is_better: bool
    mark: str = ""
    """The named set of positions whose accuracy is meant; all scored positions if empty."""

    @property
    def is_own(self) -> bool:
        """Whether it is a function of a user's own."""
        return self.name not in ("accuracy", "loss")

    def better(self, value: float, than: float) -> bool:
        return value > than if self.higher_is_better else value < than

    def ratio(self, value: float, reference: float) -> float:
        """Return `value` relative to `reference`: above 1 is better, whatever the direction."""
        over, under = (value, reference) if self.higher_is_better else (reference, value)
        return over / under if under > 0 else float(over > 0)

    def at_ratio(self, ratio: float, reference: float) -> float:
        """Invert `ratio`: the value that has this ratio, not 0 for a loss, to the reference."""
        return ratio * reference if self.higher_is_better else reference / ratio

    def shown(self, value: float) -> str:
        """Format a value with four digits; a loss of words is followed by its perplexity."""
        number = f"{value:.4g}"
        return f"{number} (perplexity {exp(value):.4g})" if self.unit == WORD_LOSS else number


FEWEST_EXAMPLES = 1000
"""With this many different examples even the smallest split, 1 in 10, has some."""

ACCURACY = Metric("accuracy", "share of scored symbols", higher_is_better=True)
LOSS = Metric("loss", "nats a symbol", higher_is_better=False)
ERROR = Metric("loss", "mean squared error", higher_is_better=False)


@dataclass(frozen=True)
class Window:
    """`time` steps of `batch` parallel streams; all arrays have the shape (time, batch)."""

    inputs: NDArray[np.int64] | NDArray[np.float32]
    """Tokens in [0, interface.inputs), or features, (time, batch, interface.inputs)."""
    targets: NDArray[np.int64] | NDArray[np.float32]
    """Classes in [0, interface.outputs), or bits or numbers, (time, batch, interface.outputs)."""
    scored: NDArray[np.bool_]
    """The positions that count for the loss and the metric."""
    fresh: bool
    """Whether states start anew here; else they are carried over from the window before."""
    marks: dict[str, NDArray[np.bool_]] = dataclasses.field(default_factory=dict)
    """Named sets of positions, whose accuracies are reported beside the metric."""


Answers = Literal["each step", "last step", "next symbol"]
"""Where a model of a task answers: at each step, at the last one of a sequence, or, if each next
symbol is predicted, with the symbol that follows the last one."""


def at_the_end(inputs: NDArray[Any], targets: NDArray[Any], n_scored: int) -> Window:
    """Make a fresh window of whole examples of which only the last `n_scored` steps are scored."""
    scored = np.zeros(inputs.shape[:2], dtype=np.bool_)
    scored[-n_scored:] = True
    return Window(inputs, targets, scored, fresh=True)


def scored_rows(windows: Iterable[Window]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the targets and the inputs at the scored positions of some windows."""
    pairs = [(window.targets[window.scored], window.inputs[window.scored]) for window in windows]
    targets, inputs = zip(*pairs, strict=True)
    return np.concatenate(targets), np.concatenate(inputs)


@dataclass(frozen=True)
class Baseline:
    """A simple predictor without a network: a cell must be better than it."""

    name: str
    value: float
    """The value of the task's metric."""


@dataclass(frozen=True, kw_only=True)  # a subclass's own fields come first: Text("my.txt")
class Task(ABC):
    """Prediction at the steps of sequences, trained in windows with the state carried over.

    Subclasses are final, add a field for every free choice, and set `name` and `revision`. A class
    attribute `metric` or `interface` is enough where it does not depend on the fields.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    """Raise it whenever the same fields would give other data: old outcomes no longer apply."""
    forced: ClassVar[bool] = True
    """Whether every scored target is the next input (teacher forcing), as `check_task` verifies."""
    perfect: ClassVar[float | None] = None
    """The metric of a predictor that makes no mistake; None where the inputs do not determine the
    targets."""

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
    def metric(self) -> Metric:
        """The quantity that is compared: accuracy, unless a subclass says otherwise."""
        return ACCURACY

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """What a model reads and writes; its sizes decide how wide a budget allows a cell to be."""

    @abstractmethod
    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        """Yield one epoch of a split: a function of (fields, split, seed, epoch) alone.

        `epoch` matters for "train" only. The validation and test splits give at most
        `validation_batches` windows. No example of one split occurs in another. Batches have
        `batch_size` streams; the last ones of validation and test may have fewer.
        """

    @property
    def best_possible(self) -> float | None:
        """The metric that no predictor can surpass but by luck, even if it knows how the data are
        drawn; None where that is not known. It is `perfect` if a subclass has no other."""
        return self.perfect

    @property
    def reads_pieces(self) -> bool:
        """Whether a window is a piece of a longer sequence, not a whole one."""
        return False

    def n_windows(self, split: Split) -> int:
        """Return the number of windows of one epoch of a split, at most."""
        return self.batches_per_epoch if split == "train" else self.validation_batches

    def in_folds(self) -> "tuple[Task, ...]":
        """Return the tasks whose metrics together are this one's: itself, or one for each fold of
        a cross-validation."""
        return (self,)

    def chance(self, split: Split = "validation") -> float:
        """Return the metric of blind guessing on a split: uniform over the classes or bits; for
        numbers always 0, to which the mean of the training part is normalised."""
        is_share, n = self.metric.name == "accuracy", self.interface.outputs
        if self.interface.head == "gaussian":
            targets, _ = scored_rows(self.windows(split, seed=0))
            return float(np.mean(np.square(targets, dtype=np.float64)))
        if self.interface.head == "bernoulli":
            return 0.5**n if is_share else float(n * np.log(2))
        return 1 / n if is_share else float(np.log(n))

    @abstractmethod
    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Fit a simple predictor on the training split and measure it on another."""

    def baselines(self, seed: int, split: Split = "validation") -> tuple[Baseline, ...]:
        """Return all simple predictors that reports show, `baseline` first."""
        return (self.baseline(seed, split),)

    def check(self) -> None:
        """Raise UserError if a field is out of range; subclasses extend it."""
        check_fields(self, f"tasks.{self.name}.")
        if not self.n_params:
            raise UserError(f"tasks.{self.name}.n_params needs at least one value, got none.")

    def refused(self, field: str, rule: str, value: object) -> UserError:
        """Return the error for a field that must be something else."""
        return UserError(f"tasks.{self.name}.{field} must be {rule}, got {value}.")

    def check_enough(self, n_examples: int, fields: str) -> None:
        """Raise UserError if so few different examples exist that a split could be empty."""
        if n_examples < FEWEST_EXAMPLES:
            raise UserError(
                f"tasks.{self.name}: {fields} gives {n_examples} different examples, but three "
                f"splits that share none need at least {FEWEST_EXAMPLES}: raise one of them."
            )

    @property
    def answers(self) -> Answers:
        """Where a model answers, as the first validation window shows it."""
        window = next(iter(self.windows("validation", seed=0)))
        if window.fresh and (window.scored.sum(0) == 1).all() and len(window.scored) > 1:
            return "last step"
        return "next symbol" if self.interface.predicts_next else "each step"

    def missing(self) -> str:
        """Say which data would have to be fetched first; return "" if all are here."""
        return ""

    def content(self) -> str:
        """Return a digest of data that the fields do not determine, such as a file's SHA-256."""
        return ""

    def legend(self) -> dict[str, Any]:
        """Return, as plain data, what inputs and outputs mean, for users of trained weights."""
        return {}

    @property
    def version(self) -> str:
        """A digest of all that determines the data and the budget; outcomes are cached under it."""
        parts: list[Any] = [self.name, self.revision, self._fields, self.content()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.name}-{digest}"

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """They never change, and a comparison asks for the version of each of its evaluations."""
        return described(self)


def bounds(n: int, validation: float, test: float) -> list[int]:
    """Return where the training, validation and test parts of n things in order begin and end."""
    n_test, n_validation = round(n * test), round(n * validation)
    return [0, n - n_validation - n_test, n - n_test, n]


def check_shares(task: Task, validation: float, test: float, *, test_may_be_0: bool) -> None:
    """Raise UserError unless each part has a share of the data, but for test if it may be 0."""
    has_test = test >= 0 if test_may_be_0 else test > 0
    if not (validation > 0 and has_test and validation + test < 1):
        raise UserError(
            f"tasks.{task.name}: validation_share > 0, test_share {'>=' if test_may_be_0 else '>'} "
            f"0 and a sum below 1 must hold, got {validation} and {test}."
        )


def generator(task: Task, split: Split, seed: int, epoch: int = 0) -> np.random.Generator:
    """Return the random generator of an epoch of a split; validation and test have one epoch."""
    place = SPLITS.index(split)
    name = int.from_bytes(hashlib.sha256(task.name.encode()).digest()[:4])
    return np.random.default_rng([name, place, seed, epoch if split == "train" else 0])


def split_of(example: bytes) -> Split:
    """Return the split of an example by its hash: 1 in 10 validation, 1 in 10 test.

    Generators draw again until an example falls into the split that they fill, so that no example
    is in two splits (after Zaremba & Sutskever 2014, who split by the hash of the string).
    """
    bucket = hashlib.blake2b(example, digest_size=2).digest()[0] % 10
    return ("validation", "test")[bucket] if bucket < 2 else "train"
