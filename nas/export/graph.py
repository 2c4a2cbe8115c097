"""A module as an ONNX graph: a Scan over time for each layer, an operator for each op of its cell.

Length and batch stay open, since nothing is traced. Values are float32. To export a new op, write
a line in `OPERATORS`, or a case in `_Step.value`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas import __version__
from nas.cell.graph import Cell, Node, is_learned
from nas.cell.ops import INPUTS
from nas.compile.reference import EagerCell, block_mask, of_numbers
from nas.export.expressions import LEAVES
from nas.model import SequenceModel
from nas.rnn import RNN

if TYPE_CHECKING:  # an optional package
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

BATCH = "batch_size"
"""Name of the value that holds the number of sequences."""
OPSET, IR_VERSION = 18, 10
"""Of the standard operators; of the file format. onnxruntime reads both since 2023."""

# The operator of an op that has one, and how it names the op's attributes.
OPERATORS: dict[str, tuple[str, dict[str, str]]] = {
    "add": ("Add", {}),
    "sub": ("Sub", {}),
    "mul": ("Mul", {}),
    "div": ("Div", {}),
    "max": ("Max", {}),
    "min": ("Min", {}),
    "neg": ("Neg", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"slope": "alpha"}),
    "hard_sigmoid": ("HardSigmoid", {"slope": "alpha"}),
    "softplus": ("Softplus", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "abs": ("Abs", {}),
    "sqrt": ("Sqrt", {}),
    "sin": ("Sin", {}),
    "cos": ("Cos", {}),
    "softmax": ("Softmax", {}),
}


def to_onnx(module: RNN | SequenceModel) -> "ModelProto":
    """The graph of a module: x (time, batch, input) or tokens (time, batch), and all states.

    Outputs are y (time, batch, features) or logits, and the states after the last step. A state
    h is the input h_0 and the output h_n, both (layers * directions, batch, width).

    It needs the package onnx.
    """
    import onnx

    rnn = module.rnn if isinstance(module, SequenceModel) else module
    network = _Network(rnn.cell)
    if isinstance(module, SequenceModel):
        table = network.constant("embedding.weight", module.embedding.weight)
        y = network.stack(rnn, network.op("Gather", table, "tokens"))
        head = network.constant("head.weight", module.head.weight.t())
        scores = network.op("MatMul", y, head)
        network.op("Add", scores, network.constant("head.bias", module.head.bias), out="logits")
    else:
        network.op("Identity", network.stack(rnn, "x"), out="y")
    helper = onnx.helper
    model = helper.make_model(
        network.graph(module, rnn),
        producer_name="nas",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string=str(rnn.cell),
    )
    helper.set_model_props(model, {"nas.cell": str(rnn.cell), "nas.key": rnn.cell.key})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Network:
    """Operators and constants of a graph under construction."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.count = 0

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add an operator with one result, and return the result's name."""
        from onnx import helper

        self.count += 1
        out = out or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        """A tensor of the graph; floating-point values become float32."""
        from onnx import numpy_helper

        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value!r}", np.array([value]))

    def whole(self, *values: int) -> str:
        return self.constant(f"whole_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def stack(self, rnn: RNN, x: str) -> str:
        """All layers; returns y, and gives the final states their names."""
        directions = 2 if rnn.bidirectional else 1
        shape = self.op("Shape", x, start=0, end=2)
        self.op("Shape", x, start=1, end=2, out=BATCH)
        wide = self.op("Concat", shape, self.whole(rnn.hidden_size), axis=0)
        zeros = [self.op("Expand", self.number(0.0), wide) for _ in self.cell.verticals]
        below = [zeros] * directions
        finals: list[list[str]] = []
        outputs: list[str] = []
        for k, layer in enumerate(rnn.layers):
            assert isinstance(layer, EagerCell)
            at, direction = self.constant(f"layer_{k}", np.array(k)), k % directions
            starts = [self.op("Gather", f"{s.name}_0", at, axis=0) for s in self.cell.states]
            given = [x, *below[direction]]
            y, final, below[direction] = self.layer(layer, f"layers.{k}.", given, starts, direction)
            finals.append(final)
            outputs.append(y)
            if len(outputs) == directions:
                x = self.op("Concat", *outputs, axis=-1) if directions == 2 else y
                outputs = []
        for state, layers in zip(self.cell.states, zip(*finals, strict=True), strict=True):
            rows = [self.op("Unsqueeze", final, self.whole(0)) for final in layers]
            self.op("Concat", *rows, axis=0, out=f"{state.name}_n")
        return x

    def layer(
        self, layer: EagerCell, name: str, given: list[str], starts: list[str], reverse: int
    ) -> tuple[str, list[str], list[str]]:
        """One Scan: y, the final states, the values for the layer above."""
        from onnx import helper

        step = _Step(self, layer, name)
        body = step.body()
        if step.counts:
            starts = [*starts, self.constant("first_step", np.zeros((1, 1)))]
        results = [f"{output.name}_all" for output in body.output]
        n_kept, n_states = len(starts), len(self.cell.states)
        self.nodes.append(
            helper.make_node(
                "Scan",
                [*starts, *given],
                results,
                name=f"{name}scan",
                body=body,
                num_scan_inputs=len(given),
                scan_input_directions=[reverse] * len(given),
                scan_output_directions=[reverse] * (len(results) - n_kept),
            )
        )
        return results[n_kept], results[:n_states], results[n_kept + 1 :]

    def graph(self, module: RNN | SequenceModel, rnn: RNN) -> "GraphProto":
        from onnx import TensorProto, helper

        def value(name: str, shape: Sequence[int | str], kind: int) -> "ValueInfoProto":
            return helper.make_tensor_value_info(name, kind, shape)

        number = TensorProto.FLOAT
        rows = ("time", "batch")
        n_layers = len(rnn.layers)
        shapes = [
            (s.name, (n_layers, "batch", width))
            for s, width in zip(rnn.cell.states, rnn.state_sizes, strict=True)
        ]
        if isinstance(module, SequenceModel):
            given = value("tokens", rows, TensorProto.INT64)
            y = value("logits", (*rows, module.head.out_features), number)
        else:
            given = value("x", (*rows, rnn.input_size), number)
            directions = 2 if rnn.bidirectional else 1
            y = value("y", (*rows, directions * rnn.output_size), number)
        inputs = [given, *(value(f"{name}_0", shape, number) for name, shape in shapes)]
        outputs = [y, *(value(f"{name}_n", shape, number) for name, shape in shapes)]
        constants = list(self.constants.values())
        return helper.make_graph(self.nodes, rnn.cell.name, inputs, outputs, constants)


class _Step(_Network):
    """The body of a layer's Scan; its constants are the outer graph's."""

    def __init__(self, outer: _Network, layer: EagerCell, prefix: str) -> None:
        super().__init__(outer.cell)
        self.constants = outer.constants
        self.layer_cell, self.prefix = layer, prefix
        self.counts = any(outer.cell.nodes[i].op == "step" for i in outer.cell.live)
        self.numbers: dict[int, float] = {}
        self.names: dict[int, str] = {}
        self.rows = {i for i, n in enumerate(outer.cell.nodes) if n.op in INPUTS}
        """Values that are (batch, width); others are smaller."""

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
        counter = [f"{prefix}step"] if self.counts else []
        if self.counts:
            kept.append(self.op("Add", f"{prefix}step", self.number(1.0)))
        y = self.row(cell.y, self._sized(cell.y), out=True)
        hidden = self.layer_cell.hidden_size
        above = [self.row(i, hidden, out=True) for i in cell.new_verticals]

        def value(name: str, width: int, first: int | str = "batch") -> "ValueInfoProto":
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, (first, width))

        inputs = [
            value(self.names[i], self._sized(i))
            for i, n in enumerate(cell.nodes)
            if n.op == "state"
        ]
        inputs += [value(name, 1, 1) for name in counter]
        inputs += [
            value(self.names[i], self._sized(i))
            for i, n in enumerate(cell.nodes)
            if n.op in ("input", "vertical")
        ]
        outputs = [value(name, width) for name, width in zip(kept, widths, strict=False)]
        outputs += [value(name, 1, 1) for name in kept[len(widths) :]]
        outputs += [value(y, self._sized(cell.y)), *(value(name, hidden) for name in above)]
        return helper.make_graph(self.nodes, f"{prefix}step", inputs, outputs)

    def _sized(self, i: int) -> int:
        return self.layer_cell.sizes[i]

    def define(self, i: int) -> None:
        """Compute a node."""
        n = self.cell.nodes[i]
        if n.op == "constant":
            self.numbers[i] = n.number("value")
        elif (
            n.op not in (*LEAVES, "step")
            and not is_learned(n)
            and all(a in self.numbers for a in n.args)
        ):
            self.numbers[i] = of_numbers(n, [self.numbers[arg] for arg in n.args])
        if i in self.numbers:
            return
        if n.op == "step":
            self.names[i] = f"{self.prefix}step"
        elif is_learned(n):
            self.names[i] = self._learned(i, n)
        else:
            self.names[i] = self._plain(n, [self._name(arg) for arg in n.args])
        if (is_learned(n) and n.args) or any(arg in self.rows for arg in n.args):
            self.rows.add(i)

    def _name(self, i: int) -> str:
        return self.number(self.numbers[i]) if i in self.numbers else self.names[i]

    def _plain(self, n: Node, args: list[str]) -> str:
        if n.op in OPERATORS:
            kind, named = OPERATORS[n.op]
            attributes: dict[str, Any] = {new: n.number(old) for old, new in named.items()}
            return self.op(kind, *args, **attributes)
        return COMPOSED[n.op](self, n, *args)

    def _learned(self, i: int, n: Node) -> str:
        layer = self.layer_cell
        label = f"{self.prefix}{layer.labels[i]}_weight"
        weight = layer.weight_at(i)
        if n.op == "masked":
            weight = weight * block_mask(n, weight)
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
        """A value as (batch, width), under a name of its own if it leaves the body."""
        name = self._name(i)
        if i not in self.rows or self._sized(i) != width:
            shape = self.op("Concat", BATCH, self.whole(width), axis=0)
            return self.op("Expand", name, shape)
        return self.op("Identity", name) if out else name


def _blend(g: _Network, _: Node, a: str, b: str, c: str) -> str:
    rest = g.op("Mul", g.op("Sub", g.number(1.0), a), c)
    return g.op("Add", g.op("Mul", a, b), rest)


def _gelu(g: _Network, _: Node, a: str) -> str:
    one = g.op("Add", g.op("Erf", g.op("Mul", a, g.number(math.sqrt(0.5)))), g.number(1.0))
    return g.op("Mul", g.op("Mul", a, g.number(0.5)), one)


def _layer_norm(g: _Network, n: Node, a: str) -> str:
    return _rms_norm(g, n, g.op("Sub", a, g.op("ReduceMean", a, g.whole(-1))))


def _rms_norm(g: _Network, n: Node, a: str) -> str:
    mean = g.op("ReduceMean", g.op("Mul", a, a), g.whole(-1))
    return g.op("Div", a, g.op("Sqrt", g.op("Add", mean, g.number(n.number("eps")))))


# What ops are made of that have no operator of their own.
COMPOSED: dict[str, Callable[..., str]] = {
    "blend": _blend,
    "square": lambda g, n, a: g.op("Mul", a, a),
    "silu": lambda g, n, a: g.op("Mul", a, g.op("Sigmoid", a)),
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
}
