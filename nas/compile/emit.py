"""C source of a plan's time loop: `forward` and `backward`, each one call for a whole sequence.

Both read and write buffers through a table of pointers whose places are in `Source.slots`. Rows of
a step are sequences of the batch; a packed batch has fewer at later steps. Values with one row a
step and sequence lie as (rows of all steps, padded width), states as (steps + 1, batch, padded
width).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nas.cell.ops import OPS
from nas.compile.formula import FORWARD, Printer, names
from nas.compile.plan import Plan, Product, Stage, Target

ARGUMENTS = ("a", "b", "c")
SIGNATURE = (
    "(real **restrict p, index_t steps, index_t batch, const index_t *rows, "
    "const index_t *offset, index_t reverse, index_t inputs, const index_t *tokens)"
)
LOOP = """\
  for (index_t k = 0; k < steps; k++) {{
    index_t t = {order}, n = rows[t], o = offset[t];
    index_t before = reverse ? t + 1 : t, after = reverse ? t : t + 1;
    (void)o; (void)before; (void)after;
"""


@dataclass
class Slots:
    """Names of buffers and their places in the table of pointers."""

    place: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str) -> str:
        return f"p[{self.place.setdefault(name, len(self.place))}]"


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
    from nas.compile.emit_backward import Backward

    slots = Slots()
    shared = Shared(plan, slots)
    forward = _Forward(shared).text()
    backward = Backward(shared).text()
    kept = tuple(sorted(shared.kept))
    stages = tuple(s for s in range(len(plan.stages)) if shared.stage_is_kept(s))
    return Source(GEMM + forward + backward, slots.place, kept, stages)


class Shared:
    """What both passes know: where every value lies, and which are kept."""

    def __init__(self, plan: Plan, slots: Slots) -> None:
        self.plan, self.slots = plan, slots
        self.stage_of = {
            target.node: (s, target)
            for s, stage in enumerate(plan.stages)
            for target in stage.targets
        }
        self.groups = [group for region in plan.regions for group in self._groups(region)]
        self.group_of = {i: g for g, group in enumerate(self.groups) for i in group}
        self.kept = self._kept()

    def _groups(self, region: tuple[int, ...]) -> list[list[int]]:
        """Neighbouring operations of one width share a loop over the row, row operations do not."""
        groups: list[list[int]] = []
        for i in region:
            alone = OPS[self.plan.node(i).op].kind == "row"
            fits = groups and not alone and self.plan.padded(groups[-1][0]) == self.plan.padded(i)
            if fits and OPS[self.plan.node(groups[-1][0]).op].kind != "row":
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _kept(self) -> set[int]:
        plan, kept = self.plan, set[int]()
        for i, group in self.group_of.items():
            for k, arg in enumerate(plan.args(i)):
                if self.group_of.get(arg, group) != group or self._is_read_back(i, ARGUMENTS[k]):
                    kept.add(arg)
            if self._is_read_back(i, "y"):
                kept.add(i)
        kept |= {p.arg for stage in plan.stages for p in stage.products}
        return {i for i in kept if i in self.group_of}

    def _is_read_back(self, i: int, name: str) -> bool:
        op = self.plan.node(i).op
        formulas = ("g * b", "g * a") if op == "diagonal" else OPS[op].vjp
        return any(name in names(formula) for formula in formulas)

    def stage_is_kept(self, s: int) -> bool:
        nodes = {target.node for target in self.plan.stages[s].targets}
        nodes &= {
            arg
            for i in self.group_of
            for k, arg in enumerate(self.plan.args(i))
            if self._is_read_back(i, ARGUMENTS[k])
        }
        read = {p.arg for stage in self.plan.stages for p in stage.products}
        return bool(nodes) or any(t.node in read for t in self.plan.stages[s].targets)

    def row(self, i: int) -> str:
        """The address of a value's row for sequence r of the step."""
        plan, slots = self.plan, self.slots
        n, width = plan.node(i), plan.padded(i)
        if n.op == "state":
            return f"({slots(f'state {i}')} + (before * batch + r) * {width})"
        if i in self.stage_of:
            s, target = self.stage_of[i]
            return f"({self.sums(s)} + r * {plan.stages[s].columns} + {target.column})"
        if i in self.group_of:
            return f"({slots(f'value {i}')} + (o + r) * {width})"
        if is_vector(plan, i):
            return slots(f"hoisted {i}")
        return f"({slots(f'hoisted {i}')} + (o + r) * {width})"

    def sums(self, s: int) -> str:
        columns = self.plan.stages[s].columns
        kept = self.stage_is_kept(s)
        return f"({self.slots(f'sums {s}')}{f' + o * {columns}' if kept else ''})"

    def load(self, i: int, j: str = "j") -> str:
        """A vector of a value at column j of the row."""
        n = self.plan.node(i)
        if n.op == "constant":
            return f"splat({_real(n.number('value'))})"
        if self.plan.padded(i) == 1:
            return f"splat(*{self.row(i)})"
        return f"load({self.row(i)} + {j})"

    def formula_values(self, i: int, arguments: list[str], y: str = "") -> dict[str, str]:
        values = dict(zip(ARGUMENTS, arguments, strict=False))
        for name, value in self.plan.node(i).attrs:
            if isinstance(value, float):
                values[name] = f"splat({_real(value)})"
        return values | ({"y": y} if y else {})


def is_vector(plan: Plan, i: int) -> bool:
    """Whether a hoisted value is one row for all steps: it depends on parameters alone."""
    wanted = [i]
    while wanted:
        node = wanted.pop()
        if plan.node(node).op in ("input", "vertical", "step"):
            return False
        wanted.extend(plan.args(node))
    return True


def _real(value: float) -> str:
    if value in (float("inf"), -float("inf")):
        return f"{'-' if value < 0 else ''}__builtin_inf()"
    return repr(value)


def _partial(plan: Plan, i: int) -> bool:
    return plan.sizes[i] != plan.padded(i)


def parts(shared: Shared, product: Product) -> Iterator[tuple[Target, str, int, int]]:
    """Each piece of a product's matrix: its map, the address and row length of the weights, and
    whether it is added to a piece before, where a map reads one value twice."""
    plan = shared.plan
    for target in product.targets:
        args, weight = plan.args(target.node), shared.slots(f"weight {target.node}")
        places = [k for k, arg in enumerate(args) if arg == product.arg]
        for place in places:
            column = plan.columns_before(target.node, place)
            lead = plan.columns_before(target.node, len(args))
            yield target, f"{weight} + {column}", lead, int(place != places[0])


class _Forward:
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
        else:
            body = (
                f"for (index_t j = 0; j < {width}; j += LANES) "
                f"store({target} + j, {self.shared.load(i)});"
            )
        self.lines.append(f"    for (index_t r = 0; r < n; r++) {body}")


class RowLoops:
    """Loops over a row that reduce it to one number, printed before the loop that uses it."""

    def __init__(self, shared: Shared, like: int, lines: list[str], prefix: str) -> None:
        self.shared, self.like, self.lines = shared, like, lines
        self.prefix, self.count = prefix, 0

    def reduce(self, kind: str, vector: str) -> str:
        """Print the loop of one reduction; lanes beyond the true width do not count."""
        name = f"{self.prefix}_{self.count}"
        self.count += 1
        plan, lanes = self.shared.plan, self.shared.plan.lanes
        width, whole = plan.sizes[self.like], plan.sizes[self.like] // lanes * lanes
        start = "-__builtin_inf()" if kind == "largest" else "0"
        self.lines.append(f"      real {name}_sum = {start};")
        part, sum_ = f"{name}_part", f"{name}_sum"
        join = f"{sum_} += {part};"
        if kind == "largest":
            join = f"{sum_} = {part} > {sum_} || {part} != {part} ? {part} : {sum_};"
        over = "row_largest" if kind == "largest" else "row_total"
        self.lines.append(
            f"      for (index_t j = 0; j < {whole}; j += LANES) {{ real {name}_part = "
            f"{over}({vector}); {join} }}"
        )
        if whole < width:
            self.lines.append(
                f"      {{ index_t j = {whole}; vec rest = {vector}; for (int i = 0; "
                f"i < {width - whole}; i++) {{ real {name}_part = rest[i]; {join} }} }}"
            )
        share = f" / {width}" if kind == "mean" else ""
        self.lines.append(f"      vec {name} = splat({name}_sum{share});")
        return name
