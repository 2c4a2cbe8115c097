"""A process that has compiled nothing yet, for the tests of compilers and caches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.compile import cache, native
from tests.compile.compiling import forget


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A process that has compiled no cell, with an empty cache."""
    native.library("void nothing(void) {}\n", False)
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "cache"))
    forget()
    yield monkeypatch
    forget()


@pytest.fixture(scope="session")
def products() -> Path:
    """The library of float32's matrix products, which takes a while to compile."""
    _, command = native._ready(False)
    text = "".join(map(native._text, native.PRODUCTS))
    path = cache.place(native._digest(text, False, command))
    assert path
    if not path.exists():  # this process has it from elsewhere
        native._products.__wrapped__(text, False, command)
    return path
