"""One comparison from opening its study to the last line that is printed."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED, terminated_as_interrupted
from nas.compare.config import CompareConfig
from nas.compare.many import ManySettings, many_settings
from nas.compare.protocol import Comparing, protocol_of
from nas.compare.result import compared, too_few_seeds
from nas.errors import SearchError
from nas.nn.budget import solve_width
from nas.study.config import seconds, url_of
from nas.study.visit import Visit


def check_cells(config: CompareConfig, cells: Sequence[Cell]) -> None:
    """Refuse a cell that no width brings below the parameter budget.

    Raises:
        UserError: naming the cell and the smallest budget.
    """
    for task in config.compared:
        for settings in config.settings.points(task.n_params):
            for cell in cells:
                solve_width(cell, task.interface, settings)


def run(config: CompareConfig, cells: Sequence[Cell], command: str) -> int:
    """Run or resume a comparison of cells, GRU and LSTM first; return the exit code.

    `command` says how to go on with it. What another command began in the same study is finished
    and shown as well: to leave a cell out does not undo that it was tried.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
        SearchError: if the GRU has no metric on some task.
    """
    from nas.study.lock import lock
    from nas.study.storage_errors import Retrying, storage_errors_explained
    from nas.study.study import open_study
    from nas.workers.choose import check_crew

    check_crew(config.workers, config.devices)
    if config.tracking_uri not in ("", "off"):
        from nas.zoo.tracking import check_tracking_uri

        check_tracking_uri(config.tracking_uri)
    folder = Path(config.studies) / config.study
    url = url_of(folder, config.storage)
    with lock(folder, config.study, config.storage) as held, storage_errors_explained(url):
        retrying = Retrying(url, seconds("storage_wait", config.storage_wait) or 0.0, held)
        about = (config.study, folder, config.storage)
        study = open_study(*about, config.definition(), retrying)
        study.note_configuration(asdict(config))
        return _Running(config, study, cells, command).run()


class _Running:
    """A comparison whose study is open and locked."""

    def __init__(
        self, config: CompareConfig, study: Any, cells: Sequence[Cell], command: str
    ) -> None:
        from rich.console import Console

        from nas.study.provenance import provenance

        self.config, self.study, self.cells, self.command = config, study, cells, command
        many = config.best_share > 0
        self.protocol: Comparing | ManySettings = (
            many_settings(config) if many else protocol_of(config)
        )
        self.console = Console(soft_wrap=True)
        study.set_attr("provenance", provenance())

    def run(self) -> int:
        from nas.session.coordinator import Coordinator
        from nas.session.progress import Progress, TimeNotes
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
            config.compared,
            config.devices,
        )
        progress = Progress(self.console, budget, spent)
        notes = TimeNotes(self.study, workers)
        deadline = None if budget is None else began + budget - spent
        coordinator = self._coordinator(Coordinator, workers, (progress, notes), deadline)
        self._describe(coordinator.total)
        finished = False
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())  # also while all else is closed
            stack.callback(workers.close, wait=False)
            stack.callback(notes.close)
            try:
                with progress:
                    finished = coordinator.run()
            except KeyboardInterrupt:
                self._say(
                    f"Interrupted: {self._kept()} The same command goes on from here, as does: "
                    f"{self.command}"
                )
                return EXIT_INTERRUPTED
        if not finished:
            self._say(
                f"The time budget of {config.time_budget} is used up: {self._kept()} With a larger "
                f"one it goes on: {self.command} --time_budget TIME"
            )
            return 0
        self._conclude()
        return 0

    def _coordinator(self, made: Any, workers: Any, observers: Any, deadline: float | None) -> Any:
        from nas.compare.space import NoSpace

        return made(
            self.study,
            NoSpace(),
            self.protocol,
            workers,
            self.cells,
            "random",  # never asked: there are no candidates
            self.config.seed,
            n_candidates=0,
            # All cells at once: none is drawn from the results of others.
            in_flight=len(self.cells) + len(self.study.visits),
            observers=observers,
            deadline=deadline,
        )

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def _describe(self, n_cells: int) -> None:
        config = self.config
        done = len(self.study.finished())
        after = f"; going on after {done} finished cells" if done else ""
        if isinstance(self.protocol, ManySettings):
            n_tasks = len(self.protocol.tasks)
            self._say(
                f"comparison {config.study}: {n_cells} cells with GRU and LSTM, tasks "
                f"{', '.join(config.tasks.use)}, {config.tuning} random settings each, of which "
                f"the best {config.n_best} on validation are compared on test, seed {config.seed}: "
                f"{n_cells * n_tasks * config.tuning:,} training runs{after}"
            )
            return
        tried = {task.name: len(self.protocol.settings_of(task)) for task in self.protocol.tasks}
        n_runs = n_cells * (sum(tried.values()) + len(tried) * config.seeds)
        self._say(
            f"comparison {config.study}: {n_cells} cells with GRU and LSTM, tasks "
            f"{', '.join(tried)}, {config.tuning} settings each on validation, then "
            f"{config.seeds} fresh seeds on test, seed {config.seed}: {n_runs:,} training runs"
            + after
        )
        for task, n_tried in tried.items():
            if n_tried < config.tuning:
                self._say(
                    f"There are only {n_tried} settings for {task}, and all are tried: for more, "
                    "give further values with --settings.learning_rate and the like."
                )
        if warning := too_few_seeds(config.seeds, n_cells - 1):
            self._say(warning)

    def _kept(self) -> str:
        n_runs = sum(one.n_runs for v in self.study.visits if v for one in v.summaries())
        folder = Path(self.config.studies) / self.config.study
        return f"{n_runs:,} training runs are finished and kept in {folder}."

    def _conclude(self) -> None:
        from nas.compare import report

        visits = [visit for visit in self.study.visits if visit]
        if isinstance(self.protocol, ManySettings):
            self._conclude_many(visits, self.protocol)
            return
        comparison = compared(self.config.study, visits, self.protocol)
        self._say("\n" + "\n".join(report.lines(comparison)))
        paths = report.write(comparison, self.study.folder)
        self._say("Written: " + ", ".join(str(path) for path in paths))
        if self.config.tracking_uri != "off":
            from nas.compare.record import entries

            self._record(entries(comparison, self.study.folder))

    def _conclude_many(self, visits: Sequence[Visit], protocol: ManySettings) -> None:
        from nas.compare import many_report
        from nas.compare.many_result import compared_many
        from nas.compare.sources import cell_of

        config = self.config
        uri = "" if config.tracking_uri == "off" else config.tracking_uri
        first = cell_of(config.cells[0], uri).key
        found = compared_many(config.study, visits, protocol, first, config.published)
        self._say("\n" + "\n".join(many_report.lines(found)))
        paths = many_report.write(found, self.study.folder)
        self._say("Written: " + ", ".join(str(path) for path in paths))
        if config.tracking_uri != "off":
            from nas.compare.many_record import entries

            self._record(entries(found, self.study.folder))

    def _record(self, entries: Sequence[Any]) -> None:
        from nas.record.comparison import record

        try:
            record(self.config.tracking_uri, self.config.study, entries)
        except SearchError as error:
            self._say(str(error))
