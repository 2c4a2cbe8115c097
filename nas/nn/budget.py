"""The width that meets a parameter budget, so that cells are compared at equal size."""

from nas.cell.cell import Cell
from nas.cell.count import n_params, width_unit
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.tasks.base import Attention, Interface, interface_of


def map_sizes(
    attention: Attention | None, hidden_size: int, output_size: int
) -> dict[str, tuple[int, int]]:
    """Return the inputs and outputs of the matrices of attention, in the order of their drawing.

    Annotations are twice as wide as an output of the cell, since sources are read both ways; the
    vectors that energies are computed from are as wide as a state.
    """
    annotation = 2 * output_size
    if attention is None:
        return {}
    if attention.form == "general":
        return {
            "score": (annotation, output_size),
            "combined": (output_size + annotation, hidden_size),
        }
    return {
        "query": (output_size, hidden_size),
        "key": (annotation, hidden_size),
        "score": (hidden_size, 1),
        "context": (annotation, hidden_size),
    }


def head_size(attention: Attention | None, hidden_size: int, output_size: int) -> int:
    """Return the width that the output layer reads: an output, with its context if there is one,
    or both combined."""
    if attention is None:
        return output_size
    return hidden_size if attention.form == "general" else 3 * output_size


def count_params(cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int) -> int:
    """Count the learned values of a `SequenceModel` of these sizes, or of an `AttentionModel`."""
    ends = interface_of(interface)
    output, maps, head = _widths(cell, ends, hidden_size)
    layers = n_params(cell, hidden_size, hidden_size)
    layers += (num_layers - 1) * n_params(cell, output, hidden_size)
    return ends.inputs * hidden_size + _stacks(ends) * layers + maps + (head + 1) * ends.outputs


def forward_flops(
    cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int
) -> float:
    """Count the floating-point operations of such a model for one step.

    With attention, a step counts as read and written, with every matrix applied once. The interface
    does not say how long sources are, so the work for each of their steps at each written step is
    not counted.
    """
    ends = interface_of(interface)
    output, maps, head = _widths(cell, ends, hidden_size)
    embedding = 0 if ends.tokens else 2 * ends.inputs * hidden_size
    layers = cell.flops(hidden_size, hidden_size)
    layers += (num_layers - 1) * cell.flops(output, hidden_size)
    return embedding + _stacks(ends) * layers + 2 * (maps + head * ends.outputs)


def _stacks(interface: Interface) -> int:
    """Count the stacks of the cell in a model: with attention two read and one writes."""
    return 1 if interface.attention is None else 3


def _widths(cell: Cell, interface: Interface, hidden_size: int) -> tuple[int, int, int]:
    """Return the width of an output, the values of all maps, and the width that the head reads."""
    width = cell.widths[cell.y]
    sizes = (interface.attention, hidden_size, width if isinstance(width, int) else hidden_size)
    maps = sum(inputs * outputs for inputs, outputs in map_sizes(*sizes).values())
    return sizes[2], maps, head_size(*sizes)


def solve_width(cell: Cell, interface: Interface | int, settings: Settings) -> int:
    """Find the largest hidden width whose model has at most `settings.n_params` parameters.

    Raises:
        UserError: if even the smallest width has more.
    """
    unit = width_unit(cell)

    def cost(units: int) -> int:
        return count_params(cell, interface, unit * units, settings.num_layers)

    if cost(1) > settings.n_params:
        ends = interface_of(interface)
        kind = "symbols" if ends.tokens else "features"
        raise UserError(
            f"n_params must be at least {cost(1)} for cell {cell.name}, {settings.num_layers} "
            f"layer{'s' if settings.num_layers > 1 else ''} and {ends.inputs} {kind}, got "
            f"{settings.n_params}: raise the task's n_params."
        )
    low, high = 1, 2
    while cost(high) <= settings.n_params:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= settings.n_params else (low, middle)
    return unit * low
