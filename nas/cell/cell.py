"""The cell: its graph, with the functions of this room's other files as methods."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from nas.cell import canon, count, text
from nas.cell.arrange import arrange
from nas.cell.graph import Graph, Node
from nas.errors import CellError


class Cell(Graph):
    """One time step of a recurrent network, as an immutable value.

    Make one with `nas.cell(...)`, `trace` or `loads`; `verify.py` states the rules, `Graph` the
    fields.
    """

    @cached_property
    def key(self) -> str:
        """Hash of the canonical form: equal for cells that differ only by how they are written."""
        return canon.key(self)

    def n_params(self, input_size: int, hidden_size: int, *, bias: bool = True) -> int:
        """Number of learned values of one layer in one direction."""
        return count.n_params(self, input_size, hidden_size, bias=bias)

    def flops(self, input_size: int, hidden_size: int) -> float:
        """Floating-point operations of one forward step of one sequence."""
        return count.flops(self, input_size, hidden_size)

    def latex(self) -> str:
        """The cell as an `align` environment of LaTeX."""
        from nas.cell.latex import latex

        return latex(self)

    def svg(self) -> str:
        """The cell as a picture, a self-contained SVG file."""
        from nas.cell.picture.drawing import picture
        from nas.cell.picture.write import svg

        return svg(picture(self))

    def walk(self) -> str:
        """The walk through the cell, step by step in pictures, sentences and equations: one HTML
        file that needs nothing else."""
        from nas.cell.walk.page import walk

        return walk(self)

    def png(self, path: Path) -> None:
        """Write the same picture as PNG, which needs matplotlib.

        Raises:
            UserError: if matplotlib is not installed, or the file cannot be written.
        """
        from nas.cell.picture.drawing import picture
        from nas.cell.picture.write import write_png

        write_png(picture(self), path)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        """The picture and the equations, for notebooks."""
        from nas.cell.mathml import mathml_lines

        return f"{self.svg()}\n{mathml_lines(self.latex())}"

    def __str__(self) -> str:
        return text.dumps(self)

    def __repr__(self) -> str:
        return f"<Cell {self.name}: {len(self.states)} states, {len(self.nodes)} nodes>"


def assemble(name: str, nodes: Sequence[Node], returned: Sequence[int], doc: str) -> Cell:
    """Make a cell of loose nodes that returns y, the new states and the new verticals.

    Without y in front, the first new state is the output.

    Raises:
        CellError: if the cell returns too many or too few values, or breaks another rule.
    """
    ops = [n.op for n in nodes]
    n_states, n_verticals = ops.count("state"), ops.count("vertical")
    if len(returned) == n_states + n_verticals and n_states:
        returned = [returned[0], *returned]
    if len(returned) != 1 + n_states + n_verticals:
        layers = f" and {n_verticals} for the layer above" if n_verticals else ""
        raise CellError(
            f"cell {name} has {n_states} states and must return {n_states} new states{layers}, "
            "with the output before them if it is not the first of them; got "
            f"{len(returned)} values."
        )
    y, *rest = returned
    return arrange(Cell(name, tuple(nodes), y, tuple(rest[:n_states]), tuple(rest[n_states:]), doc))


def renamed(cell: Cell, name: str, doc: str | None = None) -> Cell:
    """The same cell under another name, with another doc if one is given."""
    new = replace(cell, name=name, doc=cell.doc if doc is None else doc)
    if "key" in vars(cell):  # a key does not depend on names, and takes a millisecond to compute
        vars(new)["key"] = cell.key
    return new
