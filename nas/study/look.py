"""A study opened only to be read, by its name or folder; it may be running."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import HIDDEN, UserError, refuse_credentials, unknown

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.study.study import Study


@dataclass(frozen=True)
class Seen:
    """What was read of a study."""

    name: str
    folder: Path
    study: "Study"
    running: bool
    config: dict[str, Any]
    """Of the last search; empty if it is not known."""


def look(name: str, storage: str = "", studies: str = "studies") -> Seen:
    """Open a study by its name or folder, only to read it.

    Raises:
        UserError: if there is no such study, with the nearest name.
    """
    refuse_credentials("--storage", storage)
    folder = folder_of(name, studies, anywhere=bool(storage))
    config = config_of(folder)
    known = str(config.get("storage") or "")
    storage = storage or ("" if HIDDEN in known else known)
    if not storage and not (folder / "study.db").is_file():
        raise UserError(
            f"study {folder.name} is not in {folder / 'study.db'}: give its --storage URL."
        )
    from nas.study.lock import is_locked
    from nas.study.study import read_study

    study = read_study(folder.name, folder, storage)
    running = is_locked(folder, folder.name, storage)
    return Seen(folder.name, folder, study, running, config)


def folder_of(name: str, studies: str, *, anywhere: bool) -> Path:
    """The folder of a study; with a storage of its own it need not be there."""
    path = Path(name)
    path = path.parent if path.name == "study.db" else path
    inside = Path(studies) / name
    for folder in (inside, path):
        if (folder / "study.db").is_file() or (folder / "config.yaml").is_file():
            return folder.resolve() if folder.name in ("", "..") else folder
    if anywhere:
        return inside
    known = [one.parent.name for one in Path(studies).glob("*/config.yaml")]
    if not known:
        raise UserError(f'no study "{name}": there is none in {studies}; see --studies.')
    raise UserError(unknown("study", name, known))


def config_of(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        read = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
