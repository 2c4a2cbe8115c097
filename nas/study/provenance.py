"""What a result came from: versions, machine, git revision. Kept with every study."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

PACKAGES = ("torch", "pytorch-lightning", "optuna", "mlflow", "numpy", "recurrent-nas")


def provenance() -> dict[str, str]:
    """Versions of what decides a result, and the revision of the code where it is known."""
    found = {
        "python": sys.version.split()[0],
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found | _revision()


def _revision() -> dict[str, str]:
    root = Path(__file__).parent.parent
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
