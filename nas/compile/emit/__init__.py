"""C source of a plan's time loop: `forward` and `backward`, each one call for a whole sequence."""

from dataclasses import dataclass

from nas.compile.emit.backward import Backward
from nas.compile.emit.code import Buffer, Writer
from nas.compile.emit.forward import Forward
from nas.compile.emit.values import Values
from nas.compile.plan import Plan

PRODUCTS = """\
extern void gemm(index_t, index_t, index_t, const real *, index_t, const real *, const real *,
                 index_t, real *, index_t);
extern void by_row(index_t, index_t, const real *, const real *, index_t, real *);
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
    """The generated C of a plan, which follows `prelude.c`."""

    text: str
    values: Values
    """Which values are kept, and for how long."""
    slots: dict[Buffer, int]
    """The place of each buffer's pointer in the table that C is given."""


BFLOAT16 = "".join(
    f"#undef {name}\n#define {name} nas_{name}_b16\n"
    for name in ("gemm", "outer", "pack", "pack_back")
)
"""Products of bfloat16 factors (bfloat.c) in the place of those of gemm.c."""


def emit(plan: Plan, *, bfloat16: bool = False) -> Source:
    """Print the loop of a plan as C; `bfloat16` is for plans that `takes_bfloat16`."""
    writer = Writer(plan)
    text = f"{PRODUCTS}{Forward(writer).text()}\n\n{Backward(writer).text()}\n"
    return Source((BFLOAT16 if bfloat16 else "") + text, writer.values, writer.slots)


def takes_bfloat16(plan: Plan) -> bool:
    """Whether the products of a plan may have bfloat16 factors: none is of a value of width 1,
    whose gradient reads the matrix itself."""
    products = [product for stage in plan.stages for product in stage.products]
    return bool(products) and all(plan.padded(product.arg) > 1 for product in products)
