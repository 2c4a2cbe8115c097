"""The time of one step of one sequence with a cell's layers, in compiled C."""

import statistics
import time

import torch

from nas.cell.cell import Cell
from nas.nn.rnn import RNN

STEPS, ROUNDS = 256, 9
"""Steps of the sequence, and how often it is run; of the times the median counts."""


def step_time(cell: Cell, hidden_size: int, num_layers: int) -> float:
    """Seconds of one step: a sequence through the layers, over the number of its steps.

    Products with x are made for many steps at once, as in any sequence that is there as a whole, so
    a stream, which waits for each x, takes somewhat more. Embedding and output layer, which all
    cells share, are not in it. Weights are fresh: a step takes as long with any.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rnn = RNN(cell, hidden_size, hidden_size, num_layers)
        x, times = torch.zeros(STEPS, 1, hidden_size), []
        with torch.no_grad():
            rnn(x)  # compiles
            for _ in range(ROUNDS):
                began = time.perf_counter()
                rnn(x)
                times.append((time.perf_counter() - began) / STEPS)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)
