"""Gated cells by their parts: the gates, what each reads, and how old and new values are joined.

A form is one point of the space `gates`, and `build` makes its cell. The way back goes by outlines:
a key is a hash, and the keys of all points take a minute, but an outline is counted from a form
without building its cell, and from the canonical form of any cell. Forms of one key have one
outline; at most 72 of the 24,756 points share one, and only their keys are compared.

To add a choice, add a field to a form, use it in its step, count what it adds in `outline_of`, and
choose it in `gates.py`.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any, NamedTuple

from nas.cell import Cell, Value, canonical_form, diagonal, linear, relu, sigmoid, tanh, trace

ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "tanh": tanh,
    "relu": relu,
    "identity": lambda a: a,
    "sigmoid": sigmoid,
}


@dataclass(frozen=True)
class Gate:
    """A sigmoid of linear maps."""

    reads: str
    """"xh", "x" or "h"."""
    bias: float = 0.0
    """Initial value of its bias."""
    peephole: bool = False
    """Whether it reads the cell state through a diagonal matrix."""


@dataclass(frozen=True)
class Separate:
    """Two states as in an LSTM, the output h and the cell state c."""

    input: Gate | None
    forget: Gate | None
    coupled: bool
    """Whether the forget gate is 1 - the input gate; `forget` is None then."""
    output: Gate | None
    recurrent: bool
    """Whether every gate also reads all gates of the step before, which become states."""
    candidate: str
    activation: str

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates with parameters of their own, in the order of their states."""
        named = {"i": self.input, "f": self.forget, "o": self.output}
        return {name: gate for name, gate in named.items() if gate is not None}


@dataclass(frozen=True)
class Merged:
    """One state as in a GRU."""

    update: Gate | None
    """Share of the old state that is kept; if `shared`, share of the new value, as in the MGU."""
    reset: Gate | None
    shared: bool
    """Whether the update gate is the reset gate as well; `reset` is None then."""
    place: str
    """Whether the reset gate acts "before" or "after" the candidate's matrix; "none": no gate."""
    beta: float
    """The new value's share is 1 - sigmoid(s - beta), where the old one's is sigmoid(s)."""
    candidate: str

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates with parameters of their own."""
        named = {"r": self.reset, "z": self.update}
        return {name: gate for name, gate in named.items() if gate is not None}


Form = Separate | Merged
Step = Callable[..., tuple[Value, ...]]


@lru_cache(maxsize=1024)  # samplers draw a cell again, and propose it once more
def build(form: Form, name: str, doc: str) -> Cell:
    """The cell of a form."""
    step = _separate(form) if isinstance(form, Separate) else _merged(form)
    return trace(step, name, doc)


def _score(gate: Gate, x: Value, h: Value, before: tuple[Value, ...] = ()) -> Value:
    """The argument of a gate's sigmoid, without a peephole."""
    sources = {"xh": (x, h), "x": (x,), "h": (h,)}[gate.reads]
    return linear(*sources, *before, bias=gate.bias)


def _scaled(gate: Value | None, value: Value) -> Value:
    return value if gate is None else gate * value


def _separate(form: Separate) -> Step:
    def opened(
        gate: Gate | None, x: Value, h: Value, c: Value, before: tuple[Value, ...]
    ) -> Value | None:
        if gate is None:
            return None
        score = _score(gate, x, h, before)
        return sigmoid(score + diagonal(c) if gate.peephole else score)

    def step(x: Value, h: Value, c: Value, *before: Value) -> tuple[Value, ...]:
        i = opened(form.input, x, h, c, before)
        f = opened(form.forget, x, h, c, before)
        if form.coupled and i is not None:
            f = 1 - i
        g = ACTIVATIONS[form.candidate](linear(x, h))
        c = _scaled(f, c) + _scaled(i, g)
        o = opened(form.output, x, h, c, before)
        own = {"i": i, "f": f, "o": o}
        after = [own[name] for name in form.gates] if form.recurrent else []
        h_new = _scaled(o, ACTIVATIONS[form.activation](c))
        return (h_new, c, *(gate for gate in after if gate is not None))

    return _with_states(step, ["h", "c", *(form.gates if form.recurrent else ())])


def _merged(form: Merged) -> Step:
    def candidate(x: Value, h: Value, r: Value | None) -> Value:
        activation = ACTIVATIONS[form.candidate]
        if r is None:
            return activation(linear(x, h))
        if form.place == "before":
            return activation(linear(x, r * h))
        return activation(linear(x) + r * linear(h))

    def step(x: Value, h: Value) -> tuple[Value, ...]:
        r = sigmoid(_score(form.reset, x, h)) if form.reset else None
        if form.update is None:
            return (candidate(x, h, r),)
        if form.beta:
            s = _score(form.update, x, h)
            z = sigmoid(s)
            i = 1 - sigmoid(s - form.beta)
            n = candidate(x, h, r)
            return (z * h + i * n,)
        z = sigmoid(_score(form.update, x, h))
        n = candidate(x, h, z if form.shared else r)
        return ((1 - z) * h + z * n if form.shared else z * h + (1 - z) * n,)

    return _with_states(step, ["h"])


def _with_states(step: Step, states: list[str]) -> Step:
    """The step with a signature from which `trace` reads the names of the states."""
    names = ["x", *states]
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    signed: Any = step
    signed.__signature__ = Signature(parameters)  # where PEP 362 lets a function name its own
    return step


# --- from a cell back to its form ---


class Outline(NamedTuple):
    """Counts of a cell by which few forms agree."""

    n_states: int
    n_matrices: int
    n_peepholes: int
    biases: tuple[float, ...]
    """Initial values of the bias vectors, sorted."""
    n_sigmoids: int
    n_tanhs: int
    n_relus: int


def outline_of(form: Form) -> Outline:
    """The outline of the cell that `build` makes of the form."""
    gates = list(form.gates.values())
    n_matrices = 2 + sum(len(gate.reads) for gate in gates)
    biases = [0.0, *(gate.bias for gate in gates)]
    activations = Counter(["sigmoid"] * len(gates) + [form.candidate])
    n_states = 1
    if isinstance(form, Separate):
        activations[form.activation] += 1
        n_states = 2 + form.recurrent * len(gates)
        n_matrices += form.recurrent * len(gates) ** 2
    else:
        activations["sigmoid"] += bool(form.beta)
        biases += [0.0] * (form.place == "after")
    return Outline(
        n_states,
        n_matrices,
        sum(gate.peephole for gate in gates),
        tuple(sorted(biases)),
        activations["sigmoid"],
        activations["tanh"],
        activations["relu"],
    )


def outline_of_cell(cell: Cell) -> Outline:
    """The outline of any cell, read from its canonical form."""
    text = canonical_form(cell)
    _, end = json.JSONDecoder().raw_decode(text)
    rows, _ = json.loads(text[end:])
    labels = Counter(label.split(" ")[0] for label, _ in rows)
    learned = [label.split(" ")[1:] for label, _ in rows if label.startswith("learned ")]
    kinds = Counter(kind for kind, *_ in learned)
    biases = sorted(float(rest[-1]) for kind, *rest in learned if kind == "vector")
    return Outline(
        len(cell.states),
        kinds["matrix"],
        kinds["diagonal"],
        tuple(biases),
        labels["sigmoid"],
        labels["tanh"],
        labels["max"],  # relu(a) is max(a, 0) in the canonical form
    )
