"""The columns of a table as features: numbers, categories, and what is missing in them.

A recipe is fitted to the training part. It is kept with trained weights, so that it makes features
of other tables, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.sequences import Places
from nas.tasks.table import Table, plain, words_of

Missing = Literal["refuse", "fill", "mark"]
MOST_CATEGORIES = 1000
"""Each is a feature: with more of them, rows would hardly fit into memory."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The columns that are read, sequence after sequence."""

    numbers: Mapping[str, Values]
    """(rows,), NaN for nothing."""
    words: Mapping[str, NDArray[np.str_]]
    """The categories, (rows,), "" for nothing."""
    edges: Places
    """The first row of each sequence, then the number of rows."""

    def is_missing(self, name: str) -> NDArray[np.bool_]:
        """Return where a column has nothing, (rows,)."""
        return self.words[name] == "" if name in self.words else np.isnan(self.numbers[name])


@dataclass(frozen=True)
class Recipe:
    """How features are made of columns; its fields are plain data of a legend."""

    names: Sequence[str]
    """The columns, in the order of the features."""
    categories: Mapping[str, Mapping[str, bool]]
    """The words of each column of categories, and whether training had them: else they are 0."""
    starts: Mapping[str, float]
    """What a column of numbers is before its first value; empty where gaps are refused."""
    marks: Sequence[str]
    """Columns with a further feature, which is 1 where they have nothing."""

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [feature for name in self.names for feature in self._features(name)]

    @property
    def is_number(self) -> NDArray[np.bool_]:
        """Which features are numbers, (features,); the others are 0 or 1."""
        flags = [[feature == name for feature in self._features(name)] for name in self.names]
        numbers = [name not in self.categories for name in self.names]
        return np.concatenate([np.array(f) & n for f, n in zip(flags, numbers, strict=True)])

    def values(self, columns: Columns) -> Values:
        """Return the features of all rows, (rows, features).

        Where a column has nothing it keeps the value before it in its sequence, and before the
        first one it is its start, or no category.
        """
        blocks = []
        for name in self.names:
            block = self._block(columns, name)
            if (missing := columns.is_missing(name)).any():
                start = 0.0 if name in self.categories else self.starts.get(name, np.nan)
                block = _filled(block, missing, columns.edges, start)
            blocks.append(block)
            if name in self.marks:
                blocks.append(missing[:, np.newaxis].astype(np.float64))
        return np.concatenate(blocks, axis=1)

    def of_frame(self, frame: Any) -> Values:
        """Return the features of the rows of a DataFrame, one sequence: (rows, features)."""
        words = {
            name: _as_written(plain(frame[name]), kinds) for name, kinds in self.categories.items()
        }
        numbers = {
            name: plain(frame[name]).astype(np.float64) for name in self.names if name not in words
        }
        return self.values(Columns(numbers, words, np.array([0, len(frame)])))

    def _features(self, name: str) -> list[str]:
        kinds = self.categories.get(name)
        made = [name] if kinds is None else [f"{name}={kind}" for kind in kinds]
        return [*made, f"{name} is missing"] if name in self.marks else made

    def _block(self, columns: Columns, name: str) -> Values:
        if name not in self.categories:
            return columns.numbers[name][:, np.newaxis]
        kinds = self.categories[name]
        there = columns.words[name][:, np.newaxis] == np.array(list(kinds))
        learned = np.array(list(kinds.values()), dtype=np.bool_)
        return np.asarray(there & learned, dtype=np.float64)


def recipe_of(made: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a legend has."""
    return Recipe(made["names"], made["categories"], made["starts"], made["marks"])


def read(
    rows: Table, names: Sequence[str], categories: Sequence[str], places: tuple[Places, Places],
    gaps: bool,
) -> Columns:  # fmt: skip
    """Read columns of a table; `places` are the order of its rows, and the edges of sequences.

    Raises:
        UserError: naming a column that is not there, or, without `gaps`, a row that has nothing.
    """
    order, edges = places
    plain = [name for name in names if name not in categories]
    numbers = rows.numbers("tasks.csv.columns", plain, gaps)[order]
    words_of = rows.words if gaps else rows.labels
    words = {name: words_of("tasks.csv.categories", name)[order] for name in categories}
    return Columns(dict(zip(plain, numbers.T, strict=True)), words, edges)


def fitted(
    columns: Columns, names: Sequence[str], known: NDArray[np.bool_], missing: Missing
) -> Recipe:
    """Return the recipe of the `known` rows, (rows,), those of training.

    Raises:
        UserError: naming a column of too many categories, or without a number in training.
    """
    categories = {}
    for name, words in columns.words.items():
        kinds, learned = _kinds(words), set(_kinds(words[known]))
        if not 0 < len(kinds) <= MOST_CATEGORIES:
            raise UserError(
                f'tasks.csv.categories: column "{name}" must have 1 to {MOST_CATEGORIES} different '
                f"words, got {len(kinds)}: leave it out."
            )
        categories[name] = {kind: kind in learned for kind in kinds}
    if missing == "refuse":
        return Recipe(names, categories, {}, [])
    starts = {name: _mean(name, numbers[known]) for name, numbers in columns.numbers.items()}
    marks = [name for name in names if missing == "mark" and columns.is_missing(name).any()]
    return Recipe(names, categories, starts, marks)


def _as_written(column: NDArray[Any], kinds: Iterable[str]) -> NDArray[np.str_]:
    """Return the words of a column; numbers are written as in the table that was trained on."""
    words = np.char.strip(words_of(column))
    if column.dtype.kind in "iuf":
        written = {_number(kind): kind for kind in kinds}
        words = np.array([written.get(_number(word), word) for word in words.tolist()])
    return words


def _number(word: str) -> float | str:
    """Return the number that a word is, else the word."""
    try:
        return float(word)
    except ValueError:
        return word


def _kinds(words: NDArray[np.str_]) -> list[str]:
    """Return the different words, in their order."""
    return [word for word in np.unique(words).tolist() if word]


def _mean(name: str, numbers: Values) -> float:
    there = ~np.isnan(numbers)
    if not there.any():
        raise UserError(
            f'tasks.csv.columns: column "{name}" has no number in the training part: leave it out.'
        )
    return float(numbers[there].mean())


def _filled(block: Values, missing: NDArray[np.bool_], edges: Places, start: float) -> Values:
    """Give rows that are missing the one before them in their sequence, else `start`."""
    last = np.maximum.accumulate(np.where(missing, -1, np.arange(len(block))))
    firsts = np.repeat(edges[:-1], np.diff(edges))
    return np.where((last >= firsts)[:, np.newaxis], block[np.maximum(last, 0)], start)
