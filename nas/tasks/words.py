"""Words: predict the next word of a file."""

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import contiguous
from nas.tasks.base import (
    ACCURACY,
    WORD_LOSS,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    interface_of,
)
from nas.tasks.contiguous import Shares
from nas.tasks.corpus import missing, text_of

BASELINE_ORDER = 3
UNKNOWN, END = "<unk>", "<eos>"
"""Stand for words that are not in the vocabulary, and for the ends of lines."""
WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
LOSS = Metric("loss", WORD_LOSS, higher_is_better=False)


@dataclass(frozen=True)
class Words(Task):
    """The words of one text, cut into contiguous training, validation and test parts.

    The vocabulary is the `most_words` commonest words of the training part, and a token for all
    others, which is predicted like a word: compare losses only between equal vocabularies. Streams
    are those of the task `text`.
    """

    name: ClassVar[str] = "words"

    path: str = ""
    """A UTF-8 file, "tinyshakespeare" (found in the folder that the environment variable
    NAS_DATA_DIR names, else fetched), or nothing: Python's own documentation."""
    most_words: int = 2000
    """Size of the vocabulary, the token for other words not counted."""
    split_at: Literal["punctuation", "space"] = "punctuation"
    """Whether each sign of punctuation is a word of its own, or only spaces part words."""
    lower_case: bool = False
    """Whether capital letters are made small."""
    lines: bool = False
    """Whether the end of a line is a word."""
    metric_name: Literal["loss", "accuracy"] = "loss"
    validation_share: float = 0.05
    """Share of the words, after the training part."""
    test_share: float = 0.05
    """Share of the words at the end; 0 leaves no test split."""
    n_params: tuple[int, ...] = field(default=(250_000,), kw_only=True)
    """Parameter budgets that settings are drawn from; tables of words take most of them."""

    @property
    def metric(self) -> Metric:
        return LOSS if self.metric_name == "loss" else ACCURACY

    @property
    def interface(self) -> Interface:
        return interface_of(len(self.vocabulary))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, in the order of their tokens: the unknown one, then the commonest first."""
        return _tokens(self)[0]

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return contiguous.windows(self, self._part(split), split, seed, epoch)

    def chance(self, split: Split = "validation") -> float:
        return contiguous.chance(self)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return contiguous.baseline(self, self._part("train"), seed, split, BASELINE_ORDER)

    def missing(self) -> str:
        return missing(self.path)

    def content(self) -> str:
        return _tokens(self)[2]

    def legend(self) -> dict[str, Any]:
        return {"words": list(self.vocabulary)}

    def check(self) -> None:
        super().check()
        choices = {"metric_name": ("loss", "accuracy"), "split_at": ("punctuation", "space")}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise UserError(
                    f'tasks.{self.name}.{name} must be "{known[0]}" or "{known[1]}", got "{value}".'
                )
        if self.most_words < 1:
            raise UserError(
                f"tasks.{self.name}.most_words must be at least 1, got {self.most_words}."
            )
        self._shares.check(self)
        for split in ("train", "validation", *(("test",) if self.test_share else ())):
            self._part(split)

    @property
    def _shares(self) -> Shares:
        return Shares(self.validation_share, self.test_share)

    def _part(self, split: Split) -> NDArray[np.int64]:
        return self._shares.part(self, _tokens(self)[1], split, "words")


@functools.lru_cache(maxsize=4)
def _tokens(task: Words) -> tuple[tuple[str, ...], NDArray[np.int64], str]:
    """The vocabulary, the text as tokens, and the SHA-256 of the text."""
    text = text_of(task.path, f"tasks.{task.name}.path")
    words = _words(text.lower() if task.lower_case else text, task)
    n_known = task._shares.bounds(len(words))[1]
    counted = Counter(words[:n_known])
    counted.pop(UNKNOWN, None)
    commonest = sorted(counted, key=lambda word: (-counted[word], word))[: task.most_words]
    vocabulary = (UNKNOWN, *commonest)
    numbers = {word: token for token, word in enumerate(vocabulary)}
    tokens = np.array([numbers.get(word, 0) for word in words], dtype=np.int64)
    tokens.setflags(write=False)
    return vocabulary, tokens, hashlib.sha256(text.encode()).hexdigest()


def _words(text: str, task: Words) -> list[str]:
    find = WORD.findall if task.split_at == "punctuation" else str.split
    if not task.lines:
        return find(text)
    return [word for line in text.splitlines() for word in (*find(line), END)]
