"""A study from one place to another: a folder, or a database server and a folder for the rest.

Nothing that is there is written over, and what fails leaves nothing behind: rows go in one
transaction, a folder is made under another name first. Copies are verified by their digest.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config import check_study_name
from nas.errors import HIDDEN, SearchError, UserError, hidden, refuse_credentials, unknown
from nas.status import config_of, folder_of

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.trials import TrialStorage

KEPT = ("winner", "weights")
"""Folders of a study that go with it to another folder."""


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


def present(source: str, studies: str, study: str = "", storage: str = "") -> Place:
    """The place of a study that is there: its name, its folder, or the URL of its storage.

    Raises:
        UserError: if there is none, or the URL's storage holds several and `study` says none.
    """
    refuse_credentials("storage", source)
    refuse_credentials("storage", storage)
    if "://" not in source:
        folder = folder_of(source, studies, anywhere=bool(storage))
        known = str(config_of(folder).get("storage") or "")
        return Place(folder.name, folder, storage or ("" if HIDDEN in known else known))
    import optuna

    from nas.storage import open_storage

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


def wanted(target: str, studies: str, name: str) -> Place:
    """The place that a study is to have: a name, a folder's path, or the URL of a storage.

    Raises:
        UserError: if the name is no folder's.
    """
    refuse_credentials("storage", target)
    if "://" in target:
        check_study_name(name)
        return Place(name, Path(studies) / name, target)
    folder = Path(target) if len(Path(target).parts) > 1 else Path(studies) / target
    check_study_name(folder.name)
    return Place(folder.name, folder)


@contextmanager
def opened(place: Place) -> Iterator[tuple["TrialStorage", int]]:
    """The storage of a study that is there, only to be read, and its id.

    Raises:
        UserError: if it is not there, or a coordinator runs it.
    """
    from nas.faults import faults_told
    from nas.lock import is_locked
    from nas.storage import load, storage_of

    if is_locked(place.folder, place.name, place.storage):
        raise UserError(
            f"study {place.name} is being run: wait for it, or stop it; the same command goes on "
            "with it later."
        )
    with faults_told(place.url):
        study = load(place.name, place.url)
        storage = storage_of(study)
        try:
            yield storage, study._study_id
        finally:
            storage.engine.dispose()


def digest_of(place: Place) -> tuple[str, int]:
    """Of all that a storage holds of a study; and how many trials that is."""
    from nas.study_rows import digest

    with opened(place) as (storage, study_id):
        return digest(storage, study_id), len(storage.get_all_trials(study_id))


def copy(source: Place, target: Place) -> str:
    """Copy a study to where it is not yet, and return its digest, which both have.

    Raises:
        UserError: if the target is there already, or one of them cannot be read or written.
        SearchError: if the copy is not the same; then it is taken away again.
    """
    with opened(source) as (storage, study_id):
        text = configuration(source, storage, study_id)
        return put(storage, study_id, target, text, source.folder)


def configuration(place: Place, storage: "TrialStorage", study_id: int) -> str:
    """The text of a study's config.yaml, from its folder or, on another machine, the storage."""
    from nas.study import CONFIGURATION

    path = place.folder / "config.yaml"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return str(storage.get_study_user_attrs(study_id).get(CONFIGURATION, ""))


def put(
    storage: "TrialStorage", study_id: int, target: Place, text: str, folder: Path, digest: str = ""
) -> str:
    """Write a study from an open storage to a target, with its configuration and other files.

    `folder` is where these are, and `digest` what it must have, if that is known.
    """
    from nas.faults import faults_told
    from nas.study_rows import digest as digest_of_rows

    known = digest_of_rows(storage, study_id)
    if digest and known != digest:
        raise UserError(
            f"study {target.name} has the digest {known}, not {digest} as was noted: it was "
            "changed or damaged; get it anew."
        )
    if target.folder.exists() and not target.storage:
        raise UserError(f"{target.folder} is there already: choose another name.")
    with faults_told(target.url):
        if target.storage:
            _put_rows(storage, study_id, target, known)
            return known
        with fresh_folder(target.folder) as made:
            _put_rows(storage, study_id, Place(target.name, made), known)
            _write_configuration(text, made, target)
            for name in KEPT:
                if (folder / name).is_dir():
                    shutil.copytree(folder / name, made / name)
    return known


def _put_rows(storage: "TrialStorage", study_id: int, target: Place, known: str) -> None:
    """Copy and verify."""
    import sqlalchemy

    from nas.storage import open_storage
    from nas.study_rows import copy_rows, digest, study_id_of

    there = open_storage(target.url)
    try:
        if study_id_of(there, target.name) is not None:
            raise UserError(
                f"study {target.name} is in {target} already: choose another name with --study."
            )
        try:
            copy_rows(storage, study_id, there, target.name)
        except sqlalchemy.exc.IntegrityError:  # somebody was faster
            raise UserError(f"study {target.name} is in {target} already.") from None
        new_id = study_id_of(there, target.name)
        assert new_id is not None, "it has just been written"
        if (found := digest(there, new_id)) != known:
            there.delete_study(new_id)
            raise SearchError(
                f"the copy of study {target.name} in {target} has the digest {found}, not {known}; "
                "it is taken away again."
            )
        if not target.storage:
            in_one_file(there)
    finally:
        there.engine.dispose()


def in_one_file(storage: "TrialStorage") -> None:
    """Write into a SQLite file what lies beside it."""
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled, which gets its name if the block ends well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(
            f"folder {folder.parent} cannot be written ({error.strerror}): choose another."
        ) from None
    try:
        yield made
        made.chmod(0o755)  # as of a folder that is made otherwise
        try:
            made.rename(folder)
        except OSError:
            raise UserError(f"{folder} is there already: choose another name.") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_configuration(text: str, folder: Path, target: Place) -> None:
    """With the names that the study has now; a study of before it was kept has none."""
    import yaml

    read: Any = yaml.safe_load(text) if text else None
    if isinstance(read, dict):
        changed = {"study": target.name, "storage": "", "studies": str(target.folder.parent)}
        kept = yaml.safe_dump({**read, **changed}, sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(kept, encoding="utf-8")
