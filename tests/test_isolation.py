"""What a test changes for the whole process is as it was before the next one."""

import os
from pathlib import Path

import torch

from tests.isolation import restored, seed_generators


def test_what_is_changed_inside_is_as_before_afterwards(tmp_path: Path) -> None:
    import mlflow  # seconds, which a collection of tests need not wait

    before = dict(os.environ), Path.cwd(), torch.get_default_dtype(), torch.get_num_threads()
    with restored():
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
        mlflow.set_registry_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
        os.environ["NAS_CACHE_DIR"] = "elsewhere"
        os.chdir(tmp_path)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(before[3] + 1)
    after = dict(os.environ), Path.cwd(), torch.get_default_dtype(), torch.get_num_threads()
    assert after == before
    assert not mlflow.is_tracking_uri_set()


def test_draws_do_not_depend_on_those_before() -> None:
    seed_generators()
    first = torch.rand(3)
    torch.rand(5)
    seed_generators()
    assert torch.equal(torch.rand(3), first)
