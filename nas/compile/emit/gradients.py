"""Gradients of matrices, biases and inputs, from those of a stage's sums, after the loop.

Threads have columns of sums each for matrices and biases, then rows each for inputs.
"""

from nas.compile.emit.shared import Shared, rounded, running
from nas.compile.plan import Plan, Stage

PIECE = 128
"""Rows that are multiplied at once, as in gemm.c."""


def widest(plan: Plan) -> int:
    """Columns of the widest value that a matrix multiplies, as whole vectors."""
    args = {p.arg for stage in plan.stages for p in (*stage.inputs, *stage.products)}
    return max((rounded(plan, arg) for arg in args), default=1)


class Gradients:
    """Prints `backward_columns` and `backward_inputs`."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.plan, self.slots = shared, shared.plan, shared.slots

    def lines(self) -> list[str]:
        head = "(real **restrict p, const call_t *call, index_t part, index_t parts) {"
        rows = "  const index_t all = call->offset[call->steps - 1] + call->rows[call->steps - 1];"
        scratch = f"{self.slots('scratch')} + part * {PIECE * widest(self.plan)}"
        lines = [f"static void backward_columns{head}", rows, f"  real *scratch = {scratch};"]
        for s, stage in enumerate(self.plan.stages):
            lines += self._columns(s, stage)
        lines.append("  if (part) return;")
        for name, width in running(self.shared):
            lines += self._running(name, width)
        lines += ["}", "", f"static void backward_inputs{head}", rows]
        lines.append("  const index_t rows = call->tokens ? call->inputs : all;")
        lines.append("  const index_t from = rows * part / parts, to = rows * (part + 1) / parts;")
        written: set[int] = set()
        for s, stage in enumerate(self.plan.stages):
            lines += self._inputs(s, stage, written)
        return [*lines, "}", ""]

    def _columns(self, s: int, stage: Stage) -> list[str]:
        columns, sums = stage.columns, self.slots(f"grad sums {s}")
        vectors = columns // self.plan.lanes
        lines = [
            "  {",
            f"    const index_t from = {vectors} * part / parts * LANES;",
            f"    const index_t to = {vectors} * (part + 1) / parts * LANES;",
            f"    const real *sums = {sums};",
            "    index_t rows = all;",
        ]
        for arg in sorted({product.arg for product in stage.products}):
            lines += self._outer(stage, "all", sums, self._values(arg), arg)
        if stage.inputs:
            symbols = self.slots(f"grad symbols {s}")
            lines += [
                "    if (call->tokens) {",
                f"      by_symbol(all, call->inputs, call->tokens, {sums}, {symbols}, {columns}, "
                "from, to);",
                f"      sums = {symbols}, rows = call->inputs;",
                "    }",
            ]
        for arg in sorted({product.arg for product in stage.inputs}):
            values = self.slots(f"input {arg}"), self.plan.sizes[arg]
            lines += self._outer(stage, "rows", "sums", values, arg)
        for target in stage.targets:
            if self.plan.node(target.node).op == "linear":
                into = self.slots(f"grad bias of {target.node}")
                lines.append(
                    f"    if ({into}) total(rows, sums, {columns}, {target.column}, "
                    f"{target.width}, {into}, from, to);"
                )
        return [*lines, "  }"]

    def _values(self, arg: int) -> tuple[str, int]:
        """The first of a loop value's rows, one for every row of x, and their length."""
        place = self.shared.place(arg)
        if place.first not in ("before", "after"):
            return place.base, place.stride
        shift = "call->reverse" if place.first == "before" else "!call->reverse"
        gathered = self.slots(f"gathered {place.first} {arg}")
        return f"history(call, {place.base}, {place.stride}, {shift}, {gathered})", place.stride

    def _outer(
        self, stage: Stage, rows: str, sums: str, values: tuple[str, int], arg: int
    ) -> list[str]:
        """The gradients of all matrices of a stage that multiply one value."""
        maps = []
        for product in (*stage.inputs, *stage.products):
            if product.arg != arg:
                continue
            for target in product.targets:
                args = self.plan.args(target.node)
                into = self.slots(f"grad weight {target.node}")
                lead = self.plan.columns_before(target.node, len(args))
                for place in [k for k, other in enumerate(args) if other == arg]:
                    column = self.plan.columns_before(target.node, place)
                    maps.append(
                        f"{{{target.column}, {target.width}, {into} ? {into} + {column} : 0, "
                        f"{lead}}}"
                    )
        return [
            "    {",
            f"      const map_t maps[] = {{{', '.join(maps)}}};",
            f"      outer({rows}, {self.plan.sizes[arg]}, {sums}, {stage.columns}, {values[0]}, "
            f"{values[1]}, maps, {len(maps)}, from, to, scratch);",
            "    }",
        ]

    def _running(self, name: str, width: int) -> list[str]:
        """Add up what the threads have, each for itself."""
        i = int(name.split()[1])
        into, size = self.slots(f"grad {name}"), width
        if name.startswith("weight"):
            size = self.plan.sizes[i]
        running_sum = self.slots(f"running {name}")
        return [
            f"  if ({into}) for (index_t j = 0; j < {size}; j++) {{",
            f"    real sum = {running_sum}[j];",
            "    for (index_t w = 1; w < call->threads; w++)",
            f"      sum += {running_sum}[w * {width} + j];",
            f"    {into}[j] = sum;",
            "  }",
        ]

    def _inputs(self, s: int, stage: Stage, written: set[int]) -> list[str]:
        """Gradients of what the matrices of a stage multiply before the loop."""
        lines = []
        for q, product in enumerate(stage.inputs):
            arg, columns = product.arg, stage.columns
            into, wide = self.slots(f"grad input {arg}"), rounded(self.plan, arg)
            panels = self.slots(f"panels in back {s} {q}")
            sums = f"(call->tokens ? {self.slots(f'grad symbols {s}')} : "
            sums += f"{self.slots(f'grad sums {s}')})"
            start = f"{into} + from * {wide}, {wide}" if arg in written else "nil, 0"
            written.add(arg)
            lines += [
                f"  if ({into}) gemm(to - from, {product.count}, {wide}, {sums} + from * {columns} "
                f"+ {product.first}, {columns}, {panels}, {start}, {into} + from * {wide}, {wide});"
            ]
        return lines
