"""Small searches for the tests: their configuration, how to run them, and how to compare two."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.study.study import Study
from nas.study.visit import Visit
from tests.processes import Running, start

ROOT = Path(__file__).parent.parent

CONFIG = """\
space: gates
sampler: tpe
n_candidates: {n_candidates}
include: [rnn]
tasks:
  use: [arithmetic, xml]
  memorization: {{epochs: 2, batches_per_epoch: 5, n_params: [3000], n_symbols: 3}}
  arithmetic: {{epochs: 2, batches_per_epoch: 5, n_params: [4000], max_digits: 1}}
  xml: {{epochs: 2, batches_per_epoch: 5, n_params: [4000]}}
protocol: {{filter_accuracy: {filter_accuracy}, n_settings: 2, settings_per_evaluation: 1}}
settings: {{init_scale: [1.0], learning_rate: [0.5, 1.0], clip_norm: [5.0], num_layers: [1]}}
"""


def write_config(folder: Path, n_candidates: int = 5, filter_accuracy: float = 0.9) -> Path:
    path = folder / "small.yaml"
    text = CONFIG.format(n_candidates=n_candidates, filter_accuracy=filter_accuracy)
    path.write_text(text, encoding="utf-8")
    return path


def command(module: str, config: Path, *arguments: str) -> list[str]:
    """The search as a command; `module` is nas.search or tests.fake_training."""
    return [sys.executable, "-m", module, str(config), "--tracking-uri", "off", *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **extra}


def run(
    module: str,
    folder: Path,
    *arguments: str,
    before: Callable[[], None] | None = None,
    **extra: str,
) -> subprocess.CompletedProcess[str]:
    """Run the search of `write_config` in `folder` to its end."""
    given = command(module, folder / "small.yaml", *arguments)
    return finished(given, folder, before=before, **extra)


def launched(command: Sequence[str], folder: Path, *, fresh: bool = False, **extra: str) -> Running:
    """A command that runs; `extra` are environment variables."""
    return start(command, folder, environment(**extra), fresh=fresh)


def finished(
    command: Sequence[str],
    folder: Path,
    *,
    fresh: bool = False,
    before: Callable[[], None] | None = None,
    **extra: str,
) -> subprocess.CompletedProcess[str]:
    """A command after its end; `extra` are environment variables, `before` is called in the new
    process."""
    process = start(command, folder, environment(**extra), fresh=fresh, before=before)
    try:
        output, errors = process.communicate(timeout=240)
    except BaseException:
        process.kill()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(command), process.returncode, output, errors)


def stored(folder: Path, name: str = "small") -> Study:
    """The study as it lies on disk; opened without its definition being checked."""
    import optuna

    from nas.study.opening import open_storage

    where = folder / "studies" / name
    study = optuna.load_study(
        study_name=name, storage=open_storage(f"sqlite:///{where / 'study.db'}")
    )
    return Study(name, where, study)


def compared(folder: Path, name: str) -> dict[str, Any]:
    """The numbers of a comparison that was run in `folder`."""
    text = (folder / "studies" / name / "comparison.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def essence(visit: Visit | None) -> dict[str, Any]:
    """All of a visit that does not depend on the clock."""
    assert visit is not None
    fields = dataclasses.asdict(visit)
    del fields["trial_id"]
    fields["evaluated"] = {
        digest: [(o.status, o.best, o.curve) for o in evaluated.outcomes]
        for digest, evaluated in visit.evaluated.items()
    }
    return fields


def essences(study: Study) -> list[dict[str, Any]]:
    return [essence(visit) for visit in study.visits]
