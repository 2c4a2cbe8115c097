"""The share of many like cases that the default run takes; the others are marked `process`."""

from collections.abc import Iterable
from typing import Any

import pytest


def every_eighth(cases: Iterable[Any]) -> list[Any]:
    """The cases as parameters of a test that takes long over all of them."""
    marked = pytest.mark.process
    return [pytest.param(case, marks=() if k % 8 == 0 else marked) for k, case in enumerate(cases)]
