"""A table of a user's own: forecast its columns, or tell labels from them."""

import functools
import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import sequences
from nas.tasks.base import Head, Interface, Metric, Split
from nas.tasks.sequences import SPLITS, Data, Pieces, Places, SequenceTask
from nas.tasks.table import Table, table


@dataclass(frozen=True)
class Csv(SequenceTask):
    """The rows of a CSV or Parquet file, in order, as steps of sequences.

    With `goal` forecast, `target` columns are predicted `horizon` rows ahead at every row; with
    classify, a `label`: of each row, or of each sequence of rows at its last row. What is split by
    time is cut into pieces of `window` rows, which begin anywhere in training and one after another
    in validation and test; no piece reaches into another split or sequence. Labels of sequences
    are split by sequence, and a piece is a whole one (the field `window` is not used). Columns are
    normalised by the training part alone, and errors are of normalised values: 1 is about what
    the mean loses.
    """

    name: ClassVar[str] = "csv"

    path: str = ""
    """A .csv, .tsv or .parquet file whose first line has names."""
    goal: Literal["forecast", "classify"] = "forecast"
    columns: tuple[str, ...] = ()
    """Columns that are read as features; all but `label`, `group` and `time` if empty."""
    target: tuple[str, ...] = ()
    """Columns to forecast."""
    horizon: int = 1
    """Rows ahead."""
    label: str = ""
    """Column to classify: names or whole numbers."""
    label_of: Literal["sequence", "row"] = "sequence"
    """Whether rows of one `group` share a label, or each row has its own."""
    group: str = ""
    """Column that says to which sequence a row belongs; all rows are one sequence if empty."""
    time: str = ""
    """Column of numbers or dates that rows are sorted by; they are in order if empty."""
    split: Literal["random", "order"] = "random"
    """How sequences with labels are dealt to the splits: always the same way, or in order."""
    warmup: int = 0
    """First rows of each piece that are not scored."""
    normalise: bool = True
    metric_name: Literal["", "accuracy", "loss"] = ""
    """Accuracy, unless it says loss, for labels; forecasts have the mean squared error."""
    validation_share: float = 0.1
    """Share of the rows, or sequences, after the training part."""
    test_share: float = 0.1
    """Share of them at the end."""

    @property
    def metric(self) -> Metric:
        head: Head = "gaussian" if self.goal == "forecast" else "categorical"
        return sequences.metric_of(head, self.metric_name)

    @property
    def data(self) -> Data:
        """What the file holds, split and normalised; it is made once in a process."""
        return _data(self)

    def check(self) -> None:
        super().check()
        where = f"tasks.{self.name}"
        choices = {"goal": ("forecast", "classify"), "label_of": ("sequence", "row")}
        choices["split"] = ("random", "order")
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise UserError(f'{where}.{name} must be {" or ".join(known)}, got "{value}".')
        head: Head = "gaussian" if self.goal == "forecast" else "categorical"
        sequences.check_metric(self, head, self.metric_name)
        sequences.shares_ok(self, self.validation_share, self.test_share)
        if self.horizon < 1:
            raise UserError(f"{where}.horizon must be at least 1, got {self.horizon}.")
        if not 0 <= self.warmup < self.window:
            raise UserError(f"{where}.warmup must be 0 to window - 1, got {self.warmup}.")
        rows = table(f"{where}.path", self.path)
        known_columns = ", ".join(rows.columns)
        if self.goal == "forecast" and not self.target:
            raise UserError(
                f"{where}.target must name a column to forecast. Known: {known_columns}."
            )
        if self.goal == "classify" and not self.label:
            raise UserError(
                f"{where}.label must name a column to classify. Known: {known_columns}."
            )
        if self.goal == "classify" and self.label_of == "sequence" and not self.group:
            raise UserError(
                f"{where}.group must name the column that says which rows are one sequence, or "
                f"label_of be row. Known: {known_columns}."
            )
        _ = self.data


@functools.lru_cache(maxsize=4)
def _data(task: Csv) -> Data:
    rows = table(f"tasks.{task.name}.path", task.path)
    order, edges = _sequences(task, rows)
    names = task.columns or tuple(
        name for name in rows.columns if name not in (task.label, task.group, task.time)
    )
    features = rows.numbers("tasks.csv.columns", names)[order]
    if task.goal == "classify":
        labels = rows.labels("tasks.csv.label", task.label)[order]
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise UserError(
                f'tasks.csv.label: column "{task.label}" has one value, "{classes[0]}".'
            )
        if task.label_of == "sequence":
            return _of_sequences(task, rows, names, features, codes, classes, edges)
        parts = _by_time(task, edges, horizon=0)
        return _classified(task, rows, names, features, codes, classes, parts)
    wanted = rows.numbers("tasks.csv.target", task.target)[order]
    parts = _by_time(task, edges, task.horizon)
    known = _known(parts["train"], len(features), task.horizon)
    inputs = sequences.scaling(features[known], task.normalise)
    targets = sequences.scaling(wanted[known], task.normalise)
    ahead = np.concatenate([targets.applied(wanted)[task.horizon :], wanted[: task.horizon] * 0])
    is_read = set(task.target) <= set(names)
    return Data(
        Interface(len(names), len(task.target), "gaussian", tokens=False),
        _pieces(task, inputs.applied(features), ahead.astype(np.float32), parts),
        rows.sha256,
        {
            **_described(names, inputs),
            "targets": list(task.target),
            "target_means": targets.means.tolist(),
            "target_scales": targets.scales.tolist(),
            "horizon": task.horizon,
        },
        np.array([names.index(name) for name in task.target]) if is_read else None,
    )


def _sequences(task: Csv, rows: Table) -> tuple[Places, Places]:
    """The order of the rows, sequence after sequence, and where each begins, with the end."""
    order = np.arange(rows.n_rows)
    if task.time:
        order = np.argsort(rows.ranks("tasks.csv.time", task.time), kind="stable")
    if not task.group:
        return order, np.array([0, rows.n_rows])
    groups = rows.labels("tasks.csv.group", task.group)
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    order = order[np.argsort(first[code[order]], kind="stable")]
    counts = np.unique(first[code], return_counts=True)[1]
    return order, np.concatenate([[0], np.cumsum(counts)])


def _by_time(task: Csv, edges: Places, horizon: int) -> dict[Split, tuple[Places, Places]]:
    """Starts and lengths of the pieces of each split: each sequence is cut in the same shares."""
    found: dict[Split, list[Places]] = {split: [] for split in SPLITS}
    for begin, end in itertools.pairwise(edges.tolist()):
        at = sequences.bounds(end - begin, task.validation_share, task.test_share)
        for split, low, high in zip(SPLITS, at[:-1], at[1:], strict=True):
            n = high - low - horizon  # rows whose target is in the split too
            if n <= task.warmup:
                continue
            longest = min(task.window, n)
            if split == "train":
                starts = np.arange(n - longest + 1)
            else:  # pieces overlap by the rows that are not scored
                starts = np.arange(0, n - task.warmup, longest - task.warmup)
            lengths = np.minimum(longest, n - starts)
            found[split].append(np.stack([begin + low + starts, lengths]))
    for split, pieces in found.items():
        if not pieces:
            longest = int((edges[1:] - edges[:-1]).max())
            raise UserError(
                f"tasks.{task.name}: the {split} split of the {longest} rows of the longest "
                f"sequence has no row with a target (horizon {horizon}, warmup {task.warmup}): "
                f"give more rows or {sequences.more_of(split)}."
            )
    return {split: _both(pieces) for split, pieces in found.items()}


def _both(pieces: list[Places]) -> tuple[Places, Places]:
    starts, lengths = np.concatenate(pieces, axis=1)
    return starts, lengths


def _known(pieces: tuple[Places, Places], n_rows: int, horizon: int) -> NDArray[np.bool_]:
    """The rows of the training part."""
    change = np.zeros(n_rows + 1, dtype=np.int64)
    np.add.at(change, pieces[0], 1)
    np.add.at(change, pieces[0] + pieces[1] + horizon, -1)
    covered: NDArray[np.bool_] = np.cumsum(change)[:-1] > 0
    return covered


def _pieces(
    task: Csv,
    inputs: NDArray[np.float32],
    targets: sequences.Rows,
    parts: dict[Split, tuple[Places, Places]],
) -> dict[Split, Pieces]:
    scored = np.ones(len(inputs), dtype=np.bool_)
    return {
        split: Pieces(inputs, targets, scored, *part, task.warmup) for split, part in parts.items()
    }


def _described(names: tuple[str, ...], scaling: sequences.Scaling) -> dict[str, object]:
    return {
        "features": list(names),
        "means": scaling.means.tolist(),
        "scales": scaling.scales.tolist(),
    }


def _classified(
    task: Csv,
    rows: Table,
    names: tuple[str, ...],
    features: NDArray[np.float64],
    codes: Places,
    classes: NDArray[np.str_],
    parts: dict[Split, tuple[Places, Places]],
) -> Data:
    inputs = sequences.scaling(features[_known(parts["train"], len(features), 0)], task.normalise)
    return Data(
        Interface(len(names), len(classes), tokens=False),
        _pieces(task, inputs.applied(features), codes.astype(np.int64), parts),
        rows.sha256,
        {**_described(names, inputs), "classes": classes.tolist()},
    )


def _of_sequences(
    task: Csv,
    rows: Table,
    names: tuple[str, ...],
    features: NDArray[np.float64],
    codes: Places,
    classes: NDArray[np.str_],
    edges: Places,
) -> Data:
    """One label a sequence, at its last row."""
    for begin, end in itertools.pairwise(edges.tolist()):
        if (codes[begin:end] != codes[begin]).any():
            labels = ", ".join(classes[np.unique(codes[begin:end])])
            raise UserError(
                f"tasks.csv.label: rows of one {task.group} must have one {task.label}, got "
                f"{labels} in a sequence of {end - begin} rows: mend it, or set label_of to row."
            )
    dealt = sequences.dealt(len(edges) - 1, task.validation_share, task.test_share, task.split)
    for split, places in dealt.items():
        if not len(places):
            raise UserError(
                f"tasks.{task.name}: the {split} split of {len(edges) - 1} sequences has none: "
                f"give more sequences or {sequences.more_of(split)}."
            )
    lengths = edges[1:] - edges[:-1]
    parts = {split: (edges[places], lengths[places]) for split, places in dealt.items()}
    found = _classified(task, rows, names, features, codes, classes, parts)
    last = np.zeros(len(features), dtype=np.bool_)
    last[edges[1:] - 1] = True
    pieces = {
        split: Pieces(part.inputs, part.targets, last, part.starts, part.lengths)
        for split, part in found.parts.items()
    }
    return Data(found.interface, pieces, found.sha256, found.legend)
