"""The C of an export as a function of this process: compiled, loaded, run step by step."""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from nas.compile.native import CompilerError, compiler
from nas.export.c.files import Written
from nas.export.c.network import Values

FLAGS = ("-std=c99", "-O1", "-shared", "-fPIC")
"""A compiler takes a quarter of a second; `-O3` is several times as fast."""
TYPES = {"float": np.float32, "double": np.float64}


class Compiled:
    """A library with the step of an export.

    Raises:
        CompilerError: if there is no C compiler, or it refuses the text.
    """

    def __init__(self, written: Written, flags: tuple[str, ...] = FLAGS) -> None:
        self.written = written
        model, name = written.model, written.model.name
        with tempfile.TemporaryDirectory() as folder:
            library = build(written, Path(folder), flags, f"{name}.so")
            loaded = ctypes.CDLL(str(library))
        self.init, self.step = (getattr(loaded, f"{name}_{part}") for part in ("init", "step"))
        self.init.restype = self.step.restype = None
        first = ctypes.c_int if model.network.tokens else ctypes.c_void_p
        self.step.argtypes = [ctypes.c_void_p, first, ctypes.c_void_p]

    def fresh(self) -> "ctypes.Array[ctypes.c_double]":
        """A state at the beginning of a sequence."""
        state = (ctypes.c_double * (self.written.model.state_bytes // 8 + 2))()
        self.init(ctypes.byref(state))
        return state

    def run(self, inputs: Values, state: "ctypes.Array[ctypes.c_double]") -> Values:
        """Read the steps of one sequence, raw features (time, features) or symbols (time,), and
        return the answers, (time, outputs)."""
        model = self.written.model
        y = np.empty((len(inputs), model.network.n_outputs), TYPES[model.y_type])
        at, address = ctypes.addressof(state), y.ctypes.data
        if model.network.tokens:
            for k, symbol in enumerate(inputs.tolist()):
                self.step(at, symbol, address + k * y.strides[0])
        else:
            x = np.ascontiguousarray(inputs, TYPES[model.x_type])
            for k in range(len(x)):
                self.step(at, x.ctypes.data + k * x.strides[0], address + k * y.strides[0])
        return y.astype(np.float64)


def difference(compiled: Compiled) -> float:
    """The largest difference of the self-test, which the compiled C of this machine has."""
    test = compiled.written.test
    apart = np.abs(compiled.run(test.given, compiled.fresh()) - test.wanted)
    return float((apart / np.array(test.units)).max())


def build(written: Written, folder: Path, flags: tuple[str, ...], out: str) -> Path:
    """Write the files of an export into a folder, compile them, and return the path of `out`.

    Raises:
        CompilerError: if there is no C compiler, or it refuses the text.
    """
    name = written.model.name
    (folder / f"{name}.c").write_text(written.c, encoding="utf-8")
    (folder / f"{name}.h").write_text(written.h, encoding="utf-8")
    command = [*compiler(), *flags, f"{name}.c", "-o", out]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise CompilerError(f"{' '.join(command)}: {done.stderr.strip()}")
    return folder / out
