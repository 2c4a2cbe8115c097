"""One file of a study, to keep or to send: `pack` writes it, `unpack` opens it anywhere.

It is a ZIP file: manifest.json with a SHA-256 for each member and the study's digest, study.db,
config.yaml, winner/, the files that the configuration names, and a note on licences. It holds data
only: nothing in it is run or unpickled, code that its configuration names runs only if the user
names it too, and no member's name decides where a file is written.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.errors import UserError, hidden
from nas.study.config import check_study_name
from nas.study.location import StudyLocation, wanted
from nas.study.moving import dumped, opened, parsed, put, with_files, without_code
from nas.study.provenance import provenance

logger = logging.getLogger(__name__)

FORMAT = "nas study 1"
MANIFEST, DATABASE, CONFIG, NOTE = "manifest.json", "study.db", "config.yaml", "LICENCES.md"
DATA = "cell csv json md pdf png safetensors svg txt yaml".split()
"""The ends of names of files in winner/ and inputs/, of which Python imports none."""
MEMBER = re.compile(
    rf"study\.db|config\.yaml|LICENCES\.md|(winner|inputs)/\w[\w.-]*\.({'|'.join(DATA)})"
)
"""Names of members; none leads out of a folder."""
MOST_MANIFEST_BYTES = 10_000_000
BLOCK = 1 << 20
WHEN = (1980, 1, 1, 0, 0, 0)
"""The time of all members, so that two packs of a study are the same bytes."""
LICENCES = """\
# Licences of study {name}

- `nas`, which made this file and opens it, is under the MIT licence.
- The configuration, the cells, the outcomes and the weights are whose study it is: this file gives
  no right to them.
- No data set is in this file. Its candidates were trained on {tasks}; each data set has terms of
  its own, which may extend to weights that were trained on it (`winner/*.safetensors`).
"""


def pack(location: StudyLocation, file: Path) -> str:
    """Write all of a study into a file that is not there yet, and return the study's digest.

    Raises:
        UserError: if it is there, cannot be written, or the study cannot be read.
    """
    if file.suffix != ".zip":
        raise UserError(f"a packed study is a .zip file, got {file}: call it {file.name}.zip.")
    if file.exists():
        raise UserError(f"{file} is there already: choose another name.")
    with opened(location) as source, tempfile.TemporaryDirectory() as temporary:
        # A fresh database, which has this study alone and no rest of what was deleted.
        copied = StudyLocation(location.name, Path(temporary) / location.name)
        text, inputs = _with_inputs(source.configuration(), file)
        digest = put(source, copied, text, source.folder())
        attrs = source.attrs
        members = {DATABASE: copied.folder / DATABASE, **inputs}
        if text:
            members[CONFIG] = copied.folder / CONFIG
        members |= _winner_of(copied.folder)
        tasks = ", ".join(attrs.get("definition", {}).get("tasks.use", [])) or "unknown tasks"
        members[NOTE] = copied.folder / NOTE
        note = LICENCES.format(name=location.name, tasks=tasks)
        members[NOTE].write_text(note, encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "study": location.name,
            "digest": digest,
            "begun with": attrs.get("provenance", {}),
            "packed with": provenance(),
            "members": {name: _described(path) for name, path in members.items()},
        }
        _write(file, manifest, members)
    return digest


def _winner_of(folder: Path) -> dict[str, Path]:
    paths = {f"winner/{path.name}": path for path in sorted((folder / "winner").glob("*"))}
    for name, path in paths.items():
        if not (path.is_file() and MEMBER.fullmatch(name)):
            raise UserError(
                f"{name} cannot be packed: files there are data ({', '.join(DATA)}) with names of "
                'letters, digits, ".", "_" and "-"; move it elsewhere.'
            )
    return paths


def unpack(
    file: Path, studies: str, target: str = "", study: str = ""
) -> tuple[StudyLocation, str]:
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
        text = _configuration(made, file)
        with opened(StudyLocation(str(manifest["study"]), made)) as source:
            digest = put(source, to, text, made, str(manifest["digest"]))
    return to, digest


# --- what the configuration names ---


def _with_inputs(text: str, file: Path) -> tuple[str, dict[str, Path]]:
    """The configuration with the files of its space and cells inside the pack, and these files."""
    inputs: dict[str, Path] = {}

    def inside(source: str) -> str:
        path = Path(source)
        if "\n" in source or path.suffix not in (".yaml", ".cell", ".json"):
            return source
        if not path.is_file():
            logger.warning(
                "%s is not in %s: it is not at the path in the configuration, from this folder.",
                path,
                file,
            )
            return source
        name = f"inputs/{len(inputs)}_" + re.sub(r"[^\w.-]", "_", path.name)
        inputs[name] = path
        return name

    fields = parsed(text, CONFIG)
    return (dumped(with_files(fields, inside)) if fields else text), inputs


def _configuration(folder: Path, file: Path) -> str:
    """The configuration, which anybody may have written, with the files that are in `folder`."""
    if not (folder / CONFIG).is_file():
        return ""
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{CONFIG} of {file} is no configuration: it is not UTF-8 text.") from None

    def here(source: str) -> str:
        came = source.startswith("inputs/") and MEMBER.fullmatch(source)
        return str(folder / source) if came and (folder / source).is_file() else source

    read = without_code(parsed(text, f"{CONFIG} of {file}"))
    return dumped(with_files(read, here)) if read else ""


# --- the file ---


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _write(file: Path, manifest: Mapping[str, Any], members: Mapping[str, Path]) -> None:
    """Write the file under another name first, so that a file of its own name is whole."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
            archive.writestr(_info(MANIFEST), text)
            for name, path in members.items():
                with archive.open(_info(name), "w", force_zip64=True) as to, path.open("rb") as of:
                    shutil.copyfileobj(of, to, BLOCK)
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
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # zipfile's
        # It raises each of these for a damaged file, the last for an unknown compression.
        raise UserError(f"{file} is no packed study, or is damaged ({error}).") from None
    except OSError as error:
        raise UserError(f"{error.filename or file} cannot be read: {error.strerror}.") from None


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    names = archive.namelist()
    ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if any(m.flag_bits & 1 or m.compress_type not in ways for m in archive.infolist()):
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
            raise UserError(
                f'{file} is no packed study: "{hidden(name)}" is no name of a member, which are '
                f"data ({', '.join(DATA)}) and stay in their folders."
            )
    if sorted(names) != sorted([MANIFEST, *members]) or DATABASE not in members:
        raise UserError(f"{file} is damaged or was changed: its members are not those it lists.")
    assert isinstance(read, dict)
    return read


def _extract(
    archive: zipfile.ZipFile, name: str, about: Mapping[str, Any], folder: Path, file: Path
) -> None:
    """Write a member and verify it; no more is read than its number of bytes in the manifest."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    digest, left = hashlib.sha256(), int(about["bytes"])
    with archive.open(name) as of, path.open("wb") as to:
        while block := of.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            to.write(block)
    if left or digest.hexdigest() != about["sha256"]:
        raise UserError(
            f"{file} is damaged or was changed: {name} is not what it was: get it anew."
        )
