"""A process that has compiled nothing yet, for the tests of compilers and caches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.compile import native
from tests.compile.compiling import forget


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A process that has compiled no cell, with an empty cache."""
    native.library("void nothing(void) {}\n", False)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    forget()
    yield monkeypatch
    forget()
