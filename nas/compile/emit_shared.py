"""What both passes of the generated C know: where every value lies, and how a formula reads it.

Both read and write buffers through a table of pointers. Rows of a step are sequences of the batch;
a packed batch has fewer at later steps. Values with one row a step and sequence lie as (rows of all
steps, padded width), states as (steps + 1, batch, padded width).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nas.cell.ops import OPS
from nas.compile.formula import names
from nas.compile.plan import Plan, Product, Target

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
