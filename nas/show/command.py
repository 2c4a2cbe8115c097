"""`python -m nas.show CELL`: a cell's equations, cost, nearest known cell and picture.

To print something more about a cell, add a line to `lines` of `about.py`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nas.cell.cell import Cell
from nas.cell.count import check_sizes
from nas.command_line import arguments_of, guarded, program
from nas.report.files import write_files
from nas.show.about import lines, speed_of
from nas.show.gallery import write_gallery
from nas.zoo.lookup import cell as look_up

FILES = ("cell.svg", "cell.tex", "cell.png")


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
        from nas.show.trained import trained_walk  # torch takes seconds

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
