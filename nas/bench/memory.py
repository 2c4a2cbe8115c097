"""Peak memory of training with ours and with torch's module, each in a fresh process.

`python -m nas.bench.memory CELL ARM HIDDEN BATCH STEPS TIMES` is such a process.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.bench.arms import TWINS, Arm, work
from nas.errors import SearchError
from nas.nn.rnn import RNN
from nas.zoo import ZOO

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
OURS = "c"
LIMIT_S = 300.0


@dataclass(frozen=True)
class Memory:
    """Peak bytes of some steps of training, imports not counted."""

    cell: str
    hidden: int
    batch: int
    steps: int
    torch: str
    peak_bytes: dict[str, int]
    """Peak of each arm."""


def memory(name: str, hidden: int, batch: int, steps: int, times: int) -> Memory:
    """Train a cell that torch has, in a process for each arm.

    Raises:
        SearchError: if a process fails.
    """
    peak_bytes = {}
    for arm in (OURS, TWINS[name][0]):
        sizes = [str(size) for size in (hidden, batch, steps, times)]
        command = [sys.executable, "-m", "nas.bench.memory", name, arm, *sizes]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode:
            message = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise SearchError(f"the memory of {arm} was not measured: {message}")
        peak_bytes[arm] = int(done.stdout)
    return Memory(name, hidden, batch, steps, TWINS[name][0], peak_bytes)


def main(arguments: Sequence[str]) -> None:
    """Take steps of training and print by how many bytes the peak rose."""
    name, arm, *sizes = arguments
    hidden, batch, steps, times = map(int, sizes)
    torch.set_num_threads(1)
    _import_the_rest()
    REFERENCES.write_text("5")  # the peak is from now on
    before = _peak_bytes()
    torch.manual_seed(0)
    module: torch.nn.Module
    if arm == OURS:
        module = RNN(ZOO[name], hidden, hidden, backend="c")
    else:
        module = TWINS[name][1](hidden, hidden)
    data = torch.randn(steps, batch, hidden)
    step = work(Arm(arm, lambda: module(data)[0], tuple(module.parameters())), "train")
    for _ in range(times):
        step()
    print(_peak_bytes() - before)


def _import_the_rest() -> None:
    """Take the first step of an optimizer, at which torch imports 70 MB that are no arm's."""
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    work(Arm("", lambda: layer(x), tuple(layer.parameters())), "train")()


def _peak_bytes() -> int:
    """The most resident memory since the peak was reset."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
