"""Pairs of a source and what is written for it, as windows for models that attend.

Shared by the tasks whose window is one minibatch of such examples, read and written by a model as
`nas.tasks.base.Attention` says. All windows of a task have one shape, that of its longest example.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from nas.errors import UserError
from nas.tasks.base import Attention, AttentionForm, Interface, Task, Window

Attended = Literal["additive", "general", "none"]
"""A form of attention, or "none" for a model that reads all steps in their turn."""
Pair = tuple[Sequence[int], Sequence[int]]
"""A source, without the divider, and what is written, with its end."""


def check_attention(task: Task, attention: Attended) -> None:
    """Raise UserError if there is no such form of attention."""
    if attention not in get_args(Attended):
        known = ", ".join(get_args(Attended))
        raise UserError(f'tasks.{task.name}.attention must be one of {known}, got "{attention}".')


def interface(n_outputs: int, n_inputs: int, attention: Attended, divider: int) -> Interface:
    """Symbols that are read, of which the last is padding; those that are written come first."""
    if attention == "none":
        return Interface(n_inputs, n_outputs)
    form: AttentionForm = attention
    return Interface(n_inputs, n_outputs, attention=Attention(form, divider, n_inputs - 1))


def lay(pairs: Sequence[Pair], longest: tuple[int, int], divider: int, padding: int) -> Window:
    """One window of whole examples; `longest` is the most symbols of a source and of a text.

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
