"""Gradients of matrices, biases and inputs, from those of a stage's sums, after the loop.

Threads share the columns of sums for matrices and biases, then the rows for inputs.
"""

from collections.abc import Iterator

from nas.compile.emit.code import Place, Writer, fill, gemm
from nas.compile.plan import Plan, Stage

PIECE = 128
"""Rows that are multiplied at once, as in gemm.c."""
SOURCE = """
static void backward_columns(real **restrict p, const call_t *call, index_t part, index_t parts) {
  const index_t all = call->offset[call->steps - 1] + call->rows[call->steps - 1];
  real *scratch = $scratch + part * $size;
  $columns
  if (part) return;
  $running
}

static void backward_inputs(real **restrict p, const call_t *call, index_t part, index_t parts) {
  const index_t all = call->offset[call->steps - 1] + call->rows[call->steps - 1];
  const index_t rows = call->tokens ? call->inputs : all;
  const index_t from = rows * part / parts, to = rows * (part + 1) / parts;
  $inputs
}
"""
COLUMNS = """
{
  const index_t from = $vectors * part / parts * LANES;
  const index_t to = $vectors * (part + 1) / parts * LANES;
  const real *sums = $sums;
  index_t rows = all;
  $gradients
}
"""
SYMBOLS = """
if (call->tokens) {
  by_symbol(all, call->inputs, call->tokens, $sums, $symbols, $columns, from, to);
  sums = $symbols, rows = call->inputs;
}
"""
MATRICES = """
{
  const map_t maps[] = {$maps};
  outer($rows, $k, $sums, $columns, $values, $lead, maps, $count, from, to, scratch);
}
"""
RUNNING = """
if ($into) for (index_t j = 0; j < $size; j++) {
  real sum = $running[j];
  for (index_t w = 1; w < call->threads; w++)
    sum += $running[w * $width + j];
  $into[j] = sum;
}
"""


def widest(plan: Plan) -> int:
    """Columns of the widest value that a matrix multiplies, as whole vectors."""
    args = {p.arg for stage in plan.stages for p in (*stage.inputs, *stage.products)}
    return max((plan.rounded(arg) for arg in args), default=1)


def running(plan: Plan) -> dict[int, int]:
    """The width of each vector that all rows read, learned or computed from parameters alone.

    Each thread sums the gradients of these vectors for itself.
    """
    vectors = [i for i in plan.hoisted if i in plan.vectors]
    return {i: plan.padded(i) for i in (*plan.diagonals, *vectors)}


class Gradients:
    """Writes `backward_columns` and `backward_inputs`."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.plan, self.at = writer, writer.plan, writer.at

    def text(self) -> str:
        return fill(
            SOURCE,
            scratch=self.at("scratch"),
            size=PIECE * widest(self.plan),
            columns=[self._columns(s, stage) for s, stage in enumerate(self.plan.stages)],
            running=[self._running(i, width) for i, width in running(self.plan).items()],
            inputs=list(self._inputs()),
        )

    def _columns(self, s: int, stage: Stage) -> str:
        sums, vectors = self.at("sums", s, gradient=True), stage.columns // self.plan.lanes
        return fill(COLUMNS, sums=sums, vectors=vectors, gradients=list(self._maps(s, stage, sums)))

    def _maps(self, s: int, stage: Stage, sums: str) -> Iterator[str]:
        """Gradients of the matrices and biases of a stage."""
        columns = stage.columns
        for arg in sorted({product.arg for product in stage.products}):
            yield self._matrices(stage, arg, self._history(arg), "all", sums)
        if stage.inputs:
            symbols = self.at("symbols", s, gradient=True)
            yield fill(SYMBOLS, sums=sums, symbols=symbols, columns=columns)
        for arg in sorted({product.arg for product in stage.inputs}):
            values = Place(self.at("input", arg), "", self.plan.sizes[arg])
            yield self._matrices(stage, arg, values, "rows", "sums")
        for target in stage.targets:
            if self.plan.node(target.node).op == "linear":
                into, place = self.at("bias", target.node, gradient=True), target.column
                total = f"total(rows, sums, {columns}, {place}, {target.width}, {into}, from, to);"
                yield f"if ({into}) {total}"

    def _history(self, arg: int) -> Place:
        """A loop value with one row for every row of x."""
        place = self.writer.place(arg)
        if place.first not in ("before", "after"):
            return place._replace(first="")
        shift = "call->reverse" if place.first == "before" else "!call->reverse"
        gathered = self.at("gathered", arg)
        history = f"history(call, {place.base}, {place.stride}, {shift}, {gathered})"
        return Place(history, "", place.stride)

    def _matrices(self, stage: Stage, arg: int, values: Place, rows: str, sums: str) -> str:
        """The gradients of all matrices of a stage that multiply one value."""
        maps = []
        for product in (*stage.inputs, *stage.products):
            for target, column, lead, _ in self.writer.pieces(product):
                if product.arg == arg:
                    into = self.at("weight", target.node, gradient=True)
                    into = f"{into} ? {into} + {column} : 0"
                    maps.append(f"{{{target.column}, {target.width}, {into}, {lead}}}")
        sizes = {"k": self.plan.sizes[arg], "columns": stage.columns, "count": len(maps)}
        places = {"rows": rows, "sums": sums, "values": values.base, "lead": values.stride}
        return fill(MATRICES, maps=", ".join(maps), **places, **sizes)

    def _running(self, i: int, width: int) -> str:
        """The sum over all threads of the gradient of a vector."""
        learned = i in self.plan.diagonals
        into = self.at("weight" if learned else "hoisted", i, gradient=True)
        size = self.plan.sizes[i] if learned else width
        return fill(RUNNING, into=into, size=size, running=self.at("running", i), width=width)

    def _inputs(self) -> Iterator[str]:
        """Gradients of what matrices multiply before the loop."""
        plan, written = self.plan, set[int]()
        for s, stage in enumerate(plan.stages):
            for q, product in enumerate(stage.inputs):
                into, width = (
                    self.at("input", product.arg, gradient=True),
                    plan.rounded(product.arg),
                )
                panels = self.at("input panels back", s, q)
                symbols, sums = (
                    self.at("symbols", s, gradient=True),
                    self.at("sums", s, gradient=True),
                )
                values = Place(f"(call->tokens ? {symbols} : {sums})", "from", stage.columns)
                to = Place(into, "from", width)
                init = to if product.arg in written else Place("nil")
                written.add(product.arg)
                sizes = product.count, width
                call = gemm("to - from", sizes, values.column(product.first), panels, init, to)
                yield f"if ({into}) {call}"
