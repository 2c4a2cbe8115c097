"""Modes of files that hold for whoever runs the tests: the administrator's commands give up the
capabilities by which he may read and write everything."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

PR_CAPBSET_DROP = 24
"""linux/prctl.h"""
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
"""linux/capability.h"""
LIBRARY = ctypes.CDLL(None)


def as_a_user() -> None:
    """For `preexec_fn`: what the child then runs may read and write what modes say."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            LIBRARY.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def modes_hold() -> bool:
    """Whether they do for a child: not where the administrator may not give up what he may do."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o500)
        command = ["touch", f"{folder}/made"]
        made = subprocess.run(command, preexec_fn=as_a_user, capture_output=True, check=False)
        Path(folder).chmod(0o700)
    return made.returncode != 0


needs_modes = pytest.mark.skipif(
    not modes_hold(), reason="the administrator cannot give up that he may write everything here"
)
