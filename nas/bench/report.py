"""What was measured, as data and as JSON, and whether it is all there."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.bench.clock import Ratio, Times, compare, median_s
from nas.bench.compiling import AheadTime, CompileTime
from nas.bench.config import BenchConfig, Input, Mode, Shape
from nas.bench.goals import goal
from nas.errors import UserError

if TYPE_CHECKING:  # they import what a run without these parts does not need
    from nas.bench.members import Members
    from nas.bench.memory import Memory
    from nas.bench.mutants import MutantRow
    from nas.bench.search import Search
    from nas.bench.training import Throughput
    from nas.bench.workers import Workers

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
    def ratios(self) -> dict[str, Ratio]:
        """Ours against every other arm."""
        ours = self.times_s[self.ours]
        return {
            arm: compare(times, ours) for arm, times in self.times_s.items() if arm != self.ours
        }

    @property
    def goals(self) -> dict[str, float]:
        """The ratios that the project aims at, by arm."""
        found = {
            arm: goal(self.cell, arm, self.input, self.mode, self.shape.hidden)
            for arm in self.times_s
        }
        return {arm: ratio for arm, ratio in found.items() if ratio is not None}

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
    peak_gflops: dict[int, float] = field(default_factory=dict)
    """Of torch.mm, by threads."""
    rows: list[Row] = field(default_factory=list)
    compile_times: list[CompileTime] = field(default_factory=list)
    ahead: AheadTime | None = None
    training: "Throughput | None" = None
    members: "list[Members]" = field(default_factory=list)
    mutants: "list[MutantRow]" = field(default_factory=list)
    memory: "list[Memory]" = field(default_factory=list)
    workers: "list[Workers]" = field(default_factory=list)
    search: "list[Search]" = field(default_factory=list)
    part_s: dict[str, float] = field(default_factory=dict)
    """Wall time of each part."""
    wall_s: float = 0.0
    """Of the whole run."""
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)

    def share_of_peak(self, row: Row) -> float:
        return row.gflops / self.peak_gflops[row.threads]


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain data, raw times included."""
    data = asdict(report)
    for row, plain in zip(report.rows, data["rows"], strict=True):
        plain |= plain.pop("shape")
        plain["median_s"] = {arm: median_s(times) for arm, times in row.times_s.items()}
        plain["ratios"] = {arm: asdict(ratio) for arm, ratio in row.ratios.items()}
        plain["goals"] = row.goals
        plain["gflops"] = row.gflops
        plain["share_of_peak"] = report.share_of_peak(row)
    if training := report.training:
        arms = training.times_s
        data["training"]["steps_per_s"] = {arm: training.steps_per_s(arm) for arm in arms}
        data["training"]["overhead"] = training.overhead
    for part, plain in zip(report.members, data["members"], strict=True):
        plain["steps_per_s"] = {arm: part.steps_per_s(arm) for arm in part.times_s}
    for mutant, plain in zip(report.mutants, data["mutants"], strict=True):
        plain |= plain.pop("shape")
        plain |= {"gflops": mutant.gflops, "share": mutant.share}
    for crew, plain in zip(report.workers, data["workers"], strict=True):
        plain["per_minute"] = {arm: crew.per_minute(arm) for arm in crew.times_s}
        plain["gain"] = crew.gain
    for one, plain in zip(report.search, data["search"], strict=True):
        plain["per_minute"] = one.per_minute
    return data


def write_json(report: Report, path: Path) -> None:
    data = _rounded(as_json(report))
    text = json.dumps(data, indent=1, allow_nan=False, default=str)  # paths are text
    text = re.sub(r"\[[^][{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path} cannot be written: {error.strerror}.") from None


def _rounded(data: Any) -> Any:
    """The same with seven digits of every number, which is more than a clock knows."""
    if isinstance(data, float):
        return float(f"{data:.7g}")
    if isinstance(data, dict):
        return {name: _rounded(value) for name, value in data.items()}
    return [_rounded(value) for value in data] if isinstance(data, list | tuple) else data


def missing(report: Report) -> Iterator[str]:
    """What a complete run of the configuration has and the report has not, or has wrong."""
    config = report.config
    cells = len(config.look_up())
    shapes = len(config.shapes) * len(config.modes) * len(config.inputs) * len(config.threads)
    if len(report.rows) != cells * shapes:
        yield f"{len(report.rows)} of {cells * shapes} rows"
    for row in report.rows:
        yield from _wrong(row, config.rounds)
    compiled = cells * len(config.hidden) if any(row.ours == "c" for row in report.rows) else 0
    if len(report.compile_times) < compiled:
        yield f"{len(report.compile_times)} of {compiled} compile times"
    if compiled and report.ahead is None:
        yield "the time of compiling ahead"
    if config.training and report.training is None:
        yield "training"
    parts = config.parts
    expected = {
        "members": len(parts.member_hidden) if config.members else 0,
        "mutants": config.mutants * len(config.hidden),
        "workers": len(parts.worker_params) if config.workers else 0,
        "search": 2 if config.search else 0,
    }
    for name, count in expected.items():
        if (found := len(getattr(report, name))) != count:
            yield f"{found} of {count} results of {name}"
    if config.memory and len(report.memory) < len(parts.memory_shapes):
        yield "memory"
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
