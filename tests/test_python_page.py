"""The code of docs/python.md runs as a user's script, and names nothing that is not there."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from tests.processes import on_one_core

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")


def test_all_that_the_page_names_of_nas_is_there() -> None:
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "nas" or hasattr(nas, node.attr), node.attr
    for name in re.findall(r"`nas\.(\w+)", PAGE):
        assert hasattr(nas, name) or (ROOT / "nas" / f"{name}.py").exists(), name


@pytest.mark.process
@pytest.mark.timeout(900)
def test_the_page_is_a_script_that_runs(tmp_path: Path) -> None:
    """Real trainings, in a folder of its own; the script has no guard of its main part."""
    script = []
    for block in BLOCKS:
        if file := FILE.match(block):
            (tmp_path / file[1]).write_text(block, encoding="utf-8")
        else:
            script.append(block)
    (tmp_path / "script.py").write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        preexec_fn=on_one_core,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SearchResult first: 6 cells" in done.stdout
    assert "gru memorization [" in done.stdout or "gates_" in done.stdout
