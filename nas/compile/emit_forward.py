"""The forward half of a plan's C source."""

from nas.cell.ops import OPS
from nas.compile.emit_shared import LOOP, SIGNATURE, RowLoops, Shared, parts
from nas.compile.formula import FORWARD, Printer
from nas.compile.plan import Product, Stage, Target


class Forward:
    def __init__(self, shared: Shared) -> None:
        self.shared, self.plan, self.slots = shared, shared.plan, shared.slots
        self.lines: list[str] = []

    def text(self) -> str:
        plan = self.plan
        self.lines = [f"void forward{SIGNATURE} {{"]
        for s, stage in enumerate(plan.stages):
            self._pack(s, stage)
        for i in plan.diagonals:
            width, padded = plan.sizes[i], plan.padded(i)
            source = self.slots(f"weight {i}")
            self.lines.append(
                f"  put_row({self.slots(f'vector {i}')}, {source}, {width}, {padded});"
            )
        for i in range(1, len(plan.cell.states) + 1):
            width, padded = plan.sizes[i], plan.padded(i)
            to = f"{self.slots(f'state {i}')} + ((reverse ? steps : 0) * batch + r) * {padded}"
            self.lines.append("  for (index_t r = 0; r < batch; r++)")
            source = f"{self.slots(f'start {i}')} + r * {width}"
            self.lines.append(f"    put_row({to}, {source}, {width}, {padded});")
        self.lines.append(LOOP.format(order="reverse ? steps - 1 - k : k"))
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
        self.lines += ["  }", "}"]
        return "\n".join(self.lines) + "\n"

    def _pack(self, s: int, stage: Stage) -> None:
        """Biases, panels of all matrices, and the products of hoisted values for all steps."""
        bias, base, columns = self.slots(f"bias {s}"), self.slots(f"base {s}"), stage.columns
        for target in stage.targets:
            given = "0"
            if self.plan.node(target.node).op == "linear":
                given = self.slots(f"bias of {target.node}")
            self.lines.append(
                f"  put_row({bias} + {target.column}, {given}, {target.width}, {target.padded});"
            )
        for q, product in enumerate(stage.products):
            self._panels(product, self.slots(f"panels {s} {q}"))
        whole = [p.count == columns for p in stage.inputs]
        if stage.inputs and not whole[0]:
            self.lines.append("  for (index_t r = 0; r < inputs; r++)")
            self.lines.append(f"    memcpy({base} + r * {columns}, {bias}, BYTES({columns}));")
        for q, product in enumerate(stage.inputs):
            k, n, first = self.plan.sizes[product.arg], product.count, product.first
            panels = self.slots(f"panels in {s} {q}")
            self._panels(product, panels)
            to = f"{base} + {first}"
            start = f"{bias}, 0" if q == 0 and whole[0] else f"{to}, {columns}"
            values = self.slots(f"input {product.arg}")
            self.lines.append(
                f"  gemm(inputs, {k}, {n}, {values}, {k}, {panels}, {start}, {to}, {columns});"
            )

    def _panels(self, product: Product, panels: str) -> None:
        k, n = self.plan.sizes[product.arg], product.count
        for target, weight, lead, add in parts(self.shared, product):
            self.lines.append(
                f"  pack({k}, {n}, {target.column - product.first}, {target.width}, "
                f"{target.padded}, {weight}, {lead}, {add}, {panels});"
            )

    def _stage(self, s: int, stage: Stage) -> None:
        """Sums start from the hoisted part of each map, or from what earlier products gave."""
        sums, stride = self.shared.sums(s), stage.columns
        base, shift = f"base{s}", f"shift{s}"
        if stage.inputs:
            every = self.slots(f"base {s}")
            self.lines += [
                f"    const real *{base} = {every} + o * {stride};",
                f"    const index_t {shift} = {stride};",
                "    if (tokens) {",
                "      for (index_t r = 0; r < n; r++)",
                f"        memcpy({sums} + r * {stride}, {every} + tokens[o + r] * {stride}, "
                f"BYTES({stride}));",
                f"      {base} = {sums};",
                "    }",
            ]
        else:
            self.lines += [
                f"    const real *{base} = {self.slots(f'bias {s}')};",
                f"    const index_t {shift} = 0;",
            ]
        done: set[int] = set()
        for q, product in enumerate(stage.products):
            fresh = [t.node not in done for t in product.targets]
            arg = self._argument(product)
            lead = self._lead(product)
            panels = self.slots(f"panels {s} {q}")
            start = f"{sums} + {product.first}"
            init, init_lead = f"{base} + {product.first}", shift
            if not all(fresh):
                for target in [t for t, new in zip(product.targets, fresh, strict=True) if new]:
                    self._copy(s, target, base, shift)
                init, init_lead = start, str(stride)
            self.lines.append(
                f"    gemm(n, {self.plan.sizes[product.arg]}, {product.count}, {arg}, {lead}, "
                f"{panels}, {init}, {init_lead}, {start}, {stride});"
            )
            done |= {t.node for t in product.targets}

    def _copy(self, s: int, target: Target, base: str, shift: str) -> None:
        sums, columns = self.shared.sums(s), self.plan.stages[s].columns
        self.lines.append(f"    if ({base} != {sums}) for (index_t r = 0; r < n; r++)")
        self.lines.append(
            f"      memcpy({sums} + r * {columns} + {target.column}, {base} + r * {shift} + "
            f"{target.column}, BYTES({target.padded}));"
        )

    def _argument(self, product: Product) -> str:
        return self.shared.row(product.arg).replace("+ r)", ")").replace(" + r * ", " + 0 * ")

    def _lead(self, product: Product) -> int:
        if product.arg in self.shared.stage_of:
            return self.plan.stages[self.shared.stage_of[product.arg][0]].columns
        return self.plan.padded(product.arg)

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
        if i in self.shared.kept or i in self.plan.outputs:
            self._store(i)

    def _store(self, i: int) -> None:
        address = self.shared.row(i)
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
                target = f"{self.slots(f'state {place}')} + (after * batch + r) * {width}"
                self._copy_row(i, target, width)
                old = f"{self.slots(f'state {place}')} + (before * batch + r) * {width}"
                self.lines.append("    for (index_t r = n; r < batch; r++)")
                self.lines.append(f"      memcpy({target}, {old}, BYTES({width}));")
            elif i in plan.depth:
                name = f"output {place}"
                width = plan.padded(i)
                self._copy_row(i, f"{self.slots(name)} + (o + r) * {width}", width)

    def _copy_row(self, i: int, target: str, width: int) -> None:
        if self.plan.padded(i) == width and self.plan.node(i).op != "constant":
            body = f"memcpy({target}, {self.shared.row(i)}, BYTES({width}));"
        elif width == 1:
            body = f"*({target}) = {self.shared.load(i)}[0];"
        else:
            body = (
                f"for (index_t j = 0; j < {width}; j += LANES) "
                f"store({target} + j, {self.shared.load(i)});"
            )
        self.lines.append(f"    for (index_t r = 0; r < n; r++) {body}")
