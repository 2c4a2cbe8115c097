"""A module as an ONNX graph: a Scan over time for each layer.

Length and batch stay open, since nothing is traced.
"""

from typing import TYPE_CHECKING

import numpy as np

from nas import __version__
from nas.compile.reference import EagerCell
from nas.export.graph_model import (
    ML_OPSET,
    answered,
    embedded,
    input_values,
    lengths_of,
    mask_of,
    metadata,
)
from nas.export.graph_step import BATCH, Step
from nas.export.operators import Graph
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel

if TYPE_CHECKING:  # an optional package
    from onnx import GraphProto, ModelProto, ValueInfoProto

OPSET, IR_VERSION = 18, 10
"""Versions of the standard operators and of the file format, which onnxruntime reads since 2023."""


def to_onnx(module: RNN | TrainedModel) -> "ModelProto":
    """The graph of a module: data of a trained model as they are, or x of layers, and all states.

    A trained model reads `x` (time, batch, features) in the data's units in double precision,
    `symbols` (time, batch), a string each, or `tokens` where the vocabulary is unknown; `lengths`
    (batch) says how many steps of padded sequences count, all if it is not given. It gives `means`
    in the data's units, or `logits`, `probabilities` and the `answer` by name. Layers read `x`
    (time, batch, input) and give `y`.

    A state h is the input h_0 and the output h_n, both (layers * directions, batch, width); states
    that are not given start as the cell says.

    It needs the package onnx.
    """
    import onnx

    rnn = module.rnn if isinstance(module, TrainedModel) else module
    network = Network(rnn.cell)
    graph = network.of_model(module) if isinstance(module, TrainedModel) else network.of_layers(rnn)
    helper = onnx.helper
    imports = [helper.make_opsetid("", OPSET)]
    if isinstance(module, TrainedModel):
        imports.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    model = helper.make_model(
        graph,
        producer_name="nas",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=imports,
        doc_string=str(rnn.cell),
    )
    known = metadata(module) if isinstance(module, TrainedModel) else {}
    helper.set_model_props(model, {"nas.cell": str(rnn.cell), "nas.key": rnn.cell.key, **known})
    onnx.checker.check_model(model, full_check=True)
    return model


class Network(Graph):
    """The outer graph."""

    def of_layers(self, rnn: RNN) -> "GraphProto":
        """The graph of layers alone."""
        from onnx import TensorProto, helper

        self.op("Identity", self.stack(rnn, "x"), out="y")
        rows = ("time", "batch")
        width = (2 if rnn.bidirectional else 1) * rnn.output_size
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (*rows, rnn.input_size))
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (*rows, width))
        return self.graph(rnn, [x], [y])

    def of_model(self, model: TrainedModel) -> "GraphProto":
        """The graph of a trained model."""
        x = embedded(self, model)
        lengths = lengths_of(self, x)
        mask = mask_of(self, x, lengths)
        y = self.op("Where", mask, self.stack(model.rnn, x, mask), self.number(0.0))
        return self.graph(model.rnn, input_values(model), answered(self, model, y, lengths))

    def stack(self, rnn: RNN, x: str, mask: str = "") -> str:
        """Add all layers, name the final states, and return y; `mask` says which steps are real."""
        directions = 2 if rnn.bidirectional else 1
        shape = self.op("Shape", x, start=0, end=2)
        self.op("Shape", x, start=1, end=2, out=BATCH)
        wide = self.op("Concat", shape, self.whole(rnn.hidden_size), axis=0)
        begun = self.begun(rnn)
        zeros = [self.op("Expand", self.number(0.0), wide) for _ in self.cell.verticals]
        below = [zeros] * directions
        finals: list[list[str]] = []
        outputs: list[str] = []
        for k, layer in enumerate(rnn.layers):
            assert isinstance(layer, EagerCell)
            at, direction = self.constant(f"layer_{k}", np.array(k)), k % directions
            starts = [self.op("Gather", state, at, axis=0) for state in begun]
            lower = k >= directions
            read = x
            if lower and "norm" in rnn.stacking:
                ones = self.constant("ones", np.ones(layer.sizes[0]))
                read = self.op("LayerNormalization", x, ones, axis=-1, epsilon=1e-5)
            sequences = [read, *below[direction], *([mask] if mask else [])]
            y, final, below[direction] = self.layer(
                layer, f"layers.{k}.", sequences, starts, direction, masked=bool(mask)
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

    def begun(self, rnn: RNN) -> list[str]:
        """Add the states before the first step, (layers, batch, width): given, or the cell's."""
        begun = []
        for state, width in zip(rnn.cell.states, rnn.state_sizes, strict=True):
            start = np.full((len(rnn.layers), 1, width), state.initial)
            name = self.constant(f"{state.name}_0", start)  # an input of this name overrides it
            one = self.whole(1)
            shape = self.op("Concat", one, BATCH, one, axis=0)
            begun.append(self.op("Expand", name, shape))
        return begun

    def layer(
        self,
        layer: EagerCell,
        name: str,
        sequences: list[str],
        starts: list[str],
        reverse: int,
        *,
        masked: bool,
    ) -> tuple[str, list[str], list[str]]:
        """Add one Scan, and return y, the final states, and the values for the layer above."""
        from onnx import helper

        step = Step(self, layer, name, masked=masked)
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

    def graph(
        self, rnn: RNN, inputs: "list[ValueInfoProto]", outputs: "list[ValueInfoProto]"
    ) -> "GraphProto":
        """The whole graph, with the states behind the other inputs and outputs."""
        from onnx import TensorProto, helper

        def states(when: str) -> "list[ValueInfoProto]":
            pairs = zip(rnn.cell.states, rnn.state_sizes, strict=True)
            return [
                helper.make_tensor_value_info(
                    f"{state.name}_{when}", TensorProto.FLOAT, (len(rnn.layers), "batch", width)
                )
                for state, width in pairs
            ]

        given, found = [*inputs, *states("0")], [*outputs, *states("n")]
        constants = list(self.constants.values())
        return helper.make_graph(self.nodes, rnn.cell.name, given, found, constants)
