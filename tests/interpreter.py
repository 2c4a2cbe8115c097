"""Cells in float64 NumPy, written from the meaning of each op and from nothing else: an oracle.

Parameters come from a provider, (cell, node index, sizes) -> arrays, so that one interpreter serves
both modules (their weights) and rewritten cells (weights by the name of the node, see `by_name`).
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import cont2discrete

from nas.cell import Cell, Node

Array = NDArray[np.float64]
Weights = dict[str, Array]
Provider = Callable[[Cell, int, list[int]], Weights]

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(a: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * a))


def layer_norm(a: Array, eps: float) -> Array:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + eps)


def softmax(a: Array) -> Array:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


MEANING: dict[str, Callable[..., Array]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": np.maximum,
    "min": np.minimum,
    "blend": lambda a, b, c: a * b + (1 - a) * c,
    "neg": lambda a: -a,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a, slope: np.where(a > 0, a, slope * a),
    "hard_sigmoid": lambda a, slope: np.clip(slope * a + 0.5, 0, 1),
    "softplus": lambda a: np.logaddexp(0, a),
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "square": lambda a: a * a,
    "floor": np.floor,
    "sin": np.sin,
    "cos": np.cos,
    "silu": lambda a: a * sigmoid(a),
    "gelu": lambda a: a * 0.5 * (1 + erf(a / math.sqrt(2))),
    "layer_norm": layer_norm,
    "rms_norm": lambda a, eps: a / np.sqrt((a * a).mean(-1, keepdims=True) + eps),
    "softmax": softmax,
}


@dataclass
class Trace:
    """What a run gave: the outputs (y, states, verticals) of each step, and whether it was tame."""

    outputs: list[list[Array]]
    tame: bool
    """Whether every value was finite and of ordinary size, so that rounding stays rounding."""


def sizes_of(cell: Cell, input_size: int, hidden_size: int) -> list[int]:
    sizes = {"input": input_size, "hidden": hidden_size}
    return [width if isinstance(width, int) else sizes[width] for width in cell.widths]


def initial_states(cell: Cell, batch: int, input_size: int, hidden_size: int) -> list[Array]:
    sizes = sizes_of(cell, input_size, hidden_size)
    return [
        np.full((batch, size), n.number("initial"))
        for n, size in zip(cell.nodes, sizes, strict=True)
        if n.op == "state"
    ]


def run(
    cell: Cell,
    xs: Sequence[Array],
    hidden_size: int,
    provider: Provider,
    states: Sequence[Array] | None = None,
    below: Sequence[Sequence[Array]] | None = None,
) -> Trace:
    """Run over xs (time, batch, input); `below[t]` are the verticals that arrive at step t."""
    batch, input_size = xs[0].shape
    sizes = sizes_of(cell, input_size, hidden_size)
    weights = {i: provider(cell, i, sizes) for i in cell.live if learns(cell.nodes[i])}
    now = list(states) if states else initial_states(cell, batch, input_size, hidden_size)
    outputs, tame = [], True
    for t, x in enumerate(xs):
        up = list(below[t]) if below else [np.zeros((batch, hidden_size)) for _ in cell.verticals]
        with np.errstate(all="ignore"):
            values = _step(cell, [x, *now, *up], t, weights, sizes)
            tame = tame and all(_is_tame(cell, i, values) for i in cell.live)
        rows = [values[i] for i in cell.outputs]
        n_states = len(cell.states)
        for k in range(1 + n_states, len(rows)):
            rows[k] = np.broadcast_to(rows[k], (batch, hidden_size))
        outputs.append(rows)
        now = rows[1 : 1 + n_states]
    return Trace(outputs, tame)


def learns(n: Node) -> bool:
    return n.op in ("linear", "diagonal", "block_diagonal", "masked", "skew", "vector", "scalar")


def _is_tame(cell: Cell, i: int, values: dict[int, Array]) -> bool:
    n = cell.nodes[i]
    sharp = {"div": 1, "log": 0, "sqrt": 0}.get(n.op)
    if sharp is not None and not (np.abs(values[n.args[sharp]]) > 1e-4).all():
        return False
    if n.op == "floor":  # it jumps at whole numbers, so rounding is no rounding there
        of = values[n.args[0]]
        if not (np.abs(of - np.round(of)) > 1e-4).all():
            return False
    return bool((np.abs(values[i]) < 1e4).all())


def _step(
    cell: Cell, given: list[Array], t: int, weights: dict[int, Weights], sizes: list[int]
) -> dict[int, Array]:
    values = dict(enumerate(given))
    batch = given[0].shape[0]
    for i in sorted(cell.live - set(values)):
        n = cell.nodes[i]
        args = [values[arg] for arg in n.args]
        if n.op == "constant":
            value = np.full((batch, 1), n.number("value"))
        elif n.op == "step":
            value = np.full((batch, 1), float(t))
        elif n.op == "unit":
            value = np.arange(sizes[i]) // (sizes[i] // (n.attr("blocks") or sizes[i]))
            value = value[None, :].astype(float)
        elif n.op == "cumsum":
            value = np.cumsum(args[0], -1)
        elif n.op == "legendre":
            value = args[0] @ legendre(sizes[i], n.number("window")).T
        elif learns(n):
            value = _learned(n, args, weights[i])
        else:
            value = MEANING[n.op](*args, *(v for _, v in n.attrs))
        values[i] = np.broadcast_to(value, (batch, sizes[i]))
    return values


def legendre(order: int, window: float) -> Array:
    """Voelker et al. 2019, equation 2, with a zero-order hold of one step."""
    flow = np.array(
        [
            [(2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)]
            for i in range(order)
        ],
        dtype=float,
    )
    none = np.zeros((order, 1))
    return cont2discrete((flow / window, none, flow, none), 1.0, "zoh")[0]


def _learned(n: Node, args: list[Array], weights: Weights) -> Array:
    weight = weights["weight"]
    if not args:
        return weight[None, :]
    if n.op == "diagonal":
        return args[0] * weight
    if n.op == "linear":
        return np.concatenate(args, -1) @ weight.T + weights.get("bias", np.zeros(len(weight)))
    if n.op == "skew":
        return args[0] @ weight.T + n.number("transpose") * (args[0] @ weight)
    blocks = int(n.number("blocks"))
    if n.op == "masked":
        block = len(weight) // blocks
        kept = np.triu(np.ones((blocks, blocks)))
        kept = kept if n.attr("mask") == "block_upper" else kept.T
        return args[0] @ (weight * np.kron(kept, np.ones((block, block)))).T
    parts = np.split(args[0], blocks, axis=-1)
    return np.concatenate([part @ weight[b].T for b, part in enumerate(parts)], -1)


def identities(n: Node) -> list[str]:
    """What each matrix or vector of a learned node is called: its bias first, for a linear map.

    They are read off the node's name, `p3` and then `q2q1` for the parts it holds. Part 0 of a
    linear map is its bias, part k the matrix of its k-th argument as first written: so the parts
    keep their values when the map is split or its arguments change places.
    """
    root, *parts = n.name.split("q")
    if n.op == "linear":
        return [f"{root}/{part}" for part in ("0", *parts)]
    return [f"{root}/{''.join(parts) or 0}"]


def by_name(
    cell: Cell, i: int, sizes: list[int], renamed: Mapping[str, str] | None = None
) -> Weights:
    """Weights that depend only on the identities of their parts, renamed if a mapping is given."""
    n = cell.nodes[i]
    bias_name, *names = [(renamed or {}).get(name, name) for name in identities(n)]
    if n.op == "linear":
        matrices = [
            draw(name, (sizes[i], sizes[arg])) for name, arg in zip(names, n.args, strict=True)
        ]
        weight = np.concatenate(matrices, -1)
        if eye := n.number("eye"):
            weight = weight + eye * np.eye(*weight.shape)
        bias = n.attr("bias")
        return (
            {"weight": weight}
            if bias is None
            else {
                "weight": weight,
                "bias": draw(bias_name, (sizes[i],)) + n.number("bias"),
            }
        )
    if n.op == "block_diagonal":
        blocks = int(n.number("blocks"))
        return {"weight": draw(bias_name, (blocks, sizes[i] // blocks, sizes[i] // blocks))}
    if n.op in ("masked", "skew"):
        return {"weight": draw(bias_name, (sizes[i], sizes[i]))}
    initial = dict(n.attrs).get("init") or 0.0
    return {"weight": draw(bias_name, (sizes[i],)) + float(initial)}


def draw(identity: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(zlib.crc32(identity.encode()))
    return rng.normal(size=shape) / math.sqrt(shape[-1] + 1)


def random_states(
    cell: Cell, batch: int, input_size: int, hidden_size: int, seed: int
) -> list[Array]:
    """States for cells whose own initial values say little (0) or are infinite."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s.shape) for s in initial_states(cell, batch, input_size, hidden_size)]
