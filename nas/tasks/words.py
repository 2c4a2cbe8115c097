"""Words: predict the next word of a file."""

import dataclasses
import functools
import hashlib
import itertools
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from nas.tasks.base import WORD_LOSS, Interface, Metric, interface_of
from nas.tasks.corpus import SharesOfText, commonest_first, text_of
from nas.tasks.streams import Tokens

UNKNOWN, END = "<unk>", "<eos>"
"""The tokens for words outside the vocabulary, and for ends of lines."""
LOSS = Metric("loss", WORD_LOSS, higher_is_better=False)


@dataclass(frozen=True)
class WordForm:
    """How a text is cut into words; the fields are those of the task."""

    split_at: Literal["punctuation", "space"]
    lower_case: bool
    lines: bool


@dataclass(frozen=True)
class Words(SharesOfText):
    """The words of one text, cut into contiguous training, validation and test parts.

    The vocabulary is the `most_words` commonest words of the training part, and a token for all
    others, which is predicted like a word: compare losses only between equal vocabularies. Streams
    are those of the task `text`.
    """

    name: ClassVar[str] = "words"
    loss: ClassVar[Metric] = LOSS
    order: ClassVar[int] = 3
    unit: ClassVar[str] = "words"
    path: str = ""
    """A UTF-8 file, "tinyshakespeare" (found in the folder that the environment variable
    NAS_DATA_DIR names, else fetched), or nothing: Python's own documentation."""
    most_words: Annotated[int, "at least 1"] = 2000
    """Words of the vocabulary, beside the token for all others."""
    split_at: Literal["punctuation", "space"] = "punctuation"
    """Whether each sign of punctuation is a word of its own, or only spaces part words. Marks that
    combine with the letter before them, such as vowels of Hindi, belong to their word."""
    lower_case: bool = False
    """Whether capital letters become small ones."""
    lines: bool = False
    """Whether the end of a line is a word."""
    metric_name: Literal["loss", "accuracy"] = "loss"
    validation_share: float = 0.05
    """Share of the words, after the training part."""
    test_share: float = 0.05
    """Share of the words at the end; 0 leaves no test split."""
    n_params: tuple[Annotated[int, "at least 1"], ...] = field(default=(250_000,), kw_only=True)
    """Parameter budgets that settings are drawn from; tables of words take most of them."""
    batches_per_epoch: Annotated[int, "at least 1"] = field(default=200, kw_only=True)

    @property
    def interface(self) -> Interface:
        return interface_of(len(self.vocabulary))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, in the order of their tokens: the unknown one, then the commonest first."""
        return _tokens(self)[0]

    @property
    def tokens(self) -> Tokens:
        return _tokens(self)[1]

    def content(self) -> str:
        return _tokens(self)[2]

    def legend(self) -> dict[str, Any]:
        return {"words": list(self.vocabulary), **dataclasses.asdict(_form(self))}


@functools.lru_cache(maxsize=4)
def _tokens(task: Words) -> tuple[tuple[str, ...], Tokens, str]:
    """Return the vocabulary, the text as tokens, and the SHA-256 of the text."""
    text = text_of(task.path, f"tasks.{task.name}.path")
    read = text.lower() if task.lower_case else text
    words = words_in(text, _form(task))
    train = words[: task.bounds(len(words))[1]]
    known = (word for word in commonest_first(train) if word != UNKNOWN)
    vocabulary = (UNKNOWN, *itertools.islice(known, task.most_words))
    numbers = {word: token for token, word in enumerate(vocabulary)}
    tokens = np.array([numbers.get(word, 0) for word in words], dtype=np.int64)
    tokens.setflags(write=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if task.split_at == "punctuation" and _marks(read):
        digest += ", marks in words"  # at first they were words of their own
    return vocabulary, tokens, digest


def _form(task: Words) -> WordForm:
    return WordForm(task.split_at, task.lower_case, task.lines)


def words_in(text: str, form: WordForm) -> list[str]:
    """Cut a text into words."""
    text = text.lower() if form.lower_case else text
    find = word_pattern(_marks(text)).findall if form.split_at == "punctuation" else str.split
    if not form.lines:
        return find(text)
    return [word for line in text.splitlines() for word in (*find(line), END)]


def _marks(text: str) -> str:
    """Return the different characters of a text that belong to the one before them.

    They are Unicode's marks and format characters, such as the accents of decomposed letters, the
    vowels of Hindi and zero-width joiners (rule WB4 of Unicode's annex 29).
    """
    kinds = ("Mn", "Mc", "Me", "Cf")
    return "".join(sorted(c for c in set(text) if unicodedata.category(c) in kinds))


def word_pattern(marks: str = "") -> re.Pattern[str]:
    """Return the pattern of a word, with its apostrophes, or of a sign of punctuation."""
    if not marks:
        return re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
    some = f"[{re.escape(marks)}]"
    letters = rf"\w+(?:{some}+\w*)*"
    return re.compile(rf"{letters}(?:['\u2019]{letters})*|[^\w\s]{some}*")
