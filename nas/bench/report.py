"""The measurements of a run as data and as JSON, and whether they are complete."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.bench.compiling import AheadTime, CompileTime
from nas.bench.config import BenchConfig, Input, Mode, Shape
from nas.bench.goals import goal
from nas.bench.timing import Ratio, Times, compare, median_s
from nas.report.files import rounded, write_file

if TYPE_CHECKING:  # they import what a run without these parts does not need
    from nas.bench.exported import ExportedStep
    from nas.bench.memory import Memory
    from nas.bench.mutants import MutantRow
    from nas.bench.throughput import Search, Workers
    from nas.bench.training import Members, Throughput

AGREEMENT = 1e-4
"""Most that outputs with equal weights may differ in float32, after tens of steps."""


@dataclass(frozen=True)
class Row:
    """One cell, shape, input and mode."""

    cell: str
    shape: Shape
    input: Input
    mode: Mode
    threads: int
    ours: str
    torch: str
    same_cell: bool
    times_s: dict[str, Times]
    matrix_flops: float
    differences: dict[str, float | None]

    @property
    def median_s(self) -> dict[str, float]:
        return {arm: median_s(times) for arm, times in self.times_s.items()}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Ours against every other arm."""
        ours = self.times_s[self.ours]
        return {arm: compare(t, ours) for arm, t in self.times_s.items() if arm != self.ours}

    @property
    def goals(self) -> dict[str, float]:
        """The ratios that the project aims at, by arm."""
        about = (self.input, self.mode, self.shape.hidden)
        goals = {arm: goal(self.cell, arm, *about) for arm in self.times_s}
        return {arm: ratio for arm, ratio in goals.items() if ratio is not None}

    @property
    def gflops(self) -> float:
        """Billions of operations of matrix products that ours executes a second."""
        return self.matrix_flops / self.median_s[self.ours] / 1e9


@dataclass
class Report:
    """Everything that a run of the command measured."""

    command: str
    config: BenchConfig
    versions: dict[str, str]
    machine: dict[str, Any]
    peak_gflops: dict[int, float] = field(default_factory=dict)
    """The peak of torch.mm by the number of threads."""
    rows: list[Row] = field(default_factory=list)
    compile_times: list[CompileTime] = field(default_factory=list)
    ahead: AheadTime | None = None
    training: "Throughput | None" = None
    members: "list[Members]" = field(default_factory=list)
    mutants: "list[MutantRow]" = field(default_factory=list)
    memory: "list[Memory]" = field(default_factory=list)
    workers: "list[Workers]" = field(default_factory=list)
    exported: "list[ExportedStep]" = field(default_factory=list)
    winners: "list[ExportedStep]" = field(default_factory=list)
    search: "list[Search]" = field(default_factory=list)
    part_s: dict[str, float] = field(default_factory=dict)
    """Wall time of each part."""
    wall_s: float = 0.0
    """Wall time of the whole run."""
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def share_of_peak(self, row: Row) -> float:
        return row.gflops / self.peak_gflops[row.threads]


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain data, raw times included."""
    data: dict[str, Any] = plain(report)
    for row, written in zip(report.rows, data["rows"], strict=True):
        written["share_of_peak"] = report.share_of_peak(row)
    return data


def plain(value: Any) -> Any:
    """A measurement as a mapping of its fields, those of its shape, and its properties."""
    if is_dataclass(value):
        data = {part.name: getattr(value, part.name) for part in fields(value)}
        data |= vars(data.pop("shape")) if "shape" in data else {}
        names = [n for n, member in vars(type(value)).items() if isinstance(member, property)]
        return plain(data | {name: getattr(value, name) for name in names})
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write plain data, a line for each list of numbers."""
    data = rounded(data)
    text = json.dumps(data, indent=1, allow_nan=False, default=str)  # paths are text
    text = re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    write_file(path, f"{text}\n", f"--json {path}")


def missing(report: Report) -> Iterator[str]:
    """Each result that a complete run has and the report lacks or has wrong."""
    config, parts = report.config, report.config.parts
    n_cells, n_widths = len(config.look_up()), len(config.hidden)
    n_kinds = len(config.modes) * len(config.inputs) * len(config.threads)
    n_compiled = n_cells * n_widths if any(row.ours == "c" for row in report.rows) else 0
    expected = {
        "rows": n_cells * len(config.shapes()) * n_kinds,
        "compile_times": n_compiled,
        "members": len(parts.member_hidden) if config.members else 0,
        "mutants": config.mutants * n_widths,
        "memory": len(parts.memory_shapes) if config.memory else 0,
        "workers": len(parts.worker_params) if config.workers else 0,
        "exported": n_cells * n_widths if config.exported else 0,
        "winners": len(config.winners),
        "search": 2 if config.search else 0,
    }
    for name, count in expected.items():
        n_measured = len(getattr(report, name))
        if n_measured < count or (n_measured > count and name != "memory"):
            yield f"{n_measured} of {count} results of {name}"
    if n_compiled and report.ahead is None:
        yield "the time of compiling ahead"
    if config.training and report.training is None:
        yield "training"
    for row in report.rows:
        yield from _wrong(row, config.rounds)
    for part in report.members:
        if not part.same:
            yield f"members of {part.cell} {part.hidden} differ from those that train alone"


def _wrong(row: Row, rounds: int) -> Iterator[str]:
    name = f"{row.cell} {row.shape.hidden} {row.input} {row.mode}"
    for arm, times in row.times_s.items():
        if len(times) != rounds or any(t is not None and not t > 0 for t in times):
            yield f"{name}: times of {arm}: {times}"
    for arm, difference in row.differences.items():
        if difference is None or difference > AGREEMENT:
            yield f"{name}: output differs from that of {arm} by {difference}"
    if not all(math.isfinite(ratio.ratio) for ratio in row.ratios.values()):
        yield f"{name}: ratios {row.ratios}"
