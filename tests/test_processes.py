"""What a command that hangs says of itself before the tests end it."""

import os
import sys
from pathlib import Path

import pytest

from tests import processes

pytestmark = pytest.mark.process


def test_a_command_that_hangs_says_where(tmp_path: Path) -> None:
    code = "import time\ndef hang():\n    time.sleep(60)\nprint('begun', flush=True)\nhang()\n"
    (tmp_path / "sleeps.py").write_text(code, encoding="utf-8")
    process = processes.start([sys.executable, "-m", "sleeps"], tmp_path, dict(os.environ))
    with pytest.raises(AssertionError, match=r"(?s)timed out after .*begun.*sleeps\.py.* in hang"):
        process.communicate(timeout=3)
    assert process.wait(30) < 0
