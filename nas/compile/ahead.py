"""Many loops compiled before they are needed, several in each run of the C compiler.

    from nas.compile.ahead import compile_ahead
    compile_ahead([(cell, 64, 64, torch.float32) for cell in cells])

A compiler run for a single loop spends part of its time on starting, on the text that all loops
share and on linking; and several compilers can run at once.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from nas.cell.cell import Cell
from nas.cell.count import check_sizes
from nas.compile import native
from nas.compile.loop import source_of
from nas.compile.native import CompilerError

Layer = tuple[Cell, int, int, torch.dtype]
"""A cell, its input size, its hidden size, and float32 or float64."""
TOGETHER = 32
"""The most loops in a run of the compiler, which takes some 3 s for them, of a limit of 60."""

logger = logging.getLogger(__name__)


def compile_ahead(layers: Iterable[Layer], jobs: int = 0) -> int:
    """Compile the loops of layers that are not in the cache; return how many.

    `nas.RNN` then finds them there, in this process and in others. `jobs` compilers run at once; 0
    means one for each core. The function logs a single warning if there is no working compiler, if
    the cache cannot be written, or if a loop does not compile; the remaining loops are then
    compiled when they are first used.

    Raises:
        CellError: if a cell cannot have the sizes.
    """
    groups, n_compiled = [], 0
    try:
        for double, sources in _missing(layers).items():
            groups += [(group, double) for group in _split(sources, jobs or _n_cores())]
        with ThreadPoolExecutor(jobs or _n_cores()) as pool:
            runs = [pool.submit(native.compile_together, *group) for group in groups]
            try:
                for run, (group, _) in zip(runs, groups, strict=True):
                    run.result()
                    n_compiled += len(group)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    except CompilerError as error:
        logger.warning("cells are not compiled ahead: %s", error)
    return n_compiled


def _missing(layers: Iterable[Layer]) -> dict[bool, list[str]]:
    """The sources that are not in the cache, each once, by whether they are of float64."""
    missing: dict[bool, list[str]] = {}
    for cell, input_size, hidden_size, dtype in dict.fromkeys(layers):
        check_sizes(cell, input_size, hidden_size)
        double = dtype == torch.float64
        source = source_of(cell, input_size, hidden_size, dtype)[1].text
        if not native.is_cached(source, double):
            missing.setdefault(double, []).append(source)
    return {double: list(dict.fromkeys(sources)) for double, sources in missing.items()}


def _split(sources: Sequence[str], jobs: int) -> list[list[str]]:
    """Groups of about equal size, as many as there are jobs, or more if there are many sources."""
    n_groups = min(len(sources), max(jobs, -(-len(sources) // TOGETHER)))
    return [list(sources[k::n_groups]) for k in range(n_groups)]


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
