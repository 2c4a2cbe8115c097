"""Whole sequences with declared targets as the data of a task: what `arrays` and `module` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import Head, Interface, Split
from nas.tasks.sequences import SPLITS, Data, Pieces, Places, Scaling, scaling

DeclaredHead = Literal["class", "categorical", "bernoulli", "gaussian"]
HEADS: dict[DeclaredHead, Head] = {
    "class": "categorical",
    "categorical": "categorical",
    "bernoulli": "bernoulli",
    "gaussian": "gaussian",
}
Array = NDArray[Any]


@dataclass(frozen=True)
class Declared:
    """What a configuration says of its sequences."""

    name: str
    """Of the task, for errors."""
    head: DeclaredHead
    horizon: int
    normalise: bool


def check(task: Declared) -> None:
    """Raise UserError for the first declaration that breaks a rule."""
    if task.head not in HEADS:
        raise UserError(
            f'tasks.{task.name}.head must be one of {", ".join(HEADS)}, got "{task.head}".'
        )
    if task.horizon < 0:
        raise UserError(f"tasks.{task.name}.horizon must be at least 0, got {task.horizon}.")
    if task.horizon and task.head == "class":
        raise UserError(
            f"tasks.{task.name}.horizon must be 0 for head class: to predict what is read some "
            "steps later choose categorical, bernoulli or gaussian."
        )


def build(
    task: Declared,
    inputs: Sequence[Array],
    targets: Sequence[Array] | None,
    dealt: dict[Split, Places],
    sha256: str,
) -> Data:
    """All sequences in their splits.

    Inputs are whole numbers (time,), tokens, or numbers (time, features). Targets of a head "class"
    are whole numbers, of "categorical" whole numbers (time,), of "bernoulli" and "gaussian" numbers
    (time, outputs), or (outputs,) for the last step; None with a horizon, where they are the inputs
    so many steps later.

    Raises:
        UserError: naming the sequence that breaks a rule, or a split without a sequence.
    """
    where = f"tasks.{task.name}"
    for split in SPLITS:
        if not len(dealt[split]):
            raise UserError(
                f"{where}: the {split} split has none of the {len(inputs)} sequences: give more, "
                "or deal them otherwise."
            )
    lengths = np.array([len(one) for one in inputs])
    if (short := lengths <= task.horizon).any():
        raise UserError(
            f"{where}: sequences must be longer than the horizon {task.horizon}, sequence "
            f"{int(short.argmax())} has {lengths[short][0]} steps: leave it out."
        )
    x = _inputs(where, inputs)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    scored = np.ones(len(x), dtype=np.bool_)
    if task.horizon:
        y = np.roll(x if x.ndim == 1 else x.astype(np.float64), -task.horizon, axis=0)
        lengths = lengths - task.horizon
    else:
        assert targets is not None
        y, is_step = _targets(task, where, targets, ends - starts)
        if not is_step:
            y = np.repeat(y, lengths, axis=0)
            scored[:] = False
            scored[ends - 1] = True
    known = np.zeros(len(x), dtype=np.bool_)
    for place in dealt["train"]:
        known[starts[place] : ends[place]] = True
    return _data(task, where, x, y, scored, (starts, lengths), dealt, known, sha256)


def _data(
    task: Declared,
    where: str,
    x: Array,
    y: Array,
    scored: NDArray[np.bool_],
    pieces: tuple[Places, Places],
    dealt: dict[Split, Places],
    known: NDArray[np.bool_],
    sha256: str,
) -> Data:
    head, is_tokens = HEADS[task.head], x.ndim == 1
    legend: dict[str, object] = {}
    n_inputs = int(x.max()) + 1 if is_tokens else x.shape[1]
    keeps_bits = head == "bernoulli" and task.horizon > 0
    scale = scaling(np.zeros((1, 1)) if is_tokens else x[known], task.normalise and not keeps_bits)
    if not is_tokens:
        legend |= _described("", scale)
        x = scale.applied(x)
    elif task.horizon and head != "categorical":
        raise UserError(
            f"{where}: head {task.head} with a horizon predicts features, and the inputs are "
            "tokens: choose categorical."
        )
    if head == "categorical":
        y, n_outputs, found = _classes(where, y, task.horizon > 0, n_inputs)
        legend |= found
    else:
        n_outputs = y.shape[1]
        if head == "bernoulli" and not np.isin(y, (0, 1)).all():
            wrong = y[~np.isin(y, (0, 1))][0]
            raise UserError(f"{where}: targets of head bernoulli must be 0 or 1, got {wrong}.")
        if not task.horizon:  # else numbers keep the scale that they are read with
            scale = scaling(y[known & scored], task.normalise and head == "gaussian")
        legend |= _described("target_", scale) if head == "gaussian" else {}
        y = scale.applied(y)
    if task.horizon:
        legend |= {"horizon": task.horizon}
    parts = {
        split: Pieces(x, y, scored, pieces[0][places], pieces[1][places])
        for split, places in dealt.items()
    }
    last = np.arange(n_outputs) if task.horizon else None
    return Data(Interface(n_inputs, n_outputs, head, is_tokens), parts, sha256, legend, last)


def _described(prefix: str, scale: Scaling) -> dict[str, object]:
    return {f"{prefix}means": scale.means.tolist(), f"{prefix}scales": scale.scales.tolist()}


def _inputs(where: str, inputs: Sequence[Array]) -> Array:
    """All rows: tokens (rows,), or numbers (rows, features)."""
    kinds = {(one.ndim, one.shape[1:]) for one in inputs}
    if len(kinds) > 1 or next(iter(kinds))[0] not in (1, 2):
        shapes = ", ".join(str(one.shape) for one in inputs[:3])
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
    task: Declared, where: str, targets: Sequence[Array], lengths: Places
) -> tuple[Array, bool]:
    """All targets, a row for each step or each sequence, and which of both."""
    wanted = {"class": (0,), "categorical": (1,)}.get(task.head, (1, 2))
    n_dims = {one.ndim for one in targets}
    shapes = {
        "class": "one a sequence, ()",
        "categorical": "one a step, (time,)",
    }.get(task.head, "(time, outputs), or (outputs,) for the last step")
    if len(n_dims) > 1 or not n_dims <= set(wanted):
        raise UserError(
            f"{where}: targets of head {task.head} must be {shapes}, got {targets[0].shape} for a "
            f"sequence of {lengths[0]} steps."
        )
    is_step = n_dims == {max(wanted)} and task.head != "class"
    for place, (one, length) in enumerate(zip(targets, lengths, strict=True)):
        if is_step and len(one) != length:
            raise UserError(
                f"{where}: sequence {place} has {length} steps and {len(one)} targets: give one "
                "for each step."
            )
    widths = {one.shape[1:] if is_step else one.shape for one in targets}
    if len(widths) > 1:
        raise UserError(
            f"{where}: targets must have one width, got {', '.join(map(str, sorted(widths)[:3]))}."
        )
    rows = np.concatenate(targets) if is_step else np.stack(targets)
    if HEADS[task.head] != "categorical":
        if rows.dtype.kind not in "iufb":
            raise UserError(f"{where}: targets must be numbers, got the type {rows.dtype}.")
        rows = rows.astype(np.float64)
        _check_finite(where, "targets", rows, targets)
    return rows, is_step


def _check_finite(where: str, what: str, rows: Array, sequences: Sequence[Array]) -> None:
    if np.isfinite(rows).all():
        return
    place = next(k for k, one in enumerate(sequences) if not np.isfinite(one).all())
    raise UserError(
        f"{where}: {what} must be finite numbers, sequence {place} has one that is not: mend it, "
        "or leave it out."
    )


def _classes(
    where: str, y: Array, is_input: bool, n_inputs: int
) -> tuple[Array, int, dict[str, Any]]:
    """Classes from 0 on, how many, and their names if they had others."""
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
        y, found = y.astype(np.int64), {}
    elif y.dtype.kind in "US":
        names, y = np.unique(y.astype(np.str_), return_inverse=True)
        found = {"classes": names.tolist()}
    else:
        raise UserError(
            f"{where}: classes must be whole numbers or names, got the type {y.dtype}: for numbers "
            "choose head gaussian."
        )
    if (n := int(y.max()) + 1) < 2:
        raise UserError(f"{where}: there must be at least 2 classes, got {n}.")
    return y.astype(np.int64), n, found
