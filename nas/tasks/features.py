"""The columns of a table that a model reads: numbers, categories, and what is missing in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.sequences import Places, Scaling, scaling
from nas.tasks.table import Table

Missing = Literal["refuse", "fill", "mark"]
MOST_CATEGORIES = 1000
"""Each is a feature: with more of them, rows would hardly fit into memory."""


@dataclass(frozen=True)
class Block:
    """The features that a column becomes."""

    names: list[str]
    values: NDArray[np.float64]
    """(rows, features), NaN where the column has nothing."""
    is_number: bool = False
    """Whether it is normalised; a category or a mark is 0 or 1."""


@dataclass(frozen=True)
class Features:
    """The columns that are read, sequence after sequence."""

    names: tuple[str, ...]
    numbers: dict[str, NDArray[np.float64]]
    """The columns of numbers, (rows,), NaN for nothing."""
    words: dict[str, NDArray[np.str_]]
    """The columns of categories, (rows,), "" for nothing."""
    edges: Places
    """The first row of each sequence, then the number of rows."""
    missing: Missing

    def encoded(
        self, known: NDArray[np.bool_], normalise: bool
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the features of all rows, (rows, features), and their legend.

        Means and scales are those of the `known` rows, (rows,); a category that these do not have
        is 0 in all features of its column. Where a column has nothing it keeps the value before it
        in its sequence, and before the first one the mean, or no category.
        """
        blocks = [self._block(name, known) for name in self.names]
        if self.missing == "mark":
            pairs = zip(self.names, blocks, strict=True)
            blocks = [part for name, block in pairs for part in (block, _mark(name, block)) if part]
        values = np.concatenate([block.values for block in blocks], axis=1)
        is_number = np.repeat([b.is_number for b in blocks], [len(b.names) for b in blocks])
        names = [name for block in blocks for name in block.names]
        if np.isnan(values).any():
            means, values = _means(names, values[known], is_number), _filled(values, self.edges)
            values = np.where(np.isnan(values), means, values)
        fitted = scaling(values[known], normalise)
        fitted = Scaling(
            np.where(is_number, fitted.means, 0.0), np.where(is_number, fitted.scales, 1.0)
        )
        return fitted.applied(values), {"features": names, **fitted.described()}

    def _block(self, name: str, known: NDArray[np.bool_]) -> Block:
        if name in self.numbers:
            return Block([name], self.numbers[name][:, np.newaxis], is_number=True)
        words = self.words[name]
        kinds = [word for word in np.unique(words).tolist() if word]
        if not 0 < len(kinds) <= MOST_CATEGORIES:
            raise UserError(
                f'tasks.csv.categories: column "{name}" must have 1 to {MOST_CATEGORIES} different '
                f"words, got {len(kinds)}: leave it out."
            )
        values = (words[:, np.newaxis] == np.array(kinds)).astype(np.float64)
        values[:, values[known].sum(0) == 0] = 0.0  # no weights would have learned from them
        values[words == ""] = np.nan
        return Block([f"{name}={kind}" for kind in kinds], values)


def read(
    rows: Table, names: Sequence[str], categories: Sequence[str], order: Places, edges: Places,
    missing: Missing,
) -> Features:  # fmt: skip
    """Read columns of a table in this order of its rows.

    Raises:
        UserError: naming a column that is not there or a row that has nothing, where that is
            refused.
    """
    gaps, field = missing != "refuse", "tasks.csv.categories"
    names = tuple(dict.fromkeys([*names, *categories]))
    plain = [name for name in names if name not in categories]
    numbers = rows.numbers("tasks.csv.columns", plain, gaps)[order]
    read_words = rows.words if gaps else rows.labels
    words = {name: read_words(field, name)[order] for name in categories}
    return Features(names, dict(zip(plain, numbers.T, strict=True)), words, edges, missing)


def _mark(name: str, block: Block) -> Block | None:
    """Return the feature that is 1 where a column has nothing; None if it is always there."""
    missing = np.isnan(block.values[:, :1])
    return Block([f"{name} is missing"], missing.astype(np.float64)) if missing.any() else None


def _filled(values: NDArray[np.float64], edges: Places) -> NDArray[np.float64]:
    """Give NaN the value before it in its column and sequence; what begins with NaN keeps it."""
    here = np.arange(len(values))[:, np.newaxis]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, here), axis=0)
    firsts = np.repeat(edges[:-1], np.diff(edges))[:, np.newaxis]
    found = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= firsts, found, np.nan)


def _means(
    names: Sequence[str], known: NDArray[np.float64], is_number: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return what a feature is where nothing was before: a number its mean, the others 0."""
    there = ~np.isnan(known)
    if (empty := is_number & ~there.any(0)).any():
        raise UserError(
            f'tasks.csv.columns: column "{names[int(empty.argmax())]}" has no number in the '
            "training part: leave it out."
        )
    sums = np.where(there, known, 0.0).sum(0)
    return np.where(is_number, sums / np.maximum(there.sum(0), 1), 0.0)
