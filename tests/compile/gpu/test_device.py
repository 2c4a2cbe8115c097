"""Device code of the kernels for an H100, made without one: it fits, and no register spills."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.compile.gpu.kernels import SHARED_BYTES
from tests.studies import ROOT

PROMISED = ("gru:70", "gru:128", "lstm:32", "lstm:64", "lstm:128")


@pytest.mark.process
def test_kernels_of_the_promised_sizes_fit_without_spills(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.compile.gpu.compile_kernels", *PROMISED]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 2 * len(PROMISED)
    for taken in found:
        assert taken["spilled"] == 0, taken
        assert 0 < taken["shared"] <= SHARED_BYTES, taken
