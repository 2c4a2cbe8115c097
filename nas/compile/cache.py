"""Compiled libraries on disk, found by a hash of what they are made of.

A library is moved into place under its name, so that processes may store the same at once; its own
hash stands at its end, so that one that a full disk or a power cut left half written is not loaded.
One that holds many loops has a name for each, which are links to one file.
"""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

CACHED = 10_000
"""Most loops in the cache, some 20 KB each; then a tenth of them, the least recently used, goes."""


def cache_folder() -> Path | None:
    """Where compiled loops are kept: NAS_CACHE_DIR, else the user's cache folder; None without."""
    if given := os.environ.get("NAS_CACHE_DIR"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "nas"
    try:
        return Path.home() / ".cache" / "nas"
    except RuntimeError:  # a user without a home
        return None


def place(digest: str) -> Path | None:
    """Where the library of this hash is or would be; None without a cache."""
    folder = cache_folder()
    return folder / f"loop-{digest}.so" if folder else None


def is_whole(path: Path) -> bool:
    """Whether an undamaged library is at the place; it then counts as used now."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        return False
    with contextlib.suppress(OSError):  # a cache may be read-only
        os.utime(path)
    return True


def store(made: Path, paths: Sequence[Path]) -> bool:
    """Put a library, followed by its hash, at places of one folder; False where it cannot be."""
    folder = paths[0].parent
    part, link = (folder / f"loop-{os.urandom(8).hex()}.{kind}" for kind in ("part", "link"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = made.read_bytes()
        part.write_bytes(content + hashlib.sha256(content).digest())
        for path in paths[1:]:
            _link(part, link)
            link.replace(path)
        part.replace(paths[0])
    except OSError:
        for rest in (part, link):
            with contextlib.suppress(OSError):
                rest.unlink(missing_ok=True)
        return False
    _bound(folder)
    return True


def _link(file: Path, name: Path) -> None:
    """Another name for a file; a copy on a file system that has no links."""
    try:
        name.hardlink_to(file)
    except OSError:
        name.write_bytes(file.read_bytes())


def _bound(folder: Path) -> None:
    """Keep the cache bounded; other processes may do the same at once."""
    with contextlib.suppress(OSError):
        found = list(folder.glob("loop-*"))
        if len(found) <= CACHED:
            return
        found.sort(key=lambda path: path.stat().st_mtime)
        for path in found[: -(CACHED - CACHED // 10)]:
            path.unlink(missing_ok=True)
