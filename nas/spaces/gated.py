"""Gated cells by their parts: which gates there are, what each reads, how old and new are joined.

A form is one point of the space `gates`. To add a choice, add a field to a form, use it in the step
below it, count what it adds in `nas/spaces/inverse.py`, and ask for it in `nas/spaces/gates.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from nas.cell import Cell, Value, diagonal, linear, relu, sigmoid, tanh, trace

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
    """Where its bias starts."""
    peephole: bool = False
    """Whether it sees the cell state through a diagonal matrix."""


@dataclass(frozen=True)
class Separate:
    """Two states as in an LSTM, the output h and the cell state c."""

    input: Gate | None
    forget: Gate | None
    coupled: bool
    """Whether the forget gate is 1 - the input gate; `forget` is None then."""
    output: Gate | None
    recurrent: bool
    """Whether every gate also reads all gates of the step before, which are states then."""
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
    """Keeps the old state; if it is `shared`, it lets the new one in, as in the MGU."""
    reset: Gate | None
    shared: bool
    """Whether the update gate is the reset gate as well; `reset` is None then."""
    place: str
    """Where the reset gate meets the candidate's matrix: "before", "after"; "none" without one."""
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


def build(form: Form, name: str, doc: str) -> Cell:
    """Write the form down as a cell."""
    step = _separate(form) if isinstance(form, Separate) else _merged(form)
    return trace(step, name, doc)


def _score(gate: Gate, x: Value, h: Value, before: tuple[Value, ...] = ()) -> Value:
    """What the gate is the sigmoid of, without a peephole."""
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
    """Give the step the signature that `trace` reads the names of the states from."""
    names = ["x", *states]
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    signed: Any = step
    signed.__signature__ = Signature(parameters)  # where PEP 362 lets a function name its own
    return step
