"""What a plan costs: floating-point operations of a step, and bytes.

The count is that of the operations that the backend executes, 2 for a multiply-add. Equal
expressions count once, and a product of independent blocks in the loop counts as that of a whole
matrix. Functions count as in the op table; padding does not count.
"""

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from nas.cell.graph import is_learned
from nas.cell.ops import OPS
from nas.compile.emit.formula import derivatives
from nas.compile.emit.values import Values
from nas.compile.plan import MATRIX_OPS, Plan


@dataclass(frozen=True)
class Work:
    """Floating-point operations."""

    products: float
    """Products of matrices with vectors."""
    pointwise: float
    """Elementwise and row operations."""

    @property
    def total(self) -> float:
        return self.products + self.pointwise


@dataclass(frozen=True)
class Cost:
    """The cost of a step of a sequence: operations by where they are executed, and bytes."""

    loop: Work
    """Forward, inside the loop: the next step waits for it."""
    loop_back: Work
    """Backward, inside the loop: gradients of its values, and values computed again for them."""
    loop_matrices: float
    """Gradients of the loop's matrices, for which no step waits."""
    hoisted: Work
    """Forward, for what is computed before the loop; for tokens, once for each symbol."""
    hoisted_back: Work
    """Gradients of what is computed before the loop, and of the matrices that read it."""
    weight_bytes: int
    """Matrices that a step of the loop reads, once for the whole batch, in whole vectors."""
    kept_bytes: int
    """Values of a row that stay until the backward pass, in whole vectors."""
    parameter_bytes: int
    """All learned values of the layer."""

    @property
    def forward(self) -> float:
        return self.loop.total + self.hoisted.total

    @property
    def backward(self) -> float:
        return self.loop_back.total + self.loop_matrices + self.hoisted_back.total

    def sequence(self, rows: int, inputs: int | None = None, *, backward: bool = True) -> float:
        """Operations of a batch of sequences with `rows` steps together.

        `inputs` is the number of rows of hoisted values: all rows, or one for each symbol.
        """
        loop, hoisted = self.loop.total, self.hoisted.total
        if backward:
            loop += self.loop_back.total + self.loop_matrices
            hoisted += self.hoisted_back.total
        return rows * loop + (rows if inputs is None else inputs) * hoisted


def cost_of(plan: Plan, *, value_bytes: int = 4, x_is_data: bool = True) -> Cost:
    """Operations and bytes of a step; x that is data needs no gradient."""
    moving, values = _differentiable(plan, x_is_data), Values(plan)
    in_loop = [i for i in sorted(plan.depth) if plan.node(i).op not in MATRIX_OPS]
    before = [i for i in sorted(plan.live) if i not in plan.depth]
    pieces = list(_loop_products(plan))
    in_steps = [piece for piece in pieces if piece.arg in plan.depth]
    multiplied = sum(piece.flops for piece in in_steps)
    given = [piece for piece in pieces if piece.arg not in plan.depth]
    given += [piece for i in before for piece in _hoisted_products(plan, i)]
    matrices = sum(piece.flops for piece in given)
    learned = sum(piece.flops for piece in given if piece.learned)
    inputs = sum(piece.flops for piece in given if piece.arg in moving)
    size = plan.sizes
    panels = (size[p.arg] * p.count for stage in plan.stages for p in stage.products)
    return Cost(
        loop=Work(multiplied, sum(_pointwise(plan, i) for i in in_loop)),
        loop_back=Work(
            multiplied,
            sum(_pointwise_back(plan, i) for i in in_loop)
            + sum(_pointwise(plan, i) for i in sorted(values.again))
            + _additions(plan),
        ),
        loop_matrices=sum(piece.flops for piece in in_steps if piece.learned),
        hoisted=Work(matrices, sum(_pointwise(plan, i) for i in before)),
        hoisted_back=Work(
            learned + inputs,
            sum(_pointwise_back(plan, i, moving) for i in before if i in moving),
        ),
        weight_bytes=value_bytes * sum(panels),
        kept_bytes=value_bytes * _row_of_kept(plan, values),
        parameter_bytes=value_bytes * plan.cell.n_params(size[0], plan.hidden_size),
    )


def kept(plan: Plan) -> tuple[int, ...]:
    """Values of the loop that the backward pass reads from memory."""
    values = Values(plan)
    return tuple(sorted(values.read_back.intersection(plan.depth) - values.again.keys()))


def computed_again(plan: Plan) -> tuple[int, ...]:
    """Values of the loop that the backward pass computes again instead of reading them."""
    return tuple(sorted(Values(plan).again))


def _row_of_kept(plan: Plan, values: Values) -> int:
    """Values in memory for each row: states, whole stages, and what regions keep."""
    states = sum(plan.padded(p) for p in plan.state_places)
    sums = sum(stage.columns for s, stage in enumerate(plan.stages) if values.stage_is_kept(s))
    others = values.kept - values.state_of.keys()  # a value that is a new state lies there
    return states + sums + sum(plan.padded(i) for i in others)


class _Piece(NamedTuple):
    """What a matrix multiplies, the operations of that, and whether the matrix is learned."""

    arg: int
    flops: float
    learned: bool


def _loop_products(plan: Plan) -> Iterator[_Piece]:
    """The products of each map of the loop."""
    for stage in plan.stages:
        for product in (*stage.inputs, *stage.products):
            for target in product.targets:
                flops = 2.0 * target.width * plan.sizes[product.arg]
                yield _Piece(product.arg, flops, is_learned(plan.node(target.node)))


def _hoisted_products(plan: Plan, i: int) -> Iterator[_Piece]:
    n = plan.node(i)
    if n.op in MATRIX_OPS:
        blocks = n.number("blocks") if n.op == "block_diagonal" else 1
        for arg in n.args:
            flops = 2.0 * plan.sizes[i] * plan.sizes[arg] / blocks
            yield _Piece(arg, flops, is_learned(n))


def _differentiable(plan: Plan, x_is_data: bool) -> set[int]:
    """Nodes that the backward pass computes a gradient of."""
    nodes: set[int] = set()
    for i in sorted(plan.live):
        n = plan.node(i)
        leaf = n.op in ("state", "vertical") or (n.op == "input" and not x_is_data)
        if leaf or is_learned(n) or nodes.intersection(n.args):
            nodes.add(i)
    return nodes


def _pointwise(plan: Plan, i: int) -> float:
    n = plan.node(i)
    return plan.sizes[i] * (1 if n.op == "diagonal" else OPS[n.op].flops)


def _pointwise_back(plan: Plan, i: int, moving: set[int] | None = None) -> float:
    """The loop computes gradients of all arguments but constants; autograd, with `moving`, only of
    those that need one."""
    n, total = plan.node(i), 0.0
    for k, formula in enumerate(derivatives(n.op)):
        if k == len(n.args):
            total += operations(formula) + 1  # added to that of the other rows
        elif n.args[k] in moving if moving is not None else plan.constant(n.args[k]) is None:
            total += operations(formula)
    return plan.sizes[i] * total


def _additions(plan: Plan) -> float:
    """A value with several uses has the sum of their gradients; products add as they go."""
    uses = Counter(plan.outputs)
    for i in plan.depth:
        if plan.node(i).op not in MATRIX_OPS:
            uses.update(plan.args(i))
    return sum(plan.sizes[i] * (n - 1) for i, n in uses.items() if i in plan.depth)


@functools.cache
def operations(formula: str) -> int:
    """Floating-point operations of a formula of the op table, for an element."""
    total = 0
    for n in ast.walk(ast.parse(formula, mode="eval")):
        if isinstance(n, ast.BinOp | ast.UnaryOp | ast.Compare):
            total += 1
        elif isinstance(n, ast.Call):
            assert isinstance(n.func, ast.Name)
            # Reductions, signs and choices are one; erf is most of gelu.
            name = {"erf": "gelu"}.get(n.func.id, n.func.id)
            total += OPS[name].flops if name in OPS else 1
    return total
