"""The backward half of a plan's C: `backward` gives gradients of all that the loop read.

Steps run in reverse. A value's gradient is the sum of what flows back from each use. Which
contribution comes first is known when the code is written, so it is stored and the others are
added. Each thread sums for itself the gradients of what all steps read.
"""

from collections.abc import Iterable, Iterator

from nas.cell.ops import OPS
from nas.compile.emit.code import STEPS, Place, Writer, fill, gemm, load, loop, store
from nas.compile.emit.formula import Printer, derivatives
from nas.compile.emit.gradients import Gradients, running
from nas.compile.emit.values import Group
from nas.compile.plan import Product, Stage

SOURCE = """
static void backward_before(real **restrict p, const call_t *call) {
  $before
}

static const real nil[$widest];
static void backward_rows(real **restrict p, const call_t *call, index_t from, index_t to,
                          index_t thread) {
  $begin
  $steps
  $end
}

$gradients

void backward(real **table, const call_t *call) {
  static const parts_t parts = {backward_before, backward_rows, backward_columns, backward_inputs};
  run(&parts, table, call);
}
"""
FINAL_STATE = """
real *in$i = $state + from * $padded, *out$i = $spare + from * $padded, *swap$i;
const real *given$i = $given;
for (index_t r = 0; r < to - from; r++)
  put_row(in$i + r * $padded, given$i ? given$i + (from + r) * $width : 0, $width, $padded);
"""
"""The gradient of a state after the last step; `in` and `out` change places at each step."""
OUTPUT = """
const real *flow$place = $given ? $given : nil;
const index_t shift$place = $given ? $padded : 0;
"""
END_OF_STEP = """
$clear
memcpy(out$i + n * $padded, in$i + n * $padded, BYTES((to - from - n) * $padded));
swap$i = in$i; in$i = out$i; out$i = swap$i;
"""
HAND_ON = """
if (n == to - from) {
  swap$i = out$i; out$i = in$place; in$place = swap$i;
} else {
  $copy
}
"""
"""The gradient of a delay is that of the state whose value it holds; it is moved rather than copied
unless some sequences have ended, whose gradients wait where they are."""
FIRST_STATE = """
if ($into) for (index_t r = 0; r < to - from; r++)
  put_row($into + (from + r) * $width, in$i + r * $padded, $width, $width);
"""
NARROW_PRODUCT = """
for (index_t r = 0; r < n; r++) {
  vec total = splat(0);
  for (index_t j = 0; j < $count; j += LANES)
    total += load($gradients + j) * load($panels + j);
  $store
}
"""
"""The gradient of a value of width 1: the panels of its matrix are one row."""


class Backward:
    """Writes `backward`."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.plan, self.values = writer, writer.plan, writer.values
        self.at = writer.at
        self.written: set[int] = set()
        """Nodes whose gradient has a first contribution in this step."""
        self.flows: dict[int, list[Place]] = {}
        """Where the gradients of what leaves the step come from, for each node."""
        for place, i in enumerate(self.plan.outputs):
            if place in self.plan.state_places:
                flow = Place(f"in{place}", "", self.plan.padded(place))
            elif i in self.plan.depth:
                flow = Place(f"flow{place}", "o", f"shift{place}")
            else:
                continue  # y without a state: outside of the loop
            self.flows.setdefault(i, []).append(flow)

    def text(self) -> str:
        begin = list(self._begin())
        steps = fill(STEPS, order="reverse ? k : steps - 1 - k", keep="1", body=list(self._step()))
        end = [
            fill(FIRST_STATE, i=i, into=self.at("start", i, gradient=True), **self._widths(i))
            for i in self.plan.state_places
        ]
        before, gradients = list(self._before()), Gradients(self.writer).text()
        sizes = [self.plan.rounded(i) for i in (0, *self.plan.depth, *self.plan.matrix_inputs)]
        parts = {"before": before, "begin": begin, "end": end}
        return fill(SOURCE, widest=max(sizes), steps=steps, gradients=gradients, **parts)

    def _widths(self, i: int) -> dict[str, int]:
        return {"width": self.plan.sizes[i], "padded": self.plan.padded(i)}

    def _before(self) -> Iterator[str]:
        """Panels of transposed matrices, cleared sums, and the values of states row by row."""
        for s, stage in enumerate(self.plan.stages):
            for q, product in enumerate(stage.products):
                width = self.plan.padded(product.arg)
                if width > 1:
                    yield from self.writer.pack(product, self.at("panels back", s, q), width)
            for q, product in enumerate(stage.inputs):
                gradient = self.at("input", product.arg, gradient=True)
                panels, width = self.at("input panels back", s, q), self.plan.rounded(product.arg)
                yield from (f"if ({gradient}) {{", *self.writer.pack(product, panels, width), "}")
        for i, width in running(self.plan).items():
            yield f"memset({self.at('running', i)}, 0, BYTES(call->threads * {width}));"
        for i in sorted(self.values.multiplied):
            place = self.writer.place(i)
            if place.first in ("before", "after"):  # with rows of sequences that have ended
                shift = "call->reverse" if place.first == "before" else "!call->reverse"
                gathered = self.at("gathered", i)
                yield f"gather(call, {place.base}, {place.stride}, {shift}, {gathered});"

    def _begin(self) -> Iterator[str]:
        """Gradients that come from outside: of final states and of outputs."""
        for i in self.plan.state_places:
            state, spare = self.at("state", i, gradient=True), self.at("next state", i)
            given = self.at("final", i, gradient=True)
            yield fill(FINAL_STATE, i=i, state=state, spare=spare, given=given, **self._widths(i))
        for place, i in enumerate(self.plan.outputs):
            if place not in self.plan.state_places and i in self.plan.depth:
                given = self.at("output", place, gradient=True)
                yield fill(OUTPUT, place=place, given=given, padded=self.plan.padded(i))

    def _step(self) -> Iterator[str]:
        groups, stages, plan = self.values.group_of, self.values.stage_of, self.plan
        for i in self.flows:  # a state or hoisted value may leave the step as it came
            if i not in groups and i not in stages and plan.constant(i) is None:
                yield self._hand_on(i)
        for step in reversed(self.values.schedule):
            if isinstance(step, int):
                yield from self._stage(step, plan.stages[step])
            elif OPS[plan.node(step[0]).op].kind == "row":
                yield from self._row_operation(step[0])
            else:
                yield from self._group(step)
        for i in plan.state_places:
            padded = plan.padded(i)
            clear = () if i in self.written else f"memset(out{i}, 0, BYTES(n * {padded}));"
            yield fill(END_OF_STEP, i=i, padded=padded, clear=clear)

    def _place(self, i: int) -> Place:
        """Where the gradient of a value is collected."""
        plan, width = self.plan, self.plan.padded(i)
        if plan.node(i).op == "state":
            return Place(f"out{i}", "", width)
        if i in self.values.stage_of:
            s, target = self.values.stage_of[i]
            return self._sums(s).column(target.column)
        if i in self.values.group_of:
            return Place(self.at("value", i, gradient=True), "from", width)
        if i in plan.vectors:
            return self._running(i)
        return Place(self.at("hoisted", i, gradient=True), "o", width)

    def _running(self, i: int) -> Place:
        return Place(f"{self.at('running', i)} + thread * {self.plan.padded(i)}")

    def _sums(self, s: int) -> Place:
        return Place(self.at("sums", s, gradient=True), "o", self.plan.stages[s].columns)

    def _adds(self, i: int) -> bool:
        """Whether a contribution is added to what is there; the first of a step is not."""
        adds = i in self.written or (i not in self.plan.depth and i in self.plan.vectors)
        self.written.add(i)
        return adds

    def _store(self, i: int, vector: str) -> str:
        """Store or add a contribution to the gradient of a value."""
        return store(self._place(i), self.plan.padded(i), vector, add=self._adds(i))

    def _store_total(self, i: int, vector: str) -> str:
        """The same for a value of width 1, of which a vector holds parts."""
        return f"*{self._place(i).row} {'+=' if self._adds(i) else '='} row_total({vector});"

    def _flows_in(self, i: int) -> list[str]:
        """The gradients that reach a value from outside of the step."""
        return [load(flow, self.plan.padded(i)) for flow in self.flows.get(i, ())]

    def _gradient(self, i: int) -> list[str]:
        """Vectors whose sum is the gradient that reaches a value from outside of its group."""
        collected = [load(self._place(i), self.plan.padded(i))] if i in self.written else []
        return self._flows_in(i) + collected

    def _collect(self, i: int) -> str:
        put = self._store(i, _sum(self._flows_in(i)))
        return self.writer.rows(self.plan.padded(i), put)

    def _hand_on(self, i: int) -> str:
        """The gradient of what leaves the step as it came."""
        copy, places = self._collect(i), [p for p, of in enumerate(self.plan.outputs) if of == i]
        if len(places) > 1 or places[0] not in self.plan.delays:
            return copy
        return fill(HAND_ON, i=i, place=places[0], copy=copy)

    def _stage(self, s: int, stage: Stage) -> Iterator[str]:
        for target in stage.targets:
            if target.node in self.flows:
                yield self._collect(target.node)
            start = target.width if target.node in self.written else 0
            if start < target.padded:
                row = self._place(target.node).row
                yield loop("n", f"memset({row} + {start}, 0, BYTES({target.padded - start}));")
        for q, product in enumerate(stage.products):
            yield self._product(s, q, product)

    def _product(self, s: int, q: int, product: Product) -> str:
        """The gradient of a value that a matrix multiplies."""
        width, sums = self.plan.padded(product.arg), self._sums(s).column(product.first)
        if width == 1:
            names = {"gradients": sums.row, "panels": self.at("panels", s, q)}
            put = self._store_total(product.arg, "total")
            return fill(NARROW_PRODUCT, count=product.count, store=put, **names)
        to, panels = self._place(product.arg), self.at("panels back", s, q)
        init = to if self._adds(product.arg) else Place("nil")
        return gemm("n", (product.count, width), sums, panels, init, to)

    def _group(self, group: Group) -> Iterator[str]:
        """Gradients stay in registers within a group; those of other values are collected."""
        lines: list[str] = []
        inner: dict[int, list[str]] = {i: [] for i in group}
        outer: dict[int, list[str]] = {}
        for i in reversed(group):
            parts = self._gradient(i) + inner[i]
            if not parts:
                continue
            lines.append(f"vec g{i} = {_sum(parts)};")
            gradients, args = self._derivatives(i), self.plan.args(i)
            for k, (arg, gradient) in enumerate(zip(args, gradients, strict=False)):
                if self.plan.constant(arg) is None:
                    lines.append(f"vec d{i}_{k} = {gradient};")
                    collected = inner if arg in inner else outer
                    collected.setdefault(arg, []).append(f"d{i}_{k}")
            if len(gradients) > len(args):  # that of a learned vector
                put = store(self._running(i), self.plan.padded(i), gradients[-1], add=True)
                lines.append(put)
        if lines:
            yield self._collected(group[0], lines, outer)

    def _derivatives(self, i: int) -> list[str]:
        """The C of an operation's gradients: of each argument, and of a learned vector."""
        arguments = [self.writer.load_back(arg) for arg in self.plan.args(i)]
        names = self.writer.names(i, arguments, y=self.writer.load_back(i), g=f"g{i}")
        return [Printer(names).print(formula) for formula in derivatives(self.plan.node(i).op)]

    def _collected(self, like: int, lines: list[str], outer: dict[int, list[str]]) -> str:
        """The loop of a group that is as wide as `like`, with what it gives to other values."""
        width, size = self.plan.padded(like), self.plan.sizes[like]
        before, after = [], []
        for arg, parts in outer.items():
            if self.plan.padded(arg) > 1 or width == 1:
                lines.append(self._store(arg, _sum(parts)))
                continue
            vector = f"({_sum(parts)})" if size == width else f"only({_sum(parts)}, {size} - j)"
            before.append(f"vec total{arg} = splat(0);")
            lines.append(f"total{arg} += {vector};")
            after.append(self._store_total(arg, f"total{arg}"))
        return self.writer.rows(width, lines, before, after)

    def _row_operation(self, i: int) -> Iterator[str]:
        parts = self._gradient(i)
        if not parts:
            return
        arg = self.plan.args(i)[0]
        value, y = self.writer.load_back(arg), self.writer.load_back(i)
        names = self.writer.names(i, [value], y=y, g=f"({_sum(parts)})")
        loops, vector = self.writer.reduced(derivatives(self.plan.node(i).op)[0], names, arg)
        yield self.writer.rows(self.plan.padded(i), self._store(arg, vector), loops)


def _sum(vectors: Iterable[str]) -> str:
    return " + ".join(vectors)
