"""The parts of a run that are no rows, one after another, each if it is asked for.

What a part needs is imported when it runs: Lightning and a search's files take a second.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.bench.arms import TWINS, obstacle
from nas.bench.report import Report
from nas.errors import SearchError, UserError
from nas.zoo import ZOO

CELL = "lstm"
"""What is trained where a part compares ways of training."""
Progress = Callable[[str], None]


def measure_parts(report: Report, progress: Progress) -> None:
    """Measure what the configuration asks for; a part that fails is noted."""
    config = report.config
    for name, wanted, part in (
        ("compiling ahead", bool(report.compile_times), _ahead),
        ("training", config.training, _training),
        ("members", bool(config.members), _members),
        ("mutants", bool(config.mutants), _mutants),
        ("memory", config.memory, _memory),
        ("workers", bool(config.workers), _workers),
        ("search", bool(config.search), _search),
    ):
        if wanted:
            progress(name)
            began = time.perf_counter()
            with _noted(report, name):
                part(report, progress)
            report.part_s[name] = time.perf_counter() - began


@contextmanager
def _noted(report: Report, name: str) -> Iterator[None]:
    """What a part lacks, such as a Python without the documentation that is the text, is said."""
    try:
        yield
    except (UserError, SearchError) as error:
        report.note(f"{name} was left out: {error}")


def _ahead(report: Report, progress: Progress) -> None:
    from nas.bench.compiling import ahead_time
    from nas.bench.mutants import draw

    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    jobs = sorted({1, n_cores})
    hidden = min(report.config.hidden)
    report.ahead = ahead_time(draw(report.config.parts.ahead), hidden, jobs)


def _training(report: Report, progress: Progress) -> None:
    from nas.bench.training import throughput

    config = report.config
    rounds = min(config.rounds, config.parts.rounds)
    report.training = throughput(config.parts.training_steps, rounds)


def _members(report: Report, progress: Progress) -> None:
    from nas.bench.members import train_members

    parts = report.config.parts
    for hidden in parts.member_hidden:
        progress(f"{report.config.members} members, H {hidden}")
        sizes = (hidden, report.config.members, parts.member_steps, parts.rounds)
        report.members.append(train_members(ZOO[CELL], *sizes))


def _mutants(report: Report, progress: Progress) -> None:
    from nas.bench.mutants import mutant_rows

    report.mutants.extend(mutant_rows(report.config, progress))


def _memory(report: Report, progress: Progress) -> None:
    from nas.bench.memory import memory

    parts = report.config.parts
    cells = [cell.name for cell in report.config.look_up() if cell.name in TWINS] or [CELL]
    for name in cells:
        for hidden, batch, steps in parts.memory_shapes:
            progress(f"memory of {name}, H {hidden}, B {batch}, T {steps}")
            if reason := obstacle(ZOO[name], hidden):
                raise SearchError(reason)
            report.memory.append(memory(name, hidden, batch, steps, parts.memory_steps))


def _workers(report: Report, progress: Progress) -> None:
    from nas.bench.workers import workers

    config, parts = report.config, report.config.parts
    for n_params in parts.worker_params:
        progress(f"{config.workers} workers, {n_params} parameters")
        counts = (parts.worker_steps, parts.worker_evaluations, parts.rounds)
        report.workers.append(workers(ZOO[CELL], n_params, config.workers, *counts))


def _search(report: Report, progress: Progress) -> None:
    from nas.bench.search import BACKENDS, search

    for backend in BACKENDS:
        progress(f"search with backend {backend}")
        found = search(backend, report.config.search, tiny=report.config.smoke)
        report.search.append(found)
