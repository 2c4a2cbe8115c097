"""`python -m nas.bench --devices cuda:0 --verify`: what the owner of a GPU runs, in minutes.

It compares the device with the CPU, and times K models at once on it.
"""

import itertools
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from nas.bench import goals
from nas.bench.agreement import Agreement, Trained, agreements, trained
from nas.bench.config import BenchConfig
from nas.bench.device_times import DeviceRow, device_row
from nas.bench.measure import Progress
from nas.bench.timing import Ratio, median_s
from nas.compile.backend import ON_GPUS, Backend
from nas.compile.graphs import forget
from nas.report.document import Code, Document, Section, Table, Text


@dataclass
class DeviceReport:
    """Everything that a run on devices found."""

    command: str
    config: BenchConfig
    versions: dict[str, str]
    machine: dict[str, Any]
    agreements: list[Agreement] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    rows: list[DeviceRow] = field(default_factory=list)
    wall_s: float = 0.0


def backends_of(device: str) -> tuple[Backend, ...]:
    """The backends that a device may have, the eager one last."""
    return ("c", "eager") if device == "cpu" else (*ON_GPUS, "eager")


def about_devices(config: BenchConfig) -> dict[str, Any]:
    """The devices, and what decides a time on them."""
    names = [
        torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
        for device in config.devices
    ]
    return {
        "devices": dict(zip(config.devices, names, strict=True)),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "processors": os.cpu_count(),
    }


def measure_devices(report: DeviceReport, progress: Progress) -> None:
    """Compare, if that is asked for, and time; a shape after another."""
    config = report.config
    counts = sorted({1, config.members} - {0})
    for device, cell, shape, members in itertools.product(
        config.devices, config.look_up(), config.shapes(), counts
    ):
        backends = backends_of(device)
        progress(f"{device}: {cell.name}, H {shape.hidden}, K {members}")
        if config.verify:
            report.agreements += agreements(cell, shape, members, device, backends)
            steps = config.parts.checked_steps
            report.trained.append(trained(cell, shape, members, device, steps))
        for mode in config.modes:
            rounds = (config.rounds, config.round_s)
            report.rows.append(device_row(cell, shape, members, mode, device, backends, *rounds))
        forget()  # of a shape that is over


def faults(report: DeviceReport) -> Iterator[str]:
    """What is not as it must be, in a sentence each."""
    for one in report.agreements:
        if not one.is_right:
            pairs = zip(one.differences, one.limits, strict=False)
            differ = [f"{found:.1e} (at most {limit:.1e})" for found, limit in pairs]
            how = f"differs from float64 by {' forward and '.join(differ)} backward"
            yield (
                f"{one.cell}, H {one.hidden}, K {one.members}: backend {one.backend} on "
                f"{one.device} {f'fails: {one.error}' if one.error else how}"
            )
    for each in report.trained:
        if not each.is_right:
            yield (
                f"{each.cell}, H {each.hidden}, K {each.members}: training on {each.device} gives "
                f"losses that differ from the CPU's by {each.difference:.1e}"
            )


def document_of(report: DeviceReport) -> Document:
    """The command, the devices, and a table of each part."""
    machine = report.machine
    devices = ", ".join(f"{name}: {what}" for name, what in machine["devices"].items())
    run = (
        Code(report.command, "console"),
        Text(f"{devices}; torch {report.versions.get('torch', '?')}, CUDA {machine['cuda']}."),
        Text(f"It took {report.wall_s / 60:.1f} minutes."),
    )
    parts = [_checked(report)] if report.agreements else []
    return Document("", "", [Section("", run), *parts, _timed(report)])


def _checked(report: DeviceReport) -> Section:
    losses = {(t.device, t.cell, t.hidden, t.members): t for t in report.trained}
    rows = []
    for one in report.agreements:
        of = losses[one.device, one.cell, one.hidden, one.members]
        values = [f"{found:.1e}" for found in one.differences] or ["-", "-"]
        verdict = "does not run it" if one.reason else "same" if one.is_right else "WRONG"
        verdict = "FAILS" if one.error else verdict
        about = [one.device, one.cell, str(one.hidden), str(one.members), one.backend]
        verdicts = [verdict, f"{of.difference:.1e}", "same" if of.is_right else "WRONG"]
        rows.append([*about, *values, *verdicts])
    head = "device, cell, H, K, backend, forward, backward, verdict, training, its verdict"
    wrong = len(list(faults(report)))
    note = f"{'Nothing' if not wrong else wrong} is wrong. Differences from float64 on the CPU, in "
    note += "shares of the largest value; of losses of a short training from those of the CPU."
    reasons = sorted({one.reason or one.error for one in report.agreements} - {""})
    title = "Does the device compute what the CPU does?"
    return Section(title, [Table("", head.split(", "), rows, note=note), *map(Text, reasons)])


def _timed(report: DeviceReport) -> Section:
    rows = []
    for row in report.rows:
        shape = row.shape
        sizes = [row.device, row.cell, shape.hidden, shape.batch, shape.steps, row.members]
        of = {arm: f"{1000 * median_s(times):.3g}" for arm, times in row.times_s.items()}
        by = ", ".join(f"{arm} {ms}" for arm, ms in of.items() if arm != row.torch)
        torchs = row.torch if row.same_cell else f"({row.torch})"
        ratios = [_ratio(row.against_torch), _ratio(row.against_eager)]
        ours = [row.ours, f"{row.models_per_s:.0f}"]
        rows.append([*map(str, sizes), row.mode, by, f"{torchs} {of[row.torch]}", *ours, *ratios])
    head = "device; cell; H; B; T; K; mode; ms of K models; ms of one; fastest; models/s"
    columns = [*head.split("; "), "against torch's one at a time", "against the eager batch"]
    note = "models/s: minibatches a second, summed over the K models. A ratio above 1: ours is "
    note += "faster; in brackets the quartiles of rounds. (nn.LSTM): another cell, a yardstick."
    return Section("Times", [Table("", columns, rows, note=note), *map(Text, _goals(report))])


def _goals(report: DeviceReport) -> Iterator[str]:
    """What the project aims at on a GPU, and what was reached."""
    sizes = (goals.AT_ONCE, goals.AT_WIDTH)
    on_gpus = [row for row in report.rows if row.device != "cpu"]
    rows = [row for row in on_gpus if (row.members, row.shape.hidden) == sizes]
    where = f"{goals.AT_ONCE} models of {goals.AT_WIDTH} units"
    if lstms := [row.against_torch.ratio for row in rows if row.cell == "lstm"]:
        aim = f"at least {goals.OVER_TORCH:g} times as fast as nn.LSTM one at a time"
        yield f"Aim for {where}: an LSTM {aim}. Reached: {min(lstms):.1f}."
    if rows:
        least = min(rows, key=lambda row: row.against_eager.ratio)
        aim = f"at least {goals.OVER_EAGER:g} times as fast as the eager batch"
        reached = f"{least.against_eager.ratio:.1f} ({least.cell}, {least.mode})"
        yield f"Aim for {where}: any cell {aim}. Reached: {reached}."


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.ratio:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
