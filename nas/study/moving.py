"""A study from one place to another: a folder, or a database server and a folder for the rest.

Nothing that is there is written over, and what fails leaves nothing behind: rows go in one
transaction, a folder is made under another name first. Copies are verified by their digest.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import SearchError, UserError
from nas.study.place import Place

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.study.trials import TrialStorage

KEPT = ("winner", "weights", "inputs")
"""Folders of a study that go with it to another folder."""


@contextmanager
def opened(place: Place) -> Iterator[tuple["TrialStorage", int]]:
    """The storage of a study that is there, only to be read, and its id.

    Raises:
        UserError: if it is not there, or a coordinator runs it.
    """
    from nas.study.faults import faults_told
    from nas.study.lock import is_locked
    from nas.study.storage import load, storage_of

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
    from nas.study.rows import digest

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
        return put(storage, study_id, target, text, files_of(source, storage, study_id))


def configuration(place: Place, storage: "TrialStorage", study_id: int) -> str:
    """The text of a study's config.yaml, from its folder or, on another machine, the storage."""
    folder = files_of(place, storage, study_id)
    path = place.folder / "config.yaml"
    if folder is None or not path.is_file():
        return _stored_configuration(storage, study_id)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no configuration: it is not UTF-8 text.") from None
    parsed(text, str(path))
    return text


def files_of(place: Place, storage: "TrialStorage", study_id: int) -> Path | None:
    """The folder of a study that is there; None if it holds another one, or what it was before.

    Where a URL names the storage, a folder of that name here may be any study's.
    """
    known = _stored_configuration(storage, study_id)
    path = place.folder / "config.yaml"
    if place.storage and known and path.is_file() and path.read_bytes() != known.encode():
        return None
    return place.folder


def _stored_configuration(storage: "TrialStorage", study_id: int) -> str:
    from nas.study.study import CONFIGURATION

    return str(storage.get_study_user_attrs(study_id).get(CONFIGURATION, ""))


def parsed(text: str, where: str) -> dict[str, Any]:
    """The fields of a configuration; a study of before it was kept has none.

    Raises:
        UserError: if it is none; `where` it is from is named.
    """
    import yaml

    try:
        read = yaml.safe_load(text) if text else {}
    except (yaml.YAMLError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where} is no configuration ({reason}): put back a copy of it.") from None
    if not isinstance(read, dict):
        raise UserError(f"{where} is no configuration: it has no fields.")
    return read


def with_files(read: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A configuration whose space and cells, which may be files, are named otherwise."""
    changed = dict(read)
    if "space" in read:
        changed["space"] = change(str(read["space"]))
    for field in ("include", "cells"):
        if isinstance(read.get(field), list):
            changed[field] = [change(str(one)) for one in read[field]]
    return changed


def put(
    storage: "TrialStorage",
    study_id: int,
    target: Place,
    text: str,
    folder: Path | None,
    digest: str = "",
) -> str:
    """Write a study from an open storage to a target, with its configuration and other files.

    `folder` is where these are, if anywhere, and `digest` what it must have, if that is known.
    """
    from nas.study.faults import faults_told
    from nas.study.rows import digest as digest_of_rows

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
            _write_configuration(text, made, target, folder)
            for name in KEPT:
                if folder is not None and (folder / name).is_dir():
                    shutil.copytree(folder / name, made / name)
    return known


def _put_rows(storage: "TrialStorage", study_id: int, target: Place, known: str) -> None:
    """Copy and verify."""
    import sqlalchemy

    from nas.study.rows import copy_rows, digest, study_id_of
    from nas.study.storage import open_storage

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


def _write_configuration(text: str, made: Path, target: Place, folder: Path | None) -> None:
    """With the names that the study and the files of its folder have now."""
    import yaml

    inputs = None if folder is None else (folder / "inputs").resolve()

    def now(source: str) -> str:
        path = Path(source)
        if "\n" in source or path.parent.resolve() != inputs:
            return source
        return str(target.folder / "inputs" / path.name)

    if read := parsed(text, "config.yaml"):
        changed = {"study": target.name, "storage": "", "studies": str(target.folder.parent)}
        kept = {**with_files(read, now), **changed}
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        (made / "config.yaml").write_text(text, encoding="utf-8")
