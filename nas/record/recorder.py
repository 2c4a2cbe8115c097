"""MLflow as a view of a study: every judged cell is a run, written beside the search.

One thread holds all of MLflow, its import included, so that a slow or dead server costs the search
nothing. The recorder tries again to write what MLflow refused. `sync` writes what is missing when
the study is opened again, since the study holds all content of a run. `python -m nas.record STUDY`
writes all of it at once.
"""

import dataclasses
import logging
import textwrap
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nas.errors import hidden
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.objectives import SCORE
from nas.record.entry import Entry, entry, size_name
from nas.record.store import Store, open_store
from nas.record.view import view_of_search, where_to_look
from nas.study.leaderboard import kind_of
from nas.study.visit import Evaluated, Visit, joined
from nas.tasks.base import Task
from nas.zoo.tracking import check_tracking_uri, place, quiet

__all__ = ["Recorder", "check_tracking_uri", "described"]

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Seconds between two tries while the store does not answer."""


def described(space: str, tasks: Sequence[str]) -> str:
    """The description of a search's experiment."""
    return (
        f"Search for recurrent cells in the space {space}, judged on {', '.join(tasks)} against "
        "the GRU."
    )


class Recorder:
    """Records a study's judged cells; an `Observer` of the coordinator."""

    def __init__(
        self,
        tracking_uri: str,
        study: str,
        description: str,
        tasks: Sequence[Task],
        filter: Task | None,
        baselines: Sequence[str],
        *,
        directory: Path = Path(),
        objectives: Sequence[str] = (SCORE,),
    ) -> None:
        """`baselines` are keys, the reference's first; an empty URI points into `directory`."""
        check_tracking_uri(tracking_uri)
        self._place = place(tracking_uri, directory)
        self._study = study
        first = [] if filter is None or filter.name in {t.name for t in tasks} else [filter]
        self._tasks = (*first, *tasks)
        metrics = [task.metric.name for task in tasks]
        sizes = [size_name(name) for name in objectives[1:]]
        view = view_of_search([task.name for task in tasks], metrics, sizes)
        self._experiment = (self._place, study, description, view)
        self._baselines = tuple(baselines)
        self._evaluated: dict[str, dict[int, Mapping[str, Evaluated]]] = {}
        """The evaluations of each key, by visit: a cell's evaluations may lie with several."""
        self._changed = threading.Condition()
        self._names: dict[int, str] = {}
        """The name of each trial's cell."""
        self._pending: dict[str, Visit | Entry] = {}
        """The cells that are not recorded yet, by key, in the order in which they are tried; the
        study's summary comes last."""
        self._given_up: dict[str, Visit | Entry] = {}
        self._experiment_id = ""
        """The id of the experiment, once it was opened."""
        self._closing = False
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    def started(self, visit: Visit, evaluation: Evaluation) -> None:
        pass

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        self._learn(visit)

    def judged(self, visit: Visit) -> None:
        self._learn(visit)
        self._add(visit)

    def tick(self, coordinator: object) -> None:
        pass

    def sync(self, visits: Iterable[Visit | None]) -> None:
        """Record the missing cells of a study that was begun before; return at once."""
        present = [visit for visit in visits if visit is not None]
        for visit in present:
            self._learn(visit)
        for visit in present:
            if visit.judgement is not None:
                self._add(visit)

    def conclude(self, summary: Entry) -> None:
        """Record the study as a whole, after its cells; return at once."""
        with self._changed:
            self._pending.pop(summary.key, None)
            self._pending[summary.key] = summary
            self._changed.notify_all()

    def close(self, timeout_s: float) -> int:
        """Wait until all is recorded, and return how many runs are not.

        The recorder tries a store that does not answer once more, without waiting for it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            return len(self._pending) + len(self._given_up)

    def where_to_look(self) -> list[str]:
        """Lines on where a browser shows the record."""
        return where_to_look(self._place.uri, self._experiment_id)

    def _learn(self, visit: Visit) -> None:
        self._evaluated.setdefault(visit.key, {})[visit.number] = visit.evaluated
        self._names[visit.number] = visit.name

    def _add(self, visit: Visit) -> None:
        # A copy, because the coordinator goes on changing its own.
        evaluated = joined(list(self._evaluated[visit.key].values()))
        copy = dataclasses.replace(visit, evaluated=evaluated)
        with self._changed:
            before = self._pending.get(visit.key)
            assert not isinstance(before, Entry), "no cell has the summary's key"
            given = before is not None and before.kind == "drawn" and visit.kind == "given"
            if before is None or given or visit.turn > before.turn:
                self._pending[visit.key] = copy
                self._changed.notify_all()

    def _work(self) -> None:
        """Record one cell after another until `close`; the body of the thread."""
        store: Store | None = None
        pause_s = FIRST_PAUSE_S
        while (due := self._next()) is not None:
            opened = False
            try:
                with quiet():
                    store = store or open_store(*self._experiment)
                    self._experiment_id = store.experiment_id
                    opened = True
                    self._record(store, due)
            except Exception as error:  # MLflow's, SQLAlchemy's, requests': none stops the search
                store = None  # opened anew, it knows which runs are half-written
                self._warn(error)
                if not self._put_off(due, pause_s, store_answers=opened):
                    return
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                pause_s = FIRST_PAUSE_S

    def _next(self) -> Visit | Entry | None:
        """Wait for the next cell or summary; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            return next(iter(self._pending.values()), None)

    def _record(self, store: Store, due: Visit | Entry) -> None:
        if isinstance(due, Entry):
            store.write(due)
        elif not store.holds(due.key, kind_of(due, self._baselines), due.turn):
            parent = "" if due.parent is None else self._names.get(due.parent, "")
            store.write(entry(due, self._study, self._tasks, self._baselines, parent))
        with self._changed:
            if self._pending.get(due.key) is due:
                del self._pending[due.key]

    def _put_off(self, due: Visit | Entry, pause_s: float, *, store_answers: bool) -> bool:
        """Move a cell behind the others and wait a little; False if it is useless to try again."""
        with self._changed:
            if self._pending.get(due.key) is due:
                del self._pending[due.key]
                (self._given_up if self._closing else self._pending)[due.key] = due
            if self._closing:
                return store_answers
            self._changed.wait_for(lambda: self._closing, pause_s)
            return True

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        lines = [line.strip() for line in hidden(str(error)).splitlines() if line.strip()]
        reason = (
            textwrap.shorten(lines[0], 200, placeholder=" …") if lines else type(error).__name__
        )
        logger.warning(
            "MLflow at %s does not take the record (%s): the search goes on and it is tried again; "
            "if it still lags at the end, the same command catches up.",
            hidden(self._place.uri),
            reason,
        )
