"""The forward half of a plan's C source."""

from nas.cell.ops import OPS
from nas.compile.emit.shared import LOOP, RowLoops, Shared, parts
from nas.compile.formula import FORWARD, Printer
from nas.compile.plan import Product, Stage, Target

CHUNK = 128
"""Rows of x at least, whose products with matrices are made at once: no fewer, so that a panel is
used while it is near; not all, which would take as much memory as all else."""


class Forward:
    """Prints `forward`: packs matrices, then goes over the steps."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.plan, self.slots = shared, shared.plan, shared.slots
        self.lines: list[str] = []

    def text(self) -> str:
        self.lines = ["static void forward_before(real **restrict p, const call_t *call) {"]
        for s, stage in enumerate(self.plan.stages):
            self._pack(s, stage)
        for i in self.plan.diagonals:
            width, padded = self.plan.sizes[i], self.plan.padded(i)
            source = self.slots(f"weight {i}")
            self.lines.append(
                f"  put_row({self.slots(f'vector {i}')}, {source}, {width}, {padded});"
            )
        self.lines += ["}", ""]
        self._rows()
        self.lines += [
            "void forward(real **table, const call_t *call) {",
            "  static const parts_t parts = {forward_before, forward_rows, 0, 0};",
            "  run(&parts, table, call);",
            "}",
        ]
        return "\n".join(self.lines) + "\n\n"

    def _rows(self) -> None:
        plan = self.plan
        self.lines += [
            "static void forward_rows(real **restrict p, const call_t *call, index_t from, "
            "index_t to, index_t thread) {",
            "  const index_t keep = call->keep;",
        ]
        for i in range(1, len(plan.cell.states) + 1):
            width, padded = plan.sizes[i], plan.padded(i)
            first = "(keep && call->reverse ? call->steps : 0) * call->batch + r"
            self.lines.append("  for (index_t r = from; r < to; r++)")
            self.lines.append(
                f"    put_row({self.slots(f'state {i}')} + ({first}) * {padded}, "
                f"{self.slots(f'start {i}')} + r * {width}, {width}, {padded});"
            )
        if any(stage.inputs for stage in plan.stages):
            self.lines.append(f"  index_t first = 0, chunk = {CHUNK} / call->batch + 1;")
        self.lines.append(LOOP.format(order="reverse ? steps - 1 - k : k", keep="keep"))
        self._chunks()
        groups = iter(self.shared.groups)
        for s, region in enumerate(plan.regions):
            if s > 0:
                self._stage(s - 1, plan.stages[s - 1])
            left = len(region)
            while left:
                group = next(groups)
                left -= len(group)
                self._group(group)
        self._outputs()
        self.lines.append("  }")
        for i in range(1, len(plan.cell.states) + 1):
            width, padded = plan.sizes[i], plan.padded(i)
            last = "(call->keep ? (reverse ? 0 : steps) : (steps & 1)) * batch + r"
            self.lines.append("  for (index_t r = from; r < to; r++)")
            self.lines.append(
                f"    put_row({self.slots(f'final {i}')} + r * {width}, "
                f"{self.slots(f'state {i}')} + ({last}) * {padded}, {width}, {width});"
            )
        self.lines += ["}", ""]

    def _pack(self, s: int, stage: Stage) -> None:
        """Biases, panels of all matrices, and what each symbol gives."""
        bias = self.slots(f"bias {s}")
        for target in stage.targets:
            given = "0"
            if self.plan.node(target.node).op == "linear":
                given = self.slots(f"bias of {target.node}")
            self.lines.append(
                f"  put_row({bias} + {target.column}, {given}, {target.width}, {target.padded});"
            )
        for q, product in enumerate(stage.products):
            self._panels(product, self.slots(f"panels {s} {q}"))
        for q, product in enumerate(stage.inputs):
            self._panels(product, self.slots(f"panels in {s} {q}"))
        if stage.inputs:
            self.lines.append("  if (call->tokens) {")
            self._input_products(s, stage, "0", "call->inputs", self.slots(f"base {s}"))
            self.lines.append("  }")

    def _panels(self, product: Product, panels: str) -> None:
        k, n = self.plan.sizes[product.arg], product.count
        for target, weight, lead, add in parts(self.shared, product):
            self.lines.append(
                f"  pack({k}, {n}, {target.column - product.first}, {target.width}, "
                f"{target.padded}, {weight}, {lead}, {add}, {panels});"
            )

    def _input_products(self, s: int, stage: Stage, first: str, rows: str, to: str) -> None:
        """Bias and products of `rows` rows of the input, to a block of rows."""
        bias, columns = self.slots(f"bias {s}"), stage.columns
        whole = stage.inputs[0].count == columns
        if not whole:
            self.lines.append(f"      for (index_t r = 0; r < {rows}; r++)")
            self.lines.append(f"        memcpy({to} + r * {columns}, {bias}, BYTES({columns}));")
        for q, product in enumerate(stage.inputs):
            k, n, column = self.plan.sizes[product.arg], product.count, product.first
            start = f"{bias}, 0" if q == 0 and whole else f"{to} + {column}, {columns}"
            values = f"{self.slots(f'input {product.arg}')} + ({first}) * {k}"
            self.lines.append(
                f"      gemm({rows}, {k}, {n}, {values}, {k}, {self.slots(f'panels in {s} {q}')}, "
                f"{start}, {to} + {column}, {columns});"
            )

    def _chunks(self) -> None:
        """Products of the input for some steps at once; threads have their own rows of each."""
        staged = [(s, stage) for s, stage in enumerate(self.plan.stages) if stage.inputs]
        if not staged:
            return
        self.lines += [
            "    if (!call->tokens && k % chunk == 0) {",
            "      const index_t end = k + chunk < steps ? k + chunk : steps;",
            "      const index_t last = reverse ? t : end - 1;",
            "      const index_t begin = reverse ? steps - end : k;",
            "      first = call->offset[begin];",
            "      const index_t all = from == 0 && to == batch;",
            "      for (index_t u = begin; u <= last; u++) {",
            "        index_t row = call->offset[u] + from;",
            "        index_t some = (call->rows[u] < to ? call->rows[u] : to) - from;",
            "        if (all) some = call->offset[last] + call->rows[last] - first, u = last;",
            "        if (some <= 0) break;",
        ]
        for s, stage in staged:
            to = f"{self.slots(f'base {s}')} + (row - first) * {stage.columns}"
            self._input_products(s, stage, "row", "some", to)
        self.lines += ["      }", "    }"]

    def _stage(self, s: int, stage: Stage) -> None:
        """Sums start from the hoisted part of each map, or from what earlier products gave."""
        place = self.shared.sums(s)
        sums, stride = place.block, stage.columns
        base, shift = f"base{s}", f"shift{s}"
        if stage.inputs:
            every = self.slots(f"base {s}")
            self.lines += [
                f"    const real *{base} = {sums};",
                f"    const index_t {shift} = {stride};",
                f"    if (!call->tokens) {base} = {every} + (o - first) * {stride};",
                "    else for (index_t r = 0; r < n; r++)",
                f"      memcpy({place.row}, {every} + call->tokens[o + r] * {stride}, "
                f"BYTES({stride}));",
            ]
        else:
            self.lines += [
                f"    const real *{base} = {self.slots(f'bias {s}')};",
                f"    const index_t {shift} = 0;",
            ]
        done: set[int] = set()
        for q, product in enumerate(stage.products):
            fresh = [t.node not in done for t in product.targets]
            arg = self.shared.place(product.arg)
            panels = self.slots(f"panels {s} {q}")
            start = f"{sums} + {product.first}"
            init, init_lead = f"{base} + {product.first}", shift
            if not all(fresh):
                for target in [t for t, new in zip(product.targets, fresh, strict=True) if new]:
                    self._copy(s, target, base, shift)
                init, init_lead = start, str(stride)
            self.lines.append(
                f"    gemm(n, {self.plan.sizes[product.arg]}, {product.count}, {arg.block}, "
                f"{arg.stride}, {panels}, {init}, {init_lead}, {start}, {stride});"
            )
            done |= {t.node for t in product.targets}

    def _copy(self, s: int, target: Target, base: str, shift: str) -> None:
        place = self.shared.sums(s)
        self.lines.append(f"    if ({base} != {place.block}) for (index_t r = 0; r < n; r++)")
        self.lines.append(
            f"      memcpy({place.row} + {target.column}, {base} + r * {shift} + "
            f"{target.column}, BYTES({target.padded}));"
        )

    def _group(self, group: list[int]) -> None:
        width = self.plan.padded(group[0])
        self.lines.append("    for (index_t r = 0; r < n; r++) {")
        if OPS[self.plan.node(group[0]).op].kind == "row":
            self._row_operation(group[0])
        else:
            self.lines.append(f"      for (index_t j = 0; j < {width}; j += LANES) {{")
            for i in group:
                self._operation(i, group)
            self.lines.append("      }")
        self.lines.append("    }")

    def _value(self, i: int, group: list[int]) -> str:
        return f"v{i}" if i in group else self.shared.load(i)

    def _operation(self, i: int, group: list[int]) -> None:
        n = self.plan.node(i)
        arguments = [self._value(arg, group) for arg in self.plan.args(i)]
        if n.op == "diagonal":
            weight = self.slots(f"vector {i}")
            wide = self.plan.padded(i) > 1
            other = f"load({weight} + j)" if wide else f"splat(*{weight})"
            text = f"({arguments[0]} * {other})"
        else:
            text = Printer(self.shared.formula_values(i, arguments)).print(FORWARD[n.op])
        self.lines.append(f"        vec v{i} = {text};")
        if i in self.shared.stored:
            self._store(i)

    def _store(self, i: int) -> None:
        address = self.shared.place(i).row
        if self.plan.padded(i) == 1:
            self.lines.append(f"        *{address} = v{i}[0];")
        else:
            self.lines.append(f"        store({address} + j, v{i});")

    def _row_operation(self, i: int) -> None:
        arg = self.plan.args(i)[0]
        rows = RowLoops(self.shared, arg, self.lines, f"f{i}")
        values = self.shared.formula_values(i, [self.shared.load(arg)])
        text = Printer(values, rows.reduce).print(FORWARD[self.plan.node(i).op])
        width = self.plan.padded(i)
        self.lines.append(f"      for (index_t j = 0; j < {width}; j += LANES) {{")
        self.lines.append(f"        vec v{i} = {text};")
        self._store(i)
        self.lines.append("      }")

    def _outputs(self) -> None:
        """Copy what leaves the step to its place; rows that are not active keep their states."""
        plan = self.plan
        n_states = len(plan.cell.states)
        for place, i in enumerate(plan.outputs):
            if 1 <= place <= n_states:
                width = plan.padded(place)
                state = self.slots(f"state {place}")
                target = f"({state} + (after + r) * {width})"
                if self.shared.state_of.get(i) != place:
                    self._copy_row(i, target, width)
                self.lines.append("    for (index_t r = n; r < to - from; r++)")
                self.lines.append(
                    f"      memcpy({target}, {state} + (before + r) * {width}, BYTES({width}));"
                )
            elif i in plan.depth:
                width = plan.padded(i)
                self._copy_row(i, f"({self.slots(f'output {place}')} + (o + r) * {width})", width)

    def _copy_row(self, i: int, target: str, width: int) -> None:
        if self.plan.padded(i) == width and self.plan.node(i).op != "constant":
            body = f"memcpy({target}, {self.shared.place(i).row}, BYTES({width}));"
        elif width == 1:
            body = f"*{target} = {self.shared.load(i)}[0];"
        else:
            body = (
                f"for (index_t j = 0; j < {width}; j += LANES) "
                f"store({target} + j, {self.shared.load(i)});"
            )
        self.lines.append(f"    for (index_t r = 0; r < n; r++) {body}")
