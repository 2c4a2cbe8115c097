"""A step of the backward pass: what each operation gives back to its arguments.

A value's gradient is the sum of what flows back from each use; which contribution comes first is
known when the code is printed, so it is written and the others are added.
"""

from nas.cell.ops import OPS
from nas.compile.emit.shared import RowLoops, Shared, is_vector
from nas.compile.formula import Printer
from nas.compile.plan import Product, Stage


class StepBack:
    """Prints the body of the backward loop."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.plan, self.slots = shared, shared.plan, shared.slots
        self.lines: list[str] = []
        self.written: set[int] = set()
        """Nodes whose gradient has a first contribution in this step."""
        n_states = len(self.plan.cell.states)
        self.states = range(1, n_states + 1)
        self.flows_in: dict[int, list[str]] = {}
        """For each node that leaves the step, the addresses of the gradients that come back."""
        for place, i in enumerate(self.plan.outputs):
            if place in self.states:
                address = f"in{place} + r * {self.plan.padded(place)}"
            elif i in self.plan.depth:
                address = f"flow{place} + (o + r) * shift{place}"
            else:
                continue  # y without a state: outside of the loop
            self.flows_in.setdefault(i, []).append(address)

    def text(self) -> list[str]:
        """The lines of one step."""
        for i in self.flows_in:
            if i not in self.shared.group_of and i not in self.shared.stage_of:
                self._flow_through(i)
        groups = list(self.shared.groups)
        for s in reversed(range(len(self.plan.regions))):
            left = len(self.plan.regions[s])
            while left:
                group = groups.pop()
                left -= len(group)
                self._group(group)
            if s > 0:
                self._stage(s - 1, self.plan.stages[s - 1])
        for i in self.states:
            self._end_of_step(i)
        return self.lines

    def _end_of_step(self, i: int) -> None:
        width = self.plan.padded(i)
        if i not in self.written:
            self.lines.append(f"    memset(out{i}, 0, BYTES(n * {width}));")
        self.lines.append(
            f"    memcpy(out{i} + n * {width}, in{i} + n * {width}, "
            f"BYTES((to - from - n) * {width}));"
        )
        self.lines.append(f"    swap{i} = in{i}; in{i} = out{i}; out{i} = swap{i};")

    def _address(self, i: int) -> str:
        """Where the gradient of a value's row is collected."""
        plan, slots = self.plan, self.slots
        width = plan.padded(i)
        if plan.node(i).op == "state":
            return f"out{i} + r * {width}"
        if i in self.shared.stage_of:
            s, target = self.shared.stage_of[i]
            columns = plan.stages[s].columns
            return f"{slots(f'grad sums {s}')} + (o + r) * {columns} + {target.column}"
        if i in self.shared.group_of:
            return f"{slots(f'grad value {i}')} + (from + r) * {width}"
        if is_vector(plan, i):
            return f"{slots(f'running hoisted {i}')} + thread * {width}"
        return f"{slots(f'grad hoisted {i}')} + (o + r) * {width}"

    def _adds(self, i: int) -> bool:
        """Whether a contribution is added to what is there; the first of a step is written."""
        hoisted = i not in self.plan.depth
        adds = i in self.written or (hoisted and is_vector(self.plan, i))
        self.written.add(i)
        return adds

    def _load(self, i: int, address: str) -> str:
        return f"splat(*({address}))" if self.plan.padded(i) == 1 else f"load({address} + j)"

    def _gradient(self, i: int) -> list[str]:
        """Vectors whose sum is the gradient that reaches a value from outside of its group."""
        addresses = list(self.flows_in.get(i, ()))
        if i in self.written:
            addresses.append(self._address(i))
        return [self._load(i, address) for address in addresses]

    def _flow_through(self, i: int) -> None:
        """A state or hoisted value that leaves the step as it came."""
        if self.plan.node(i).op == "constant":
            return
        self._collect(i, " + ".join(self._load(i, address) for address in self.flows_in[i]))

    def _collect(self, i: int, vector: str) -> None:
        width = self.plan.padded(i)
        address = self._address(i)
        self.lines.append("    for (index_t r = 0; r < n; r++) {")
        plus = f" + {self._load(i, address)}" if self._adds(i) else ""
        self.lines.append(f"      for (index_t j = 0; j < {width}; j += LANES) {{")
        self.lines.append(f"        vec d = {vector}{plus};")
        self.lines.append(f"        {self._put(i, address, 'd')}")
        self.lines.append("      }")
        self.lines.append("    }")

    def _put(self, i: int, address: str, vector: str) -> str:
        if self.plan.padded(i) == 1:
            return f"*({address}) = {vector}[0];"
        return f"store({address} + j, {vector});"

    def _stage(self, s: int, stage: Stage) -> None:
        for target in stage.targets:
            i = target.node
            if i in self.flows_in:
                self._collect(i, " + ".join(self._load(i, a) for a in self.flows_in[i]))
            start = "0" if i not in self.written else str(target.width)
            if start == "0" or target.width < target.padded:
                self.lines.append(
                    f"    for (index_t r = 0; r < n; r++) memset({self._address(i)} + {start}, 0, "
                    f"BYTES({target.padded} - {start}));"
                )
        for q, product in enumerate(stage.products):
            gradients = f"{self.slots(f'grad sums {s}')} + o * {stage.columns} + {product.first}"
            if self.plan.padded(product.arg) == 1:
                self._narrow_product(product, f"{s} {q}", gradients, stage.columns)
            else:
                self._product(product, f"{s} {q}", gradients, stage.columns)

    def _product(self, product: Product, name: str, gradients: str, columns: int) -> None:
        arg, count = product.arg, product.count
        block = self._address(arg).replace("+ r)", ")").replace("+ r *", "+ 0 *")
        lead = self._lead(arg)
        init, init_lead = (block, lead) if self._adds(arg) else ("nil", 0)
        self.lines.append(
            f"    gemm(n, {count}, {self.plan.padded(arg)}, {gradients}, {columns}, "
            f"{self.slots(f'panels back {name}')}, {init}, {init_lead}, {block}, {lead});"
        )

    def _narrow_product(self, product: Product, name: str, gradients: str, columns: int) -> None:
        """The gradient of a value of width 1: the panels of its matrix are one row."""
        panels, sign = self.slots(f"panels {name}"), "+=" if self._adds(product.arg) else "="
        self.lines += [
            "    for (index_t r = 0; r < n; r++) {",
            "      vec total = splat(0);",
            f"      for (index_t j = 0; j < {product.count}; j += LANES)",
            f"        total += load({gradients} + r * {columns} + j) * load({panels} + j);",
            f"      *({self._address(product.arg)}) {sign} row_total(total);",
            "    }",
        ]

    def _lead(self, arg: int) -> int:
        if arg in self.shared.stage_of:
            return self.plan.stages[self.shared.stage_of[arg][0]].columns
        return self.plan.padded(arg)

    def _group(self, group: list[int]) -> None:
        if OPS[self.plan.node(group[0]).op].kind == "row":
            self._row_operation(group[0])
            return
        body: list[str] = []
        inner: dict[int, list[str]] = {i: [] for i in group}
        outer: dict[int, list[str]] = {}
        for i in reversed(group):
            parts = self._gradient(i) + inner[i]
            if not parts:
                continue
            body.append(f"        vec g{i} = {' + '.join(parts)};")
            for k, (arg, formula) in enumerate(self._uses(i)):
                if self.plan.node(arg).op == "constant":
                    continue
                name = f"d{i}_{k}"
                body.append(f"        vec {name} = {formula};")
                (inner[arg] if arg in inner else outer.setdefault(arg, [])).append(name)
            if self.plan.node(i).op == "diagonal":
                body += self._vector_gradient(i)
        self._loop(group, body, outer)

    def _uses(self, i: int) -> list[tuple[int, str]]:
        """Each argument of an operation with the C of its gradient."""
        n, arguments = self.plan.node(i), self.plan.args(i)
        loads = [self.shared.load_back(arg) for arg in arguments]
        if n.op == "diagonal":
            weight = self._weight(i)
            return [(arguments[0], f"g{i} * {weight}")]
        values = self.shared.formula_values(i, loads, self.shared.load_back(i))
        values["g"] = f"g{i}"
        return [
            (arg, Printer(values).print(formula))
            for arg, formula in zip(arguments, OPS[n.op].vjp, strict=True)
        ]

    def _weight(self, i: int) -> str:
        weight = self.slots(f"vector {i}")
        return f"load({weight} + j)" if self.plan.padded(i) > 1 else f"splat(*{weight})"

    def _vector_gradient(self, i: int) -> list[str]:
        width = self.plan.padded(i)
        address = f"({self.slots(f'running weight {i}')} + thread * {width})"
        arg = self.shared.load_back(self.plan.args(i)[0])
        if width == 1:
            return [f"        *{address} += (g{i} * {arg})[0];"]
        return [f"        store({address} + j, load({address} + j) + g{i} * {arg});"]

    def _loop(self, group: list[int], body: list[str], outer: dict[int, list[str]]) -> None:
        if not body:
            return
        width, size = self.plan.padded(group[0]), self.plan.sizes[group[0]]
        narrow = [arg for arg in outer if self.plan.padded(arg) == 1 and width > 1]
        self.lines.append("    for (index_t r = 0; r < n; r++) {")
        for arg in narrow:
            self.lines.append(f"      vec total{arg} = splat(0);")
        self.lines.append(f"      for (index_t j = 0; j < {width}; j += LANES) {{")
        self.lines += body
        after: list[str] = []
        for arg, pieces in outer.items():
            address, adds = self._address(arg), self._adds(arg)
            vector = " + ".join(pieces)
            if arg in narrow:
                vector = f"only({vector}, {size} - j)" if size != width else f"({vector})"
                self.lines.append(f"        total{arg} += {vector};")
                after.append(f"      *({address}) {'+=' if adds else '='} row_total(total{arg});")
            elif self.plan.padded(arg) == 1:
                self.lines.append(f"        *({address}) {'+=' if adds else '='} ({vector})[0];")
            else:
                plus = f" + load({address} + j)" if adds else ""
                self.lines.append(f"        store({address} + j, {vector}{plus});")
        self.lines += ["      }", *after, "    }"]

    def _row_operation(self, i: int) -> None:
        parts = self._gradient(i)
        if not parts:
            return
        arg = self.plan.args(i)[0]
        self.lines.append("    for (index_t r = 0; r < n; r++) {")
        rows = RowLoops(self.shared, arg, self.lines, f"b{i}")
        values = self.shared.formula_values(
            i, [self.shared.load_back(arg)], self.shared.load_back(i)
        )
        values["g"] = f"({' + '.join(parts)})"
        text = Printer(values, rows.reduce).print(OPS[self.plan.node(i).op].vjp[0])
        address, adds = self._address(arg), self._adds(arg)
        plus = f" + {self._load(arg, address)}" if adds else ""
        width = self.plan.padded(i)
        self.lines.append(f"      for (index_t j = 0; j < {width}; j += LANES) {{")
        self.lines.append(f"        vec d = {text}{plus};")
        self.lines.append(f"        {self._put(arg, address, 'd')}")
        self.lines += ["      }", "    }"]
