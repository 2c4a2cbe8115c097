"""Data as people have them, as the sequences that a model reads, and its answers in their form.

A DataFrame, an array, a text, or a list of sequences of unequal length comes in; what comes out has
the same form: a row for a row, a list for a list, a DataFrame for a DataFrame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, unknown
from nas.nn.meaning import Meaning

Values = NDArray[Any]


@dataclass(frozen=True)
class Asked:
    """The sequences of a question, and its form."""

    sequences: list[Values]
    """Tokens, (time,), or features in the data's units, (time, features), of each sequence."""
    form: Literal["one", "several", "batch", "rows", "groups"]
    """One sequence, a list of several, an array of several, the rows of a DataFrame, or its rows as
    one sequence a group."""
    index: Any = None
    """The index of the DataFrame; with groups, the names of them."""
    places: tuple[NDArray[np.int64], ...] = ()
    """The rows of each group."""

    @property
    def lengths(self) -> list[int]:
        """The number of steps of each sequence."""
        return [len(sequence) for sequence in self.sequences]


def asked(data: Any, meaning: Meaning, lengths: Sequence[int] | None = None) -> Asked:
    """Read data: `nas.nn.trained.TrainedModel.predict` says of which kinds.

    Raises:
        UserError: naming what a model of this meaning cannot read.
    """
    read = _of_frame(data, meaning) if hasattr(data, "columns") else _of_rest(data, meaning)
    if lengths is not None:
        read = _cut(read, lengths)
    for place, sequence in enumerate(read.sequences):
        if not len(sequence):
            raise UserError(f"sequence {place} is empty: each must have a step or more.")
        if not meaning.interface.tokens and not np.isfinite(sequence).all():
            at = np.argwhere(~np.isfinite(sequence))[0].tolist()
            raise UserError(
                f"features must be finite numbers, step {at[0]} of sequence {place} has "
                f"{sequence[tuple(at)]} in column {_column(meaning, at[1])}: fill it in, or say "
                "with lengths how many steps of a padded sequence count."
            )
    return read


def given_back(read: Asked, answers: list[Values], names: Sequence[str], *, each_step: bool) -> Any:
    """Return answers in the form of the question.

    `answers` are those of each sequence: (time, …) with `each_step`, else (…). `names` are those of
    the columns of a DataFrame.
    """
    if read.form == "one":
        return answers[0] if np.ndim(answers[0]) else answers[0].item()
    if read.form in ("several", "batch"):
        is_even = read.form == "batch" and len(set(read.lengths)) == 1
        return np.stack(answers) if is_even or not each_step else answers
    import pandas

    if not each_step:
        index = read.index if read.form == "groups" else None
        rows = np.stack([np.atleast_1d(values) for values in answers])
        return pandas.DataFrame(rows, index=index, columns=list(names))
    rows = np.concatenate([values.reshape(len(values), -1) for values in answers])
    if read.form == "groups":
        rows = rows[np.argsort(np.concatenate(read.places), kind="stable")]
    return pandas.DataFrame(rows, index=read.index, columns=list(names))


def _of_frame(frame: Any, meaning: Meaning) -> Asked:
    """Read the named columns of a DataFrame, whose rows are steps in their order."""
    ends = meaning.interface
    if meaning.symbols and "text" in frame.columns:
        texts = [_text(text, meaning) for text in frame["text"].tolist()]
        return Asked(texts, "groups", frame.index)
    if ends.tokens:
        raise UserError("a DataFrame for a model of text has a column text, a text in each row.")
    if not meaning.group or meaning.group not in frame.columns:
        return Asked([_features(frame, meaning)], "rows", frame.index)
    groups = frame.groupby(meaning.group, sort=False, dropna=False)
    places = tuple(np.asarray(at, dtype=np.int64) for at in groups.indices.values())
    places = tuple(sorted(places, key=lambda at: int(at[0])))
    names_of = [frame[meaning.group].iloc[int(at[0])] for at in places]
    index = names_of if meaning.answers == "last step" else frame.index
    rows = [_features(frame.iloc[at], meaning) for at in places]
    return Asked(rows, "groups", index, places)


def _features(frame: Any, meaning: Meaning) -> Values:
    """Return the features of the rows of one sequence, (time, features)."""
    names: Sequence[str] = meaning.columns or tuple(frame.columns)[: meaning.interface.inputs]
    recipe = meaning.recipe
    if recipe and set(names) <= set(frame.columns) and not set(recipe.names) <= set(frame.columns):
        recipe = None  # features that were made elsewhere
    names = recipe.names if recipe else names
    for name in names:
        if name not in frame.columns:
            raise UserError(f"the rows: {unknown('column', name, list(map(str, frame.columns)))}")
    try:
        if recipe:
            return recipe.of_frame(frame)
        rows: Values = frame[list(names)].to_numpy(dtype=np.float64, copy=True)
        return rows
    except (TypeError, ValueError) as error:
        raise UserError(f"the columns {', '.join(names)} must be numbers: {error}.") from None


def _of_rest(data: Any, meaning: Meaning) -> Asked:
    """Read a text, an array, or a list of sequences."""
    if isinstance(data, str):
        return Asked([_text(data, meaning)], "one")
    if isinstance(data, list | tuple) and data and not np.isscalar(data[0]):
        parts = [_one(part, meaning) for part in data]
        if all(_is_sequence(part, meaning) for part in parts):
            return Asked(parts, "several")
    if isinstance(data, list | tuple) and data and isinstance(data[0], str):
        return Asked([_text(text, meaning) for text in data], "several")
    values = _one(data, meaning)
    if _is_sequence(values, meaning):
        return Asked([values], "one")
    if values.ndim and all(_is_sequence(part, meaning) for part in values):
        return Asked(list(values), "batch")
    raise UserError(f"a model of {_shape(meaning)}, got the shape {values.shape}.")


def _one(part: Any, meaning: Meaning) -> Values:
    """Return one sequence, or an array of several, as numbers."""
    if isinstance(part, str):
        return _text(part, meaning)
    if hasattr(part, "columns"):
        return _of_frame(part, meaning).sequences[0]
    ends = meaning.interface
    values: Values = np.asarray(part)
    if ends.tokens:
        if values.dtype.kind in "US":
            return np.array(meaning.tokens_of_symbols(values.tolist()), dtype=np.int64)
        is_whole = values.dtype.kind in "iub" or (
            values.dtype.kind == "f" and bool((values == np.round(values)).all())
        )
        n = ends.inputs
        if values.size and not (is_whole and values.min() >= 0 and values.max() < n):
            raise UserError(f"symbols must be whole numbers from 0 to {n - 1}.")
        return values.astype(np.int64)
    if values.dtype.kind not in "iufb":
        raise UserError(f"features must be numbers, got the type {values.dtype}.")
    is_one_feature = ends.inputs == 1 and values.ndim == 1
    return values.astype(np.float64)[:, np.newaxis] if is_one_feature else values.astype(np.float64)


def _is_sequence(values: Values, meaning: Meaning) -> bool:
    """Whether an array is one sequence: tokens (time,), or features (time, features)."""
    if meaning.interface.tokens:
        return values.ndim == 1
    return values.ndim == 2 and values.shape[1] == meaning.interface.inputs


def _text(text: object, meaning: Meaning) -> Values:
    if not isinstance(text, str):
        raise UserError(f"a text must be a string, got {text!r}.")
    return np.array(meaning.tokens_of(text), dtype=np.int64)


def _cut(read: Asked, lengths: Sequence[int]) -> Asked:
    """Keep so many steps of each sequence."""
    if len(lengths) != len(read.sequences):
        raise UserError(
            f"lengths must be one number for each of the {len(read.sequences)} sequences, got "
            f"{len(lengths)}."
        )
    for place, (sequence, length) in enumerate(zip(read.sequences, lengths, strict=True)):
        if not 1 <= length <= len(sequence):
            raise UserError(
                f"lengths must be from 1 to the {len(sequence)} steps of a sequence, sequence "
                f"{place} has {length}."
            )
    cut = [sequence[:length] for sequence, length in zip(read.sequences, lengths, strict=True)]
    return Asked(cut, read.form, read.index, read.places)


def _shape(meaning: Meaning) -> str:
    n = meaning.interface.inputs
    if meaning.interface.tokens:
        return "symbols reads (time,) or (batch, time) whole numbers, or a list of sequences"
    return (
        f"{n} features reads (time, {n}) or (batch, time, {n}) numbers, or a list of sequences of "
        f"(time, {n})"
    )


def _column(meaning: Meaning, place: int) -> str:
    return meaning.columns[place] if meaning.columns else str(place)
