"""Sequences of torch's PackedSequence, in NumPy."""

from typing import Any

import numpy as np

from nas.tasks.labelled import Array

FIELDS = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")


def is_packed(part: object) -> bool:
    """Whether this is a PackedSequence; tasks do not import torch."""
    return getattr(part, "_fields", ()) == FIELDS


def unpacked(packed: Any) -> list[Array]:
    """Return the sequences, in the order in which they were packed: (time, ...) each.

    The data have, step after step, a row of each sequence that is so long, the longest first.
    """
    data, sizes = np.asarray(packed.data.detach().cpu()), np.asarray(packed.batch_sizes)
    firsts = np.cumsum(sizes) - sizes
    sequences = [data[firsts[sizes > k] + k] for k in range(sizes[0])]
    order = packed.unsorted_indices
    return sequences if order is None else [sequences[k] for k in order.tolist()]
