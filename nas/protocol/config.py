"""How much a protocol spends on a candidate, and which shortcuts it takes."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from nas.errors import UserError, check_fields
from nas.protocol.judgement import Score
from nas.protocol.rungs import LadderConfig
from nas.protocol.statistic import Of, Over, Statistic
from nas.tasks.fields import ADDED


@dataclass(frozen=True)
class ProtocolConfig:
    """How much is spent on a candidate, and when it is rejected."""

    filter: bool = True
    """Whether a candidate must first learn memorization on one setting; not so in flat."""
    filter_accuracy: Annotated[float, "in (0, 1]"] = 0.95
    """Accuracy on memorization below which a candidate is rejected."""
    n_settings: Annotated[int, "at least 1"] = 20
    """Settings that a candidate is tried on for each task, at each visit."""
    pass_ratio: Annotated[float, "at least 0"] = 0.9
    """A candidate is rejected at a task where its best is below this share of the GRU's best."""
    settings_per_evaluation: Annotated[int, "at least 0"] = 0
    """Settings that one worker trains in one go; 0: all of a task's."""
    fidelity: Annotated[float, "in (0, 1]"] = 1.0
    """Share of each task's epochs that is trained."""
    halving: int = field(default=0, metadata=ADDED)
    """Successive halving: at 1/halving of the epochs, and at its powers, only the best 1/halving of
    an evaluation's settings go on; 0: all are trained to their end."""
    kind: Literal["staged", "flat", "ladder", "replay"] = field(default="staged", metadata=ADDED)
    """staged: task after task, rejected at the first that it does not pass; flat: every cell is
    trained on all tasks with the same settings, nothing is rejected; ladder: every cell is
    trained on a small budget, and the best on larger ones (protocol.ladder); replay: nothing is
    trained, the sampler is compared with random draws on the recorded study in `table`. --protocol
    sets it."""
    score: Score = field(default="smallest", metadata=ADDED)
    """smallest: a cell's score is its worst ratio to the GRU over the tasks, as in the paper;
    geometric: the geometric mean of its ratios."""
    draws: Literal["shared", "inherited"] = field(default="shared", metadata=ADDED)
    """shared: every cell is tried on the same settings; inherited: on settings of its parent, of
    GRU and LSTM, and random ones, in the shares of Jozefowicz et al. 2015, section 3.3."""
    reference_settings: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """Settings a task that GRU, LSTM and included cells are tried on; 0: n_settings. With inherited
    settings, a candidate profits from its ancestors' tuning: give the reference many."""
    veto: bool = field(default=False, metadata=ADDED)
    """Whether a setting with which a candidate is dead or explodes at its start is not trained."""
    first_look: Annotated[float, "in [0, 1)"] = field(default=0.0, metadata=ADDED)
    """Share of a task's epochs after which a candidate is looked at; 0: never."""
    first_look_ratio: Annotated[float, "positive"] = field(default=0.8, metadata=ADDED)
    """It is rejected there if its best setting is below this share of the GRU's best there."""
    audit: Annotated[float, "in [0, 1]"] = field(default=0.1, metadata=ADDED)
    """Share of candidates for which neither veto nor first look counts, so that both can be
    distrusted: `python -m nas.status` compares what they say with the end of training."""
    repeat: Annotated[float, "in [0, 1]"] = field(default=0.0, metadata=ADDED)
    """Share of candidates that are measured a second time, with fresh seeds, once they have a
    score, and all given cells with them if it is not 0: from these pairs the search says how well
    its score ranks. If `audit` is as large, they are the audited ones."""
    ladder: LadderConfig = field(default_factory=LadderConfig, metadata=ADDED)
    over: Over = field(default="best", metadata=ADDED)
    """Over the settings that a cell is tried on, its best or its mean counts. The mean needs
    settings that are shared."""
    of: Of = field(default="best", metadata=ADDED)
    """Of a training run counts its best epoch, its last planned one, the mean over all planned ones
    (area, under the learning curve), or the minibatches until the threshold is reached (speed).
    Filter and first look go by the best epoch in any case."""
    threshold: Annotated[float, "in (0, 1]"] = field(default=0.7, metadata=ADDED)
    """For speed: the share of the way from blind guessing to perfect that must be reached."""

    @property
    def statistic(self) -> Statistic:
        """The number of a cell on a task that is compared with the GRU's."""
        return Statistic(self.over, self.of, self.threshold)

    @property
    def filters(self) -> bool:
        """Whether there is a filter."""
        return self.filter and self.kind == "staged"

    def check(self) -> None:
        """Raise UserError if a value is out of range."""
        check_fields(self, "protocol.")
        if self.halving < 0 or self.halving == 1:
            raise UserError(f"protocol.halving must be 0 or at least 2, got {self.halving}.")
        if self.over == "mean" and self.draws == "inherited":
            raise UserError(
                "protocol.over mean compares cells on the same settings, so protocol.draws must be "
                "shared, got inherited: give --protocol.over best or --protocol.draws shared."
            )
        self.ladder.check()
        self._check_ladder()
        self._check_reference()

    def _check_ladder(self) -> None:
        """Refuse what the rungs of a ladder say themselves, or do not know."""
        if self.kind != "ladder":
            return
        fixed = (("fidelity", 1.0), ("halving", 0), ("first_look", 0.0), ("draws", "shared"))
        for name, value in fixed:
            if getattr(self, name) != value:
                raise UserError(
                    f"protocol.{name} must be {value} on a ladder, whose budgets are in "
                    f"protocol.ladder, got {getattr(self, name)}."
                )

    def _check_reference(self) -> None:
        """GRU's tuning must not be less than that of the cells that are compared with it."""
        if 0 < self.reference_settings < self.n_settings:
            raise UserError(
                f"protocol.reference_settings must be at least protocol.n_settings, "
                f"{self.n_settings}, or candidates would be tuned more than the GRU that they "
                f"are compared with, got {self.reference_settings}; 0 stands for as many."
            )
