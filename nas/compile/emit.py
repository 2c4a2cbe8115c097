"""C source of a plan's time loop: `forward` and `backward`, each one call for a whole sequence."""

from dataclasses import dataclass

from nas.compile.emit_backward import Backward
from nas.compile.emit_forward import Forward
from nas.compile.emit_shared import Shared, Slots
from nas.compile.plan import Plan

PRODUCTS = """\
extern void gemm(index_t, index_t, index_t, const real *, index_t, const real *, const real *,
                 index_t, real *, index_t);
extern void outer(index_t, index_t, const real *, index_t, const real *, index_t, const map_t *,
                  index_t, index_t, index_t, real *);
extern void total(index_t, const real *, index_t, index_t, index_t, real *, index_t, index_t);
extern void by_symbol(index_t, index_t, const index_t *, const real *, real *, index_t, index_t,
                      index_t);
extern void pack(index_t, index_t, index_t, index_t, index_t, const real *, index_t, index_t,
                 real *);
extern void pack_back(index_t, index_t, index_t, index_t, index_t, index_t, const real *, index_t,
                      index_t, real *);
extern const real *history(const call_t *, const real *, index_t, index_t, const real *);
extern void gather(const call_t *, const real *, index_t, index_t, real *);
extern void run(const parts_t *, real **, const call_t *);

"""


@dataclass(frozen=True, eq=False)
class Source:
    """The generated C of a plan, after `prelude.c`, and where its buffers lie."""

    text: str
    shared: Shared
    """Which values are kept, and for how long."""
    slots: dict[str, int]
    """The place of each buffer's pointer."""


def emit(plan: Plan) -> Source:
    """Print the loop of a plan as C."""
    slots = Slots()
    shared = Shared(plan, slots)
    text = PRODUCTS + Forward(shared).text() + Backward(shared).text()
    return Source(text, shared, slots.place)
