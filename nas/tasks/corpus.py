"""Where a text comes from: Python's own documentation, a pinned download, or a user's file.

To add a text that is fetched by name, write a line in `PINNED`.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import pinned
from nas.tasks.pinned import Pinned

WAYS_OUT = 'the path of a UTF-8 file, "tinyshakespeare", or "" for Python\'s own documentation'

PINNED = {
    "tinyshakespeare": Pinned(
        "tinyshakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


@dataclass(frozen=True)
class Corpus:
    """A text as tokens: places in `characters`, which are sorted and distinct."""

    characters: str
    tokens: NDArray[np.int64]
    sha256: str
    """Of the text in UTF-8."""


def corpus(path: str) -> Corpus:
    """Return the text that `path` names; it is read once in a process."""
    return _read(path, _folder(path))


def text_of(path: str, field: str = "tasks.text.path") -> str:
    """The text that `path` names, in a field of a configuration."""
    return _text(path, _folder(path), field)


def missing(path: str) -> str:
    """Why the text that `path` names would have to be fetched; empty if it need not."""
    return pinned.missing(PINNED[path], _folder(path)) if path in PINNED else ""


def _folder(path: str) -> str:
    return pinned.folder() if path in PINNED else ""


def _text(path: str, folder: str, field: str) -> str:
    if not path:
        return python_documentation(field)
    if path in PINNED:
        return _decode(pinned.content(PINNED[path], path, folder, field), path, field)
    return _decode(_file(path, field), path, field)


@functools.lru_cache(maxsize=4)
def _read(path: str, folder: str) -> Corpus:
    text = _text(path, folder, "tasks.text.path")
    encoded = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    characters, tokens = np.unique(encoded, return_inverse=True)
    tokens = tokens.astype(np.int64)
    tokens.setflags(write=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Corpus("".join(map(chr, characters.tolist())), tokens, digest)


def python_documentation(field: str = "tasks.text.path") -> str:
    """The topics of Python's language reference, which differ between versions of Python."""
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field} is empty, which means Python's own documentation, but this Python has "
            f"no module pydoc_data: give {WAYS_OUT.rsplit(', or', 1)[0]}."
        ) from error
    return "\n\n".join(topics[name] for name in sorted(topics))


def _file(path: str, field: str) -> bytes:
    place = Path(path).expanduser()
    if place.is_dir():
        raise UserError(f'{field} must name a file, "{path}" is a folder: give {WAYS_OUT}.')
    try:
        return place.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f'{field}: there is no file "{path}": give {WAYS_OUT}.') from error
    except OSError as error:
        raise UserError(
            f'{field}: "{path}" cannot be read ({error.strerror}): make it readable, or '
            f"give {WAYS_OUT}."
        ) from error


def _decode(content: bytes, path: str, field: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f'{field}: "{path}" is not UTF-8 (byte {error.start} is '
            f"0x{content[error.start]:02x}): convert it, for example by `iconv -t UTF-8`."
        ) from error
