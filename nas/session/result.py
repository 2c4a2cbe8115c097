"""What a search found, as an object: leaderboard, best cell, weights, report, Optuna's study."""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError, counted
from nas.report import notebook
from nas.report.facts import Facts, read_facts
from nas.report.recording import leaderboard_rows
from nas.report.write import report
from nas.study.config import url_of
from nas.study.location import find_study
from nas.study.opening import load

if TYPE_CHECKING:
    import pandas

    from nas.nn.rnn import RNN
    from nas.nn.trained import TrainedModel

MOST_ROWS = 10
"""Rows of the leaderboard in a notebook."""
MOST_PICTURES = 3
"""Best cells whose pictures a notebook shows."""


@dataclasses.dataclass(frozen=True, repr=False)
class SearchResult:
    """A study, finished or not, as it was when it was first looked at; nothing is trained."""

    name: str
    """The study's name."""
    folder: Path
    """The study's folder; absolute, so that a change of the working directory does no harm."""
    storage: str = ""
    """URL of Optuna's storage; empty: the SQLite file in the folder."""
    output: str = ""
    """What the command would have printed; empty where that was printed, or nothing ran."""

    @cached_property
    def _facts(self) -> Facts:
        return read_facts(find_study(self.folder.name, self.storage, str(self.folder.parent)))

    @cached_property
    def leaderboard(self) -> "pandas.DataFrame":
        """All judged cells: scored ones by score, then rejected ones by how far they came.

        Columns: `rank`, from 1; `cell`, the name; `kind`, "baseline" (GRU and LSTM), "included" or
        "candidate"; `score`, above 1 is better than the GRU, NaN for a rejected cell; for each
        task `ratio TASK` to the GRU, above 1 is better; `n_params` of the largest model; `seconds`
        of training; `stage`, where it was rejected; `trial`, the number in Optuna's study; `key`.
        `place from` and `place to` are the ends of the rank's 95 % interval and `repeated TASK` the
        ratio of a second measurement, where there are some; `area TASK` and `last TASK` are the
        mean of the metric over all epochs and that of the last one.

        Raises:
            UserError: if nothing is judged yet.
        """
        import pandas

        return pandas.DataFrame(leaderboard_rows(self._facts))

    @property
    def best(self) -> Cell:
        """The best cell that is no baseline.

        Raises:
            UserError: if no such cell was scored.
        """
        row = self._facts.winner
        if row is None:
            raise UserError(
                f"study {self.name} has no scored cell beside GRU and LSTM: leaderboard says where "
                "each was rejected."
            )
        return loads(row.visit.cell)

    @property
    def verdict(self) -> str:
        """Whether a cell beat the GRU, in sentences, with the limits of that."""
        return self._facts.verdict

    def load(self, task: str = "") -> "TrainedModel | RNN":
        """The winner with its weights, as `nas.load` returns it; `task` names one of several.

        Raises:
            UserError: if there is no winner yet, or no weights of this task.
        """
        from nas.nn.loading import load as load_weights

        return load_weights(self.folder / "winner", task)

    def report(self) -> Path:
        """The path of the report, an HTML page; it is written if it is missing, or older than the
        last finished trial.

        Raises:
            UserError: if nothing is judged yet, or the file cannot be written.
        """
        page = self.folder / "report" / "report.html"
        ended = [t.datetime_complete for t in self.study.get_trials() if t.datetime_complete]
        if page.is_file() and page.stat().st_mtime >= max(e.timestamp() for e in ended):
            return page
        return report(self._facts)[0]

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's own study, for its plots and tables; it is opened only to be read."""
        return load(self.name, url_of(self.folder, self.storage))

    def __repr__(self) -> str:
        try:
            facts = self._facts
        except UserError:
            return f"<SearchResult {self.name}: nothing is judged>"
        best = facts.winner
        found = f"best {best.name}, score {best.score:.4g}" if best else "none scored"
        return f"<SearchResult {self.name}: {counted(len(facts.rows), 'cell')}, {found}>"

    def _repr_html_(self) -> str:
        """The verdict, the first rows of the leaderboard and pictures of the best cells."""
        try:
            facts = self._facts
        except UserError as error:
            return notebook.heading(str(error))
        tasks = [f"ratio {task.name}" for task in facts.protocol.tasks]
        columns = ["rank", "cell", "kind", "score", *tasks, "n_params", "seconds", "stage"]
        rows = self.leaderboard
        shown = [row for row in facts.rows if row.may_win]
        pictures = [
            (f"{row.name}, score {row.score:.4g}", loads(row.visit.cell))
            for row in shown[:MOST_PICTURES]
        ]
        note = f"{min(len(rows), MOST_ROWS)} of {counted(len(rows), 'cell')}; ratios are to the GRU"
        table = notebook.table(rows[columns].head(MOST_ROWS), f"{note}, above 1 is better.")
        return notebook.heading(self.verdict) + table + notebook.cells(pictures)


def result(
    study: str | Path, *, storage: str = "", studies: str | Path = "studies"
) -> SearchResult:
    """The result of a search that was begun before, by a command or a call; it may be running.

    `study` is its name, or its folder's path, `storage` the URL of its storage if that is not in
    the folder.

    Raises:
        UserError: if there is no such study, with the nearest name.
    """
    seen = find_study(str(study), storage, str(studies))
    return SearchResult(seen.name, seen.folder.absolute(), storage)
