"""`python -m nas.bench`: how fast cells are, against torch's own modules and the eager backend."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.bench.config import BenchConfig, Input, Shape, parse
from nas.cell.graph import Cell
from nas.cli import EXIT_FAILED, guarded
from nas.errors import UserError
from nas.provenance import provenance

if TYPE_CHECKING:
    from nas.bench.report import Report, Row

WIDTH = 140
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

    from nas.bench.machine import machine, one_thread
    from nas.bench.report import Report, missing, show, write_json

    with one_thread(), torch.random.fork_rng(devices=[]):
        command = shlex.join(["python", "-m", "nas.bench", *arguments])
        report = Report(command, config, provenance(), machine())
        _measure(report)
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=WIDTH)
    show(report, console)
    if config.json:
        write_json(report, config.json)
    if config.png:
        from nas.bench.picture import draw

        draw(report, config.png)
    wrong = list(missing(report)) if config.smoke else []
    for what in wrong:
        print(f"nas.bench: missing or wrong: {what}", file=sys.stderr)
    return EXIT_FAILED if wrong else 0


def _measure(report: "Report") -> None:
    from nas.bench.machine import peak_gflops

    config = report.config
    load, processors = report.machine["load_average"], report.machine["processors"]
    if load is not None and processors and load > processors / 2:
        report.note(f"the load average is {load:.1f} on {processors} processors: times are noisy.")
    report.peak_gflops = peak_gflops(config.peak_size)
    cells, done = config.look_up(), 0
    total = len(cells) * len(config.shapes) * len(config.inputs)
    for cell in cells:
        _measure_compiler(report, cell)
        for shape in config.shapes:
            for given in config.inputs:
                done += 1
                _progress(f"{done}/{total} {cell.name}, H {shape.hidden}, {given}")
                report.rows.extend(_rows(config, cell, shape, given))
    report.peak_gflops = max(report.peak_gflops, peak_gflops(config.peak_size))
    if config.training:
        _progress("training")
        _measure_training(report)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def _rows(config: BenchConfig, cell: Cell, shape: Shape, given: Input) -> list["Row"]:
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
        about = (cell.name, shape, given, mode, arms.ours, arms.torch, arms.same_cell)
        rows.append(Row(*about, times, flops, differences))
    return rows


def _measure_compiler(report: "Report", cell: Cell) -> None:
    """Compile times at each width, where there is a compiler and the cell can be compiled."""
    from nas.bench.arms import obstacle
    from nas.bench.machine import compile_time

    for hidden in report.config.hidden:
        if reason := obstacle(cell, hidden):
            report.note(f"{reason} Its rows compare the eager backend.")
        else:
            report.compile_times.append(compile_time(cell, hidden))


def _measure_training(report: "Report") -> None:
    from nas.bench.training import ROUNDS, throughput

    config = report.config
    try:
        report.training = throughput(config.training_steps, min(config.rounds, ROUNDS))
    except UserError as error:  # a Python without its documentation, which is the text
        report.note(f"training was left out: {error}")
