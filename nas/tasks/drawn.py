"""Examples drawn at random, each kept by the split that its hash gives it.

A task whose window is one minibatch of whole, independent examples of one size is a `DrawnTask`.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import Split, Task, Window, generator, split_of

Example = TypeVar("Example", str, bytes)
Rows = NDArray[Any]
"""Examples one after another, (examples, ...)."""

MOST_REJECTIONS = 10_000
"""A split takes 1 draw in 10: after so many rejections in a row it has no example."""
DRAWN_AT_ONCE = 256


def of_split(examples: Iterator[Example], split: Split, task: Task) -> Iterator[Example]:
    """Keep the examples that `split_of` gives to this split.

    Raises:
        UserError: if too many examples in a row belong to other splits.
    """
    rejections = 0
    for example in examples:
        encoded = example.encode() if isinstance(example, str) else example
        if split_of(encoded) == split:
            rejections = 0
            yield example
        elif (rejections := rejections + 1) >= MOST_REJECTIONS:
            raise UserError(
                f"tasks.{task.name}: its fields allow so few different examples that the {split} "
                f"split has none after {rejections} draws: widen their ranges."
            )


@dataclass(frozen=True, kw_only=True)
class DrawnTask(Task):
    """Minibatches of whole, independent examples; the field `window` is not used."""

    forced: ClassVar[bool] = False
    perfect: ClassVar[float | None] = 1.0
    n_unused: ClassVar[int] = 1
    """Examples that are drawn before the first one that is used; part of the data's revision."""

    batches_per_epoch: int = 400

    @abstractmethod
    def draw(self, random: np.random.Generator, count: int) -> Rows:
        """Draw so many examples, of the same shape and type each time."""

    @abstractmethod
    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        """Make the window of `batch_size` examples; `random` draws what the hash leaves open."""

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random, count = generator(self, split, seed, epoch), self.n_windows(split)
        unused = self.draw(random, self.n_unused)
        encoded = of_split(self._encoded(random), split, self)
        content = b"".join(islice(encoded, count * self.batch_size))
        kind = unused.dtype
        examples = np.frombuffer(content, dtype=kind.newbyteorder("<")).astype(kind)
        for batch in examples.reshape(count, self.batch_size, *unused.shape[1:]):
            yield self.laid_out(batch, random)

    def _encoded(self, random: np.random.Generator) -> Iterator[bytes]:
        """Yield the bytes of one example after another without end, alike on every machine."""
        while True:
            drawn = self.draw(random, DRAWN_AT_ONCE)
            for example in drawn.astype(drawn.dtype.newbyteorder("<")):
                yield example.tobytes()


@dataclass(frozen=True)
class SymbolsTask(DrawnTask):
    """Examples of `n_symbols` independent symbols, uniform in [0, alphabet)."""

    n_symbols: Annotated[int, "at least 1"] = 5
    """Symbols to keep in memory."""
    alphabet: Annotated[int, "at least 2"] = 8
    """Different symbols; further tokens come on top."""

    def draw(self, random: np.random.Generator, count: int) -> Rows:
        return random.integers(self.alphabet, size=(count, self.n_symbols))

    def check(self) -> None:
        super().check()
        n = self.alphabet**self.n_symbols
        self.check_enough(n, f"alphabet ** n_symbols = {self.alphabet} ** {self.n_symbols}")
