"""A table of a user's own: forecast its columns, or tell labels from them."""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, counted
from nas.tasks import features, sequences
from nas.tasks.base import SPLITS, Answers, Head, Interface, Split, bounds, check_shares
from nas.tasks.dialect import Dialect, usual_separator
from nas.tasks.features import Columns, Missing
from nas.tasks.fields import ADDED
from nas.tasks.folds import folded
from nas.tasks.sequences import Data, OwnSequenceTask, Pieces, Places, Scaling, covered, scaling
from nas.tasks.table import Table, table

logger = logging.getLogger(__name__)

Part = tuple[Places, Places]
"""The starts and the lengths of the pieces of a split."""
Labels = NDArray[np.str_]


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
    """A .csv, .tsv or .parquet file whose columns have names, in the first line of a text."""
    goal: Literal["forecast", "classify"] = "forecast"
    columns: tuple[str, ...] = ()
    """Columns that are read as features; if empty, all that have a name but `label`, `group`,
    `time` and the index of a Parquet file."""
    target: tuple[str, ...] = ()
    """Columns to forecast."""
    horizon: Annotated[int, "at least 1"] = 1
    """Rows ahead."""
    label: str = ""
    """Column to classify, read as text."""
    label_of: Literal["sequence", "row"] = "sequence"
    """Whether rows of one `group` share a label, or each row has its own."""
    group: str = ""
    """Column that says to which sequence a row belongs, read as text; all rows are one sequence if
    empty."""
    time: str = ""
    """Column of numbers or dates that rows are sorted by, in UTC if they have offsets; rows are in
    order if empty."""
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
    separator: str = field(default="", metadata=ADDED)
    """The character between fields of a text, or tab; found out if empty."""
    decimal: Literal["", ".", ","] = field(default="", metadata=ADDED)
    """The sign before decimals; found out if empty."""
    encoding: str = field(default="", metadata=ADDED)
    """Encoding of a text, such as cp1252; UTF-8 if empty, or UTF-16 if the file begins so."""
    time_format: str = field(default="", metadata=ADDED)
    """How `time` is written, such as %d.%m.%Y %H:%M; as 2024-05-31 12:00 if empty."""
    categories: tuple[str, ...] = field(default=(), metadata=ADDED)
    """Columns that are read as categories: a feature, 0 or 1, for each word. A word that is not in
    the training part is 0 in all of them."""
    missing_values: Missing = field(default="refuse", metadata=ADDED)
    """Where a feature or a target has nothing: refuse the file; fill in the value before it in its
    sequence (before the first one the mean, or no category), and score no such target; or mark it
    by a further feature, too."""

    @property
    def output_head(self) -> Head:
        return "gaussian" if self.goal == "forecast" else "categorical"

    @property
    def reads_pieces(self) -> bool:
        return self.goal == "forecast" or self.label_of == "row"

    @property
    def answers(self) -> Answers:
        return "each step" if self.reads_pieces else "last step"

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
        rows = self.rows
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
        self._tell(rows)

    @property
    def rows(self) -> Table:
        """The table; it is read once in a process."""
        written = Dialect(self.separator, self.decimal, self.encoding)
        return table(f"tasks.{self.name}.path", self.path, written)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """The names of the columns that are read as numbers or as categories."""
        rows = self.rows
        apart = (self.label, self.group, self.time, *rows.index, *rows.nameless)
        names = self.columns or tuple(name for name in rows.columns if name not in apart)
        return tuple(dict.fromkeys([*names, *self.categories]))

    def _tell(self, rows: Table) -> None:
        """Say what was found out about the file, or left out of it, that a user may not expect."""
        found = rows.dialect
        if found and (
            (not self.separator and found.separator != usual_separator(self.path))
            or (not self.decimal and found.decimal == ",")
        ):
            logger.warning('tasks.csv.path: "%s" is read with %s.', self.path, found)
        left_out = [f'"{name}"' for name in rows.nameless if name not in self.feature_columns]
        if left_out and not self.columns:
            logger.warning(
                "tasks.csv.columns: columns of %s without a name, as that of a saved index, are "
                "not read: name %s in tasks.csv.columns to read them.",
                self.path,
                ", ".join(left_out),
            )


@functools.lru_cache(maxsize=16)
def _data(task: Csv) -> Data:
    rows = task.rows
    order, edges, groups = _sequences(task, rows)
    names = task.feature_columns
    if not names:
        raise UserError(
            f"tasks.csv.columns must name a column to read. Known: {', '.join(rows.columns)}."
        )
    gaps = task.missing_values != "refuse"
    read = features.read(rows, names, task.categories, (order, edges), gaps)
    labels = rows.labels("tasks.csv.label", task.label) if task.goal == "classify" else None
    content = ", ".join([rows.sha256, *_changes(task, rows, groups, labels)])
    if labels is not None:
        return _classified(task, read, labels[order], content)
    wanted = rows.numbers("tasks.csv.target", task.target, gaps)
    return _forecast(task, read, wanted[order], content)


def _changes(task: Csv, rows: Table, groups: Labels | None, labels: Labels | None) -> Iterator[str]:
    """Say what is read otherwise than in the first studies, whose outcomes are then others."""
    for name, column, ordered in ((task.group, groups, False), (task.label, labels, True)):
        if column is not None and rows.divided_otherwise(name, column, ordered):
            yield f"{name} as text"
    if rows.nameless and not task.columns:
        yield "without columns that have no name"


def _features(
    task: Csv, read: Columns, known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Make the features of all rows, normalised by the known ones, those of training."""
    recipe = features.fitted(read, task.feature_columns, known, task.missing_values)
    values = recipe.values(read)
    scale = scaling(values[known], task.normalise)
    means = np.where(recipe.is_number, scale.means, 0.0)
    scale = Scaling(means, np.where(recipe.is_number, scale.scales, 1.0))
    legend = {"features": recipe.features, **scale.described()}
    if recipe.categories or recipe.starts:  # else features are the columns as they are
        legend["made"] = dataclasses.asdict(recipe)
    return scale.applied(values), legend


def _forecast(task: Csv, read: Columns, wanted: NDArray[np.float64], content: str) -> Data:
    """Make the data whose targets are the wanted columns, `horizon` rows later."""
    horizon, parts = task.horizon, _by_time(task, read.edges, task.horizon)
    starts, lengths = parts["train"]
    known = covered(starts, starts + lengths + horizon, len(wanted))
    x, legend = _features(task, read, known)
    is_there = ~np.isnan(wanted).max(axis=1)
    scored = np.concatenate([is_there[horizon:], is_there[:horizon]])
    if not is_there.all():
        parts = {split: _with_targets(task, split, part, scored) for split, part in parts.items()}
    targets = scaling(wanted[known & is_there], task.normalise)
    y = targets.applied(np.where(is_there[:, np.newaxis], wanted, 0.0))
    y = np.concatenate([y[horizon:], y[:horizon] * 0])
    rows = (x, y.astype(np.float32), scored)
    pieces = {split: Pieces(*rows, *part, task.warmup) for split, part in parts.items()}
    interface = Interface(x.shape[1], len(task.target), "gaussian", tokens=False)
    names = legend["features"]
    legend |= {"targets": list(task.target), **targets.described("target_"), "horizon": horizon}
    legend |= {"group": task.group} if task.group else {}
    is_read = set(task.target) <= set(read.numbers)
    last = np.array([names.index(name) for name in task.target]) if is_read else None
    return Data(interface, pieces, content, legend, last, read.edges[:-1])


def _with_targets(task: Csv, split: Split, part: Part, scored: NDArray[np.bool_]) -> Part:
    """Return the pieces that score a row: elsewhere all targets are missing."""
    starts, lengths = part
    before = np.concatenate([[0], np.cumsum(scored)])
    firsts = np.minimum(task.warmup, lengths)
    some = before[starts + lengths] > before[starts + firsts]
    if not some.any():
        raise UserError(
            f"tasks.csv.target: the {split} split has no row whose {', '.join(task.target)} "
            f"{counted(task.horizon, 'row')} later is there: give more rows or change the shares."
        )
    return starts[some], lengths[some]


def _classified(task: Csv, read: Columns, labels: Labels, content: str) -> Data:
    """Make the data whose targets are labels: of each row, or of sequences at their last rows."""
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f'tasks.csv.label: column "{task.label}" has one value, "{classes[0]}".')
    edges, by_row = read.edges, task.label_of == "row"
    parts = _by_time(task, edges, 0) if by_row else _by_sequence(task, labels, edges)
    scored = np.full(len(labels), by_row)
    scored[edges[1:] - 1] = True
    starts, lengths = parts["train"]
    x, legend = _features(task, read, covered(starts, starts + lengths, len(labels)))
    rows = (x, codes.astype(np.int64), scored)
    warmup = task.warmup if by_row else 0
    pieces = {split: Pieces(*rows, *part, warmup) for split, part in parts.items()}
    interface = Interface(x.shape[1], len(classes), tokens=False)
    legend |= {"classes": classes.tolist(), "label": task.label}
    legend |= {"group": task.group} if task.group else {}
    return Data(interface, pieces, content, legend, edges=edges[:-1] if by_row else None)


def _sequences(task: Csv, rows: Table) -> tuple[Places, Places, Labels | None]:
    """Return the order of the rows, sequence after sequence, their edges, and their groups."""
    order = np.arange(rows.n_rows)
    if task.time:
        order = np.argsort(rows.ranks("tasks.csv.time", task.time, task.time_format), kind="stable")
    if not task.group:
        return order, np.array([0, rows.n_rows]), None
    groups = rows.labels("tasks.csv.group", task.group)
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    order = order[np.argsort(first[code[order]], kind="stable")]
    counts = np.unique(first[code], return_counts=True)[1]
    return order, np.concatenate([[0], np.cumsum(counts)]), groups


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


def _by_sequence(task: Csv, labels: Labels, edges: Places) -> dict[Split, Part]:
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
