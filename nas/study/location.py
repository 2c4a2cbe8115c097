"""Where a study is, or is to be: what a name, a folder's path and a storage's URL stand for."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nas.command_line import yaml_loader
from nas.errors import HIDDEN, UserError, hidden, refuse_credentials, unknown
from nas.study.config import check_study_name, url_of

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is an error at once
    from nas.study.study import Study


@dataclass(frozen=True)
class StudyLocation:
    """Where a study is, or is to be."""

    name: str
    folder: Path
    storage: str = ""
    """URL; empty: a SQLite file in the folder."""

    @property
    def url(self) -> str:
        return url_of(self.folder, self.storage)

    def __str__(self) -> str:
        return hidden(self.storage) if self.storage else str(self.folder)


@dataclass(frozen=True)
class OpenedStudy:
    """A study that was opened only to be read; it may be running."""

    name: str
    folder: Path
    study: "Study"
    running: bool
    config: dict[str, Any]
    """The fields of the last search's configuration; empty if it is not known."""


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command about one study, as `find_study` takes them."""
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its folder's path")
    parser.add_argument("--storage", default="", help="URL of Optuna's storage, if not the folder")
    parser.add_argument("--studies", default="studies", help="the folder that holds the studies")


def find_study(name: str, storage: str = "", studies: str = "studies") -> OpenedStudy:
    """Open a study by its name or folder, only to read it.

    Raises:
        UserError: if there is no such study, with the nearest name.
    """
    refuse_credentials("--storage", storage)
    folder = folder_of(name, studies, anywhere=bool(storage))
    config = config_of(folder)
    storage = storage or _storage_in(config)
    if not storage and not (folder / "study.db").is_file():
        raise UserError(
            f"study {folder.name} is not in {folder / 'study.db'}: give its --storage URL."
        )
    from nas.study.lock import is_locked
    from nas.study.study import read_study

    study = read_study(folder.name, folder, url_of(folder, storage))
    running = is_locked(folder, folder.name, storage)
    return OpenedStudy(folder.name, folder, study, running, config)


def folder_of(name: str, studies: str, *, anywhere: bool) -> Path:
    """The folder of a study; with a storage of its own (`anywhere`) it need not be there."""
    path = Path(name)
    path = path.parent if path.name == "study.db" else path
    inside = Path(studies) / name
    try:
        for folder in (inside, path):
            if (folder / "study.db").is_file() or (folder / "config.yaml").is_file():
                return folder.resolve() if folder.name in ("", "..") else folder
    except OSError as error:  # no folder can have this name
        raise UserError(f"study {name} cannot be read: {error.strerror}.") from None
    if anywhere:
        return inside
    known = [config.parent.name for config in Path(studies).glob("*/config.yaml")]
    if not known:
        raise UserError(f'no study "{name}": there is none in {studies}; see --studies.')
    raise UserError(unknown("study", name, known))


def config_of(folder: Path) -> dict[str, Any]:
    """The fields of the configuration in a study's folder; none if they cannot be read."""
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        fields = yaml.load(text, yaml_loader(text))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _storage_in(config: dict[str, Any]) -> str:
    """The URL of the storage in a configuration; empty if its password was left out."""
    storage = str(config.get("storage") or "")
    return "" if HIDDEN in storage else storage


def present(source: str, studies: str, study: str = "") -> StudyLocation:
    """The location of a study that is there: its name, its folder, or the URL of its storage.

    `study` is its name in the storage, which is else that of its folder.

    Raises:
        UserError: if there is none, or the URL's storage holds several and `study` names none.
    """
    refuse_credentials("storage", source)
    if "://" not in source:
        folder = folder_of(source, studies, anywhere=False)
        return StudyLocation(study or folder.name, folder, _storage_in(config_of(folder)))
    import optuna

    from nas.study.opening import open_storage

    names = optuna.get_all_study_names(open_storage(source, read_only=True))
    if not names:
        raise UserError(f"storage {hidden(source)} holds no study yet.")
    if study and study not in names:
        raise UserError(unknown("study", study, names))
    if not study and len(names) > 1:
        raise UserError(
            f"storage {hidden(source)} holds {len(names)} studies: say which with --study, one of "
            f"{', '.join(sorted(names))}."
        )
    name = study or names[0]
    return StudyLocation(name, Path(studies) / name, source)


def wanted(target: str, studies: str, name: str, renamed: str = "") -> StudyLocation:
    """The location that a study is to have: a name, a folder's path, or the URL of a storage.

    It is called `renamed`, or in a storage and without a target `name`.

    Raises:
        UserError: if the name is no folder's, or the target names it otherwise.
    """
    refuse_credentials("storage", target)
    if "://" in target or not target:
        check_study_name(renamed or name)
        return StudyLocation(renamed or name, Path(studies) / (renamed or name), target)
    folder = Path(target) if "/" in target else Path(studies) / target
    check_study_name(folder.name)
    if renamed not in ("", folder.name):
        raise UserError(
            f"--study {renamed} does not go with {target}, which names the study {folder.name}: "
            "leave one of them out."
        )
    return StudyLocation(folder.name, folder)
