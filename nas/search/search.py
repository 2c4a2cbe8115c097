"""`python -m nas.search`: propose, train, judge, record; and leave the winner in a folder.

config -> study -> sampler -> space.propose(trial) -> cell -> protocol -> evaluations -> workers
       -> outcomes -> score -> study -> record, leaderboard, winner
"""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED, guarded, terminated_as_interrupted
from nas.errors import UserError, hidden
from nas.protocol.staged import Staged
from nas.session import closing
from nas.spaces.base import Space
from nas.study.config import SearchConfig, definition, protocol_of, seconds, url_of
from nas.study.leaderboard import BASELINES, Row, leaderboard, set_aside, verdict, winner
from nas.study.parse import parse
from nas.zoo.lookup import cell as look_up

LAST_RECORDS_S = 60.0
"""So long MLflow is waited for when a search is complete."""
FEW_RECORDS_S = 2.0
"""And where it was interrupted or failed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return guarded("nas.search", lambda: search(parse(given)))


def search(config: SearchConfig) -> int:
    """Run or resume the search that `config` describes.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
        SearchError: if the reference learns too little to judge candidates by.
    """
    if config.protocol.kind == "replay":
        from nas.replay.command import replay

        return replay(config)
    # Optuna and what needs it are imported once the arguments are known to be good.
    from nas.nn.budget import solve_width
    from nas.samplers.registry import find_sampler
    from nas.spaces import load_space
    from nas.workers.choose import check_crew

    check_crew(config.workers, config.devices)
    space = load_space(config.space)
    find_sampler(config.sampler, space)
    cells = _given(config.include)
    if config.confirm:
        from nas.compare.confirm import confirming

        confirming(config)  # what cannot be confirmed at the end is told at the beginning
    protocol = protocol_of(config)
    for task in protocol.tasks if protocol.filter is None else (protocol.filter, *protocol.tasks):
        for settings in config.settings.points(task.n_params):
            for cell in cells:
                solve_width(cell, task.interface, settings)
    return _Search(config, space, cells, protocol).run()


def _given(include: Sequence[str]) -> list[Cell]:
    cells: dict[str, Cell] = {}
    for source in (*BASELINES, *include):
        cell = look_up(source)
        cells.setdefault(cell.key, cell)
    return list(cells.values())


class _Search:
    """One run of the command, from opening the study to the last line that is printed."""

    def __init__(
        self, config: SearchConfig, space: Space, cells: Sequence[Cell], protocol: Staged
    ) -> None:
        from rich.console import Console

        self.config, self.space, self.cells, self.protocol = config, space, cells, protocol
        self.folder = Path(config.studies) / config.study
        self.baselines = tuple(cell.key for cell in cells[: len(BASELINES)])
        self.console = Console(soft_wrap=True)
        self.patience_s = FEW_RECORDS_S
        self.page: Path | None = None
        """The report."""

    def run(self) -> int:
        from nas.study.lock import lock
        from nas.study.provenance import provenance
        from nas.study.storage_errors import Retrying, storage_errors_explained
        from nas.study.study import open_study

        config = self.config
        if config.tracking_uri not in ("", "off"):
            from nas.record.recorder import check_tracking_uri

            check_tracking_uri(config.tracking_uri)
        url = url_of(self.folder, config.storage)
        with lock(self.folder, config.study, config.storage) as held, storage_errors_explained(url):
            retrying = Retrying(url, seconds("storage_wait", config.storage_wait) or 0.0, held)
            about = (config.study, self.folder, config.storage)
            self.study = open_study(*about, definition(config, self.space), retrying)
            gc.freeze()  # the study stays: nothing in it is garbage
            self._describe()
            self.study.note_configuration(asdict(config))
            self.study.set_attr("provenance", provenance())
            return self._go()

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def _describe(self) -> None:
        size = self.space.size()
        points = f"{size:,} points" if size else "points without number"
        done = len(self.study.finished())
        self._say(
            f"study {self.config.study}: space {self.space.name} ({points}), sampler "
            f"{self.config.sampler}, tasks {', '.join(self.config.tasks.use)}, "
            f"{self.config.n_candidates} candidates, seed {self.config.seed}"
            + (f"; going on after {done} judged cells" if done else "")
        )

    def _go(self) -> int:
        from nas.session.coordinator import Coordinator
        from nas.session.progress import Progress, TimeNotes
        from nas.session.winner import WeightStore, write_winner
        from nas.workers.choose import crew

        config = self.config
        spent = float(self.study.attrs.get("spent_s", 0.0))
        budget = seconds("time_budget", config.time_budget)
        began = time.monotonic()
        workers = crew(
            config.workers,
            seconds("evaluation_time_limit", config.evaluation_time_limit),
            config.evaluation_memory_limit_gb,
            config.cluster,
            self.protocol.tasks,
            config.devices,
        )
        progress = Progress(self.console, budget, spent)
        notes = TimeNotes(self.study, workers)
        store = WeightStore(self.study, self.baselines)
        coordinator = Coordinator(
            self.study,
            self.space,
            self.protocol,
            workers,
            self.cells,
            config.sampler,
            config.seed,
            config.n_candidates,
            config.in_flight,
            config.evolution,
            (store, progress, notes),
            None if budget is None else began + budget - spent,
            run_budget=config.run_budget,
        )
        interrupted = False
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())  # also while all else is closed
            stack.callback(workers.close, wait=False)
            stack.callback(notes.close)
            recorder = stack.enter_context(self._recorder(coordinator))
            try:
                with progress:
                    coordinator.run()
                best = write_winner(self.study, self.protocol, store, workers)
                self.patience_s = LAST_RECORDS_S
            except KeyboardInterrupt:
                interrupted = True
        del recorder
        if interrupted:
            done = len(self.study.finished())
            self._say(closing.interrupted(config, done, coordinator.total))
            return EXIT_INTERRUPTED
        self._conclude(coordinator.used_up, best is not None)
        if used := progress.utilisation():
            self._say(f"{used[0].upper()}{used[1:]}.")
        return self._confirm() if config.confirm else 0

    def _confirm(self) -> int:
        """Compare the best cells on fresh seeds; the exit code."""
        from nas.compare.confirm import best_cells, confirm

        rows = leaderboard(self.study.finished(), self.baselines)
        best = best_cells(rows, self.config.confirm)
        if not best:
            self._say("No cell was scored, so there is none to confirm.")
            return 0
        self._say("")
        return confirm(self.config, best, closing.command(self.config))

    def _n_settings(self, rows: Sequence[Row]) -> int:
        """Settings a task that the best cell was tried on."""
        best = winner(rows)
        return self.protocol.n_tried(best.visit.turn if best else 0)

    @contextmanager
    def _recorder(self, coordinator: Any) -> Iterator[None]:
        """Record every judged cell in MLflow, beside the search; wait a little at the end."""
        if self.config.tracking_uri == "off":
            yield
            return
        from nas.record.recorder import Recorder, described

        recorder = Recorder(
            self.config.tracking_uri,
            self.config.study,
            described(self.space.name, self.config.tasks.use),
            self.protocol.tasks,
            self.protocol.filter,
            self.baselines,
        )
        recorder.sync(self.study.finished())
        coordinator.observers = (*coordinator.observers, recorder)
        try:
            yield
            if self.patience_s == LAST_RECORDS_S:  # complete
                self._report(recorder)
        finally:
            lagging = recorder.close(self.patience_s)
            if lagging:
                self._say(
                    f"{lagging} runs are not recorded in MLflow yet; the same command catches up."
                )

    def _report(self, recorder: Any) -> None:
        """Write the report of a complete search, and keep it in MLflow with the summary."""
        from nas.report.facts import read_facts
        from nas.report.recording import conclude
        from nas.report.write import files_in, report
        from nas.study.location import find_study

        try:
            seen = find_study(self.config.study, self.config.storage, self.config.studies)
            seen = replace(seen, running=False)  # the lock is held by this very process
            self.page = report(seen)[0]
            conclude(recorder, read_facts(seen), files_in(self.page.parent))
        except UserError as error:  # the search is complete without it
            self._say(f"The report is not written: {error}")

    def _conclude(self, used_up: str, has_winner: bool) -> None:
        from nas.session.progress import counts, funnel, table_of

        rows = leaderboard(self.study.finished(), self.baselines)
        self.console.print(table_of(rows, list(self.config.tasks.use)))
        drawn = [v for v in self.study.finished() if v.kind == "drawn"]
        self._say(f"{counts(drawn)}: {funnel(drawn)}.")
        self._say(verdict(rows, self._n_settings(rows)))
        for task in self.protocol.tasks:
            self._say(closing.levels(task, rows, self.config.seed))
        for line in set_aside(self.study.visits):
            self._say(line)
        if used_up:
            self._say(closing.used_up(used_up, self.config, self.study.visits))
        if has_winner:
            self._say(f"Winner: {self.folder / 'winner'}; use it in place of torch.nn.LSTM:")
            line = f'nas.RNN("{self.folder / "winner"}", input_size, hidden_size)'
            self._say(f"    import nas; rnn = {line}")
        if self.page is not None:
            self._say(f"Report: {self.page}")
        uri = self.config.tracking_uri or "sqlite:///mlflow.db"
        if uri.startswith("http"):
            self._say(f"Look at every cell: {hidden(uri)}")
        elif uri != "off":
            self._say(f"Look at every cell: mlflow ui --backend-store-uri {hidden(uri)}")
