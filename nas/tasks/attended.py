"""Pairs of a source and the text written for it, as windows for models with attention.

The tasks that share this have minibatches of such pairs as windows, laid out as
`nas.tasks.base.Attention` says. All windows of a task have one shape, that of its longest example.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nas.tasks.base import Attention, Interface, Window

Attended = Literal["additive", "general", "none"]
"""A form of attention, or "none" for a model that reads all steps in order."""
Pair = tuple[Sequence[int], Sequence[int]]
"""A source without the divider, and a text with its end."""


def interface(n_outputs: int, n_inputs: int, attention: Attended, divider: int) -> Interface:
    """Make the interface of a task whose inputs are the outputs' symbols and more, padding last."""
    if attention == "none":
        return Interface(n_inputs, n_outputs)
    return Interface(n_inputs, n_outputs, attention=Attention(attention, divider, n_inputs - 1))


def lay(pairs: Sequence[Pair], longest: tuple[int, int], divider: int, padding: int) -> Window:
    """Make a window of whole examples; `longest` has the most symbols of a source and of a text.

    Where nothing is scored, the target is 0.
    """
    n_source, n_written = longest
    inputs = np.full((n_source + n_written, len(pairs)), padding, dtype=np.int64)
    targets = np.zeros_like(inputs)
    scored = np.zeros(inputs.shape, dtype=np.bool_)
    inputs[n_source] = divider
    for stream, (source, text) in enumerate(pairs):
        end = n_source + len(text)
        inputs[n_source - len(source) : n_source, stream] = source
        inputs[n_source + 1 : end, stream] = text[:-1]
        targets[n_source:end, stream] = text
        scored[n_source:end, stream] = True
    return Window(inputs, targets, scored, fresh=True)
