"""A folder with a cell or a trained winner in C: NAME.c, NAME.h and README.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.compile.native import CompilerError
from nas.errors import UserError
from nas.export.c.accuracy import compiled_scores, exact_scores, metric_of, pieces
from nas.export.c.compiled import Compiled, difference
from nas.export.c.files import (
    N_STEPS,
    Written,
    answers,
    interface_lines,
    normalised,
    raw_inputs,
    template,
    write,
)
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.names import is_identifier
from nas.export.c.network import Network, network_of
from nas.export.c.ranges import random_inputs, random_pieces, ranges_of
from nas.export.number_format import NumberFormat
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel
from nas.report.files import write_files
from nas.tasks.base import Task

MARK = "nas export"
"""In every file that this export writes."""
README = "README.md"


@dataclass(frozen=True)
class Wanted:
    """What the command asks for."""

    folder: Path
    name: str
    number_format: NumberFormat
    command: str
    note: str = ""
    """A sentence on where the weights come from."""


def check_name(name: str) -> None:
    """Raise UserError if C does not take a name."""
    if not is_identifier(name):
        raise UserError(
            f'"{name}" is no name of C, in which the functions are called NAME_init and NAME_step: '
            "give --name NAME with letters, digits and _, a letter first, and no keyword."
        )


def check_folder(folder: Path, name: str) -> None:
    """Raise UserError if a folder holds something that this export did not write."""
    if not folder.absolute().parent.is_dir():
        raise UserError(f"--c {folder}: there is no folder {folder.parent}.")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"--c {folder} is a file: give an empty or new folder.")
    own = {f"{name}.c", f"{name}.h", README}
    for path in sorted(folder.iterdir()):
        is_ours = path.name in own and path.is_file() and MARK in _start(path)
        if not is_ours:
            raise UserError(
                f"--c {folder} holds {path.name}, which this export did not write: give an empty "
                "or new folder."
            )


def _start(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def write_folder(module: RNN | TrainedModel, wanted: Wanted, task: Task | None) -> Written:
    """Write the files; `task` has the data by which ranges and accuracies are found.

    Raises:
        UserError: if no step can express the module, or the files cannot be written.
    """
    network = network_of(module)
    ranges = ranges_of(network, pieces(task) if task else random_pieces(network))
    made = {
        kind: _checked(write(network, ranges, kind, wanted.name, wanted.command))
        for kind in NUMBER_FORMATS
    }
    chosen = made[wanted.number_format].written
    readme = _readme(network, made, wanted, task)
    files = {f"{wanted.name}.c": chosen.c, f"{wanted.name}.h": chosen.h, README: readme}
    write_files(wanted.folder, files, f"--c {wanted.folder}")
    return chosen


@dataclass(frozen=True)
class _Made:
    """An export in one format."""

    written: Written
    compiled: Compiled | None
    """None without a C compiler."""
    obstacle: str = ""
    """Why it was not compiled."""


def _checked(written: Written) -> _Made:
    """An export whose self-test has a tolerance that this machine meets: a state that grows, or a
    sum of large values that cancel, has fewer digits than others."""
    try:
        compiled = Compiled(written)
    except CompilerError as error:
        return _Made(written, None, str(error))
    found = difference(compiled)
    if found <= 0.5 * written.test.tolerance:
        return _Made(written, compiled)
    model, tolerance = written.model, float(f"{2 * found:.0e}")
    about = (model.network, model.ranges, model.number_format, model.name)
    return _Made(write(*about, written.shared["command"], tolerance), compiled)


def _readme(
    network: Network,
    made: dict[NumberFormat, _Made],
    wanted: Wanted,
    task: Task | None,
) -> str:
    loss, measured = "", ""
    values: Sequence[str] = [""] * len(made)
    compiled = [one.compiled for one in made.values() if one.compiled]
    if len(compiled) == len(made):
        loss, values, measured = _losses(network, compiled, task)
    else:
        obstacle = made[wanted.number_format].obstacle
        measured = f"What they cost in accuracy was not measured: {obstacle}."
    rows = [
        {
            "format": f"`{kind}`",
            "flash": f"{one.written.model.data.n_bytes:,}",
            "state": f"{one.written.model.state_bytes:,}",
            "scratch": f"{one.written.model.scratch_bytes:,}",
            "macs": f"{one.written.model.multiply_adds:,}",
            "loss": value,
        }
        for (kind, one), value in zip(made.items(), values, strict=True)
    ]
    is_gaussian = network.meaning is not None and network.meaning.interface.head == "gaussian"
    shared: dict[str, Any] = made[wanted.number_format].written.shared
    return template("readme.md.jinja").render(
        rows=rows,
        loss=loss,
        measured=" ".join(filter(None, (measured, wanted.note))),
        number_format=wanted.number_format,
        n_steps=N_STEPS,
        tolerance=f"{made[wanted.number_format].written.test.tolerance:g}",
        tolerance_of="of the scale of each target"
        if is_gaussian
        else "(of the largest output, if it is above 1)",
        calibrated="validation data" if task else "random normal input",
        floats=_floats(made["int16x8"].written),
        interface=" ".join(interface_lines(network)),
        **shared,
    )  # fmt: skip


def _losses(
    network: Network, made: Sequence[Compiled], task: Task | None
) -> tuple[str, list[str], str]:
    """The name of a row of the table, what it says of each format, and a sentence about it."""
    if task is not None and network.meaning is not None:
        right = metric_of(task, exact_scores(network))
        found = [metric_of(task, compiled_scores(compiled)) for compiled in made]
        metric = task.metric
        told = f"In float64 with the trained weights the test split gives {metric.shown(right)}."
        return f"{metric.name} on test ({metric.unit})", [f"{v:.5g}" for v in found], told
    inputs = random_inputs(network, 2, 64, 1)
    raw = raw_inputs(network, inputs[:, 0])
    exact = answers(network, normalised(network, raw).unsqueeze(1))[:, 0]
    worst = []
    for compiled in made:
        apart = np.abs(compiled.run(raw, compiled.fresh()) - exact)
        worst.append(f"{float(apart.max() / max(1.0, np.abs(exact).max())):.1g}")
    told = (
        "Differences are those of 64 steps of random input from float64 with unrounded weights, "
        "relative to the largest output."
    )
    return "largest difference", worst, told


def _floats(written: Written) -> str:
    """Which values are floats among whole numbers."""
    floats = written.model.float_lines
    if not floats:
        return "No value of the layers is a float."
    listed = "; ".join(f"`{text}`" for text in floats)
    return f"Floats remain, since whole numbers cannot hold them well: {listed}."
