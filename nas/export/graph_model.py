"""The ends of a trained model's graph: data as they are go in, units and names come out.

Means, scales and vocabulary are constants of the graph, and what they mean is in its metadata.
"""

import json
from typing import TYPE_CHECKING

import numpy as np

from nas.export.operators import Graph
from nas.nn.meaning import Meaning
from nas.nn.trained import TrainedModel
from nas.tasks.words import UNKNOWN

if TYPE_CHECKING:  # an optional package
    from onnx import ValueInfoProto

ML_OPSET = 2
"""Version of the operators ai.onnx.ml, whose LabelEncoder maps symbols to tokens."""
LENGTHS = "lengths"
"""The optional input that says how many steps of each padded sequence count."""


def first_input(known: Meaning) -> str:
    """The name of the graph's first input."""
    if known.symbols:
        return "symbols"
    return "tokens" if known.interface.tokens else "x"


def embedded(graph: Graph, model: TrainedModel) -> str:
    """Add what is before the layers, and return the name of their input."""
    known, weight = model.meaning, model.network.embedding.weight
    if known.interface.tokens:
        tokens = _tokens(graph, known) if known.symbols else "tokens"
        return graph.op("Gather", graph.constant("embedding.weight", weight), tokens)
    means, scales = (
        graph.constant(name, getattr(model, name), exact=True)
        for name in ("input_means", "input_scales")
    )
    normalised = graph.op("Div", graph.op("Sub", "x", means), scales)
    x = graph.op("Cast", normalised, to=_number(np.float32))
    return graph.op("MatMul", x, graph.constant("embedding.weight", weight.t()))


def _tokens(graph: Graph, known: Meaning) -> str:
    """Add the vocabulary: an empty string is padding, and an unknown one is out of range."""
    places = {symbol: place for place, symbol in enumerate(known.symbols)}
    unknown = places.get(UNKNOWN, len(places)) if known.words else len(places)
    return graph.op(
        "LabelEncoder",
        "symbols",
        domain="ai.onnx.ml",
        keys_strings=["", *places],
        values_int64s=[0, *places.values()],
        default_int64=unknown,
    )


def lengths_of(graph: Graph, x: str) -> str:
    """Add the number of real steps of each sequence, (batch,); all steps where none is given."""
    steps = graph.op("Shape", x, start=0, end=1)
    batch = graph.op("Shape", x, start=1, end=2)
    graph.constant(LENGTHS, np.array([np.iinfo(np.int64).max]))
    return graph.op("Expand", graph.op("Min", LENGTHS, steps), batch)


def mask_of(graph: Graph, x: str, lengths: str) -> str:
    """Add which steps are real, (time, batch, 1)."""
    steps = graph.op("Squeeze", graph.op("Shape", x, start=0, end=1))
    zero, one = (graph.constant(f"scalar_{k}", np.array(k)) for k in (0, 1))
    places = graph.op("Unsqueeze", graph.op("Range", zero, steps, one), graph.whole(1))
    return graph.op("Unsqueeze", graph.op("Less", places, lengths), graph.whole(-1))


def answered(graph: Graph, model: TrainedModel, y: str, lengths: str) -> "list[ValueInfoProto]":
    """Add what is behind the layers, and return the graph's outputs but for the states."""
    known = model.meaning
    head = graph.constant("head.weight", model.network.head.weight.t())
    bias = graph.constant("head.bias", model.network.head.bias)
    scores = graph.op("Add", graph.op("MatMul", y, head), bias)
    last = _last(graph, scores, lengths)
    scores = last if known.answers == "last step" else scores
    rows: tuple[str, ...] = ("batch",) if known.answers == "last step" else ("time", "batch")
    n = known.interface.outputs
    if known.interface.head == "gaussian":
        exact = graph.op("Cast", scores, to=_number(np.float64))
        means, scales = (
            graph.constant(name, getattr(model, name), exact=True)
            for name in ("target_means", "target_scales")
        )
        graph.op("Add", graph.op("Mul", exact, scales), means, out="means")
        return [_value("means", (*rows, n), np.float64)]
    outputs = [_value(graph.op("Identity", scores, out="logits"), (*rows, n), np.float32)]
    if known.answers == "next symbol":
        scores, rows = last, ("batch",)
    if known.interface.head == "bernoulli":
        graph.op("Sigmoid", scores, out="probabilities")
        return [*outputs, _value("probabilities", (*rows, n), np.float32)]
    graph.op("Softmax", scores, axis=-1, out="probabilities")
    return [
        *outputs,
        _value("probabilities", (*rows, n), np.float32),
        _answer(graph, known, scores, rows),
    ]


def _last(graph: Graph, scores: str, lengths: str) -> str:
    """Add the scores of the last real step, (batch, outputs)."""
    by_sequence = graph.op("Transpose", scores, perm=[1, 0, 2])
    place = graph.op("Sub", lengths, graph.whole(1))
    index = graph.op("Unsqueeze", place, graph.whole(-1))
    return graph.op("GatherND", by_sequence, index, batch_dims=1)


def _answer(graph: Graph, known: Meaning, scores: str, rows: tuple[str, ...]) -> "ValueInfoProto":
    """Add the likeliest class or symbol: its name, or its number where it has none."""
    best = graph.op("ArgMax", scores, axis=-1, keepdims=0, out="" if known.outcomes else "answer")
    if not known.outcomes:
        return _value("answer", rows, np.int64)
    graph.op(
        "LabelEncoder",
        best,
        domain="ai.onnx.ml",
        keys_int64s=list(range(len(known.outcomes))),
        values_strings=list(known.outcomes),
        out="answer",
    )
    return _value("answer", rows, np.str_)


def input_values(model: TrainedModel) -> "list[ValueInfoProto]":
    """The graph's inputs but for the states."""
    known = model.meaning
    kind: type[np.generic] = np.str_ if known.symbols else np.int64
    shape: tuple[int | str, ...] = ("time", "batch")
    if not known.interface.tokens:
        kind, shape = np.float64, (*shape, known.interface.inputs)
    name = first_input(known)
    return [_value(name, shape, kind), _value(LENGTHS, ("batch",), np.int64)]


def metadata(model: TrainedModel) -> dict[str, str]:
    """What the inputs and outputs mean, as text; lists are JSON."""
    known = model.meaning
    named = {
        "task": known.task,
        "answers": known.answers,
        "columns": known.columns,
        "targets": known.targets,
        "classes": known.classes,
        "symbols": known.symbols,
        "horizon": known.horizon,
        "input_means": known.inputs.means,
        "input_scales": known.inputs.scales,
        "target_means": known.outputs.means,
        "target_scales": known.outputs.scales,
        "measured": model.measured,
    }
    return {
        f"nas.{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in named.items()
        if value
    }


def _value(name: str, shape: tuple[int | str, ...], kind: type[np.generic]) -> "ValueInfoProto":
    from onnx import helper

    return helper.make_tensor_value_info(name, _number(kind), shape)


def _number(kind: type[np.generic]) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
