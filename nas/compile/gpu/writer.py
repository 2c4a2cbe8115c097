"""What the two kernels of a plan share: names, loads and stores, and products of blocks."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from nas.compile.emit.formula import derivatives, result
from nas.compile.emit.values import ARGUMENTS
from nas.compile.gpu.layout import Block, Layout, blocks
from nas.compile.gpu.printer import Printer, inside, number
from nas.compile.plan import Plan

Precision = Literal["tf32x3", "tf32", "bf16"]
"""How products are made: three of tf32 factors, which is float32 but for the last bits; one; or one
of bfloat16 factors. Sums are float32."""
PRECISIONS: dict[str, Precision] = {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}
"""What torch.set_float32_matmul_precision means for products in the kernels."""
Named = Callable[[int, Block | None], str]
"""Gives the variable of a node's value in a block."""
NUMBERS = ("total", "steps", "batch", "begin", "stride", "keep")
"""Whole numbers that both kernels take: rows of all steps, steps, sequences; the first step and the
one after it less the first; whether a backward pass will follow. None is part of the compiled code,
so that a kernel is compiled once for both directions and for training and scoring."""
STEP = """\
t = begin + k * stride
first = t * batch
if RAGGED:
    first = tl.load(firsts + t)
    there = r < tl.load(counts + t)
row = first + r"""
"""The rows of a step; a packed batch has fewer sequences at later steps."""


class Place(NamedTuple):
    """Addresses of rows, and the column in them where a value begins."""

    rows: str
    first: int

    def at(self, block: Block | None) -> str:
        """The addresses of a block; the number comes last, so that it stands in the instruction."""
        if block is None:
            return f"{self.rows} + {self.first}"
        return f"{self.rows} + z{block.size} + {self.first + block.first}"


class Writer:
    """Collects the lines of a kernel; `step` are those of a time step."""

    def __init__(self, layout: Layout, precision: Precision, *, resident: bool) -> None:
        self.layout, self.precision, self.resident = layout, precision, resident
        self.plan: Plan = layout.plan
        self.before: list[str] = []
        self.step: list[str] = []
        self.columns: set[Block] = set()
        self.arguments: dict[str, str] = {}
        """Pointers of the kernel, and where the part of member m begins in each."""

    def blocks(self, i: int) -> Sequence[Block | None]:
        """The blocks of a node's value; a value of width 1 is a column by itself."""
        return (None,) if self.plan.sizes[i] == 1 else self.used(self.plan.sizes[i])

    def used(self, width: int) -> Sequence[Block]:
        """The blocks of a width, whose columns the kernel then defines."""
        self.columns.update(blocks(width))
        return blocks(width)

    def pointer(self, name: str, member: str) -> str:
        """A pointer of the kernel, to the part of a member."""
        self.arguments[name] = f"m * {member}"
        return name

    def rows(self, buffer: str, stride: int, first: int = 0) -> Place:
        """A column of a buffer in this step's rows."""
        return Place(f"{self.pointer(buffer, f'(total * {stride})')} + row * {stride}", first)

    def sequences(self, buffer: str, width: int) -> Place:
        """The first column of a state, which has a row for each sequence."""
        return Place(f"{self.pointer(buffer, f'(batch * {width})')} + r * {width}", 0)

    def load(self, place: Place, width: int, block: Block | None) -> str:
        """The block of a value in the rows that begin at a place."""
        return f"tl.load({place.at(block)}, mask={self._mask(block, width)}, other=0.0)"

    def store(self, place: Place, width: int, block: Block | None, value: str) -> str:
        """Write the block of a value to the rows that begin at a place."""
        return f"tl.store({place.at(block)}, {value}, mask={self._mask(block, width)})"

    def _mask(self, block: Block | None, width: int) -> str:
        is_cut = block is not None and _is_cut(block, width)
        return f"there & (c{block.name} < {width})" if block and is_cut else "there"

    def vector(self, i: int, block: Block | None, *, own: bool = False) -> str:
        """What all steps read, loaded once before the loop: a value, or a map's `own` vector."""
        letter, columns = ("l", self.layout.own) if own else ("h", self.layout.vectors)
        name = f"{letter}{i}" if block is None else f"{letter}{i}_{block.name}"
        first, width = columns[i]
        place = f"{self.pointer('vectors', str(self.layout.n_vectors))} + {first}"
        if block is None:
            line = f"{name} = tl.load({place})"
        else:
            column = f"c{block.name}"
            mask = f", mask={column} < {width}, other=0.0" if _is_cut(block, width) else ""
            line = f"{name} = tl.load({place} + {column}{mask})"
        if line not in self.before:
            self.before.append(line)
        return name

    def argument(self, i: int, block: Block | None, value: Named) -> str:
        """What an operation reads of a node; `value` names those that differ from row to row."""
        constant = self.plan.constant(i)
        if constant is not None:
            return number(constant)
        block = None if self.plan.sizes[i] == 1 else block
        return self.vector(i, block) if i in self.layout.vectors else value(i, block)

    def printer(
        self,
        i: int,
        value: Named,
        lines: list[str],
        gradient: Callable[[Block | None], str] | None = None,
    ) -> Printer:
        """Prints the formulas of node i."""
        plan, n = self.plan, self.plan.node(i)
        attributes = {k: number(v) for k, v in n.attrs if isinstance(v, float)}

        def named(name: str, block: Block | None) -> str:
            if name == "g" and gradient is not None:
                return gradient(block)
            if name == "y":
                return self.argument(i, block, value)
            if name in attributes:
                return attributes[name]
            place = ARGUMENTS.index(name)
            if n.op == "diagonal" and place == 1:
                return self.vector(i, None if plan.sizes[i] == 1 else block, own=True)
            return self.argument(n.args[place], block, value)

        prefix = f"q{i}" if gradient is None else f"q{i}g"
        return Printer(named, lines, prefix, self.blocks(i), plan.sizes[i])

    def result(self, i: int, value: Named, lines: list[str]) -> None:
        """The lines that compute an operation."""
        printer = self.printer(i, value, lines)
        texts = [printer.print(result(self.plan.node(i).op), block) for block in self.blocks(i)]
        for block, text in zip(self.blocks(i), texts, strict=True):
            lines.append(f"{value_name(i, block)} = {text}")

    def derivatives(self, i: int) -> tuple[str, ...]:
        return derivatives(self.plan.node(i).op)

    def factor(self, name: str, value: str, width: int, block: Block) -> str:
        """A block as the left side of a product, with zeros beyond the width: a value of width 1
        then is the first of 32 columns."""
        self.step.append(f"{name} = {inside(value, block, width)}")
        return f"{name}.to(tl.bfloat16)" if self.precision == "bf16" else name

    def weight(self, node: int, arg: int, rows: Block, columns: Block, *, turned: bool) -> str:
        """A block of a map's matrix: (columns, rows) where it multiplies values on the way
        forward (`turned`), (rows, columns) where it multiplies gradients on the way back."""
        matrix = self.layout.matrices[node, arg]
        name = f"w{node}_{arg}_{rows.first}_{columns.first}"
        place = self._matrix_place(rows.size, columns.size, matrix.stride, turned=turned)
        first = matrix.first + rows.first * matrix.stride + columns.first
        line = f"{name} = tl.load({place} + {first})"
        line += ".to(tl.bfloat16)" if self.precision == "bf16" else ""
        lines = self.before if self.resident else self.step
        if not self.resident or line not in lines:
            lines.append(line)
        return name

    def _matrix_place(self, rows: int, columns: int, stride: int, *, turned: bool) -> str:
        """The addresses of a block at the beginning of all weights. Blocks of one size differ from
        it by a number, which stands in the instruction, so that all share its registers."""
        name = f"y{rows}_{columns}_{stride}"
        row, column = f"tl.trans(z{rows})", f"z{columns}"
        if turned:
            row, column = f"z{rows}", f"tl.trans(z{columns})"
        pointer = self.pointer("weights", str(self.layout.n_weights))
        line = f"{name} = {pointer} + ({row} * {stride} + {column})"
        if line not in self.before:
            self.before.append(line)
        return name

    def product(self, name: str, left: str, right: str, *, adds: bool) -> None:
        """name = left @ right, added to what is there."""
        precision = "" if self.precision == "bf16" else f', input_precision="{self.precision}"'
        to = f", {name}" if adds else ""
        self.step.append(f"{name} = tl.dot({left}, {right}{to}{precision})")

    def function(self, name: str, after: list[str]) -> str:
        """The whole kernel."""
        pointers = [*self.arguments, "counts", "firsts"]
        numbers = list(NUMBERS)
        columns = [
            f"c{b.name} = ({b.first} + tl.arange(0, {b.size}))[None, :]"
            for b in sorted(self.columns)
        ]
        sizes = sorted({b.size for b in self.columns})
        columns += [f"z{size} = tl.arange(0, {size})[None, :]" for size in sizes]
        members = [
            f"{pointer} = {pointer} + {member}" for pointer, member in self.arguments.items()
        ]
        body = [
            "m = tl.program_id(0).to(tl.int64)",
            "r = tl.program_id(1) * 16 + tl.arange(0, 16)[:, None]",
            "there = r < batch",
            *columns,
            *members,
            *self.before,
            "for k in range(steps):",
            *(f"    {line}" for line in STEP.split("\n")),
            *(f"    {line}" for line in self.step),
            *(["there = r < batch"] if after else []),
            *after,
        ]
        given = ", ".join([*pointers, *numbers, "RAGGED: tl.constexpr"])
        unspecialized = ", ".join(f'"{n}"' for n in numbers)
        lines = [f"@triton.jit(do_not_specialize=[{unspecialized}])", f"def {name}({given}):"]
        return "\n".join([*lines, *(f"    {line}" for line in body)]) + "\n"


def value_name(i: int, block: Block | None) -> str:
    """The variable of a node's value."""
    return f"v{i}" if block is None else f"v{i}_{block.name}"


def _is_cut(block: Block, width: int) -> bool:
    """Whether a block reaches beyond the width of its value."""
    return block.first + block.size > width
