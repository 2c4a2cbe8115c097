"""Text: predict the next character of a file."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from nas.errors import UserError
from nas.tasks.base import Interface, interface_of
from nas.tasks.corpus import Corpus, SharesOfText, corpus
from nas.tasks.streams import Tokens

FEWEST_CHARACTERS = 100


@dataclass(frozen=True)
class Text(SharesOfText):
    """The characters of one text, cut into contiguous training, validation and test parts.

    An epoch reads `batch_size` streams from equally distant places of the training part, which is
    taken as a circle: each epoch goes on where the one before stopped, and the seed says where the
    first begins. Validation and test have as many of their windows as their part fills. All
    characters are kept and all positions scored. The text is read at first use, once in a process.
    """

    name: ClassVar[str] = "text"
    order: ClassVar[int] = 5
    unit: ClassVar[str] = "characters"

    path: str = ""
    """A UTF-8 file, "tinyshakespeare" (found in the folder that the environment variable
    NAS_DATA_DIR names, else fetched), or nothing: Python's own documentation."""
    metric_name: Literal["loss", "accuracy"] = "loss"
    validation_share: float = 0.05
    """Share of the characters, after the training part."""
    test_share: float = 0.05
    """Share of the characters at the end; 0 leaves no test split."""
    # With these, GRU and LSTM are better than the 5-gram on Python's documentation.
    n_params: tuple[Annotated[int, "at least 1"], ...] = field(default=(100_000,), kw_only=True)
    """Parameter budgets that settings are drawn from."""
    epochs: Annotated[int, "at least 1"] = field(default=16, kw_only=True)
    batches_per_epoch: Annotated[int, "at least 1"] = field(default=500, kw_only=True)

    @property
    def interface(self) -> Interface:
        return interface_of(len(self.corpus.characters))

    @property
    def corpus(self) -> Corpus:
        """The text and its characters, in the order of their tokens."""
        return corpus(self.path)

    @property
    def tokens(self) -> Tokens:
        return self.corpus.tokens

    def check(self) -> None:
        if (length := len(self.tokens)) < FEWEST_CHARACTERS:
            raise UserError(
                f'tasks.{self.name}.path: "{self.path}" has {length} characters, fewer than '
                f"{FEWEST_CHARACTERS}: give a longer text."
            )
        super().check()

    def content(self) -> str:
        return self.corpus.sha256

    def legend(self) -> dict[str, Any]:
        return {"characters": self.corpus.characters}
