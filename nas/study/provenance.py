"""The origin of a result: versions, machine, git revision; kept with every study."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from nas.resources import PACKAGE

PACKAGES = ("torch", "pytorch-lightning", "optuna", "mlflow", "numpy", "recurrent-nas")


def provenance() -> dict[str, str]:
    """Versions of all that decides a result, and the revision of the code where it is known."""
    versions = {
        "python": sys.version.split()[0],
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return versions | _revision()


def _revision() -> dict[str, str]:
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return {}
    try:
        revision = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": revision + (" with changes" if changed else "")}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
