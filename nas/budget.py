"""The width that meets a parameter budget, so that cells are compared at equal size."""

from nas.cell.count import n_params, width_unit
from nas.cell.graph import Cell
from nas.errors import UserError
from nas.evaluation import Settings
from nas.tasks.base import Interface, interface_of


def count_params(cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int) -> int:
    """Learned values of a `SequenceModel` of these sizes."""
    ends = interface_of(interface)
    embedding = ends.inputs * hidden_size
    output = _output_size(cell, hidden_size)
    layers = n_params(cell, hidden_size, hidden_size)
    layers += (num_layers - 1) * n_params(cell, output, hidden_size)
    return embedding + layers + (output + 1) * ends.outputs


def forward_flops(
    cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int
) -> float:
    """Floating-point operations of such a model for one step."""
    ends = interface_of(interface)
    embedding = 0 if ends.tokens else 2 * ends.inputs * hidden_size
    output = _output_size(cell, hidden_size)
    layers = cell.flops(hidden_size, hidden_size)
    layers += (num_layers - 1) * cell.flops(output, hidden_size)
    return embedding + layers + 2 * output * ends.outputs


def _output_size(cell: Cell, hidden_size: int) -> int:
    width = cell.widths[cell.y]
    return width if isinstance(width, int) else hidden_size


def solve_width(cell: Cell, interface: Interface | int, settings: Settings) -> int:
    """The largest hidden width whose model has at most `settings.n_params` parameters.

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
