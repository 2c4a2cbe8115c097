"""A step of a cell as the body of an ONNX Scan: an operator for each op."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nas.cell.graph import Node, is_learned
from nas.cell.ops import FIXED, INPUTS
from nas.compile.reference import EagerCell, of_numbers
from nas.export.expressions import LEAVES
from nas.export.operators import COMPOSED, OPERATORS, Graph

if TYPE_CHECKING:  # an optional package
    from onnx import GraphProto, ValueInfoProto

BATCH = "batch_size"
"""The outer graph's value that is the number of sequences."""


class Step(Graph):
    """The body of a layer's Scan, which shares the constants of the outer graph."""

    def __init__(
        self, outer: Graph, layer: EagerCell, prefix: str, *, masked: bool = False
    ) -> None:
        """With `masked`, sequences whose step is not real keep their states."""
        super().__init__(outer.cell)
        self.masked = masked
        self.constants = outer.constants
        self.layer_cell, self.prefix = layer, prefix
        self.counts = any(outer.cell.nodes[i].op == "step" for i in outer.cell.live)
        self.numbers: dict[int, float] = {}
        self.names: dict[int, str] = {}
        self.rows = {i for i, n in enumerate(outer.cell.nodes) if n.op in INPUTS}
        """Nodes whose values are (batch, width); other values are smaller."""

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        self.count += 1
        out = out or f"{self.prefix}{kind.lower()}_{self.count}"
        return super().op(kind, *inputs, out=out, **attributes)

    def body(self) -> "GraphProto":
        from onnx import TensorProto, helper

        cell, prefix = self.cell, self.prefix
        for i, n in enumerate(cell.nodes):
            if n.op in INPUTS:
                self.names[i] = f"{prefix}{n.name}"
        for i, _ in self.layer_cell.program:
            self.define(i)
        widths = [self.layer_cell.sizes[i] for i in cell.new_states]
        kept = [self.row(i, self._sized(i), out=True) for i in cell.new_states]
        mask = f"{prefix}is_real"
        if self.masked:
            before = [self.names[i] for i, n in enumerate(cell.nodes) if n.op == "state"]
            kept = [self.op("Where", mask, *pair) for pair in zip(kept, before, strict=True)]
        counter = [f"{prefix}step"] if self.counts else []
        if self.counts:
            kept.append(self.op("Add", f"{prefix}step", self.number(1.0)))
        y = self.row(cell.y, self._sized(cell.y), out=True)
        hidden = self.layer_cell.hidden_size
        above = [self.row(i, hidden, out=True) for i in cell.new_verticals]

        def value(name: str, width: int, first: int | str = "batch") -> "ValueInfoProto":
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, (first, width))

        def entering(*ops: str) -> "list[ValueInfoProto]":
            nodes = [i for i, n in enumerate(cell.nodes) if n.op in ops]
            return [value(self.names[i], self._sized(i)) for i in nodes]

        inputs = [*entering("state"), *(value(name, 1, 1) for name in counter)]
        inputs += entering("input", "vertical")
        if self.masked:
            inputs.append(helper.make_tensor_value_info(mask, TensorProto.BOOL, ("batch", 1)))
        outputs = [value(name, width) for name, width in zip(kept, widths, strict=False)]
        outputs += [value(name, 1, 1) for name in kept[len(widths) :]]
        outputs += [value(y, self._sized(cell.y)), *(value(name, hidden) for name in above)]
        return helper.make_graph(self.nodes, f"{prefix}step", inputs, outputs)

    def _sized(self, i: int) -> int:
        return self.layer_cell.sizes[i]

    def define(self, i: int) -> None:
        """Add the operators that compute a node."""
        n = self.cell.nodes[i]
        if n.op == "constant":
            self.numbers[i] = n.number("value")
        elif (
            n.op not in (*LEAVES, *FIXED, "step")
            and not is_learned(n)
            and all(a in self.numbers for a in n.args)
        ):
            self.numbers[i] = of_numbers(n, [self.numbers[arg] for arg in n.args])
        if i in self.numbers:
            return
        if n.op == "step":
            self.names[i] = f"{self.prefix}step"
        elif n.op == "unit":
            self.names[i] = self._unit(i, n)
        elif is_learned(n):
            self.names[i] = self._learned(i, n)
        elif n.op in FIXED:
            matrix = self.constant(f"{self.prefix}{n.op}_{i}", self._square(i, n))
            row = self.row(n.args[0], self._sized(n.args[0]))
            self.names[i] = self.op("Gemm", row, matrix, transB=1)
        else:
            self.names[i] = self._plain(n, [self._name(arg) for arg in n.args])
        maps = is_learned(n) or n.op in FIXED
        if (maps and n.args) or any(arg in self.rows for arg in n.args):
            self.rows.add(i)

    def _name(self, i: int) -> str:
        return self.number(self.numbers[i]) if i in self.numbers else self.names[i]

    def _plain(self, n: Node, args: list[str]) -> str:
        if n.op in OPERATORS:
            kind, named = OPERATORS[n.op]
            attributes: dict[str, Any] = {new: n.number(old) for old, new in named.items()}
            return self.op(kind, *args, **attributes)
        return COMPOSED[n.op](self, n, *args)

    def _square(self, i: int, n: Node) -> Tensor:
        return self.layer_cell.square(i, n, torch.empty(0, dtype=torch.float64))

    def _unit(self, i: int, n: Node) -> str:
        value = self.layer_cell.value(i, n, [], torch.empty(0), 0)
        assert isinstance(value, Tensor)
        return self.constant(f"{self.prefix}unit_{i}", value)

    def _learned(self, i: int, n: Node) -> str:
        layer = self.layer_cell
        label = f"{self.prefix}{layer.labels[i]}_weight"
        weight = layer.weight_at(i)
        if n.op in ("masked", "skew"):
            weight = self._square(i, n)
        name = self.constant(label, weight)
        rows = [self.row(arg, self._sized(arg)) for arg in n.args]
        if not rows:
            return name
        if n.op == "diagonal":
            return self.op("Mul", rows[0], name)
        if n.op == "block_diagonal":
            blocks, size, _ = weight.shape
            parts = self.op("Reshape", rows[0], self.whole(0, blocks, size, 1))
            product = self.op("MatMul", name, parts)
            return self.op("Reshape", product, self.whole(0, blocks * size))
        x = rows[0] if len(rows) == 1 else self.op("Concat", *rows, axis=-1)
        bias = layer.bias_of(i) if n.op == "linear" else None
        more = [] if bias is None else [self.constant(label[:-6] + "bias", bias)]
        return self.op("Gemm", x, name, *more, transB=1)

    def row(self, i: int, width: int, *, out: bool = False) -> str:
        """The name of a value as (batch, width), a name of its own if it leaves the body."""
        name = self._name(i)
        if i not in self.rows or self._sized(i) != width:
            shape = self.op("Concat", BATCH, self.whole(width), axis=0)
            return self.op("Expand", name, shape)
        return self.op("Identity", name) if out else name
