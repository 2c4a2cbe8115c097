"""What all tests share: compiled loops are kept apart from the user's cache."""

import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401  # before a search freezes what is loaded: its plugins would warn
import pytest


def pytest_configure() -> None:
    """Ctrl-C can be tested: a shell lets what it starts in the background ignore it, and so would
    all that the tests start. Tests that run side by side take one core each. And Ray reads its
    token once, when it is imported: that of tests/cluster is set before, whatever is in ~/.ray."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:  # and torch is not yet imported
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@pytest.fixture(scope="session", autouse=True)
def _cache() -> Iterator[None]:
    """All processes and runs of the tests share one cache, whose names are hashes of contents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE_DIR", str(Path(tempfile.gettempdir()) / "nas-tests-loops"))
        yield
