"""The kernels of a plan: their source, as a module that Triton reads, and how they are started."""

import functools
import hashlib
import linecache
import types
from dataclasses import dataclass
from typing import Any

from nas.cell.cell import Cell
from nas.compile import debug
from nas.compile.gpu.backward import Backward
from nas.compile.gpu.forward import Forward
from nas.compile.gpu.layout import Layout
from nas.compile.gpu.writer import Precision
from nas.compile.passes import make_plan
from nas.compile.plan import Plan

SHARED_BYTES = 232_448
"""The shared memory that a program may have on an H100: 227 KiB."""
VALUES_BYTES = 11 * 1024
"""Shared memory for the values of a step. If the matrices fit into the rest, they stay there for
all steps; else they are read at each step, from the GPU's caches."""
COPIES = {"tf32x3": 8, "tf32": 4, "bf16": 2}
"""Bytes of shared memory for an entry of a matrix: two tf32 parts, one, or bfloat16."""
HEADER = '''\
"""The time loop of {name}: input {input_size}, hidden {hidden_size}, products in {precision}.

A program has member m and sequences r. v3_64_32 is the value of node 3 of the cell in columns 64 to
95; g is its gradient, u a sum of products, w a block of a matrix, e the gradient of a state.
"""

import triton
import triton.language as tl

from nas.compile.gpu import functions as f

INFINITY = tl.constexpr(float("inf"))


'''


@dataclass(frozen=True, eq=False)
class Kernels:
    """The source of a plan's two kernels."""

    layout: Layout
    text: str
    options: dict[str, Any]
    """What Triton is told: the groups of 32 threads that compute a program, and more."""
    forward_names: tuple[str, ...]
    """The names of the pointers that the forward kernel takes."""
    backward_names: tuple[str, ...]

    @functools.cached_property
    def module(self) -> Any:
        """The source as a module; Triton compiles its functions when they are first called, and
        keeps the device code in its own cache."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        name = f"nas.compile.gpu.generated_{digest}"
        filename = f"<{name}>"
        # Triton reads the text of a function by `inspect`, which looks here for what has no file.
        linecache.cache[filename] = (len(self.text), None, self.text.splitlines(True), filename)
        module = types.ModuleType(name)
        module.__file__ = filename
        exec(compile(self.text, filename, "exec"), module.__dict__)
        return module


@functools.lru_cache(maxsize=256)
def kernels(
    cell: Cell,
    input_size: int,
    hidden_size: int,
    precision: Precision,
    shared: int = SHARED_BYTES,
) -> Kernels:
    """The kernels of a layer for GPUs where a program may have `shared` bytes of shared memory.

    The configuration is fixed: 4 warps up to 32 units, else 8.
    """
    plan = make_plan(cell, input_size, hidden_size, lanes=1)
    made = _made_of(plan, precision, shared)
    debug.show(plan, made.text, 4)
    return made


def _made_of(plan: Plan, precision: Precision, shared: int) -> Kernels:
    """The kernels of a plan that was made with one lane."""
    layout = Layout(plan)
    resident = layout.n_weights * COPIES[precision] + VALUES_BYTES <= shared
    forward = Forward(layout, precision, resident=resident)
    backward = Backward(layout, precision, resident=resident)
    header = HEADER.format(
        name=plan.cell.name,
        input_size=plan.sizes[0],
        hidden_size=plan.hidden_size,
        precision=precision,
    )
    text = f"{header}{forward.text()}\n\n{backward.text()}"
    widest = max(plan.sizes[i] for i in plan.depth)
    options: dict[str, Any] = {"num_warps": 4 if widest <= 32 else 8, "num_stages": 1}
    if not resident:
        options["ptx_options"] = "-O1"
    names = tuple(forward.writer.arguments), tuple(backward.writer.arguments)
    return Kernels(layout, text, options, *names)
