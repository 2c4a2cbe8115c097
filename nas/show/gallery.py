"""The page of the known cells, docs/gallery.md, with their pictures."""

from collections.abc import Iterator
from pathlib import Path

from nas.cell.cell import Cell
from nas.cell.count import formula
from nas.report.files import make_folder, write_files
from nas.show.about import known, n_stages
from nas.zoo import ZOO

SIZE = 64
"""Features of x and of the states in the table."""
GALLERY_HEAD = f"""# The known cells

Written by `python -m nas.show --gallery docs/gallery`; `python -m nas.show CELL` says the same of
any cell.

In the pictures, states run from left to right, x comes from below and y leaves at the top. A yellow
box is a learned layer: matrices, a bias and the function that is its label (W: none), with its name
in the equations; a note under it says how it begins. A red circle is an operation without
parameters. Lines that flow together are read together, each by a matrix of its own; a line that
forks is one value. Dashed lines are peepholes: a learned vector times the value.

D is the number of features of x, H that of a state; FLOPs are of a step with D = H = {SIZE}; stages
are the matrix products of a step that wait for one another.

| cell | states | parameters | FLOPs | stages |
| --- | --- | --- | --- | --- |
"""


def write_gallery(folder: Path) -> None:
    """Write a picture of each known cell into the folder, and the page beside it.

    Raises:
        UserError: if they cannot be written.
    """
    name = f"--gallery {folder}"
    make_folder(folder, name)
    write_files(folder, {f"{key}.svg": cell.svg() for key, cell in ZOO.items()}, name)
    page = folder.with_suffix(".md")
    write_files(page.parent, {page.name: gallery_page(folder.name)}, name)


def gallery_page(folder: str) -> str:
    """The page, in Markdown, whose pictures are in a folder beside it."""
    rows = "\n".join(_gallery_row(cell) for cell in ZOO.values())
    parts = (part for name in ZOO for part in gallery_section(name, folder))
    return GALLERY_HEAD + rows + "\n" + "".join(f"\n{part}\n" for part in parts)


def _gallery_row(cell: Cell) -> str:
    sizes = (SIZE, SIZE)
    cost = f"{cell.flops(*sizes):,.0f} | {n_stages(cell, *sizes)}"
    names = ", ".join(state.name for state in cell.states)
    return f"| [{cell.name}](#{cell.name}) | {names} | {formula(cell)} | {cost} |"


def in_markdown(latex: str) -> str:
    """An `align` environment as GitHub draws it in Markdown: it knows no \\operatorname."""
    return latex.replace("{align}", "{aligned}").replace(r"\operatorname{", r"\mathrm{")


def gallery_section(name: str, folder: str) -> Iterator[str]:
    """The section of a cell: its source, picture, equations and nearest relative."""
    cell = ZOO[name]
    yield f"## {name}"
    yield " ".join(cell.doc.split())
    yield f"![{name}]({folder}/{name}.svg)"
    yield f"```math\n{in_markdown(cell.latex())}```"
    relative = known(cell).removeprefix(f"it is {name}; ")
    yield f"{relative[0].upper()}{relative[1:]}."
