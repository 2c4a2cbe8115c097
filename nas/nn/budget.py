"""The width that meets a parameter budget, so that cells are compared at equal size."""

from nas.cell.cell import Cell
from nas.cell.count import n_params, width_unit
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.tasks.base import Attention, Interface, interface_of


def map_sizes(
    attention: Attention | None, hidden_size: int, output_size: int
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the matrices of attention, in the order in which they are drawn.

    Annotations are twice as wide as an output of the cell, for sources are read both ways; what
    energies are computed from is as wide as a state.
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
    """The width that the output layer reads: an output, with its context if there is one, or both
    combined."""
    if attention is None:
        return output_size
    return hidden_size if attention.form == "general" else 3 * output_size


def count_params(cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int) -> int:
    """Learned values of a `SequenceModel` of these sizes, or of an `AttentionModel`."""
    ends = interface_of(interface)
    embedding = ends.inputs * hidden_size
    output = _output_size(cell, hidden_size)
    layers = n_params(cell, hidden_size, hidden_size)
    layers += (num_layers - 1) * n_params(cell, output, hidden_size)
    sizes = (ends.attention, hidden_size, output)
    maps = sum(inputs * outputs for inputs, outputs in map_sizes(*sizes).values())
    return embedding + _stacks(ends) * layers + maps + (head_size(*sizes) + 1) * ends.outputs


def forward_flops(
    cell: Cell, interface: Interface | int, hidden_size: int, num_layers: int
) -> float:
    """Floating-point operations of such a model for one step.

    With attention, a step is as if it were read and written, with every matrix applied once. The
    interface does not say how long sources are, so what is done for each of their steps anew at
    each step that is written is not counted.
    """
    ends = interface_of(interface)
    embedding = 0 if ends.tokens else 2 * ends.inputs * hidden_size
    output = _output_size(cell, hidden_size)
    layers = cell.flops(hidden_size, hidden_size)
    layers += (num_layers - 1) * cell.flops(output, hidden_size)
    sizes = (ends.attention, hidden_size, output)
    maps = sum(inputs * outputs for inputs, outputs in map_sizes(*sizes).values())
    return embedding + _stacks(ends) * layers + 2 * (maps + head_size(*sizes) * ends.outputs)


def _stacks(interface: Interface) -> int:
    """How many stacks of the cell a model has: with attention two read and one writes."""
    return 1 if interface.attention is None else 3


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
