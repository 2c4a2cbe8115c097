"""What a name stands for: a data file that comes with `nas`, or a class of the user's own.

Data files lie beside the package in a checkout, inside it in a wheel.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any, Literal

from nas.errors import UserError, unknown

PACKAGE = Path(__file__).parent
Kind = Literal["search_spaces", "experiments"]
UNPACKED = "unpacked "
"""What stands before module:Class in the configuration of a study that came in a file: the file's
maker named that code, and it runs only if the user names it too."""


def folder(kind: Kind) -> Path:
    """The folder of the search spaces or of the experiments."""
    installed = PACKAGE / "_data" / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind


def names(kind: Kind) -> list[str]:
    """The spaces or experiments that come with `nas`."""
    pattern = "*.yaml" if kind == "search_spaces" else "*/config.yaml"
    paths = folder(kind).glob(pattern)
    return sorted(path.stem if kind == "search_spaces" else path.parent.name for path in paths)


def is_comparison(path: Path) -> bool:
    """Whether an experiment's file is of a comparison: it names cells, or those to compare with."""
    return _has(path, "(cells|against)") and not _has(path, "out")


def is_curves(path: Path) -> bool:
    """Whether an experiment's file names cells whose learning curves are drawn."""
    return _has(path, "cells") and _has(path, "out")


def _has(path: Path, field: str) -> bool:
    """Whether a file has this field, a pattern, outside of all groups; False if it cannot be
    read."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return False
    return re.search(rf"^{field}:", text, re.MULTILINE) is not None


def searches() -> list[str]:
    """The experiments that are searches."""
    files = {name: find("experiments", name) for name in names("experiments")}
    return [name for name, path in files.items() if not (is_comparison(path) or is_curves(path))]


def curves() -> list[str]:
    """The experiments that draw learning curves."""
    return [name for name in names("experiments") if is_curves(find("experiments", name))]


def find(kind: Kind, source: str) -> Path:
    """The YAML file that `source` means: a name that comes with `nas`, a file, or a folder.

    Raises:
        UserError: if there is none, with the nearest name.
    """
    path, root = Path(source), folder(kind)
    what = "space" if kind == "search_spaces" else "experiment"
    named = root / f"{source}.yaml" if kind == "search_spaces" else root / source / "config.yaml"
    try:
        for file in (path / "config.yaml", path, named):
            if file.is_file():
                return file
    except OSError as error:  # no file can have this name
        raise UserError(f"{what} {source} cannot be read: {error.strerror}.") from None
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"{what} file {source}: no such file.")
    raise UserError(unknown(what, source, names(kind)) + " Or give the path of a YAML file.")


def own_class(field: str, name: str, kind: str) -> Any:
    """The object that module:Class names in the value of a field, imported also from this folder.

    `kind` says what it must be. Importing a module runs it.

    Raises:
        UserError: if the name is no such one, came in a packed study, or cannot be imported.
    """
    if name.startswith(UNPACKED):
        code = name.removeprefix(UNPACKED)
        raise UserError(
            f'{field} "{code}" is code that a packed study names, and such code runs only if you '
            f"name it yourself: look at it, then give --{field} {code}."
        )
    module, colon, attribute = name.partition(":")
    if not colon or ":" in attribute:
        raise UserError(f'{field} must be package.module:Class of {kind}, got "{name}".')
    if "" not in sys.path and str(Path.cwd()) not in sys.path:  # the nas-search script has neither
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f'{field} "{name}" cannot be imported: {reason}.') from None
