"""Packages: those without which no search runs, and optional ones."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator

from nas.doctor.finding import Finding

NEEDED = ("pytorch-lightning", "optuna", "mlflow", "numpy", "pandas", "scipy", "scikit-learn")
OPTIONAL = {
    "ray": ("ray[client]>=2.60", "searches on a cluster, --workers ray:…"),
    "onnx": ("onnx>=1.19", "python -m nas.export --onnx"),
    "onnxruntime": ("onnxruntime>=1.23", "the check of an exported ONNX graph"),
    "matplotlib": ("matplotlib", "pictures as PNG, and the report's"),
}
"""What to install for a module, and what it is for."""


def check_needed() -> Iterator[Finding]:
    """The packages that every search imports."""
    versions, lacking = [], []
    for name in NEEDED:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        advice = f"pip install {' '.join(lacking)}"
        yield Finding("packages", "missing", f"no {', no '.join(lacking)}", advice, needed=True)
    else:
        yield Finding("packages", "there", ", ".join(versions), needed=True)


def check_optional() -> Iterator[Finding]:
    """The packages that some commands need."""
    for module, (package, use) in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "missing", f"for {use}", f'pip install "{package}"')
        else:
            yield Finding(module, "there", f"{_version(module)}, for {use}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # the module comes from elsewhere
        return "unknown version"
