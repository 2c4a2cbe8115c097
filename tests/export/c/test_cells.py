"""Cells in C give what torch gives, in every number format, on every machine that is here."""

import functools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.cell import loads
from nas.export.c.files import TOLERANCES, Written, write
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.network import network_of
from nas.export.c.ranges import ranges_of
from nas.export.number_format import NumberFormat
from nas.nn.rnn import RNN
from nas.nn.settings import STACKINGS
from tests.export.c.written import (
    ARM,
    SANITIZED,
    answers,
    export,
    module,
    run_self_tests,
    stacks,
)
from tests.export.examples import CELLS
from tests.tolerances import OTHER_RUNTIME_32

SHARE = ("everything", "structures", "deep")
"""Cells that together have most operations of the language, and values from the layer below."""
GROWING = {"everything": 0.05}
"""Of the largest output, which is below 1: a state that grows has units of its largest values."""
INT8 = 0.05
"""Of the largest output: weights of 8 bits against those of float32, in a fresh cell of a few
units; each weight is off by up to 1/254 of the largest of its row."""


@functools.cache
def exported(
    names: tuple[str, ...], number_format: NumberFormat, *, all_depths: bool = True
) -> dict[str, Written]:
    """Each cell in two layers, where it can be stacked, and alone, unless two layers are enough."""
    found = {}
    for name in names:
        deepest = 2 if stacks(CELLS[name], 2) else 1
        for layers in (1, 2):
            if layers == deepest or (all_depths and layers < deepest):
                rnn = module(CELLS[name], layers)
                tolerance = GROWING.get(name, 0.0) if number_format == "int16x8" else 0.0
                named = f"{name}_{layers}"
                found[named] = export(rnn, number_format, named, tolerance)
    return found


def of_torch(rnn: RNN, x: np.ndarray) -> np.ndarray:
    """What the eager backend gives in float64."""
    exact = RNN(
        rnn.cell, rnn.input_size, rnn.hidden_size, rnn.num_layers, dtype=torch.float64,
        backend="eager", stacking=rnn.stacking,
    )  # fmt: skip
    exact.load_state_dict(rnn.state_dict())
    with torch.no_grad():
        return exact(torch.from_numpy(x).unsqueeze(1))[0][:, 0].numpy()


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))


def example(rnn: RNN, n_steps: int = 20) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.normal(size=(n_steps, rnn.input_size)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_some_cells_pass_their_own_tests_under_sanitizers(
    number_format: NumberFormat, tmp_path: Path
) -> None:
    names = SHARE if number_format != "int8" else SHARE[:1]
    run_self_tests(tmp_path, exported(names, number_format), ["cc", *SANITIZED], level="-O0")


@pytest.mark.parametrize("stacking", STACKINGS)
def test_layers_give_what_torch_gives(stacking: str) -> None:
    rnn = module(CELLS["deep"], 2, stacking)  # type: ignore[arg-type]
    x = example(rnn)
    wanted = of_torch(rnn, x)
    assert apart(answers(export(rnn, "float32", "net"), x), wanted) < OTHER_RUNTIME_32["rtol"]
    for quantised in ("int8", "int16x8"):
        assert apart(answers(export(rnn, quantised, "net"), x), wanted) < INT8


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_a_wide_matrix_does_not_overflow(number_format: NumberFormat) -> None:
    cell = loads("def wide(x, h):\n    return tanh(linear(x, h))\n")
    rnn = RNN(cell, 2000, 2)
    with torch.no_grad():  # all products of a sum are as large as they can be
        rnn.layers[0].get_parameter("y_weight").fill_(1e-3)
    x = np.full((3, 2000), 0.5)
    network = network_of(rnn)
    ranges = ranges_of(network, [(torch.from_numpy(x).unsqueeze(1), True)])
    written = write(network, ranges, number_format, "wide", "test")
    assert "long_dot" in written.c or number_format != "int16x8"
    assert apart(answers(written, x), of_torch(rnn, x)) < TOLERANCES[number_format]


def test_states_that_hand_on_others_are_those_of_before_the_step() -> None:
    cell = loads("def shift(x, h, a, b):\n    return tanh(linear(x, b)), h, a\n")
    rnn = RNN(cell, 2, 3)
    x = example(rnn)
    for number_format in NUMBER_FORMATS:
        found = answers(export(rnn, number_format, "shift"), x)
        assert apart(found, of_torch(rnn, x)) < (INT8 if number_format != "float32" else 1e-6)


def test_a_clock_goes_on_after_what_calibration_saw() -> None:
    cell = loads("def late(x, h):\n    return tanh(linear(x)) * (step() / 500)\n")
    rnn = RNN(cell, 2, 3)
    x = example(rnn, 3000)
    written = export(rnn, "int16x8", "late")
    assert apart(answers(written, x), of_torch(rnn, x)) < INT8
    assert "step() / 500" in written.model.float_lines


def test_a_step_needs_no_library(tmp_path: Path) -> None:
    for number_format in NUMBER_FORMATS:
        for name, kept in exported(("everything",), number_format).items():
            (tmp_path / f"{name}.c").write_text(kept.c)
            (tmp_path / f"{name}.h").write_text(kept.h)
            flags = [
                "-std=c99",
                "-O3",
                "-ffreestanding",
                "-nostdlib",
                "-shared",
                "-fPIC",
                "-Wl,-z,defs",
            ]
            done = subprocess.run(
                ["cc", *flags, "-Wall", "-Wextra", "-Werror", f"{name}.c"],
                cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr


# The whole zoo, by one run of each compiler.

MACHINES = {
    "x86-64 with sanitizers": ((*("cc",), *SANITIZED), ()),
    "x86 of 32 bits": (("cc", "-m32", "-msse2", "-mfpmath=sse"), ()),
    "ARM": (ARM, ("qemu-arm",)),
}


@pytest.mark.process
@pytest.mark.parametrize("machine", MACHINES)
def test_all_cells_pass_their_own_tests(machine: str, tmp_path: Path) -> None:
    """Each cell on each machine, and in each number format on one of them."""
    compiler, runner = MACHINES[machine]
    tools = [compiler[0], *runner]
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    if "-m32" in compiler and not Path("/usr/lib32/libc.a").exists():
        pytest.skip("libc6-dev-i386 and lib32gcc-12-dev not installed")
    written: dict[str, Written] = {}
    for place, number_format in enumerate(NUMBER_FORMATS, list(MACHINES).index(machine)):
        names = tuple(CELLS)[place % len(NUMBER_FORMATS) :: len(NUMBER_FORMATS)]
        written |= exported(names, number_format, all_depths=False)
    assert len(written) == len(CELLS)
    # Not optimised where undefined behaviour is looked for: it is compiled in half the time.
    run_self_tests(tmp_path, written, compiler, runner, "-O1" if runner else "-O0")


@pytest.mark.process
@pytest.mark.parametrize("layers", [1, 2])
def test_all_cells_give_what_torch_gives(layers: int) -> None:
    worst = {}
    for name, cell in CELLS.items():
        if layers == 1 or stacks(cell, layers):
            rnn = module(cell, layers)
            x = example(rnn, 12)
            worst[name] = apart(answers(export(rnn, "float32", name), x), of_torch(rnn, x))
    wrong = {name: value for name, value in worst.items() if not value < OTHER_RUNTIME_32["rtol"]}
    assert not wrong
