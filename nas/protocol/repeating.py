"""A second, independent measurement of some cells, from which a study knows how well it ranks.

The same cell is trained on the same settings with another seed of weights and data, whole: neither
first look nor veto ends it. What comes out says how far one measurement can be trusted, so it lies
beside the judgement: neither score, sampler nor winner depends on it.
"""

import hashlib
from dataclasses import replace

from nas.protocol.evaluation import Evaluation


def share_of(seed: int, key: str) -> float:
    """Return a number in [0, 1) that depends on the study's seed and the cell alone.

    Cells below a share are a fair sample of that share, whatever else is known of them, and a
    smaller sample is a part of a larger one.
    """
    digest = hashlib.sha256(f"audit {seed} {key}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def repeat_seed(seed: int) -> int:
    """Return the seed of the second measurements of a study: none that a search was given, as far
    as seeds are small numbers."""
    return int.from_bytes(hashlib.sha256(f"repeat {seed}".encode()).digest()[:4])


def again(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation that measures the same with a fresh seed."""
    seed = repeat_seed(evaluation.seed)
    return replace(evaluation, seed=seed, bar=None, veto="off", repeat=1)
