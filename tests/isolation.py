"""What a test may change for the whole process, and what the next test finds as it was.

So that no result depends on the order of the tests, nor on which tests ran in the same process.
Nothing is imported here: torch takes seconds, and reads what `pytest_configure` sets.
"""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TORCH = (
    ("get_default_dtype", "set_default_dtype"),
    ("get_num_threads", "set_num_threads"),
    ("is_grad_enabled", "set_grad_enabled"),
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("are_deterministic_algorithms_enabled", "use_deterministic_algorithms"),
)
"""What torch keeps for the whole process: the function that reads it, and the one that sets it."""


@contextmanager
def restored() -> Iterator[None]:
    """Afterwards the environment, the folder, MLflow's URIs and torch's settings are as before."""
    environment, folder = dict(os.environ), Path.cwd()
    settings = _settings()
    try:
        yield
    finally:
        os.chdir(folder)
        _forget_uris()
        _restore_environment(environment)
        _restore_settings(settings)


def seed_generators() -> None:
    """Let all generators begin as in a process of its own, or at 0, whatever drew from them."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(torch.Generator().initial_seed())


def _settings() -> list[Any]:
    """Torch's settings, if it is imported."""
    torch = sys.modules.get("torch")
    return [getattr(torch, read)() for read, _ in TORCH] if torch else []


def _restore_settings(before: list[Any]) -> None:
    torch = sys.modules.get("torch")
    for (read, write), value in zip(TORCH, before, strict=False):
        if getattr(torch, read)() != value:
            getattr(torch, write)(value)


def _forget_uris() -> None:
    """MLflow's own functions name its places for the process, and in the environment too."""
    if (mlflow := sys.modules.get("mlflow")) is not None:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def _restore_environment(before: dict[str, str]) -> None:
    """pytest itself names the test that is running in PYTEST_CURRENT_TEST."""
    for name in os.environ.keys() - before.keys():
        if not name.startswith("PYTEST_"):
            del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value and not name.startswith("PYTEST_"):
            os.environ[name] = value
