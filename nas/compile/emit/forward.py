"""The forward half of a plan's C: `forward` packs matrices, then goes over the steps."""

from collections.abc import Iterable, Iterator
from typing import Literal

from nas.cell.ops import OPS
from nas.compile.emit.code import STEPS, Place, Writer, fill, gemm, loop, store
from nas.compile.emit.formula import result
from nas.compile.emit.values import Group
from nas.compile.plan import Product, Stage, Target

CHUNK = 128
"""Rows of x at least, whose products with matrices are made at once: no fewer, so that a panel is
used while it is near; not all, which would take as much memory as all else."""

SOURCE = """
static void forward_before(real **restrict p, const call_t *call) {
  $pack
}

static void forward_rows(real **restrict p, const call_t *call, index_t from, index_t to,
                         index_t thread) {
  const index_t keep = call->keep;
  $starts
  $chunk
  $steps
  $finals
}

void forward(real **table, const call_t *call) {
  static const parts_t parts = {forward_before, forward_rows, 0, 0};
  run(&parts, table, call);
}
"""
START = """
for (index_t r = from; r < to; r++)
  put_row($state + ((keep && call->reverse ? call->steps : 0) * call->batch + r) * $padded,
          $outside + r * $width, $width, $padded);
"""
FINAL = """
for (index_t r = from; r < to; r++)
  put_row($outside + r * $width,
          $state + ((call->keep ? (reverse ? 0 : steps) : (steps & 1)) * batch + r) * $padded,
          $width, $width);
"""
CHUNKS = """
if (!call->tokens && k % chunk == 0) {
  const index_t end = k + chunk < steps ? k + chunk : steps;
  const index_t last = reverse ? t : end - 1;
  const index_t begin = reverse ? steps - end : k;
  first = call->offset[begin];
  const index_t all = from == 0 && to == batch;
  for (index_t u = begin; u <= last; u++) {
    index_t row = call->offset[u] + from;
    index_t some = (call->rows[u] < to ? call->rows[u] : to) - from;
    if (all) some = call->offset[last] + call->rows[last] - first, u = last;
    if (some <= 0) break;
    $products
  }
}
"""
"""Products of the input for some steps at once; threads have their own rows of each."""
BASE_OF_INPUTS = """
const real *base$s = $sums;
const index_t shift$s = $columns;
if (!call->tokens) base$s = $every + (o - first) * $columns;
else for (index_t r = 0; r < n; r++)
  memcpy($row, $every + call->tokens[o + r] * $columns, BYTES($columns));
"""
BASE_OF_BIASES = """
const real *base$s = $biases;
const index_t shift$s = 0;
"""
COPY_BASE = """
if (base$s != $sums) for (index_t r = 0; r < n; r++)
  memcpy($row + $column, base$s + r * shift$s + $column, BYTES($padded));
"""
KEEP_STATE = """
for (index_t r = n; r < to - from; r++)
  memcpy($next, $state, BYTES($width));
"""
"""Sequences that have ended keep their states."""


class Forward:
    """Writes `forward`."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.plan, self.values = writer, writer.plan, writer.values
        self.at = writer.at
        self.staged = [(s, stage) for s, stage in enumerate(self.plan.stages) if stage.inputs]
        """Stages with products of hoisted values."""

    def text(self) -> str:
        chunk = f"index_t first = 0, chunk = {CHUNK} / call->batch + 1;" if self.staged else ()
        pack = list(self._pack())
        starts = [self._edge(START, "start", i) for i in self.plan.state_places]
        order = "reverse ? steps - 1 - k : k"
        steps = fill(STEPS, order=order, keep="keep", body=list(self._step()))
        finals = [self._edge(FINAL, "final", i) for i in self.plan.state_places]
        return fill(SOURCE, pack=pack, starts=starts, chunk=chunk, steps=steps, finals=finals)

    def _edge(self, template: str, outside: Literal["start", "final"], i: int) -> str:
        """Copy a state into the loop, or out of it."""
        state, width, padded = self.at("state", i), self.plan.sizes[i], self.plan.padded(i)
        place = self.at(outside, i)
        return fill(template, state=state, outside=place, width=width, padded=padded)

    def _pack(self) -> Iterator[str]:
        """Biases, panels of all matrices, what each symbol gives, and learned vectors."""
        for s, stage in enumerate(self.plan.stages):
            biases = self.at("biases", s)
            for target in stage.targets:
                linear = self.plan.node(target.node).op == "linear"
                bias, widths = (
                    self.at("bias", target.node) if linear else "0",
                    f"{target.width}, {target.padded}",
                )
                yield f"put_row({biases} + {target.column}, {bias}, {widths});"
            yield "if (!call->direct) {"
            for q, product in enumerate(stage.products):
                yield from self.writer.pack(product, self.at("panels", s, q))
            for q, product in enumerate(stage.inputs):
                yield from self.writer.pack(product, self.at("input panels", s, q))
            yield "}"
            if stage.inputs:
                base = Place(self.at("base", s), "", stage.columns)
                products = self._input_products(s, stage, "0", "call->inputs", base)
                yield from ("if (call->tokens) {", *products, "}")
        for i in self.plan.diagonals:
            weight, vector = self.at("weight", i), self.at("vector", i)
            yield f"put_row({vector}, {weight}, {self.plan.sizes[i]}, {self.plan.padded(i)});"

    def _input_products(self, s: int, stage: Stage, first: str, rows: str, to: Place) -> list[str]:
        """Bias and products of `rows` rows of the input, the first of which is `first`."""
        biases, lines = Place(self.at("biases", s)), []
        whole = stage.inputs[0].count == stage.columns
        if not whole:
            lines.append(loop(rows, f"memcpy({to.row}, {biases.base}, BYTES({stage.columns}));"))
        for q, product in enumerate(stage.inputs):
            k, into = self.plan.sizes[product.arg], to.column(product.first)
            values = Place(self.at("input", product.arg), first, k)
            panels = self.at("input panels", s, q)
            init = biases if q == 0 and whole else into
            lines += self._product(rows, product, values, panels, init, into)
        return lines

    def _product(
        self, rows: str, product: Product, values: Place, panels: str, init: Place, to: Place
    ) -> Iterator[str]:
        """`to` = `init` + `values` times a matrix, packed or, for a call of one row, as it is."""
        k = self.plan.sizes[product.arg]
        yield "if (call->direct) {"
        if init.block != to.block:
            yield f"memcpy({to.block}, {init.block}, BYTES({product.count}));"
        for target, column, lead, _ in self.writer.pieces(product):
            weight = f"{self.at('weight', target.node)} + {column}"
            sums = to.column(target.column - product.first).block
            yield f"by_row({k}, {target.width}, {values.block}, {weight}, {lead}, {sums});"
        product_of_all = gemm(rows, (k, product.count), values, panels, init, to)
        yield f"}} else {product_of_all}"

    def _step(self) -> Iterator[str]:
        products: list[str] = []
        for s, stage in self.staged:
            to = Place(self.at("base", s), "(row - first)", stage.columns)
            products += self._input_products(s, stage, "row", "some", to)
        if products:
            yield fill(CHUNKS, products=products)
        for step in self.values.schedule:
            if isinstance(step, int):
                yield from self._stage(step, self.plan.stages[step])
            else:
                yield self._group(step)
        yield from self._outputs()

    def _stage(self, s: int, stage: Stage) -> Iterator[str]:
        """Sums start from the hoisted part of each map, or from what earlier products gave."""
        sums, columns = self.writer.sums(s), stage.columns
        if stage.inputs:
            every = self.at("base", s)
            place = {"sums": sums.block, "row": sums.row}
            yield fill(BASE_OF_INPUTS, s=s, columns=columns, every=every, **place)
        else:
            yield fill(BASE_OF_BIASES, s=s, biases=self.at("biases", s))
        summed: set[int] = set()
        for q, product in enumerate(stage.products):
            init, to = Place(f"base{s}", "", f"shift{s}"), sums.column(product.first)
            if summed.intersection(t.node for t in product.targets):
                init = sums
                yield from self._copy_base(s, product.targets, summed)
            values, panels = self.writer.place(product.arg), self.at("panels", s, q)
            yield from self._product("n", product, values, panels, init.column(product.first), to)
            summed |= {t.node for t in product.targets}
        yield from self._copy_base(s, stage.targets, summed)  # maps that read no value of the loop

    def _copy_base(self, s: int, targets: Iterable[Target], summed: set[int]) -> Iterator[str]:
        """What the sums that have no product yet start from."""
        sums = self.writer.sums(s)
        for target in targets:
            if target.node not in summed:
                place = {"sums": sums.block, "row": sums.row}
                yield fill(COPY_BASE, s=s, column=target.column, padded=target.padded, **place)

    def _group(self, group: Group) -> str:
        i, width = group[0], self.plan.padded(group[0])
        if OPS[self.plan.node(i).op].kind != "row":
            lines = [line for i in group for line in self._operation(i, group)]
            return self.writer.rows(width, lines)
        arg = self.plan.args(i)[0]
        names = self.writer.names(i, [self.writer.load(arg)])
        loops, vector = self.writer.reduced(result(self.plan.node(i).op), names, arg)
        return self.writer.rows(width, self._result(i, vector), loops)

    def _operation(self, i: int, group: Group) -> list[str]:
        arguments = [f"v{a}" if a in group else self.writer.load(a) for a in self.plan.args(i)]
        return self._result(i, self.writer.result(i, arguments))

    def _result(self, i: int, vector: str) -> list[str]:
        lines = [f"vec v{i} = {vector};"]
        if i in self.values.stored:
            lines.append(store(self.writer.place(i), self.plan.padded(i), f"v{i}"))
        return lines

    def _outputs(self) -> Iterator[str]:
        """Copy what leaves the step to its place."""
        for place, i in enumerate(self.plan.outputs):
            if place in self.plan.state_places:
                width, state = self.plan.padded(place), self.at("state", place)
                after = Place(state, "after", width)
                if place in self.plan.delays:
                    yield f"if ({after.block} != {self.writer.place(i).block})"
                if self.values.state_of.get(i) != place:
                    yield self._copy_row(i, after, width)
                before = Place(state, "before", width)
                yield fill(KEEP_STATE, next=after.row, state=before.row, width=width)
            elif i in self.plan.depth:
                width = self.plan.padded(i)
                yield self._copy_row(i, Place(self.at("output", place), "o", width), width)

    def _copy_row(self, i: int, to: Place, width: int) -> str:
        if self.plan.padded(i) == width and self.plan.constant(i) is None:
            source = self.writer.place(i).row
            return loop("n", f"memcpy({to.row}, {source}, BYTES({width}));")
        return self.writer.rows(width, store(to, width, self.writer.load(i)))
