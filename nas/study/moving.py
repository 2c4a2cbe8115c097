"""A study is copied from one place to another: a folder, or a database server.

Nothing that is there is written over, and a failure leaves nothing behind: rows are written in one
transaction, a folder is made under another name first. Copies are verified by their digest.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.exc import IntegrityError

from nas.command_line import yaml_loader, yaml_reason
from nas.errors import SearchError, UserError
from nas.resources import UNPACKED
from nas.study.location import StudyLocation
from nas.study.lock import is_locked
from nas.study.opening import load, open_storage
from nas.study.storage import StudyStorage, storage_of
from nas.study.storage_errors import storage_errors_explained
from nas.study.study import CONFIGURATION

CODE = ("sampler", "tasks.module.path")
"""Fields that may name code."""
KEPT = ("winner", "weights", "inputs")
"""Folders of a study that are copied to another folder."""


@dataclass(frozen=True)
class Source:
    """A study that is opened to be copied."""

    location: StudyLocation
    storage: StudyStorage
    study_id: int

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the study as a whole."""
        attrs: dict[str, Any] = self.storage.get_study_user_attrs(self.study_id)
        return attrs

    @property
    def digest(self) -> str:
        return self.storage.tables.digest(self.study_id)

    def _stored_configuration(self) -> str:
        return str(self.attrs.get(CONFIGURATION, ""))

    def folder(self) -> Path | None:
        """The folder of the study; None if it holds another one, or an earlier state of this.

        Where a URL names the storage, a folder of that name here may be any study's.
        """
        text = self._stored_configuration()
        path = self.location.folder / "config.yaml"
        if self.location.storage and text and path.is_file() and path.read_bytes() != text.encode():
            return None
        return self.location.folder

    def configuration(self) -> str:
        """The text of config.yaml, from the folder or, on another machine, the storage."""
        path = self.location.folder / "config.yaml"
        if self.folder() is None or not path.is_file():
            text = self._stored_configuration()
            return dumped(without_code(parsed(text, "its configuration"))) if text else ""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path} is no configuration: it is not UTF-8 text.") from None
        parsed(text, str(path))
        return text


@contextmanager
def opened(location: StudyLocation) -> Iterator[Source]:
    """A study that is there, only to be read.

    Raises:
        UserError: if it is not there, or a coordinator runs it.
    """
    if is_locked(location.folder, location.name, location.storage):
        raise UserError(
            f"study {location.name} is being run: wait for it, or stop it; the same command goes "
            "on with it later."
        )
    with storage_errors_explained(location.url):
        storage = storage_of(load(location.name, location.url))
        try:
            yield Source(location, storage, storage.get_study_id_from_name(location.name))
        finally:
            storage.engine.dispose()


def digest_of(location: StudyLocation) -> tuple[str, int]:
    """The digest of all that a storage holds of a study, and the number of its trials."""
    with opened(location) as source:
        return source.digest, source.storage.get_n_trials(source.study_id)


def copy(location: StudyLocation, target: StudyLocation) -> str:
    """Copy a study to where it is not yet, and return the digest of both.

    Raises:
        UserError: if the target is there already, or one of them cannot be read or written.
        SearchError: if the copy is not the same; then it is taken away again.
    """
    with opened(location) as source:
        return put(source, target, source.configuration(), source.folder())


def put(
    source: Source, target: StudyLocation, text: str, folder: Path | None, digest: str = ""
) -> str:
    """Write a study to a target, with the `text` of its configuration; return its digest.

    `folder` holds its other files, if there are any; `digest` is the one that it must have, if that
    is known.
    """
    known = source.digest
    if digest and known != digest:
        raise UserError(
            f"study {target.name} has the digest {known}, not {digest} as was noted: it was "
            "changed or damaged; get it anew."
        )
    if target.folder.exists() and not target.storage:
        raise UserError(f"{target.folder} is there already: choose another name.")
    with storage_errors_explained(target.url):
        if target.storage:
            _put_rows(source, target, known)
            return known
        with fresh_folder(target.folder) as made:
            _put_rows(source, StudyLocation(target.name, made), known)
            _write_configuration(text, made, target, folder)
            for name in KEPT:
                if folder is not None and (folder / name).is_dir():
                    shutil.copytree(folder / name, made / name)
    return known


def _put_rows(source: Source, target: StudyLocation, known: str) -> None:
    """Copy the rows of a study and verify them."""
    storage = open_storage(target.url)
    tables = storage.tables
    try:
        if tables.study_id(target.name) is not None:
            raise UserError(
                f"study {target.name} is in {target} already: choose another name with --study."
            )
        try:
            new_id = source.storage.tables.copy(source.study_id, tables, target.name)
        except IntegrityError:  # somebody was faster
            raise UserError(f"study {target.name} is in {target} already.") from None
        if (digest := tables.digest(new_id)) != known:
            storage.delete_study(new_id)
            raise SearchError(
                f"the copy of study {target.name} in {target} has the digest {digest}, not "
                f"{known}; it is taken away again."
            )
        if not target.storage:  # one file: what lies beside it is written into it
            with storage.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        storage.engine.dispose()


# --- the folder and the configuration ---


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
        made.chmod(0o755)  # mkdtemp's are the user's alone
        try:
            made.rename(folder)
        except OSError:
            raise UserError(f"{folder} is there already: choose another name.") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def parsed(text: str, where: str) -> dict[str, Any]:
    """The fields of a configuration; an old study without one has none.

    Raises:
        UserError: if it is none; `where` names its origin.
    """
    try:
        fields = yaml.load(text, yaml_loader(text)) if text else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = yaml_reason(error)
        raise UserError(f"{where} is no configuration ({reason}): put back a copy of it.") from None
    if not isinstance(fields, dict):
        raise UserError(f"{where} is no configuration: it has no fields.")
    return fields


def dumped(fields: Mapping[str, Any]) -> str:
    """The text of a configuration."""
    return yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True)


def with_files(fields: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A configuration with its space and cells, which may be files, under changed names."""
    changed = dict(fields)
    if "space" in fields:
        changed["space"] = change(str(fields["space"]))
    for field in ("include", "cells"):
        if isinstance(fields.get(field), list):
            changed[field] = [change(str(name)) for name in fields[field]]
    return changed


def without_code(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration that others may have written, so that it runs and reaches nothing of theirs.

    Code that it names is marked as not the user's own; no cluster and no tracking store is kept.
    """
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            kept[key] = without_code(value, f"{name}.")
        elif name in CODE:
            kept[key] = _not_own(value) if ":" in str(value) else value
        elif name == "tasks.use" and isinstance(value, list | tuple):
            kept[key] = [_not_own(str(one)) for one in value]
        elif name == "tracking_uri" and value != "off":
            kept[key] = ""
        else:
            kept[key] = 0 if name == "workers" and isinstance(value, str) else value
    return kept


def _not_own(code: str) -> str:
    """The name of code, module:name, marked as somebody else's; others as they are."""
    return code if ":" not in code or code.startswith(UNPACKED) else f"{UNPACKED}{code}"


def _write_configuration(text: str, made: Path, target: StudyLocation, folder: Path | None) -> None:
    """Write config.yaml with the names that the study and the files of its folder have now."""
    inputs = None if folder is None else (folder / "inputs").resolve()

    def renamed(name: str) -> str:
        path = Path(name)
        if "\n" in name or path.parent.resolve() != inputs:
            return name
        return str(target.folder / "inputs" / path.name)

    if fields := parsed(text, "config.yaml"):
        changed = {"study": target.name, "storage": "", "studies": str(target.folder.parent)}
        new = dumped({**with_files(fields, renamed), **changed})
        (made / "config.yaml").write_text(new, encoding="utf-8")
