"""The share of many like cases that the default run takes; the others are marked `process`."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def every_eighth(cases: Iterable[Any]) -> list[Any]:
    """The cases, of one parameter each; all but each eighth are marked."""
    return [pytest.param(case, marks=_mark(k, 8)) for k, case in enumerate(cases)]


def every(nth: int, cases: Iterable[Sequence[Any]]) -> list[Any]:
    """The cases, of several parameters each; all but each n-th are marked."""
    return [pytest.param(*case, marks=_mark(k, nth)) for k, case in enumerate(cases)]


def _mark(k: int, nth: int) -> Any:
    return () if k % nth == 0 else pytest.mark.process
