"""Formulas of the op table as C: `1 - y * y` becomes vector code, a row reduction its own loop."""

import ast
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nas.cell.ops import OPS

REDUCTIONS = ("mean", "total", "largest")
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARED = {ast.Gt: ">", ast.Lt: "<", ast.Eq: "=="}


def result(op: str) -> str:
    """The formula of what an op gives; `b` is the vector of a diagonal map."""
    return "a * b" if op == "diagonal" else OPS[op].value


def derivatives(op: str) -> tuple[str, ...]:
    """The formulas of an op's gradients: of each argument, and of a diagonal map's vector."""
    return ("g * b", "g * a") if op == "diagonal" else OPS[op].vjp


@functools.cache
def names(formula: str) -> frozenset[str]:
    """The values that a formula reads: g, y, a, b, c and attributes."""
    nodes = list(ast.walk(tree(formula)))
    called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return frozenset(n.id for n in nodes if isinstance(n, ast.Name)) - called


@functools.cache
def tree(formula: str) -> ast.expr:
    """A formula as Python parses it."""
    return ast.parse(formula, mode="eval").body


@dataclass
class Printer:
    """Prints formulas with the given C names.

    Row reductions are handed to `reduce`, which returns the name of a vector that holds the result
    in every lane.
    """

    values: Mapping[str, str]
    reduce: Callable[[str, str], str] | None = None
    reduced: dict[str, str] = field(default_factory=dict)

    def print(self, formula: str) -> str:
        return self._print(tree(formula))

    def _print(self, n: ast.expr) -> str:
        if isinstance(n, ast.Name):
            return self.values[n.id]
        if isinstance(n, ast.Constant):
            assert isinstance(n.value, int | float), "formulas hold numbers"
            return f"splat({float(n.value)!r})"
        if isinstance(n, ast.UnaryOp):
            return f"(-{self._print(n.operand)})"
        if isinstance(n, ast.BinOp):
            return f"({self._print(n.left)} {SIGNS[type(n.op)]} {self._print(n.right)})"
        if isinstance(n, ast.Compare):
            sign = COMPARED[type(n.ops[0])]
            return f"({self._print(n.left)} {sign} {self._print(n.comparators[0])})"
        assert isinstance(n, ast.Call)
        assert isinstance(n.func, ast.Name)
        if n.func.id in REDUCTIONS:
            return self._reduction(n.func.id, n.args[0])
        name = "pick" if n.func.id == "where" else f"v_{n.func.id}"
        return f"{name}({', '.join(self._print(arg) for arg in n.args)})"

    def _reduction(self, kind: str, arg: ast.expr) -> str:
        text = f"{kind} {ast.unparse(arg)}"
        if text not in self.reduced:
            assert self.reduce is not None
            self.reduced[text] = self.reduce(kind, self._print(arg))
        return self.reduced[text]
