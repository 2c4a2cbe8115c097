"""Formulas of the op table as Triton, for one block of columns at a time."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nas.compile.emit.formula import COMPARED, REDUCTIONS, SIGNS, tree
from nas.compile.gpu.layout import Block

REDUCED = {
    "mean": ("tl.sum", "0.0"),
    "total": ("tl.sum", "0.0"),
    "largest": ("tl.max", "-INFINITY"),
}
"""For each reduction over a row: its function, and what columns beyond the row are to it."""

OWN = {n: f"tl.{n}" for n in ("exp", "log", "sin", "cos", "erf", "floor", "abs", "where")}
OWN["sqrt"] = "tl.sqrt_rn"
"""Functions that Triton has; the others are in `functions.py`."""


def number(value: float) -> str:
    """A number as Triton reads it."""
    if value in (float("inf"), -float("inf")):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return repr(float(value))


def inside(text: str, block: Block | None, width: int, other: str = "0.0") -> str:
    """An expression of a block with `other` in columns beyond the width."""
    if block is None or block.first + block.size <= width:
        return text
    return f"tl.where(c{block.name} < {width}, {text}, {other})"


@dataclass
class Printer:
    """Prints formulas of one operation; `values` gives a name's text in a block."""

    values: Callable[[str, Block | None], str]
    lines: list[str]
    """Where the lines that reduce a row go."""
    prefix: str
    """What the names of reductions begin with."""
    blocks: Sequence[Block | None] = ()
    """All blocks of the row that is reduced."""
    width: int = 1
    reduced: dict[str, str] = field(default_factory=dict)

    def print(self, formula: str, block: Block | None) -> str:
        return self._print(tree(formula), block)

    def _print(self, n: ast.expr, block: Block | None) -> str:
        if isinstance(n, ast.Name):
            return self.values(n.id, block)
        if isinstance(n, ast.Constant):
            assert isinstance(n.value, int | float), "formulas hold numbers"
            return number(n.value)
        if isinstance(n, ast.UnaryOp):
            return f"(-{self._print(n.operand, block)})"
        if isinstance(n, ast.BinOp):
            left, right = self._print(n.left, block), self._print(n.right, block)
            return f"({left} {SIGNS[type(n.op)]} {right})"
        if isinstance(n, ast.Compare):
            sign = COMPARED[type(n.ops[0])]
            left, right = self._print(n.left, block), self._print(n.comparators[0], block)
            return f"({left} {sign} {right})"
        assert isinstance(n, ast.Call)
        assert isinstance(n.func, ast.Name)
        if n.func.id in REDUCTIONS:
            return self._reduction(n.func.id, n.args[0])
        name = OWN.get(n.func.id, f"f.{n.func.id}")
        return f"{name}({', '.join(self._print(arg, block) for arg in n.args)})"

    def _reduction(self, kind: str, arg: ast.expr) -> str:
        """The name of a column with the reduction of each row."""
        text = f"{kind} {ast.unparse(arg)}"
        if text not in self.reduced:
            function, other = REDUCED[kind]
            parts = [self._print(arg, block) for block in self.blocks]
            name = self.reduced[text] = f"{self.prefix}_{len(self.reduced)}"
            if self.blocks != (None,):
                parts = [
                    f"{function}({inside(part, block, self.width, other)}, axis=1, keep_dims=True)"
                    for part, block in zip(parts, self.blocks, strict=True)
                ]
            if kind == "largest":
                whole = parts[0]
                for part in parts[1:]:
                    whole = f"f.max({whole}, {part})"
            else:
                whole = " + ".join(parts)
            share = f" / {self.width}" if kind == "mean" else ""
            self.lines.append(f"{name} = ({whole}){share}")
        return self.reduced[text]
