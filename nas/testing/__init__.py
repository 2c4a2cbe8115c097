"""Checks for extensions: hand them your own task, space or sampler.

They raise AssertionError, with the rule and the value, on a broken rule.
"""

from nas.testing.samplers import check_sampler
from nas.testing.spaces import check_recurrent, check_space
from nas.testing.tasks import check_task, pieces, steps, texts

__all__ = [
    "check_recurrent",
    "check_sampler",
    "check_space",
    "check_task",
    "pieces",
    "steps",
    "texts",
]
