"""The origin of a result says which code made it."""

import subprocess
from pathlib import Path

import pytest

import nas
from nas.study.provenance import provenance

ROOT = Path(nas.__file__).parent.parent


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the code is in no checkout")
def test_the_revision_of_a_checkout_is_recorded() -> None:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    revision, _, changes = provenance()["revision"].partition(" ")
    assert revision == head
    assert changes in ("", "with changes")
