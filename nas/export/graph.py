"""A module as an ONNX graph: a Scan over time for each layer.

Length and batch stay open, since nothing is traced.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas import __version__
from nas.compile.reference import EagerCell
from nas.export.graph_step import BATCH, Step
from nas.export.operators import Graph
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN

if TYPE_CHECKING:  # an optional package
    from onnx import GraphProto, ModelProto, ValueInfoProto

OPSET, IR_VERSION = 18, 10
"""Versions of the standard operators and of the file format, which onnxruntime reads since 2023."""


def to_onnx(module: RNN | SequenceModel) -> "ModelProto":
    """The graph of a module: x (time, batch, input) or tokens (time, batch), and all states.

    Outputs are y (time, batch, features), or logits (means, for a Gaussian head), and the states
    after the last step. A state h is the input h_0 and the output h_n, both (layers * directions,
    batch, width).

    It needs the package onnx.
    """
    import onnx

    rnn = module.rnn if isinstance(module, SequenceModel) else module
    network = Network(rnn.cell)
    if isinstance(module, SequenceModel):
        y = network.stack(rnn, network.embedded(module))
        head = network.constant("head.weight", module.head.weight.t())
        scores = network.op("MatMul", y, head)
        bias = network.constant("head.bias", module.head.bias)
        network.op("Add", scores, bias, out=scores_name(module))
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


def scores_name(module: SequenceModel) -> str:
    """The name of the graph's first output."""
    return "means" if module.interface.head == "gaussian" else "logits"


class Network(Graph):
    """The outer graph."""

    def embedded(self, module: SequenceModel) -> str:
        """The name of the first layer's input."""
        weight = module.embedding.weight
        if module.interface.tokens:
            return self.op("Gather", self.constant("embedding.weight", weight), "tokens")
        return self.op("MatMul", "x", self.constant("embedding.weight", weight.t()))

    def stack(self, rnn: RNN, x: str) -> str:
        """Add all layers, name the final states, and return y."""
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
            lower = k >= directions
            read = x
            if lower and "norm" in rnn.stacking:
                ones = self.constant("ones", np.ones(layer.sizes[0]))
                read = self.op("LayerNormalization", x, ones, axis=-1, epsilon=1e-5)
            sequences = [read, *below[direction]]
            y, final, below[direction] = self.layer(
                layer, f"layers.{k}.", sequences, starts, direction
            )
            finals.append(final)
            outputs.append(y)
            if len(outputs) == directions:
                whole = self.op("Concat", *outputs, axis=-1) if directions == 2 else y
                add = lower and "residual" in rnn.stacking
                x = self.op("Add", whole, x) if add else whole
                outputs = []
        for state, layers in zip(self.cell.states, zip(*finals, strict=True), strict=True):
            rows = [self.op("Unsqueeze", final, self.whole(0)) for final in layers]
            self.op("Concat", *rows, axis=0, out=f"{state.name}_n")
        return x

    def layer(
        self, layer: EagerCell, name: str, sequences: list[str], starts: list[str], reverse: int
    ) -> tuple[str, list[str], list[str]]:
        """Add one Scan, and return y, the final states, and the values for the layer above."""
        from onnx import helper

        step = Step(self, layer, name)
        body = step.body()
        if step.counts:
            starts = [*starts, self.constant("first_step", np.zeros((1, 1)))]
        results = [f"{output.name}_all" for output in body.output]
        n_kept, n_states = len(starts), len(self.cell.states)
        self.nodes.append(
            helper.make_node(
                "Scan",
                [*starts, *sequences],
                results,
                name=f"{name}scan",
                body=body,
                num_scan_inputs=len(sequences),
                scan_input_directions=[reverse] * len(sequences),
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
            ends = module.interface
            x = value("x", (*rows, ends.inputs), number)
            if ends.tokens:
                x = value("tokens", rows, TensorProto.INT64)
            y = value(scores_name(module), (*rows, ends.outputs), number)
        else:
            x = value("x", (*rows, rnn.input_size), number)
            directions = 2 if rnn.bidirectional else 1
            y = value("y", (*rows, directions * rnn.output_size), number)
        inputs = [x, *(value(f"{name}_0", shape, number) for name, shape in shapes)]
        outputs = [y, *(value(f"{name}_n", shape, number) for name, shape in shapes)]
        constants = list(self.constants.values())
        return helper.make_graph(self.nodes, rnn.cell.name, inputs, outputs, constants)
