"""One training run: its settings and its progress."""

from dataclasses import dataclass, field

from torch import Tensor

from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Epoch, Outcome, Status
from nas.training.schedule import Schedule


@dataclass
class Run:
    """One setting's run, which trains as a member of a stack; training changes it."""

    settings: Settings
    seed: int
    """The seed of its weights and dropout."""
    hidden_size: int
    n_params: int
    flops: float
    """Floating-point operations of a training step for one symbol."""
    schedule: Schedule = field(init=False)
    status: Status = "ok"
    message: str = ""
    doubt: str = ""
    """Why a veto would have ended it; empty if it would not."""
    ended: bool = False
    """Whether its training is over, for whatever reason."""
    curve: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    test: float | None = None
    """The metric of the best weights on the test split; None where it was not measured."""
    test_marks: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    tokens: int = 0
    saved_tokens: int = 0
    """Tokens that it did not read, up to the last epoch, because it was cut or vetoed."""
    wall_s: float = 0.0
    """Its share of the time of the stacks that it was a member of."""

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin anew; only the time of the training so far is kept."""
        self.schedule = Schedule(self.settings.learning_rate)
        self.curve, self.best_weights = [], None
        self.steps = self.tokens = 0

    def end(self, status: Status, message: str = "") -> None:
        """Note that training is over, and why."""
        self.ended, self.status, self.message = True, status, message

    def diverge(self) -> None:
        self.end("diverged", f"the loss or its gradient was not finite at step {self.steps}")

    @property
    def outcome(self) -> Outcome:
        return Outcome(
            self.status,
            self.schedule.best,
            self.schedule.best_epoch,
            tuple(self.curve),
            self.n_params,
            self.hidden_size,
            self._cost,
            self.message,
            self.doubt,
            self.test,
            self.test_marks,
        )

    @property
    def _cost(self) -> Cost:
        spent, saved = self.tokens * self.flops, self.saved_tokens * self.flops
        return Cost(self.steps, self.tokens, spent, self.wall_s, saved)
