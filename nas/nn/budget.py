"""The width that meets a parameter budget, so that cells are compared at equal size."""

from nas.cell.cell import Cell
from nas.cell.count import macs, n_params, size, width_unit
from nas.errors import UserError
from nas.nn.layout import Layout, layout
from nas.nn.settings import Settings
from nas.tasks.base import Interface, interface_of


def count_params(cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int) -> int:
    """Count the learned values of a model of these sizes, of the kind that the interface names."""
    ends = interface_of(interface)
    output, parts = _layout(cell, ends, hidden_size)
    layers = n_params(cell, hidden_size, hidden_size)
    layers += (num_layers - 1) * n_params(cell, output, hidden_size)
    return parts.embedded * hidden_size + len(parts.stacks) * layers + parts.n_params


def forward_flops(
    cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int
) -> float:
    """Count the floating-point operations of such a model for one step.

    With attention, a step counts as read and written, with every matrix applied once. The interface
    does not say how long sources are, so the work for each of their steps at each written step is
    not counted.
    """
    ends = interface_of(interface)
    output, parts = _layout(cell, ends, hidden_size)
    embedding = 0 if ends.tokens else 2 * parts.embedded * hidden_size
    layers = cell.flops(hidden_size, hidden_size)
    layers += (num_layers - 1) * cell.flops(output, hidden_size)
    return parts.times * (embedding + len(parts.stacks) * layers + 2 * parts.products)


def count_macs(cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int) -> int:
    """Count the multiply-adds of such a model for one step of one sequence: embedding, layers and
    output layer.

    A symbol is looked up in its table, which multiplies nothing; elementwise operations are not
    counted. With attention as in `forward_flops`.
    """
    ends = interface_of(interface)
    output, parts = _layout(cell, ends, hidden_size)
    embedding = 0 if ends.tokens else parts.embedded * hidden_size
    layers = macs(cell, hidden_size, hidden_size)
    layers += (num_layers - 1) * macs(cell, output, hidden_size)
    return parts.times * (embedding + len(parts.stacks) * layers + parts.products)


def count_state_bytes(cell: Cell, hidden_size: int, num_layers: int) -> int:
    """Count the bytes of the states that stay between two steps of one sequence, in float32.

    With attention those of the layers that write.
    """
    widths = (size(state.width, hidden_size, hidden_size) for state in cell.states)
    return 4 * num_layers * sum(widths)


def _layout(cell: Cell, interface: Interface, hidden_size: int) -> tuple[int, Layout]:
    """Return the width of an output of the cell, and the parts of the model around it."""
    width = cell.widths[cell.y]
    output = width if isinstance(width, int) else hidden_size
    return output, layout(interface, hidden_size, output)


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
