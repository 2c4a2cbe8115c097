"""What a test may change for the whole process, and what the next test finds as it was.

So that no result depends on the order of the tests, nor on which tests ran in the same process.
"""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

TORCH = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
)
"""What torch keeps for the whole process: how to read it, and how to set it."""


@contextmanager
def restored() -> Iterator[None]:
    """Afterwards the environment, the folder, MLflow's URIs and torch's settings are as before."""
    environment, folder = dict(os.environ), Path.cwd()
    settings = [read() for read, _ in TORCH]
    try:
        yield
    finally:
        os.chdir(folder)
        _forget_uris()
        _restore_environment(environment)
        for (read, write), value in zip(TORCH, settings, strict=True):
            if read() != value:
                write(value)


def seed_generators() -> None:
    """Let all generators of the process begin alike, whatever drew from them before."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)


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
