"""Files of a user, and pinned files: found in a folder, else fetched from the network.

Tasks that know pinned files by name hold a table of them: `PINNED` in corpus.py and in music.py.
"""

import codecs
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from nas.errors import UserError

DATA_FOLDER = "NAS_DATA_DIR"
"""The environment variable that names a folder with files that need not be fetched."""


@dataclass(frozen=True)
class Pinned:
    """A file on the network whose content is known by its SHA-256."""

    file_name: str
    url: str
    sha256: str


def folder() -> str:
    """Return the folder to look in before fetching; "" if there is none."""
    return os.environ.get(DATA_FOLDER, "")


def missing(pinned: Pinned, folder: str) -> str:
    """Say that the file would have to be fetched; return "" if it is here."""
    if found(pinned, folder) is not None:
        return ""
    return f"{pinned.file_name} is not here (it is fetched, or found in {DATA_FOLDER})"


def found(pinned: Pinned, folder: str) -> Path | None:
    """Return where the file is: in a folder, or among those that were fetched; None: nowhere."""
    places = [Path(folder).expanduser() / pinned.file_name] if folder else []
    here = [place for place in (*places, _cache() / pinned.file_name) if place.exists()]
    return here[0] if here else None


def content(pinned: Pinned, name: str, folder: str, field: str) -> bytes:
    """Return the content of the pinned file that a field of a configuration names.

    Raises:
        UserError: if it can be neither read nor fetched, or is another file of that name.
    """
    place = Path(folder).expanduser() / pinned.file_name
    if not (folder and place.exists()):
        place = _fetch(pinned, field)
    data = file_bytes(field, str(place), "remove it, and it is fetched anew")
    if (sha256 := hashlib.sha256(data).hexdigest()) != pinned.sha256:
        raise UserError(
            f"{field}: {place} is not the {name} that is pinned: its SHA-256 must be "
            f"{pinned.sha256}, got {sha256}: remove the file, and it is fetched anew."
        )
    return data


def file_bytes(field: str, path: str, way_out: str) -> bytes:
    """Read the file that a field of a configuration names.

    Raises:
        UserError: if it cannot be read; `way_out` ends the message.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except IsADirectoryError:
        raise UserError(f'{field} must name a file, "{path}" is a folder: {way_out}.') from None
    except FileNotFoundError:
        raise UserError(f'{field}: there is no file "{path}": {way_out}.') from None
    except OSError as error:
        raise UserError(
            f'{field}: "{path}" cannot be read ({error.strerror}): make it readable, or {way_out}.'
        ) from None


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text from its first bytes: UTF-8, unless a mark says UTF-16.

    Both leave out the byte order mark, which some editors write.
    """
    return "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _cache() -> Path:
    """Return the folder of fetched files."""
    import pooch

    return Path(pooch.os_cache("recurrent-nas"))


def _fetch(pinned: Pinned, field: str) -> Path:
    import pooch

    try:
        fetched = pooch.retrieve(pinned.url, f"sha256:{pinned.sha256}", pinned.file_name, _cache())
    except (OSError, ValueError) as error:  # no network, or another content at the address
        raise UserError(
            f"{field}: {pinned.url} cannot be fetched ({error}): put the file as "
            f"{pinned.file_name} into a folder and name the folder in {DATA_FOLDER}."
        ) from error
    return Path(fetched)
