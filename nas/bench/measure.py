"""All measurements of a run, one after another: the rows, then each part that is asked for.

A part imports what it needs when it runs: Lightning and a search's files take a second.
"""

import os
import time
from collections.abc import Callable, Iterator

from nas.bench.arms import TWINS, make_arms, obstacle, work
from nas.bench.compiling import ahead_time, compile_time
from nas.bench.config import BenchConfig, Input, Shape
from nas.bench.flops import matrix_flops
from nas.bench.machine import peak_gflops, threads
from nas.bench.report import Report, Row
from nas.bench.timing import take_turns
from nas.cell.cell import Cell
from nas.errors import SearchError, UserError
from nas.zoo import ZOO

CELL = "lstm"
"""The cell that is trained where a part compares ways of training."""
Progress = Callable[[str], None]


def measure(report: Report, progress: Progress) -> None:
    """Measure what the configuration asks for.

    A part that cannot run, such as on a Python without the documentation that is the text, is left
    out with a note.
    """
    config, began = report.config, time.perf_counter()
    _rows(report, progress)
    report.part_s["rows"] = time.perf_counter() - began
    for name, is_wanted, part in (
        ("compiling ahead", bool(report.compile_times), _ahead),
        ("training", config.training, _training),
        ("members", bool(config.members), _members),
        ("mutants", bool(config.mutants), _mutants),
        ("memory", config.memory, _memory),
        ("workers", bool(config.workers), _workers),
        ("exported", config.exported, _exported),
        ("winners", bool(config.winners), _winners),
        ("search", bool(config.search), _search),
    ):
        if is_wanted:
            progress(name)
            began = time.perf_counter()
            try:
                part(report, progress)
            except (UserError, SearchError) as error:
                report.note(f"{name} was left out: {error}")
            report.part_s[name] = time.perf_counter() - began


def _rows(report: Report, progress: Progress) -> None:
    config, peaks = report.config, report.peak_gflops
    load, processors = report.machine["load_average"], report.machine["processors"]
    if load is not None and processors and load > processors / 2:
        report.note(f"the load average is {load:.1f} on {processors} processors: times are noisy.")
    cells = config.look_up()
    for cell in cells:
        for hidden in config.hidden:
            if reason := obstacle(cell, hidden):
                report.note(f"{reason} Its rows compare the eager backend.")
            else:
                report.compile_times.append(compile_time(cell, hidden))
    for n_threads in config.threads:
        with threads(n_threads):
            for cell in cells:
                # Again for each cell: other work on the machine must not make the peak low.
                peaks[n_threads] = max(peaks.get(n_threads, 0.0), peak_gflops(config.peak_size))
                for shape in config.shapes():
                    for inputs in config.inputs:
                        progress(f"{cell.name}, H {shape.hidden}, {inputs}, {n_threads} threads")
                        report.rows += _modes(config, cell, shape, inputs, n_threads)


def _modes(
    config: BenchConfig, cell: Cell, shape: Shape, inputs: Input, n_threads: int
) -> Iterator[Row]:
    """The rows of all modes of one cell, shape and input."""
    arms = make_arms(cell, shape, inputs, eager=shape.hidden <= config.eager_limit)
    differences, is_compiled = arms.largest_difference(), arms.ours == "c"
    for mode in config.modes:
        todo = {arm.name: work(arm, mode) for arm in arms.arms}
        seldom = ["eager"] if is_compiled else []
        times = take_turns(todo, config.rounds, config.round_s, seldom)
        flops = matrix_flops(cell, shape, inputs, backward=mode != "fwd", folding=is_compiled)
        about = (cell.name, shape, inputs, mode, n_threads, arms.ours, arms.torch, arms.same_cell)
        yield Row(*about, times, flops, differences)


def _ahead(report: Report, progress: Progress) -> None:
    from nas.bench.mutants import draw

    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    hidden, cells = min(report.config.hidden), draw(report.config.parts.ahead)
    report.ahead = ahead_time(cells, hidden, sorted({1, n_cores}))


def _training(report: Report, progress: Progress) -> None:
    from nas.bench.training import throughput

    parts = report.config.parts
    report.training = throughput(parts.training_steps, min(report.config.rounds, parts.rounds))


def _members(report: Report, progress: Progress) -> None:
    from nas.bench.training import train_members

    parts, count = report.config.parts, report.config.members
    for hidden in parts.member_hidden:
        progress(f"{count} members, H {hidden}")
        members = train_members(ZOO[CELL], hidden, count, parts.member_steps, parts.rounds)
        report.members.append(members)


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
    from nas.bench.throughput import workers

    config, parts = report.config, report.config.parts
    for n_params in parts.worker_params:
        progress(f"{config.workers} workers, {n_params} parameters")
        counts = (parts.worker_steps, parts.worker_evaluations, parts.rounds)
        report.workers.append(workers(ZOO[CELL], n_params, config.workers, *counts))


def _exported(report: Report, progress: Progress) -> None:
    from nas.bench.exported import check_packages, exported_step

    check_packages()
    config = report.config
    for cell in config.look_up():
        for hidden in config.hidden:
            progress(f"one step of {cell.name}, H {hidden}")
            report.exported.append(exported_step(cell, hidden, config.rounds, config.round_s))


def _winners(report: Report, progress: Progress) -> None:
    from nas.bench.exported import check_packages
    from nas.bench.winners import winner_step

    check_packages()
    config = report.config
    for path in config.winners:
        progress(f"one step of {path}")
        report.winners.append(winner_step(path, config.rounds, config.round_s))


def _search(report: Report, progress: Progress) -> None:
    from nas.bench.throughput import BACKENDS, search

    config = report.config
    for backend in BACKENDS:
        progress(f"search with backend {backend}")
        report.search.append(search(backend, config.search, tiny=config.smoke))
