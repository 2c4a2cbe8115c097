"""Whole sequences with declared targets: the base of the tasks `arrays` and `module`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import Head, Interface, Split
from nas.tasks.folds import folded
from nas.tasks.sequences import Data, OwnSequenceTask, Pieces, Places, check_dealt, scaling

DeclaredHead = Literal["class", "categorical", "bernoulli", "gaussian"]
Array = NDArray[Any]

TARGETS: dict[DeclaredHead, tuple[tuple[int, ...], str]] = {
    "class": ((0,), "one a sequence, ()"),
    "categorical": ((1,), "one a step, (time,)"),
    "bernoulli": ((1, 2), "(time, outputs), or (outputs,) for the last step"),
    "gaussian": ((1, 2), "(time, outputs), or (outputs,) for the last step"),
}
"""The dimensions that a sequence's targets may have, and their shapes in words."""


class LabelledTask(OwnSequenceTask):
    """Sequences with a declared head; subclasses declare these fields at their own places."""

    head: DeclaredHead
    horizon: int
    normalise: bool

    @property
    def shuffles(self) -> bool:
        """Whether sequences are dealt to folds at random, always the same way, or in order."""
        return True

    @property
    def output_head(self) -> Head:
        return "categorical" if self.head == "class" else self.head

    def check(self) -> None:
        super().check()
        if self.horizon and self.head == "class":
            raise UserError(
                f"tasks.{self.name}.horizon must be 0 for head class: to predict what is read some "
                "steps later choose categorical, bernoulli or gaussian."
            )


def build(
    task: LabelledTask,
    inputs: Sequence[Array],
    targets: Sequence[Array] | None,
    dealt: dict[Split, Places],
    sha256: str,
) -> Data:
    """Scale all sequences and put them into their splits.

    Inputs are whole numbers (time,), tokens, or numbers (time, features). Targets of a head "class"
    are whole numbers, of "categorical" whole numbers (time,), of "bernoulli" and "gaussian" numbers
    (time, outputs), or (outputs,) for the last step; None with a horizon, where they are the inputs
    so many steps later.

    Raises:
        UserError: naming the sequence that breaks a rule, or a split without a sequence.
    """
    where = f"tasks.{task.name}"
    dealt = folded(task, dealt, _labels(task, targets), shuffle=task.shuffles)
    check_dealt(task, len(inputs), dealt)
    lengths = np.array([len(sequence) for sequence in inputs])
    if (short := lengths <= task.horizon).any():
        raise UserError(
            f"{where}: sequences must be longer than the horizon {task.horizon}, sequence "
            f"{int(short.argmax())} has {lengths[short][0]} steps: leave it out."
        )
    x, y, scored = _rows(task, inputs, targets, lengths)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    known = np.zeros(len(x), dtype=np.bool_)
    for place in dealt["train"]:
        known[starts[place] : ends[place]] = True
    x, y, interface, legend = _scaled(task, x, y, known, scored)
    lengths = lengths - task.horizon
    parts = {
        split: Pieces(x, y, scored, starts[places], lengths[places])
        for split, places in dealt.items()
    }
    last = np.arange(interface.outputs) if task.horizon else None
    return Data(interface, parts, sha256, legend, last)


def one_each(where: str, name: str, array: Array, n: int) -> Array:
    """Return an array with one value for each of n sequences, (n,), given as that or as (n, 1).

    Raises:
        UserError: if it has another shape.
    """
    if array.shape not in ((n,), (n, 1)):
        raise UserError(
            f"{where}: {name} must have one value for each of the {n} sequences of x, (N,) or "
            f"(N, 1), got the shape {array.shape}."
        )
    return array.reshape(n)


def read_lengths(where: str, lengths: Array, n: int, n_steps: int) -> Places:
    """Return how many of the steps count in each of n sequences, given as (n,) or (n, 1).

    Raises:
        UserError: if they are no whole numbers from 1 to `n_steps`.
    """
    flat = one_each(where, "lengths", lengths, n)
    is_number = flat.dtype.kind in "iuf"
    wrong = (flat < 1) | (flat > n_steps) | (flat != np.round(flat)) if is_number else flat == flat
    if wrong.any():
        raise UserError(
            f"{where}: lengths must be whole numbers from 1 to the {n_steps} steps of x, got "
            f"{flat[wrong][0]}."
        )
    return flat.astype(np.int64)


def _labels(task: LabelledTask, targets: Sequence[Array] | None) -> Array | None:
    """The labels of all sequences, if they have one each."""
    if task.head != "class" or targets is None or any(np.ndim(target) for target in targets):
        return None
    return np.array(targets)


def _rows(
    task: LabelledTask, inputs: Sequence[Array], targets: Sequence[Array] | None, lengths: Places
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Join all sequences: their inputs, a target for each row, and which rows are scored."""
    where = f"tasks.{task.name}"
    x = _inputs(where, inputs)
    scored = np.ones(len(x), dtype=np.bool_)
    if task.horizon:
        y = x if x.ndim == 1 else x.astype(np.float64)
        return x, np.roll(y, -task.horizon, axis=0), scored
    assert targets is not None
    y, is_step = _targets(task, where, targets, lengths)
    if not is_step:
        y = np.repeat(y, lengths, axis=0)
        scored[:] = False
        scored[np.cumsum(lengths) - 1] = True
    return x, y, scored


def _scaled(
    task: LabelledTask, x: Array, y: Array, known: NDArray[np.bool_], scored: NDArray[np.bool_]
) -> tuple[Array, Array, Interface, dict[str, object]]:
    """Return inputs, targets, the interface and the legend; `known` are the rows of training."""
    where, head, is_tokens = f"tasks.{task.name}", task.output_head, x.ndim == 1
    legend: dict[str, object] = {"horizon": task.horizon} if task.horizon else {}
    if is_tokens and task.horizon and head != "categorical":
        raise UserError(
            f"{where}: head {task.head} with a horizon predicts features, and the inputs are "
            "tokens: choose categorical."
        )
    n_inputs = int(x.max()) + 1 if is_tokens else x.shape[1]
    if not is_tokens:
        keeps_bits = head == "bernoulli" and task.horizon > 0
        scale = scaling(x[known], task.normalise and not keeps_bits)
        x = scale.applied(x)
        legend |= scale.described()
    if head == "categorical":
        y, n_outputs, classes = _classes(where, y, task.horizon > 0, n_inputs)
        return x, y, Interface(n_inputs, n_outputs, head, is_tokens), legend | classes
    if head == "bernoulli" and not np.isin(y, (0, 1)).all():
        wrong = y[~np.isin(y, (0, 1))][0]
        raise UserError(f"{where}: targets of head bernoulli must be 0 or 1, got {wrong}.")
    if not task.horizon:  # else targets have the scale of the inputs that they are
        scale = scaling(y[known & scored], task.normalise and head == "gaussian")
    legend |= scale.described("target_") if head == "gaussian" else {}
    return x, scale.applied(y), Interface(n_inputs, y.shape[1], head, is_tokens), legend


def _inputs(where: str, inputs: Sequence[Array]) -> Array:
    """Join all inputs: tokens (rows,), or numbers (rows, features)."""
    kinds = {(sequence.ndim, sequence.shape[1:]) for sequence in inputs}
    if len(kinds) > 1 or next(iter(kinds))[0] not in (1, 2):
        shapes = ", ".join(str(sequence.shape) for sequence in inputs[:3])
        raise UserError(
            f"{where}: sequences must be tokens (time,) or features (time, features), the same for "
            f"all, got shapes such as {shapes}."
        )
    rows = np.concatenate(inputs)
    if rows.dtype.kind not in "iufb":
        raise UserError(f"{where}: inputs must be numbers, got the type {rows.dtype}.")
    if rows.ndim == 1 and rows.dtype.kind in "iub":
        if rows.min() < 0:
            raise UserError(f"{where}: tokens must be at least 0, got {rows.min()}.")
        return rows.astype(np.int64)
    rows = rows.astype(np.float64).reshape(len(rows), -1)
    _check_finite(where, "inputs", rows, inputs)
    return rows


def _targets(
    task: LabelledTask, where: str, targets: Sequence[Array], lengths: Places
) -> tuple[Array, bool]:
    """Join all targets, a row for each step or each sequence, and say whether it is each step."""
    allowed, shapes = TARGETS[task.head]
    n_dims = {array.ndim for array in targets}
    if len(n_dims) > 1 or not n_dims <= set(allowed):
        raise UserError(
            f"{where}: targets of head {task.head} must be {shapes}, got {targets[0].shape} for a "
            f"sequence of {lengths[0]} steps."
        )
    is_step = n_dims == {max(allowed)} and task.head != "class"
    for place, (array, length) in enumerate(zip(targets, lengths, strict=True)):
        if is_step and len(array) != length:
            raise UserError(
                f"{where}: sequence {place} has {length} steps and {len(array)} targets: give one "
                "for each step."
            )
    widths = {array.shape[1:] if is_step else array.shape for array in targets}
    if len(widths) > 1:
        raise UserError(
            f"{where}: targets must have one width, got {', '.join(map(str, sorted(widths)[:3]))}."
        )
    rows = np.concatenate(targets) if is_step else np.stack(targets)
    if task.output_head != "categorical":
        if rows.dtype.kind not in "iufb":
            raise UserError(f"{where}: targets must be numbers, got the type {rows.dtype}.")
        rows = rows.astype(np.float64)
        _check_finite(where, "targets", rows, targets)
    return rows, is_step


def _check_finite(where: str, kind: str, rows: Array, sequences: Sequence[Array]) -> None:
    if np.isfinite(rows).all():
        return
    place = next(k for k, array in enumerate(sequences) if not np.isfinite(array).all())
    raise UserError(
        f"{where}: {kind} must be finite numbers, sequence {place} has one that is not: mend it, "
        "or leave it out."
    )


def _classes(
    where: str, y: Array, is_input: bool, n_inputs: int
) -> tuple[Array, int, dict[str, Any]]:
    """Return classes from 0 on, their number, and, as a legend, the names that they had."""
    if is_input:
        if y.ndim != 1:
            raise UserError(
                f"{where}: head categorical with a horizon predicts tokens, and the inputs are "
                "features: choose gaussian or bernoulli."
            )
        return y, n_inputs, {}
    if y.dtype.kind in "iub":
        if y.min() < 0:
            raise UserError(f"{where}: classes must be at least 0, got {y.min()}.")
        legend = {}
    elif y.dtype.kind in "US":
        names, y = np.unique(y.astype(np.str_), return_inverse=True)
        legend = {"classes": names.tolist()}
    else:
        raise UserError(
            f"{where}: classes must be whole numbers or names, got the type {y.dtype}: for numbers "
            "choose head gaussian."
        )
    if (n := int(y.max()) + 1) < 2:
        raise UserError(f"{where}: there must be at least 2 classes, got {n}.")
    return y.astype(np.int64), n, legend
