"""Our cells against the papers' equations, as `papers*.py` of this folder transcribe them."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import nas
from nas.cell import Cell
from nas.compile.reference import EagerCell
from tests.interpreter import Array
from tests.zoo import papers
from tests.zoo.papers import Parameters, Parts, Step

H = 8
FILES = sorted(path.stem for path in Path(papers.__file__).parent.glob("papers*.py"))
MODULES = [importlib.import_module(f"tests.zoo.{file}") for file in FILES]


def gathered(table: str) -> dict[str, Any]:
    """A table of all files together; most have no exceptions, so no INITIAL and no EQUAL_WIDTHS."""
    rows = [row for m in MODULES for row in getattr(m, table, {}).items()]
    assert len(rows) == len(dict(rows)), "a name is in two files"
    return dict(rows)


PAPERS: dict[str, Step] = gathered("PAPERS")
PARTS: dict[str, Parts] = gathered("PARTS")
INITIAL: dict[str, dict[str, list[float | None]]] = gathered("INITIAL")
EQUAL_WIDTHS = {name for m in MODULES for name in getattr(m, "EQUAL_WIDTHS", ())}


def input_size(cell: Cell) -> int:
    return H if cell.needs_equal_widths else 3


def state_sizes(cell: Cell, size: int) -> list[int]:
    widths = {"input": size, "hidden": H}
    return [widths.get(str(state.width)) or int(state.width) for state in cell.states]


def compared(name: str) -> Iterator[tuple[Array, Array]]:
    """Outputs, states and verticals of ours and of the paper, for each step and example."""
    cell = nas.zoo[name]
    size = input_size(cell)
    module = EagerCell(cell, size, H, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator)
    rng = np.random.default_rng(2)
    xs = rng.normal(size=(4, 2, size))
    ours = [torch.tensor(rng.normal(size=(2, width))) for width in state_sizes(cell, size)]
    theirs = [[state[b].numpy() for state in ours] for b in range(2)]
    below = rng.normal(size=(4, len(cell.verticals), 2, H))
    for t, x in enumerate(xs):
        y, ours, above = module.step(torch.tensor(x), ours, list(torch.tensor(below[t])), t)
        for b in range(2):
            p = Parameters(module, t)
            given = list(PAPERS[name](p, x[b], *theirs[b], *below[t, :, b]))
            expected = given if len(given) > len(ours) + len(above) else [given[0], *given]
            theirs[b] = expected[1 : 1 + len(ours)]
            for one, paper in zip((y, *ours, *above), expected, strict=True):
                yield one[b].detach().numpy(), paper


def difference(name: str) -> float:
    """The largest."""
    return max(float(np.abs(one - paper).max()) for one, paper in compared(name))
