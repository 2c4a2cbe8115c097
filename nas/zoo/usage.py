"""How a cell is called in a person's code: the line that every command prints in one form.

A module of a cell with one state takes and gives a tensor, with several a tuple. Taken apart as
`y, (h, c) = rnn(x)`, the one tensor of two layers would give a layer for each name, without an
error; so the line says which of the two it is.
"""

from nas.cell.cell import Cell


def states_of(cell: Cell) -> str:
    """Return the states as they are unpacked: `h` of one state, `(h, c)` of several."""
    names = [state.name for state in cell.states]
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def call_of(cell: Cell, x: str = "x") -> str:
    """Return the line that calls a module of the cell, such as `y, (h, c) = rnn(x)`."""
    return f"y, {states_of(cell)} = rnn({x})"


def twin_of(cell: Cell) -> str:
    """Say which of torch's modules takes and gives states alike."""
    if len(cell.states) == 1:
        return f"torch.nn.GRU: its state {cell.states[0].name} is a tensor"
    if len(cell.states) == 2:
        return f"torch.nn.LSTM: its states {states_of(cell)} are a tuple"
    return f"torch.nn.LSTM, but its states {states_of(cell)} are a tuple of {len(cell.states)}"
