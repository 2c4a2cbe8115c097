"""A session: a study that is open, locked and worked on; closed again whatever ends the run."""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from rich.console import Console

from nas.command_line import terminated_as_interrupted
from nas.session.callbacks import Calling
from nas.session.coordinator import Coordinator, Observer
from nas.session.manner import COMMAND, Manner
from nas.session.plan import Plan
from nas.session.progress import Progress, TimeNotes, say
from nas.study.config import StudyConfig, seconds, url_of
from nas.study.lock import lock
from nas.study.provenance import provenance
from nas.study.storage_errors import Retrying, storage_errors_explained
from nas.study.study import Study, open_study
from nas.workers.local import Workers
from nas.workers.start import start_workers

Config = TypeVar("Config", bound=StudyConfig, covariant=True)


@dataclass(frozen=True)
class Session(Generic[Config]):
    """What is open while a plan is carried out."""

    plan: Plan[Config]
    study: Study
    workers: Workers
    console: Console
    progress: Progress
    notes: TimeNotes
    deadline: float | None
    """When the time budget is used up, on time.monotonic; None: never."""
    manner: Manner = COMMAND

    def say(self, text: str) -> None:
        """Print a text as it is."""
        say(self.console, text)

    def run(self, observers: Sequence[Observer] = ()) -> Coordinator:
        """Carry the plan out, to its end or that of a budget; the coordinator says which."""
        watching: list[Observer] = [*observers, self.progress, self.notes]
        if self.manner.callbacks:
            watching.append(Calling(self.manner.callbacks, self.study))
        made = Coordinator(self.plan, self.study, self.workers, watching, self.deadline)
        with self.progress:
            made.run()
        return made


@contextmanager
def open_session(plan: Plan[Config], manner: Manner = COMMAND) -> Iterator[Session[Config]]:
    """Lock and open the study of a plan, start its workers, and turn SIGTERM into an interrupt.

    Raises:
        UserError: if another process holds the study, it was begun with another definition, or its
            storage or a cluster does not answer.
        SearchError: if a storage or a disk that answered before does not any more.
    """
    config = plan.config
    folder, url = config.folder, url_of(config.folder, config.storage)
    with ExitStack() as stack:
        held = stack.enter_context(lock(folder, config.study, config.storage))
        stack.enter_context(storage_errors_explained(url))
        retrying = Retrying(url, seconds("storage_wait", config.storage_wait) or 0.0, held)
        study = open_study(config.study, folder, config.storage, plan.definition, retrying)
        gc.freeze()  # the study stays: nothing in it is garbage
        stack.callback(gc.unfreeze)
        study.note_configuration(asdict(config))
        study.set_attr("provenance", provenance())
        began, spent_s = time.monotonic(), float(study.attrs.get("spent_s", 0.0))
        budget_s = seconds("time_budget", config.time_budget)
        workers = start_workers(
            config.workers,
            seconds("evaluation_time_limit", config.evaluation_time_limit),
            config.evaluation_memory_limit_gb,
            config.cluster,
            plan.protocol.tasks,
            config.devices,
        )
        ends_process = manner.is_command
        # Also while all else is closed:
        stack.enter_context(terminated_as_interrupted(ends_process=ends_process))
        stack.callback(workers.close, wait=False)
        notes = TimeNotes(study, workers)
        stack.callback(notes.close)
        # Elsewhere than in a terminal, lines are as long as they are.
        console = manner.console or Console(soft_wrap=not sys.stdout.isatty())
        progress = Progress(console, budget_s, spent_s)
        deadline = None if budget_s is None else began + budget_s - spent_s
        yield Session(plan, study, workers, console, progress, notes, deadline, manner)
