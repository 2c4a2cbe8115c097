"""C source of a plan's time loop: `forward` and `backward`, each one call for a whole sequence."""

from dataclasses import dataclass

from nas.compile.emit_backward import Backward
from nas.compile.emit_forward import Forward
from nas.compile.emit_shared import Shared, Slots
from nas.compile.plan import Plan


@dataclass(frozen=True, eq=False)
class Source:
    """The generated C of a plan, after `prelude.c` and the declarations of `gemm.c`."""

    text: str
    slots: dict[str, int]
    kept: tuple[int, ...]
    """Values of regions that are written to memory, one row for every row of x."""
    kept_stages: tuple[int, ...]
    """Stages whose sums the backward pass reads."""


GEMM = """\
extern void gemm(index_t, index_t, index_t, const real *, index_t, const real *, const real *,
                 index_t, real *, index_t);
extern void pack(index_t, index_t, index_t, index_t, index_t, const real *, index_t, index_t,
                 real *);
extern void pack_back(index_t, index_t, index_t, index_t, index_t, index_t, const real *, index_t,
                      index_t, real *);
"""


def emit(plan: Plan) -> Source:
    """Print the loop of a plan as C."""
    slots = Slots()
    shared = Shared(plan, slots)
    forward = Forward(shared).text()
    backward = Backward(shared).text()
    kept = tuple(sorted(shared.kept))
    stages = tuple(s for s in range(len(plan.stages)) if shared.stage_is_kept(s))
    return Source(GEMM + forward + backward, slots.place, kept, stages)
