"""What both passes of the generated C know: where every value lies, and how a formula reads it.

Both read and write buffers through a table of pointers, one table a member. A call goes over the
sequences [from, to) of the batch; a packed batch has fewer at later steps. Of a step, `n` is the
number of sequences that are there, `o` the first row of what has a row for every row of x, `q` that
of kept values (the same, or `from` where nothing is kept), `before` and `after` that of states.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nas.cell.ops import OPS
from nas.compile.formula import FORWARD, Printer, names
from nas.compile.plan import Plan, Product, Target

ARGUMENTS = ("a", "b", "c")
LOOP = """\
  const index_t steps = call->steps, batch = call->batch, reverse = call->reverse;
  for (index_t k = 0; k < steps; k++) {{
    const index_t t = {order}, there = call->rows[t] < to ? call->rows[t] : to;
    const index_t n = there > from ? there - from : 0, o = call->offset[t] + from;
    const index_t q = {keep} ? o : from;
    const index_t before = ({keep} ? (reverse ? t + 1 : t) : (k & 1)) * batch + from;
    const index_t after = ({keep} ? (reverse ? t : t + 1) : !(k & 1)) * batch + from;
    (void)o; (void)q; (void)before; (void)after;
"""
CHEAP = ("add", "sub", "mul", "neg", "blend", "max", "min", "relu", "leaky_relu", "abs", "square")
"""Operations that are as fast as reading their result from memory."""
DEEPEST = 3
"""Operations in a row that are computed again rather than kept."""


@dataclass(frozen=True)
class Place:
    """Rows of a value: that of sequence r begins at base + (first + r) * stride."""

    base: str
    first: str
    stride: int

    @property
    def row(self) -> str:
        return f"({self.base} + ({self.first} + r) * {self.stride})"

    @property
    def block(self) -> str:
        """The first row."""
        return f"({self.base} + {self.first} * {self.stride})"


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
        self.multiplied = {p.arg for stage in plan.stages for p in stage.products}
        self.read_back = self._read_back()
        self.again = self._again()
        self.kept = {i for i in self.read_back if i in self.group_of} - self.again.keys()
        self.stored = self.kept | self._passed_on()
        self.state_of = self._state_of()

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

    def _read_back(self) -> set[int]:
        """Values that the backward pass reads: arguments and results in derivatives."""
        found = set(self.multiplied)
        for i in self.group_of:
            reads = self._names_read(i)
            found |= {a for a, k in zip(self.plan.args(i), ARGUMENTS, strict=False) if k in reads}
            found |= {i} if "y" in reads else set()
        return found

    def _names_read(self, i: int) -> set[str]:
        op = self.plan.node(i).op
        formulas = ("g * b", "g * a") if op == "diagonal" else OPS[op].vjp
        return {name for formula in formulas for name in names(formula)}

    def _again(self) -> dict[int, int]:
        """Values that the backward pass computes again, with the operations that it takes: cheap
        ones of what is there anyway."""
        again: dict[int, int] = {}
        for i in sorted(self.read_back & self.group_of.keys() - self.multiplied):
            args, n = self.plan.args(i), self.plan.node(i)
            inner = [a for a in args if a in self.group_of or a in self.stage_of]
            depth = 1 + max((again.get(a, 0) for a in args), default=0)
            if n.op in CHEAP and depth <= DEEPEST and self.read_back.issuperset(inner):
                again[i] = depth
        return again

    def _passed_on(self) -> set[int]:
        """Values that another group reads, or that leave the step."""
        return {
            arg
            for i, group in self.group_of.items()
            for arg in self.plan.args(i)
            if self.group_of.get(arg, group) != group
        } | {i for i in self.plan.outputs if i in self.group_of}

    def _state_of(self) -> dict[int, int]:
        """Values that lie where the new state that they are lies."""
        found: dict[int, int] = {}
        for place in range(1, len(self.plan.cell.states) + 1):
            i = self.plan.outputs[place]
            if i in self.group_of and self.plan.padded(i) == self.plan.padded(place):
                found.setdefault(i, place)
        return found

    def stage_is_kept(self, s: int) -> bool:
        return any(target.node in self.read_back for target in self.plan.stages[s].targets)

    def place(self, i: int) -> Place:
        """Where a value of the loop, or one that it reads, lies."""
        plan, slots = self.plan, self.slots
        width = plan.padded(i)
        if plan.node(i).op == "state":
            return Place(slots(f"state {i}"), "before", width)
        if i in self.stage_of:
            s, target = self.stage_of[i]
            first = "q" if self.stage_is_kept(s) else "from"
            return Place(f"{slots(f'sums {s}')} + {target.column}", first, plan.stages[s].columns)
        if i in self.state_of:
            return Place(slots(f"state {self.state_of[i]}"), "after", width)
        if i in self.group_of:
            return Place(slots(f"value {i}"), "q" if i in self.kept else "from", width)
        if is_vector(plan, i):
            return Place(slots(f"hoisted {i}"), "0", 0)
        return Place(slots(f"hoisted {i}"), "o", width)

    def sums(self, s: int) -> Place:
        first = "q" if self.stage_is_kept(s) else "from"
        return Place(self.slots(f"sums {s}"), first, self.plan.stages[s].columns)

    def load(self, i: int) -> str:
        """A vector of a value at column j of row r."""
        n = self.plan.node(i)
        if n.op == "constant":
            return f"splat({_real(n.number('value'))})"
        if self.plan.padded(i) == 1:
            return f"splat(*{self.place(i).row})"
        return f"load({self.place(i).row} + j)"

    def load_back(self, i: int) -> str:
        """The same for the backward pass, where what was not kept is computed again."""
        if i not in self.again:
            return self.load(i)
        arguments = [self.load_back(arg) for arg in self.plan.args(i)]
        op = self.plan.node(i).op
        return Printer(self.formula_values(i, arguments)).print(FORWARD[op])

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


def rounded(plan: Plan, i: int) -> int:
    """A value's width as a multiple of the vector length."""
    return -(-plan.sizes[i] // plan.lanes) * plan.lanes


def running(shared: Shared) -> list[tuple[str, int]]:
    """Sums over all rows that each thread keeps, with their widths: of vectors that are learned or
    do not change."""
    plan = shared.plan
    found = [(f"weight {i}", plan.padded(i)) for i in plan.diagonals]
    return found + [(f"hoisted {i}", plan.padded(i)) for i in plan.hoisted if is_vector(plan, i)]


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
