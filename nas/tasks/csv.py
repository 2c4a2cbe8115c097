"""A table of a user's own: forecast its columns, or tell labels from them."""

import functools
import itertools
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import sequences
from nas.tasks.base import SPLITS, Head, Interface, Split, bounds, check_shares
from nas.tasks.fields import ADDED
from nas.tasks.folds import folded
from nas.tasks.sequences import (
    Data,
    OwnSequenceTask,
    Pieces,
    Places,
    Scaling,
    covered,
    scaling,
)
from nas.tasks.table import Table, table

Part = tuple[Places, Places]
"""The starts and the lengths of the pieces of a split."""


@dataclass(frozen=True)
class Csv(OwnSequenceTask):
    """The rows of a CSV or Parquet file, in order, as steps of sequences.

    With `goal` forecast, `target` columns are predicted `horizon` rows ahead at every row; with
    classify, a `label`: of each row, or of each sequence of rows at its last row. Forecasts and
    labels of rows are split by time and cut into pieces of `window` rows, which begin anywhere in
    training and one after another in validation and test; no piece reaches into another split or
    sequence. Labels of sequences are split by sequence, and a piece is a whole sequence (the field
    `window` is not used). Columns are normalised by the training part alone, and errors are of
    normalised values: the mean has an error of about 1.
    """

    name: ClassVar[str] = "csv"
    path: str = ""
    """A .csv, .tsv or .parquet file whose first line has names."""
    goal: Literal["forecast", "classify"] = "forecast"
    columns: tuple[str, ...] = ()
    """Columns that are read as features; all but `label`, `group` and `time` if empty."""
    target: tuple[str, ...] = ()
    """Columns to forecast."""
    horizon: Annotated[int, "at least 1"] = 1
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
    """For labels, accuracy if empty; forecasts have the mean squared error."""
    validation_share: float = 0.1
    """Share of the rows, or sequences, after the training part."""
    test_share: float = 0.1
    """Share of them at the end."""
    folds: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """At least 2: cross-validation. The sequences that are not of test are dealt into so many
    parts, each in turn is validated on by a model trained on the others, and the metric is that of
    all of them together; a run takes so many times as long. 0: one validation split."""
    fold: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """The only one of the `folds` that is validated on, from 1 on; 0: all in turn."""

    @property
    def output_head(self) -> Head:
        return "gaussian" if self.goal == "forecast" else "categorical"

    @property
    def reads_pieces(self) -> bool:
        return self.goal == "forecast" or self.label_of == "row"

    @property
    def data(self) -> Data:
        """The rows of the table, split and normalised; they are read once in a process."""
        return _data(self)

    def check(self) -> None:
        super().check()
        where = f"tasks.{self.name}"
        check_shares(self, self.validation_share, self.test_share, test_may_be_0=False)
        if self.folds and self.reads_pieces:
            rule = "0 where rows are split by time: only whole sequences are dealt to folds"
            raise self.refused("folds", rule, self.folds)
        if not 0 <= self.warmup < self.window:
            raise self.refused("warmup", "0 to window - 1", self.warmup)
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


@dataclass(frozen=True)
class _Features:
    """The columns that are read, sequence after sequence."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    """(rows, columns)."""
    edges: Places
    """The first row of each sequence, then the number of rows."""

    def scaling(self, task: Csv, part: Part, horizon: int = 0) -> tuple[Scaling, NDArray[np.bool_]]:
        """Fit the scaling to the training part; return its rows, those of targets included, too."""
        starts, lengths = part
        known = covered(starts, starts + lengths + horizon, len(self.values))
        return scaling(self.values[known], task.normalise), known


@functools.lru_cache(maxsize=16)
def _data(task: Csv) -> Data:
    rows = table(f"tasks.{task.name}.path", task.path)
    order, edges = _sequences(task, rows)
    names = task.columns or tuple(
        name for name in rows.columns if name not in (task.label, task.group, task.time)
    )
    features = _Features(names, rows.numbers("tasks.csv.columns", names)[order], edges)
    if task.goal == "forecast":
        wanted = rows.numbers("tasks.csv.target", task.target)[order]
        return _forecast(task, features, wanted, rows.sha256)
    labels = rows.labels("tasks.csv.label", task.label)[order]
    return _classified(task, features, labels, rows.sha256)


def _forecast(task: Csv, features: _Features, wanted: NDArray[np.float64], sha256: str) -> Data:
    """Make the data whose targets are the wanted columns, `horizon` rows later."""
    names, parts = features.names, _by_time(task, features.edges, task.horizon)
    inputs, known = features.scaling(task, parts["train"], task.horizon)
    targets = scaling(wanted[known], task.normalise)
    x = inputs.applied(features.values)
    y = np.concatenate([targets.applied(wanted)[task.horizon :], wanted[: task.horizon] * 0])
    rows = (x, y.astype(np.float32), np.ones(len(x), dtype=np.bool_))
    pieces = {split: Pieces(*rows, *part, task.warmup) for split, part in parts.items()}
    interface = Interface(len(names), len(task.target), "gaussian", tokens=False)
    legend = {"features": list(names), **inputs.described(), "targets": list(task.target)}
    legend |= {**targets.described("target_"), "horizon": task.horizon}
    legend |= {"group": task.group} if task.group else {}
    is_read = set(task.target) <= set(names)
    last = np.array([names.index(name) for name in task.target]) if is_read else None
    return Data(interface, pieces, sha256, legend, last)


def _classified(task: Csv, features: _Features, labels: NDArray[np.str_], sha256: str) -> Data:
    """Make the data whose targets are labels: of each row, or of sequences at their last rows."""
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f'tasks.csv.label: column "{task.label}" has one value, "{classes[0]}".')
    edges, by_row = features.edges, task.label_of == "row"
    parts = _by_time(task, edges, 0) if by_row else _by_sequence(task, labels, edges)
    scored = np.full(len(labels), by_row)
    scored[edges[1:] - 1] = True
    inputs, _ = features.scaling(task, parts["train"])
    rows = (inputs.applied(features.values), codes.astype(np.int64), scored)
    warmup = task.warmup if by_row else 0
    pieces = {split: Pieces(*rows, *part, warmup) for split, part in parts.items()}
    interface = Interface(len(features.names), len(classes), tokens=False)
    legend = {"features": list(features.names), **inputs.described(), "classes": classes.tolist()}
    legend |= {"label": task.label, **({"group": task.group} if task.group else {})}
    return Data(interface, pieces, sha256, legend)


def _sequences(task: Csv, rows: Table) -> tuple[Places, Places]:
    """Return the order of the rows, sequence after sequence, and the edges of the sequences."""
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


def _by_time(task: Csv, edges: Places, horizon: int) -> dict[Split, Part]:
    """Cut each sequence in the same shares, and these into the pieces of each split."""
    pieces: dict[Split, list[Places]] = {split: [] for split in SPLITS}
    for begin, end in itertools.pairwise(edges.tolist()):
        at = bounds(end - begin, task.validation_share, task.test_share)
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
            pieces[split].append(np.stack([begin + low + starts, lengths]))
    parts: dict[Split, Part] = {}
    for split, columns in pieces.items():
        if not columns:
            longest = int((edges[1:] - edges[:-1]).max())
            way_out = f"raise {split}_share"
            if split == "train":
                way_out = "lower validation_share or test_share"
            raise UserError(
                f"tasks.{task.name}: the {split} split of the {longest} rows of the longest "
                f"sequence has no row with a target (horizon {horizon}, warmup {task.warmup}): "
                f"give more rows or {way_out}."
            )
        starts, lengths = np.concatenate(columns, axis=1)
        parts[split] = starts, lengths
    return parts


def _by_sequence(task: Csv, labels: NDArray[np.str_], edges: Places) -> dict[Split, Part]:
    """Deal whole sequences, of which each has one label, to the splits."""
    for begin, end in itertools.pairwise(edges.tolist()):
        if len(different := np.unique(labels[begin:end])) > 1:
            raise UserError(
                f"tasks.csv.label: rows of one {task.group} must have one {task.label}, got "
                f"{', '.join(different)} in a sequence of {end - begin} rows: mend it, or set "
                "label_of to row."
            )
    lengths = edges[1:] - edges[:-1]
    dealt = sequences.dealt(len(lengths), task.validation_share, task.test_share, task.split)
    dealt = folded(task, dealt, labels[edges[:-1]], shuffle=task.split == "random")
    sequences.check_dealt(task, len(lengths), dealt)
    return {split: (edges[places], lengths[places]) for split, places in dealt.items()}
