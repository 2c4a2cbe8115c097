"""`python -m nas.show CELL`: a cell's equations, cost, nearest known cell and picture; its walk.

The picture, LaTeX and walk are made by `nas/cell`, a walk with trained weights on data by
`nas/report/trained_walk.py`. To print something more about a cell, add a line to `lines`.
`--gallery` writes the page of all known cells.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.cell.cell import Cell, renamed
from nas.cell.count import check_sizes, formula
from nas.command_line import arguments_of, guarded, program
from nas.report.files import make_folder, write_files
from nas.zoo import ZOO
from nas.zoo.lookup import cell as look_up
from nas.zoo.nearest import nearest
from nas.zoo.usage import call_of, twin_of

FILES = ("cell.svg", "cell.tex", "cell.png")
WIDTH = 100
"""Columns of the sentences that are printed."""
SPEED_SHAPE = (20, 50)
"""Sequences and steps of a minibatch whose speed is measured."""
ROUNDS = 20
ROUND_S = 0.02
STAGES = {0: "no matrix product reads a state", 1: "its matrix products wait for no other"}
STAGES_MANY = "stages of matrix products, one after the other"
"""Words for the number of matrix products of a step that wait for one another."""
SIZE = 64
"""Features of x and of the states in the table of the gallery."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    made = parser()
    given = made.parse_args(arguments_of(arguments))
    if (given.cell is None) == (given.gallery is None):
        made.error("give either a CELL or --gallery FOLDER.")
    if given.on is not None and given.walk is None:
        made.error("--on goes with --walk.")
    return guarded("nas.show", lambda: _run(given))


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        prog=program("show"), description="A cell as equations, numbers and a picture."
    )
    parser.add_argument(
        "cell",
        metavar="CELL",
        nargs="?",
        help="a zoo name, a .cell or .json file, a winner/, or studies/STUDY/NAME",
    )
    parser.add_argument("--out", type=Path, help="folder for cell.svg, cell.png and cell.tex")
    parser.add_argument(
        "--walk",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="OUT.html",
        help="write a page that walks through the cell step by step (NAME_walk.html)",
    )
    parser.add_argument(
        "--on",
        metavar="DATA",
        help="with --walk, a trained CELL (a winner/) and a text, a .txt or .csv file: its gates "
        "at every step, and how far back it remembers",
    )
    parser.add_argument("--task", default="", help="which of a winner's tasks --on is about")
    parser.add_argument("--speed", action="store_true", help="measure it against nn.LSTM")
    parser.add_argument("--input-size", type=int, default=64, help="features of x (64)")
    parser.add_argument("--hidden-size", type=int, default=64, help="features of a state (64)")
    parser.add_argument("--gallery", type=Path, help="write all known cells: FOLDER and FOLDER.md")
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.gallery is not None:
        write_gallery(given.gallery)
        print(f"written: {given.gallery.with_suffix('.md')} and the pictures in {given.gallery}")
        return 0
    if given.walk is not None:
        return _walk(given)
    return show(
        look_up(given.cell), given.input_size, given.hidden_size, given.out, speed=given.speed
    )


def _walk(given: argparse.Namespace) -> int:
    if given.on is None:
        cell = look_up(given.cell)
        page = cell.walk()
    else:
        from nas.report.trained_walk import trained_walk  # torch takes seconds

        cell, page = trained_walk(given.cell, given.task, given.on)
    out = given.walk if given.walk.name else Path(f"{cell.name}_walk.html")
    write_files(out.parent, {out.name: page}, f"--walk {out}")
    print(f"written: {out}")
    return 0


def show(
    cell: Cell, input_size: int, hidden_size: int, out: Path | None = None, *, speed: bool = False
) -> int:
    """Print a cell, and write its picture and LaTeX into a folder.

    Raises:
        UserError: if the cell cannot have these sizes, or a file cannot be written.
    """
    check_sizes(cell, input_size, hidden_size)
    for line in lines(cell, input_size, hidden_size):
        print(line)
    if speed:
        print(f"speed: {speed_of(cell, hidden_size)}")
    if out is not None:
        write(cell, out)
        print(f"written: {', '.join(str(out / name) for name in FILES)}")
    else:
        print("--out FOLDER writes its picture and its equations as LaTeX.")
    return 0


def write(cell: Cell, out: Path) -> None:
    """Write cell.svg, cell.tex and cell.png.

    Raises:
        UserError: if a file cannot be written, or matplotlib is not installed.
    """
    write_files(out, {"cell.svg": cell.svg(), "cell.tex": cell.latex()}, f"--out {out}")
    cell.png(out / "cell.png")


def lines(cell: Cell, input_size: int, hidden_size: int) -> Iterator[str]:
    """Name, source, equations, cost, and the nearest known cell."""
    source = " ".join(cell.doc.split())
    yield f"{cell.name} (key {cell.key})"
    yield from textwrap.wrap(source, WIDTH) or ["It does not say where it comes from."]
    yield ""
    yield str(renamed(cell, cell.name, "")).rstrip()
    yield ""
    names = ", ".join(state.name for state in cell.states)
    yield f"states: {len(cell.states)} ({names})"
    yield f"in code: {call_of(cell)}, as {twin_of(cell)}"
    n_params = cell.n_params(input_size, hidden_size)
    sizes = f"D = {input_size} and H = {hidden_size}"
    yield f"parameters: {formula(cell)} = {n_params:,} for {sizes}"
    flops, stages = cell.flops(input_size, hidden_size), n_stages(cell, input_size, hidden_size)
    yield f"a step: {flops:,.0f} FLOPs, {STAGES.get(stages, f'{stages} {STAGES_MANY}')}"
    yield f"known: {known(cell)}"


def known(cell: Cell) -> str:
    """Which known cell it is, and the nearest other one with the difference."""
    same = [name for name in ZOO if ZOO[name].key == cell.key]
    others = [name for name in ZOO if name not in same]
    near = nearest(cell, others)
    if not same:
        return f"nearest is {near}"
    return f"it is {' and '.join(same)}; the nearest other is {near}"


def n_stages(cell: Cell, input_size: int, hidden_size: int) -> int:
    """How many matrix products of a step wait for one another."""
    from nas.compile.passes import make_plan

    return make_plan(cell, input_size, hidden_size, lanes=1).dependent_stages


def speed_of(cell: Cell, hidden_size: int) -> str:
    """How fast training steps are against nn.LSTM, and against torch's module of the same cell."""
    from nas.bench.arms import make_arms, work
    from nas.bench.config import Shape
    from nas.bench.machine import threads
    from nas.bench.timing import compare, take_turns

    check_sizes(cell, hidden_size, hidden_size)
    shape = Shape(hidden_size, *SPEED_SHAPE, vocabulary=2)
    with threads(1):
        arms = make_arms(cell, shape, "data", eager=False)
        yardstick = make_arms(ZOO["lstm"], shape, "data", eager=False)
        todo = {arm.name: work(arm, "fwd+bwd") for arm in (*arms.arms, yardstick.arms[1])}
        times = take_turns(todo, ROUNDS, ROUND_S)
    compared = [arm.name for arm in arms.arms[1:] if arms.same_cell]
    ratios = []
    for name in dict.fromkeys((*compared, "nn.LSTM")):
        by = compare(times[name], times[arms.ours])
        ratios.append(f"{by.ratio:.2f} times {name}'s ({by.low:.2f} to {by.high:.2f})")
    batch, steps = SPEED_SHAPE
    return (
        f"{', '.join(ratios)}, forward and backward, backend {arms.ours}, {batch} sequences of "
        f"{steps} steps, width {hidden_size} throughout, one thread"
    )


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


if __name__ == "__main__":
    sys.exit(main())
