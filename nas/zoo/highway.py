"""Recurrent highway networks: several layers, each with a gate around it, within one step."""

from collections.abc import Callable

from nas.cell import Value, linear, sigmoid, tanh


def rhn(depth: int) -> Callable[[Value, Value], Value]:
    """The recurrent highway network with this many layers, each a step of its own depth."""

    def step(x: Value, h: Value) -> Value:
        for layer in range(depth):
            read = (x, h) if layer == 0 else (h,)
            n = tanh(linear(*read))
            t = sigmoid(linear(*read, bias=-2))
            h = t * n + (1 - t) * h
        return h

    step.__doc__ = (
        f"Zilly et al. 2017, arXiv:1607.03474: recurrent highway network of depth {depth}, gates "
        "coupled.\n\nThe input enters the first layer; biases of the gates start at -2, which "
        "carries the state."
    )
    return step
