"""What was measured, as tables, as JSON, and whether it is all there."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from nas.bench.clock import Ratio, Times, compare, median_s
from nas.bench.config import BenchConfig, Input, Mode, Shape
from nas.bench.machine import CompileTime
from nas.errors import UserError

if TYPE_CHECKING:  # it imports Lightning, which a run without training does not need
    from nas.bench.training import Throughput

AGREEMENT = 1e-4
"""Most that outputs with equal weights may differ in float32, after tens of steps."""


@dataclass(frozen=True)
class Row:
    """One cell, shape, input and mode."""

    cell: str
    shape: Shape
    input: Input
    mode: Mode
    ours: str
    torch: str
    same_cell: bool
    times_s: dict[str, Times]
    matrix_flops: float
    differences: dict[str, float | None]

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Ours against every other arm."""
        ours = self.times_s[self.ours]
        return {
            arm: compare(times, ours) for arm, times in self.times_s.items() if arm != self.ours
        }

    @property
    def gflops(self) -> float:
        """Of the matrix products, a second of ours."""
        return self.matrix_flops / median_s(self.times_s[self.ours]) / 1e9


@dataclass
class Report:
    """Everything that a run of the command measured."""

    command: str
    config: BenchConfig
    versions: dict[str, str]
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    compile_times: list[CompileTime] = field(default_factory=list)
    training: "Throughput | None" = None
    peak_gflops: float = 0.0
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain data, raw times included."""
    data = asdict(report)
    for row, plain in zip(report.rows, data["rows"], strict=True):
        plain |= plain.pop("shape")
        plain["median_s"] = {arm: median_s(times) for arm, times in row.times_s.items()}
        plain["ratios"] = {arm: asdict(ratio) for arm, ratio in row.ratios.items()}
        plain["gflops"] = row.gflops
        plain["share_of_peak"] = row.gflops / report.peak_gflops
    if training := report.training:
        arms = training.times_s
        data["training"]["steps_per_s"] = {arm: training.steps_per_s(arm) for arm in arms}
        data["training"]["overhead"] = training.overhead
    return data


def write_json(report: Report, path: Path) -> None:
    text = json.dumps(as_json(report), indent=1, allow_nan=False, default=str)  # paths are text
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path} cannot be written: {error.strerror}.") from None


def missing(report: Report) -> Iterator[str]:
    """What a complete run of the configuration has and the report has not, or has wrong."""
    config = report.config
    cells = len(config.look_up())
    expected = cells * len(config.shapes) * len(config.modes) * len(config.inputs)
    if len(report.rows) != expected:
        yield f"{len(report.rows)} of {expected} rows"
    for row in report.rows:
        name = f"{row.cell} {row.shape.hidden} {row.input} {row.mode}"
        for arm, times in row.times_s.items():
            if len(times) != config.rounds or any(t is not None and not t > 0 for t in times):
                yield f"{name}: times of {arm}: {times}"
        for arm, difference in row.differences.items():
            if difference is None or difference > AGREEMENT:
                yield f"{name}: output differs from that of {arm} by {difference}"
        if not all(math.isfinite(ratio.ratio) for ratio in row.ratios.values()):
            yield f"{name}: ratios {row.ratios}"
    compiled = cells * len(config.hidden) if any(row.ours == "c" for row in report.rows) else 0
    if len(report.compile_times) < compiled:
        yield f"{len(report.compile_times)} of {compiled} compile times"
    if config.training and report.training is None:
        yield "training"


def show(report: Report, console: Console) -> None:
    """Print all tables."""
    console.print(_table_of_rows(report))
    console.print(
        f"Peak of torch.mm, float32, one thread: {report.peak_gflops:.0f} GFLOP/s. GFLOP/s in the "
        "table are those of the matrix products that ours executes.",
        highlight=False,
    )
    if report.compile_times:
        console.print(_table_of_compile_times(report.compile_times))
    if report.training:
        console.print(_training(report.training), highlight=False)
    for note in report.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def _table_of_rows(report: Report) -> Table:
    table = Table(title="Median milliseconds; ratio: baseline / ours", title_justify="left")
    for name in ("cell", "H", "B", "T", "input", "mode", "ours", "ms", "against", "ms"):
        left = name in ("cell", "input", "mode", "ours", "against")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for name in ("ratio", "quartiles", "eager ms", "ratio", "GFLOP/s", "% of peak"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        shape, torch = row.shape, row.ratios[row.torch]
        against = row.torch if row.same_cell else f"({row.torch})"
        eager = ("", "")
        if row.ours != "eager" and "eager" in row.times_s:
            eager = (_ms(row.times_s["eager"]), f"{row.ratios['eager'].ratio:.2f}")
        table.add_row(
            row.cell,
            *(str(n) for n in (shape.hidden, shape.batch, shape.steps)),
            *(row.input, row.mode, row.ours, _ms(row.times_s[row.ours])),
            *(against, _ms(row.times_s[row.torch]), f"{torch.ratio:.2f}"),
            *(f"{torch.low:.2f}-{torch.high:.2f}", *eager),
            *(f"{row.gflops:.1f}", f"{100 * row.gflops / report.peak_gflops:.0f}"),
        )
    return table


def _ms(times: Times) -> str:
    return f"{1000 * median_s(times):.3g}"


def _table_of_compile_times(found: list[CompileTime]) -> Table:
    table = Table(title="Milliseconds from a cell to a loop", title_justify="left")
    for name in ("cell", "H", "cold", "cached"):
        table.add_column(name, justify="left" if name == "cell" else "right")
    for one in found:
        cached = median_s(one.cached_s)
        table.add_row(one.cell, str(one.hidden), f"{1000 * one.cold_s:.0f}", f"{1000 * cached:.1f}")
    return table


def _training(training: "Throughput") -> str:
    speeds = ", ".join(f"{arm} {training.steps_per_s(arm):.0f}" for arm in training.times_s)
    return (
        f"Training steps a second (text, LSTM, H {training.hidden}, B {training.batch}, "
        f"T {training.window}): {speeds}. Of nas.train's time, {training.overhead:.0%} is not in "
        "the same steps by hand."
    )
