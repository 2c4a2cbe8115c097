"""Pieces of C that both passes are made of: templates, buffers, and the values that lie in them."""

from collections.abc import Iterable, Iterator
from string import Template
from textwrap import indent
from typing import Literal, NamedTuple

from nas.compile.emit.formula import Printer, result
from nas.compile.emit.values import ARGUMENTS, Values
from nas.compile.plan import Plan, Product, Target

STEPS = """
const index_t steps = call->steps, batch = call->batch, reverse = call->reverse;
for (index_t k = 0; k < steps; k++) {
  const index_t t = $order, there = call->rows[t] < to ? call->rows[t] : to;
  const index_t n = there > from ? there - from : 0, o = call->offset[t] + from;
  const index_t q = $keep ? o : from;
  const index_t before = ($keep ? (reverse ? t + 1 : t) : (k & 1)) * batch + from;
  const index_t after = ($keep ? (reverse ? t : t + 1) : !(k & 1)) * batch + from;
  (void)o; (void)q; (void)before; (void)after;
  $body
}
"""
"""A pass over all steps, for the sequences [from, to) of the batch; a packed batch has fewer at
later steps. At a step, `n` is the number of sequences that are there. The first row is `o` of what
has a row for every row of x, `q` of kept values (the same, or `from` where nothing is kept), and
`before` and `after` of states."""
ROWS = """
for (index_t r = 0; r < n; r++) {
  $before
  for (index_t j = 0; j < $width; j += LANES) {
    $body
  }
  $after
}
"""
"""A loop over the vectors of all rows."""
REDUCTION = """
real ${name}_sum = $start;
for (index_t j = 0; j < $whole; j += LANES) { real part = $function($vector); $join }
$rest
vec $name = splat(${name}_sum$share);
"""
"""A row reduced to one number, in every lane of a vector."""
REST = """
{
  index_t j = $whole;
  vec rest = $vector;
  for (int i = 0; i < $count; i++) { real part = rest[i]; $join }
}
"""
"""The last values of a row; the lanes behind them do not count."""
ADD, MOST = "$sum += part;", "$sum = part > $sum || part != part ? part : $sum;"
REDUCTIONS = {
    "total": ("0", "row_total", ADD),
    "mean": ("0", "row_total", ADD),
    "largest": ("-__builtin_inf()", "row_largest", MOST),
}
"""For each reduction: where it starts, its function of a vector, and how a part joins it."""

Lines = str | Iterable[str]
Role = Literal[
    # What a call reads and gives; each has a gradient.
    "input",  # rows that matrices multiply before the loop, by node
    "hoisted",  # a value from before the loop, by node
    "weight",  # a matrix or a learned vector, by node
    "bias",  # by node
    "start",  # first values of a state, by its place among the outputs
    "final",  # last values of a state, by its place
    "output",  # what else leaves the loop, by its place
    # What a call computes on the way. Gradients of the first four are written by the backward pass.
    "sums",  # of a stage: all of its products and biases
    "symbols",  # of a stage: gradients of the sums by symbol
    "state",  # values at each step, by place
    "value",  # of an operation
    "next state",  # gradients of a state at the step before, by place
    "biases",  # of a stage, side by side
    "base",  # of a stage: what sums start from, for some steps or for each symbol
    "panels",  # a packed matrix of values of the loop, by stage and product
    "input panels",  # a packed matrix of hoisted values
    "panels back",  # the same, transposed
    "input panels back",
    "vector",  # a learned vector, in whole vectors
    "running",  # each thread's sum of the gradient of a vector, by node
    "gathered",  # values of a state for the rows of x, by node
    "scratch",
]


class Buffer(NamedTuple):
    """A block of numbers whose address stands in the table of pointers."""

    role: Role
    numbers: tuple[int, ...]
    gradient: bool = False


class Place(NamedTuple):
    """Rows in memory: that of sequence r begins at base + (first + r) * stride."""

    base: str
    first: str = ""
    stride: int | str = 0

    @property
    def row(self) -> str:
        """The address of row r."""
        if self.stride == 0:
            return f"({self.base})"
        row = f"({self.first} + r)" if self.first else "r"
        return f"({self.base} + {row} * {self.stride})"

    @property
    def block(self) -> str:
        """The address of the first row."""
        return f"{self.base} + {self.first} * {self.stride}" if self.first else self.base

    def column(self, column: int) -> "Place":
        """The rows from a column on."""
        return self._replace(base=f"{self.base} + {column}") if column else self


def fill(template: str, **values: Lines | int) -> str:
    """A template with its values; one alone on a line is a block of lines, or of none."""
    lines = []
    for line in template.strip("\n").split("\n"):
        name = line.strip().removeprefix("$")
        value = values.get(name) if line.strip().startswith("$") else None
        if value is None or isinstance(value, int):
            lines.append(Template(line).substitute(values))
        elif text := value if isinstance(value, str) else "\n".join(value):
            lines.append(indent(text, line[: line.index("$")]))
    return "\n".join(lines)


def loop(rows: str, statement: str) -> str:
    """A statement for each of some rows."""
    return f"for (index_t r = 0; r < {rows}; r++)\n  {statement}"


def gemm(
    rows: str, product: tuple[int, int], values: Place, panels: str, init: Place, to: Place
) -> str:
    """`to` = `init` + `values` times a packed matrix of (k, n) entries."""
    k, n = product
    return (
        f"gemm({rows}, {k}, {n}, {values.block}, {values.stride}, {panels}, "
        f"{init.block}, {init.stride}, {to.block}, {to.stride});"
    )


def load(place: Place, width: int) -> str:
    """A vector of a value of this width, at column j of row r."""
    return f"splat(*{place.row})" if width == 1 else f"load({place.row} + j)"


def store(place: Place, width: int, vector: str, *, add: bool = False) -> str:
    """Write a vector at column j of row r, or add it to what is there."""
    if width == 1:
        return f"*{place.row} {'+=' if add else '='} ({vector})[0];"
    return f"store({place.row} + j, {vector}{f' + {load(place, width)}' if add else ''});"


class Writer:
    """What the functions of one plan share: the addresses of its buffers, and formulas as C."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.values = Values(plan)
        self.slots: dict[Buffer, int] = {}
        """The place of each buffer's pointer in the table."""

    def at(self, role: Role, *numbers: int, gradient: bool = False) -> str:
        """The address of a buffer."""
        buffer = Buffer(role, numbers, gradient)
        return f"p[{self.slots.setdefault(buffer, len(self.slots))}]"

    def sums(self, s: int) -> Place:
        """The sums of a stage."""
        first = "q" if self.values.stage_is_kept(s) else "from"
        return Place(self.at("sums", s), first, self.plan.stages[s].columns)

    def place(self, i: int) -> Place:
        """Where a value of the loop, or one that it reads, lies."""
        plan, values, width = self.plan, self.values, self.plan.padded(i)
        if plan.node(i).op == "state":
            return Place(self.at("state", i), "before", width)
        if i in values.stage_of:
            s, target = values.stage_of[i]
            return self.sums(s).column(target.column)
        if i in values.state_of:
            return Place(self.at("state", values.state_of[i]), "after", width)
        if i in values.group_of:
            return Place(self.at("value", i), "q" if i in values.kept else "from", width)
        if i in plan.vectors:
            return Place(self.at("hoisted", i))
        return Place(self.at("hoisted", i), "o", width)

    def load(self, i: int) -> str:
        """A vector of a value at column j of row r."""
        value = self.plan.constant(i)
        return load(self.place(i), self.plan.padded(i)) if value is None else _splat(value)

    def load_back(self, i: int) -> str:
        """The same for the backward pass, where what was not kept is computed again."""
        if i not in self.values.again:
            return self.load(i)
        arguments = [self.load_back(arg) for arg in self.plan.args(i)]
        return self.result(i, arguments)

    def result(self, i: int, arguments: list[str]) -> str:
        """The vector that an operation gives."""
        return Printer(self.names(i, arguments)).print(result(self.plan.node(i).op))

    def names(self, i: int, arguments: list[str], **others: str) -> dict[str, str]:
        """The C of what the formulas of an operation name."""
        attributes = {k: _splat(v) for k, v in self.plan.node(i).attrs if isinstance(v, float)}
        if self.plan.node(i).op == "diagonal":
            vector = load(Place(self.at("vector", i)), self.plan.padded(i))
            arguments = [*arguments, vector]
        return dict(zip(ARGUMENTS, arguments, strict=False)) | attributes | others

    def rows(self, width: int, body: Lines, before: Lines = (), after: Lines = ()) -> str:
        """A loop over the vectors of all rows."""
        return fill(ROWS, width=width, body=body, before=before, after=after)

    def reduced(self, formula: str, names: dict[str, str], like: int) -> tuple[list[str], str]:
        """A formula of a row operation: the loops of its reductions, and the vector it gives.

        `like` is a node as wide as the row.
        """
        loops: list[str] = []

        def reduce(kind: str, vector: str) -> str:
            name = f"{kind}{len(loops)}"
            loops.append(self._reduction(kind, vector, name, self.plan.sizes[like]))
            return name

        return loops, Printer(names, reduce).print(formula)

    def _reduction(self, kind: str, vector: str, name: str, width: int) -> str:
        count = width % self.plan.lanes
        start, function, join = REDUCTIONS[kind]
        sizes = {"whole": width - count, "count": count}
        texts = {"vector": vector, "join": Template(join).substitute(sum=f"{name}_sum")}
        texts |= {"name": name, "share": f" / {width}" if kind == "mean" else ""}
        rest = fill(REST, **sizes, **texts) if count else ()
        return fill(REDUCTION, start=start, function=function, rest=rest, **sizes, **texts)

    def pieces(self, product: Product) -> Iterator[tuple[Target, int, int, int]]:
        """What a product computes: a map, the column of its matrix, the row length of the matrix,
        and whether the map reads the value a second time."""
        for target in product.targets:
            args = self.plan.args(target.node)
            places = [k for k, arg in enumerate(args) if arg == product.arg]
            lead = self.plan.columns_before(target.node, len(args))
            for place in places:
                column = self.plan.columns_before(target.node, place)
                yield target, column, lead, int(place != places[0])

    def pack(self, product: Product, panels: str, back: int | None = None) -> list[str]:
        """Pack the matrix of a product into panels; for the way back, its transpose, with rows of
        the width `back`."""
        k, n = self.plan.sizes[product.arg], product.count
        call = f"pack({k}, {n}" if back is None else f"pack_back({k}, {back}, {n}"
        return [
            f"{call}, {target.column - product.first}, {target.width}, {target.padded}, "
            f"{self.at('weight', target.node)} + {column}, {lead}, {again}, {panels});"
            for target, column, lead, again in self.pieces(product)
        ]


def _splat(value: float) -> str:
    if value in (float("inf"), -float("inf")):
        return f"splat({'-' if value < 0 else ''}__builtin_inf())"
    return f"splat({value!r})"
