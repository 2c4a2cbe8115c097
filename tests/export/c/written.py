"""Exports in C for tests: many cells, compiled by one run of a compiler."""

import ctypes
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from nas.cell import Cell
from nas.export.c.compiled import Compiled
from nas.export.c.files import Written, write
from nas.export.c.network import network_of
from nas.export.c.ranges import random_pieces, ranges_of
from nas.export.number_format import NumberFormat
from nas.export.sizes import fits, small_sizes
from nas.nn.rnn import RNN
from nas.nn.settings import Stacking

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
ARM = ("arm-linux-gnueabihf-gcc", "-static")


def module(cell: Cell, num_layers: int, stacking: Stacking = "plain", factor: int = 1) -> RNN:
    """Layers of a cell with weights that are always the same."""
    n_inputs, hidden = small_sizes(cell)
    torch.manual_seed(1)
    return RNN(cell, factor * n_inputs, factor * hidden, num_layers, stacking=stacking)


def stacks(cell: Cell, num_layers: int) -> bool:
    """Whether a cell can have so many layers."""
    return fits(cell, small_sizes(cell), num_layers, 1)


def export(rnn: RNN, number_format: NumberFormat, name: str, tolerance: float = 0.0) -> Written:
    """Layers in C."""
    network = network_of(rnn)
    ranges = ranges_of(network, random_pieces(network))
    return write(network, ranges, number_format, name, "test", tolerance)


def run_self_tests(
    folder: Path,
    written: Mapping[str, Written],
    compiler: Iterable[str],
    runner: Iterable[str] = (),
    level: str = "-O1",
) -> None:
    """Compile all files of C by one run of the compiler into one program, and run their tests.

    Each is compiled with its own test, whose `main` gets the name of the cell.
    """
    names = list(written)
    for name, one in written.items():
        macro, function = f"{name.upper()}_SELF_TEST", f"{name}_main"
        text = one.c.replace("int main(void)", f"int {function}(void);\nint {function}(void)")
        (folder / f"{name}.c").write_text(f"#define {macro}\n{text}", encoding="utf-8")
        (folder / f"{name}.h").write_text(one.h, encoding="utf-8")
    declared = "\n".join(f"int {name}_main(void);" for name in names)
    calls = " + ".join(f"{name}_main()" for name in names)
    (folder / "all.c").write_text(f"{declared}\nint main(void) {{ return {calls}; }}\n")
    sources = [f"{name}.c" for name in (*names, "all")]
    command = [*compiler, *STRICT, level, *sources, "-o", "all"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[:5000]
    done = subprocess.run([*runner, "./all"], cwd=folder, capture_output=True, text=True)
    wrong = [line for line in done.stdout.splitlines() if not _is_right(line)]
    assert (done.returncode, wrong) == (0, []), done.stdout + done.stderr[:5000]
    assert len(done.stdout.splitlines()) == len(names)


def _is_right(line: str) -> bool:
    _, _, values = line.partition("difference is ")
    worst, _, least = values.removesuffix(" is right").partition(", at most ")
    return float(worst) <= float(least)


def answers(written: Written, x: np.ndarray) -> np.ndarray:
    """What the compiled C gives for a sequence, (time, features)."""
    compiled = Compiled(written)
    return compiled.run(x, compiled.fresh())


class Functions:
    """Functions of a file of C, from number to number, on whole arrays."""

    def __init__(self, folder: Path, text: str, names: Mapping[str, str]) -> None:
        """`names` are those of the functions with the type of their argument and result."""
        loops = [
            f"void each_{name}(const {kind} *x, {kind} *y, int n)"
            f" {{ for (int k = 0; k < n; k++) y[k] = {name}(x[k]); }}"
            for name, kind in names.items()
        ]
        (folder / "f.c").write_text("\n".join(["#include <stdint.h>", text, *loops]))
        command = ["cc", "-std=c99", "-O2", "-w", "-shared", "-fPIC", "f.c", "-o", "f.so"]
        subprocess.run(command, cwd=folder, check=True)
        self.library = ctypes.CDLL(str(folder / "f.so"))

    def __call__(self, name: str, x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        getattr(self.library, f"each_{name}")(x.ctypes, y.ctypes, len(x))
        return y
