"""One file of a study, to keep or to send: `pack` writes it, `unpack` opens it anywhere.

It is a ZIP file: manifest.json with a SHA-256 for each member and the study's digest, study.db,
config.yaml, winner/, the files that the configuration names, and a note on licences. Nothing in it
is run or unpickled, and no member's name decides where a file is written.
"""

import hashlib
import json
import logging
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.errors import UserError, hidden
from nas.study.config import check_study_name
from nas.study.moving import configuration, files_of, opened, parsed, put, with_files
from nas.study.place import Place, wanted
from nas.study.provenance import provenance

logger = logging.getLogger(__name__)

FORMAT = "nas study 1"
MANIFEST, DATABASE, CONFIG, NOTE = "manifest.json", "study.db", "config.yaml", "LICENCES.md"
MEMBER = re.compile(r"study\.db|config\.yaml|LICENCES\.md|(winner|inputs)/\w[\w.-]*")
"""Names of members; none leads out of a folder."""
MOST_MANIFEST_BYTES = 10_000_000
BLOCK = 1 << 20
WHEN = (1980, 1, 1, 0, 0, 0)
"""Of all members: two packs of a study differ by no clock."""
LICENCES = """\
# Licences of study {name}

- `nas`, which made this file and opens it, is under the MIT licence.
- The configuration, the cells, the outcomes and the weights are whose study it is: this file gives
  no right to them.
- No data set is in this file. Its candidates were trained on {tasks}; each data set has terms of
  its own, which may extend to weights that were trained on it (`winner/*.safetensors`).
"""


def pack(place: Place, file: Path) -> str:
    """Write all of a study into a file that is not there yet, and return the study's digest.

    Raises:
        UserError: if it is there, cannot be written, or the study cannot be read.
    """
    if file.suffix != ".zip":
        raise UserError(f"a packed study is a .zip file, got {file}: call it {file.name}.zip.")
    if file.exists():
        raise UserError(f"{file} is there already: choose another name.")
    with opened(place) as (storage, study_id), tempfile.TemporaryDirectory() as folder:
        # A fresh database, which has this study alone and no rest of what was deleted.
        copied = Place(place.name, Path(folder) / place.name)
        text, inputs = _with_inputs(configuration(place, storage, study_id), file)
        files = files_of(place, storage, study_id)
        digest = put(storage, study_id, copied, text, files)
        attrs = storage.get_study_user_attrs(study_id)
        found = {DATABASE: copied.folder / DATABASE, **inputs}
        if text:
            found[CONFIG] = copied.folder / CONFIG
        for path in sorted((copied.folder / "winner").glob("*")):
            found[f"winner/{path.name}"] = path
            if not (path.is_file() and MEMBER.fullmatch(f"winner/{path.name}")):
                raise UserError(
                    f"winner/{path.name} cannot be packed: files there have names of letters, "
                    'digits, ".", "_" and "-"; move it elsewhere.'
                )
        tasks = ", ".join(attrs.get("definition", {}).get("tasks.use", [])) or "unknown tasks"
        found[NOTE] = copied.folder / NOTE
        found[NOTE].write_text(LICENCES.format(name=place.name, tasks=tasks), encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "study": place.name,
            "digest": digest,
            "begun with": attrs.get("provenance", {}),
            "packed with": provenance(),
            "members": {name: _described(path) for name, path in found.items()},
        }
        _write(file, manifest, found)
    return digest


def unpack(file: Path, studies: str, target: str = "", study: str = "") -> tuple[Place, str]:
    """Open a packed study as a folder or in a storage; return where it is, and its digest.

    `target` is a name, a folder's path or the URL of a storage; empty: the name that it had.

    Raises:
        UserError: if the file is no packed study or was changed, or the target is there already.
    """
    with _read(file) as (archive, manifest), tempfile.TemporaryDirectory() as folder:
        to = wanted(target, studies, str(manifest["study"]), study)
        made = Path(folder)
        for member, about in manifest["members"].items():
            _extract(archive, member, about, made, file)
        source = Place(str(manifest["study"]), made)
        text = _configuration(made, file)
        with opened(source) as (storage, study_id):
            digest = put(storage, study_id, to, text, made, str(manifest["digest"]))
    return to, digest


# --- what the configuration names ---


def _with_inputs(text: str, file: Path) -> tuple[str, dict[str, Path]]:
    """The configuration with the files of its space and cells inside the pack, and these files."""
    import yaml

    inputs: dict[str, Path] = {}

    def inside(source: str) -> str:
        path = Path(source)
        if "\n" in source or path.suffix not in (".yaml", ".cell", ".json"):
            return source
        if not path.is_file():
            logger.warning(
                "%s is not in %s: it is not where the configuration says, seen from here.",
                path,
                file,
            )
            return source
        name = f"inputs/{len(inputs)}_" + re.sub(r"[^\w.-]", "_", path.name)
        inputs[name] = path
        return name

    if not (read := parsed(text, CONFIG)):
        return text, {}
    changed = with_files(read, inside)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), inputs


def _configuration(folder: Path, file: Path) -> str:
    """The configuration, which may be anybody's, with the files that came along in `folder`."""
    import yaml

    if not (folder / CONFIG).is_file():
        return ""
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{CONFIG} of {file} is no configuration: it is not UTF-8 text.") from None

    def here(source: str) -> str:
        came = source.startswith("inputs/") and MEMBER.fullmatch(source)
        return str(folder / source) if came and (folder / source).is_file() else source

    changed = with_files(parsed(text, f"{CONFIG} of {file}"), here)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True) if changed else ""


# --- the file ---


def _described(path: Path) -> dict[str, Any]:
    found = hashlib.sha256()
    with path.open("rb") as opened_file:
        while block := opened_file.read(BLOCK):
            found.update(block)
    return {"sha256": found.hexdigest(), "bytes": path.stat().st_size}


def _write(file: Path, manifest: Mapping[str, Any], found: Mapping[str, Path]) -> None:
    """Under another name first: what is there under its own is whole."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
            archive.writestr(_info(MANIFEST), text)
            for name, path in found.items():
                with archive.open(_info(name), "w", force_zip64=True) as to, path.open("rb") as of:
                    while block := of.read(BLOCK):
                        to.write(block)
        os.link(part, file)  # unlike a renaming, it takes nobody's place
    except OSError as error:
        reason = "it is there already" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"{file} cannot be written ({reason}): choose another name.") from None
    finally:
        part.unlink(missing_ok=True)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, WHEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


@contextmanager
def _read(file: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """A packed study and its manifest, which lists exactly what is there."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive, _manifest(archive, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # a bad file
        raise UserError(f"{file} is no packed study, or is damaged ({error}).") from None
    except OSError as error:
        raise UserError(f"{error.filename or file} cannot be read: {error.strerror}.") from None


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    names = archive.namelist()
    ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if any(one.flag_bits & 1 or one.compress_type not in ways for one in archive.infolist()):
        raise UserError(
            f"{file} is no packed study: its members are encrypted or in a way that nas does not "
            "write."
        )
    if MANIFEST not in names:
        raise UserError(f"{file} is no packed study: it has no {MANIFEST}.")
    try:
        with archive.open(MANIFEST) as opened_file:
            read = json.loads(opened_file.read(MOST_MANIFEST_BYTES))
        known = read["format"], str(read["study"]), str(read["digest"]), read["members"]
        members = {str(n): (str(m["sha256"]), m["bytes"]) for n, m in known[3].items()}
        if not all(isinstance(size, int) and size >= 0 for _, size in members.values()):
            raise ValueError("a member has a number of bytes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{file} is no packed study: its {MANIFEST} cannot be read.") from None
    if known[0] != FORMAT:
        raise UserError(f'{file} is in the format "{known[0]}", not "{FORMAT}": get a newer nas.')
    check_study_name(known[1])
    for name in members:
        if not MEMBER.fullmatch(name):
            raise UserError(f'{file} is no packed study: "{hidden(name)}" is no name of a member.')
    if sorted(names) != sorted([MANIFEST, *members]) or DATABASE not in members:
        raise UserError(f"{file} is damaged or was changed: its members are not those it lists.")
    assert isinstance(read, dict)
    return read


def _extract(
    archive: zipfile.ZipFile, name: str, about: Mapping[str, Any], folder: Path, file: Path
) -> None:
    """Write a member and verify it; no more is read than it is said to have."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    found, left = hashlib.sha256(), int(about["bytes"])
    with archive.open(name) as of, path.open("wb") as to:
        while block := of.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            found.update(block)
            to.write(block)
    if left or found.hexdigest() != about["sha256"]:
        raise UserError(
            f"{file} is damaged or was changed: {name} is not what it was: get it anew."
        )
