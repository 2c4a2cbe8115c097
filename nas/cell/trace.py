"""From a Python function to a cell: the function runs once on values that record its operations.

    def gru(x, h):
        r = sigmoid(linear(x, h))
        z = sigmoid(linear(x, h))
        n = tanh(linear(x, r * h))
        return z * h + (1 - z) * n

    cell = trace(gru)

Local variables name the nodes. In the signature a default is a state's initial value, an annotation
its width (`x_prev: "input"`, `s: 1`, for type checkers `x_prev: Annotated[Value, "input"]`), and
keyword-only arguments come from the layer below.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType
from typing import Annotated, Any, get_args, get_origin

from nas.cell.cell import Cell, assemble
from nas.cell.graph import Node, Width, make_node
from nas.cell.ops import AttrValue
from nas.errors import CellError

Traced = Callable[..., Any]


class Recorder:
    """The nodes of the step that is being traced."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, op: str, *args: "Value | float", **attrs: AttrValue) -> "Value":
        places = [self.value(arg, op).index for arg in args]
        self.nodes.append(make_node(op, places, attrs))
        return Value(self, len(self.nodes) - 1)

    def add_input(self, op: str, name: str, **attrs: AttrValue) -> "Value":
        self.nodes.append(make_node(op, (), attrs, name))
        return Value(self, len(self.nodes) - 1)

    def value(self, given: "Value | float", op: str) -> "Value":
        if isinstance(given, Value):
            if given.recorder is not self:
                raise CellError(f"{op} mixes values of two cells.")
            return given
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return self.add("constant", value=float(given))
        raise CellError(f"{op} takes values of the cell or numbers, got {given!r}.")

    def rename(self, index: int, name: str) -> None:
        self.nodes[index] = replace(self.nodes[index], name=name)


class Value:
    """A value inside a cell; arithmetic on it is recorded as nodes."""

    def __init__(self, recorder: Recorder, index: int) -> None:
        self.recorder = recorder
        self.index = index

    def __add__(self, other: "Value | float") -> "Value":
        return self.recorder.add("add", self, other)

    def __radd__(self, other: float) -> "Value":
        return self.recorder.add("add", other, self)

    def __sub__(self, other: "Value | float") -> "Value":
        return self.recorder.add("sub", self, other)

    def __rsub__(self, other: float) -> "Value":
        return self.recorder.add("sub", other, self)

    def __mul__(self, other: "Value | float") -> "Value":
        return self.recorder.add("mul", self, other)

    def __rmul__(self, other: float) -> "Value":
        return self.recorder.add("mul", other, self)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self.recorder.add("div", self, other)

    def __rtruediv__(self, other: float) -> "Value":
        return self.recorder.add("div", other, self)

    def __neg__(self) -> "Value":
        return self.recorder.add("neg", self)

    def __pow__(self, exponent: int) -> "Value":
        if exponent != 2:
            raise CellError(f"a power is only ** 2 (op square), got ** {exponent}.")
        return self.recorder.add("square", self)

    def __bool__(self) -> bool:
        raise CellError("a cell is the same at every step: no `if` on one of its values.")


_active: ContextVar[Recorder | None] = ContextVar("_active", default=None)


def record(op: str, *args: Value | float, **attrs: AttrValue) -> Value:
    """Record one operation of the cell that is being traced."""
    recorder = _active.get()
    if recorder is None:
        raise CellError(f"{op} is an equation: call it inside a function given to trace().")
    return recorder.add(op, *args, **attrs)


def trace(function: Traced, name: str = "", doc: str | None = None) -> Cell:
    """Run `function` once and return the cell that it describes.

    Args:
        function: takes x, then the states; returns the new states, or y and the new states.
        name: of the cell; the function's by default.
        doc: of the cell; the function's docstring by default.

    Raises:
        CellError: if the function breaks a rule of the cell language.
    """
    recorder = Recorder()
    name = name or function.__name__
    values = _inputs(recorder, name, inspect.signature(function))
    with _recording(recorder), _naming(recorder, function):
        positional = [v for v, by_name in values.values() if not by_name]
        result = function(*positional, **{k: v for k, (v, by_name) in values.items() if by_name})
    returned = list(result) if isinstance(result, tuple) else [result]
    if not all(isinstance(value, Value) for value in returned):
        raise CellError(f"cell {name} must return values of the cell, got {result!r}.")
    text = inspect.cleandoc(function.__doc__ or "") if doc is None else doc
    return assemble(name, recorder.nodes, [value.index for value in returned], text)


def _inputs(
    recorder: Recorder, name: str, signature: inspect.Signature
) -> dict[str, tuple[Value, bool]]:
    """A value for each parameter, and whether it comes from the layer below."""
    values: dict[str, tuple[Value, bool]] = {}
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise CellError(f"cell {name}: its states are named one by one, got {parameter}.")
        by_name = parameter.kind is parameter.KEYWORD_ONLY
        if by_name:
            value = recorder.add_input("vertical", parameter.name)
        elif not values:
            value = recorder.add_input("input", parameter.name)
        else:
            width = _width(parameter.annotation)
            initial = 0.0 if parameter.default is parameter.empty else parameter.default
            value = recorder.add_input("state", parameter.name, width=width, initial=initial)
        values[parameter.name] = (value, by_name)
    return values


def _width(annotation: object) -> Width:
    """The width that an annotation gives; "hidden" for a type.

    `from __future__ import annotations` makes every annotation its own source text.
    """
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[1]
    if isinstance(annotation, str):
        text = annotation.strip("'\"")
        is_type = "." in text or text[:1].isupper()
        return "hidden" if is_type else int(text) if text.isdecimal() else text
    return annotation if isinstance(annotation, int) else "hidden"


@contextmanager
def _recording(recorder: Recorder) -> Iterator[None]:
    token = _active.set(recorder)
    try:
        yield
    finally:
        _active.reset(token)


@contextmanager
def _naming(recorder: Recorder, function: Traced) -> Iterator[None]:
    """Name nodes after the local variables that hold them when `function` returns."""
    code = getattr(function, "__code__", None)
    before = sys.getprofile()

    def profile(frame: FrameType, event: str, arg: object) -> None:
        if event == "return" and frame.f_code is code:
            for variable, value in frame.f_locals.items():
                ours = isinstance(value, Value) and value.recorder is recorder
                if ours and not recorder.nodes[value.index].name:
                    recorder.rename(value.index, variable)

    sys.setprofile(profile)
    try:
        yield
    finally:
        if before is None or callable(before):
            sys.setprofile(before)
        else:  # cProfile's, before Python 3.12: it is no function, and knows how to go on
            before.enable()
