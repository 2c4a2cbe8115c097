"""`python -m nas.bench`: how fast cells are, against torch's own modules and the eager backend."""

import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.bench.config import BenchConfig, Input, Shape
from nas.bench.flags import parse
from nas.cell.cell import Cell
from nas.command_line import EXIT_FAILED, guarded
from nas.study.provenance import provenance

if TYPE_CHECKING:
    from nas.bench.report import Report, Row

WIDTH = 160
"""Columns of the tables where the output is no terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return guarded("nas.bench", lambda: bench(parse(given), given))


def bench(config: BenchConfig, arguments: Sequence[str]) -> int:
    """Measure, print, and write what is asked for."""
    # torch is imported once the arguments are known to be good.
    import torch
    from rich.console import Console

    from nas.bench.machine import machine, threads
    from nas.bench.parts import measure_parts
    from nas.bench.report import Report, missing, write_json
    from nas.bench.tables import show, write_markdown

    began = time.perf_counter()
    with threads(1), torch.random.fork_rng(devices=[]):
        command = shlex.join(["python", "-m", "nas.bench", *arguments])
        report = Report(command, config, provenance(), machine())
        _measure_rows(report)
        report.part_s["rows"] = time.perf_counter() - began
        measure_parts(report, progress)
    report.wall_s = time.perf_counter() - began
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=WIDTH)
    show(report, console)
    if config.json:
        write_json(report, config.json)
    if config.markdown:
        write_markdown(report, config.markdown)
    if config.png:
        from nas.bench.picture import draw

        draw(report, config.png)
    wrong = list(missing(report)) if config.smoke else []
    for what in wrong:
        print(f"nas.bench: missing or wrong: {what}", file=sys.stderr)
    return EXIT_FAILED if wrong else 0


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def _measure_rows(report: "Report") -> None:
    from nas.bench.compiling import compile_time
    from nas.bench.machine import peak_gflops, threads

    config, peaks = report.config, report.peak_gflops
    load, processors = report.machine["load_average"], report.machine["processors"]
    if load is not None and processors and load > processors / 2:
        report.note(f"the load average is {load:.1f} on {processors} processors: times are noisy.")
    cells = config.look_up()
    for cell in cells:
        for hidden in _compilable(report, cell):
            report.compile_times.append(compile_time(cell, hidden))
    for n_threads in config.threads:
        with threads(n_threads):
            for cell in cells:
                # Again for each cell: other work on the machine must not make the peak low.
                peaks[n_threads] = max(peaks.get(n_threads, 0.0), peak_gflops(config.peak_size))
                for shape in config.shapes:
                    for given in config.inputs:
                        progress(f"{cell.name}, H {shape.hidden}, {given}, {n_threads} threads")
                        report.rows.extend(_rows(config, cell, shape, given, n_threads))


def _compilable(report: "Report", cell: Cell) -> list[int]:
    """The widths at which a cell can be compiled; why not is noted."""
    from nas.bench.arms import obstacle

    widths = []
    for hidden in report.config.hidden:
        if reason := obstacle(cell, hidden):
            report.note(f"{reason} Its rows compare the eager backend.")
        else:
            widths.append(hidden)
    return widths


def _rows(
    config: BenchConfig, cell: Cell, shape: Shape, given: Input, n_threads: int
) -> list["Row"]:
    """All modes of one cell, shape and input."""
    from nas.bench.arms import make_arms, work
    from nas.bench.clock import take_turns
    from nas.bench.flops import matrix_flops
    from nas.bench.report import Row

    arms = make_arms(cell, shape, given, eager=shape.hidden <= config.eager_limit)
    differences = arms.largest_difference()
    rows = []
    for mode in config.modes:
        seldom = ["eager"] if arms.ours != "eager" else []
        todo = {arm.name: work(arm, mode) for arm in arms.arms}
        times = take_turns(todo, config.rounds, config.round_s, seldom)
        folding, backward = arms.ours == "c", mode != "fwd"
        flops = matrix_flops(cell, shape, given, backward=backward, folding=folding)
        about = (cell.name, shape, given, mode, n_threads, arms.ours, arms.torch, arms.same_cell)
        rows.append(Row(*about, times, flops, differences))
    return rows
