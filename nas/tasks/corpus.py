"""Tasks on one long text: where it comes from, and its parts as parallel streams of tokens.

To add a text that is fetched by name, write a line in `PINNED`.
"""

import functools
import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nas.errors import UserError
from nas.tasks import files, ngram
from nas.tasks.base import (
    ACCURACY,
    LOSS,
    SPLITS,
    Baseline,
    Metric,
    Split,
    Task,
    Window,
    bounds,
    check_shares,
    generator,
)
from nas.tasks.files import Pinned, encoding_of
from nas.tasks.streams import Tokens, cut

WAYS_OUT = 'the path of a UTF-8 file, "tinyshakespeare", or "" for Python\'s own documentation'

PINNED = {
    "tinyshakespeare": Pinned(
        "tinyshakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


class CorpusTask(Task):
    """The parts of a text as streams of tokens, of which each next one is predicted.

    It is no dataclass: subclasses declare the fields annotated here at their own places.
    """

    loss: ClassVar[Metric] = LOSS
    order: ClassVar[int]
    """The tokens that the n-gram baseline looks at, the predicted one included."""
    unit: ClassVar[str]
    """The plural of what a token is, for messages."""

    metric_name: Literal["loss", "accuracy"]

    @abstractmethod
    def part(self, split: Split) -> Tokens:
        """Return all tokens of a split."""

    @property
    def reads_pieces(self) -> bool:
        return True

    @property
    def metric(self) -> Metric:
        return self.loss if self.metric_name == "loss" else ACCURACY

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        """Yield one epoch of streams from equally distant places of a part.

        The training part is taken as a circle: each epoch goes on where the one before stopped, and
        the seed says where the first begins. Validation and test have as many windows as their part
        fills.
        """
        part, n_steps = self._checked(split), self.n_windows(split) * self.window
        if split == "train":
            apart = len(part) // self.batch_size
            first = int(generator(self, split, seed).integers(len(part))) + epoch * n_steps
        else:
            apart = (len(part) - 1) // self.batch_size
            first, n_steps = 0, min(n_steps, apart // self.window * self.window)
        starts = first + apart * np.arange(self.batch_size)
        steps = np.arange(n_steps + 1)[:, np.newaxis]
        return cut(part[(starts + steps) % len(part)], self.window)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return self.fitted(seed, split, self.order)

    def fitted(self, seed: int, split: Split, order: int) -> Baseline:
        """Fit an n-gram model to all of the training part and measure it on another split."""
        part = self._checked("train")[:, np.newaxis]
        whole = cut(part, window=len(part) - 1)
        model = ngram.fit(*ngram.examples(whole, order), self.interface.outputs)
        histories, targets = ngram.examples(self.windows(split, seed), order)
        if self.metric.name == "loss":
            value = model.losses(histories, targets).mean()
        else:
            value = np.mean(model.guesses(histories) == targets)
        return Baseline(f"{order}-gram", float(value))

    @property
    def splits(self) -> Sequence[Split]:
        """The splits that the fields ask for."""
        return SPLITS

    def check(self) -> None:
        super().check()
        for split in self.splits:
            self._checked(split)

    def _checked(self, split: Split) -> Tokens:
        """Return a part; it is an error if it is too short for one window of all streams."""
        part = self.part(split)
        if len(part) <= (needed := self.batch_size * self.window):
            raise UserError(
                f"tasks.{self.name}: the {split} split has {len(part)} {self.unit}, but one window "
                f"takes batch_size * window + 1 = {self.batch_size} * {self.window} + 1 = "
                f"{needed + 1}: lower batch_size or window, or give a longer text."
            )
        return part


class SharesOfText(CorpusTask):
    """A text that a user names, cut by shares into contiguous parts."""

    path: str
    validation_share: float
    test_share: float

    @property
    @abstractmethod
    def tokens(self) -> Tokens:
        """The whole text."""

    def part(self, split: Split) -> Tokens:
        if split == "test" and not self.test_share:
            raise UserError(
                f"tasks.{self.name} has no test split, since test_share is 0: raise it."
            )
        at, place = self.bounds(len(self.tokens)), SPLITS.index(split)
        return self.tokens[at[place] : at[place + 1]]

    def bounds(self, n: int) -> list[int]:
        """Return where the parts of n tokens begin and end."""
        return bounds(n, self.validation_share, self.test_share)

    @property
    def splits(self) -> Sequence[Split]:
        return SPLITS if self.test_share else SPLITS[:2]

    def check(self) -> None:
        check_shares(self, self.validation_share, self.test_share, test_may_be_0=True)
        super().check()

    def missing(self) -> str:
        known = PINNED.get(self.path)
        return files.missing(known, files.folder()) if known else ""


@dataclass(frozen=True)
class Corpus:
    """A text as tokens: places in `characters`, which are sorted and distinct."""

    characters: str
    tokens: Tokens
    sha256: str
    """The digest of the text in UTF-8."""


def corpus(path: str) -> Corpus:
    """Return the text that `path` names; it is read once in a process."""
    return _read(path, _folder(path))


@functools.lru_cache(maxsize=4)
def _read(path: str, folder: str) -> Corpus:
    text = _text(path, folder, "tasks.text.path")
    encoded = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    characters, tokens = np.unique(encoded, return_inverse=True)
    tokens = tokens.astype(np.int64)
    tokens.setflags(write=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Corpus("".join(map(chr, characters.tolist())), tokens, digest)


def text_of(path: str, field: str) -> str:
    """Read the text that `path`, the value of a field of a configuration, names.

    Raises:
        UserError: if there is no such file, or it is not UTF-8.
    """
    return _text(path, _folder(path), field)


def _folder(path: str) -> str:
    return files.folder() if path in PINNED else ""


def _text(path: str, folder: str, field: str) -> str:
    if not path:
        return _python_documentation(field)
    if path in PINNED:
        content = files.content(PINNED[path], path, folder, field)
    else:
        content = files.file_bytes(field, path, f"give {WAYS_OUT}")
    try:
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise UserError(
            f'{field}: "{path}" is not UTF-8 (byte {error.start} is '
            f"0x{error.object[error.start]:02x}): convert it, for example by `iconv -t UTF-8`."
        ) from error


def _python_documentation(field: str) -> str:
    """Return the topics of Python's language reference, which differ between its versions."""
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field} is empty, which means Python's own documentation, but this Python has "
            f"no module pydoc_data: give {WAYS_OUT.rsplit(', or', 1)[0]}."
        ) from error
    return "\n\n".join(topics[name] for name in sorted(topics))


def commonest_first(words: Sequence[str]) -> list[str]:
    """Return the different words by falling count, those of one count in alphabetical order."""
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))
