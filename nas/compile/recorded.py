"""What torch.compile calls and does not read.

It is imported when torch.compile comes across it, and not before: these decorators import torch's
compiler, which takes as long as torch itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nas.compile.backend import Backend, choose
from nas.compile.operator import template_of
from nas.compile.rows import Tokens, TracedRows


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]  # torch declares no types of it
def in_graph(
    definition: tuple[str, int, int, bool],
    backend: Backend,
    reverse: bool,
    sizes: tuple[int, int, int, int],
    tensors: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor]],
) -> list[Tensor]:
    """Run a layer from what torch.compile can record: tensors, numbers and text."""
    inputs, carried, parameters, states, below = tensors
    template = template_of(definition)
    layer = template.with_parameters(dict(zip(template.shapes, parameters, strict=True)))
    n_steps, batch, total, first = sizes
    carrier, counts = carried if len(carried) > 1 else (carried[0], None)
    rows = TracedRows(n_steps, batch, total, carrier, counts, first)
    x = Tokens(*inputs) if len(inputs) > 1 else inputs[0]
    run = choose(backend, layer, x, states, rows)
    y, finals, above = run(layer, x, rows, states, below, reverse)
    return [y, *finals, *above]


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch declares no types of it
def unread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function outside of what is recorded."""
    return function(*arguments)
