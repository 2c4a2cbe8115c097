"""Where a study is, or is to be: what a name, a folder's path and a storage's URL stand for."""

from dataclasses import dataclass
from pathlib import Path

from nas.errors import HIDDEN, UserError, hidden, refuse_credentials, unknown
from nas.study.config import check_study_name
from nas.study.look import config_of, folder_of


@dataclass(frozen=True)
class Place:
    """Where a study is, or is to be."""

    name: str
    folder: Path
    storage: str = ""
    """URL; empty: a SQLite file in the folder."""

    @property
    def url(self) -> str:
        return self.storage or f"sqlite:///{self.folder / 'study.db'}"

    def __str__(self) -> str:
        return hidden(self.storage) if self.storage else str(self.folder)


def present(source: str, studies: str, study: str = "") -> Place:
    """The place of a study that is there: its name, its folder, or the URL of its storage.

    `study` is its name in the storage, which is else that of its folder.

    Raises:
        UserError: if there is none, or the URL's storage holds several and `study` says none.
    """
    refuse_credentials("storage", source)
    if "://" not in source:
        folder = folder_of(source, studies, anywhere=False)
        known = str(config_of(folder).get("storage") or "")
        return Place(study or folder.name, folder, "" if HIDDEN in known else known)
    import optuna

    from nas.study.storage import open_storage

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
    return Place(name, Path(studies) / name, source)


def wanted(target: str, studies: str, name: str, renamed: str = "") -> Place:
    """The place that a study is to have: a name, a folder's path, or the URL of a storage.

    It is called `renamed`, or in a storage and without a target `name`.

    Raises:
        UserError: if the name is no folder's, or the target names it otherwise.
    """
    refuse_credentials("storage", target)
    if "://" in target or not target:
        check_study_name(renamed or name)
        return Place(renamed or name, Path(studies) / (renamed or name), target)
    folder = Path(target) if "/" in target else Path(studies) / target
    check_study_name(folder.name)
    if renamed not in ("", folder.name):
        raise UserError(
            f"--study {renamed} does not go with {target}, which names the study {folder.name}: "
            "leave one of them out."
        )
    return Place(folder.name, folder)
