"""Compiled libraries on disk, named by a hash of their source, compiler and processor.

Processes may store the same library at once: a finished file is moved to its name. A library ends
with a hash of its content, so that a file that a full disk or a power cut left half written is not
loaded. A library of many loops has a name for each loop; the names are links to one file.

A library is code, and anybody can write such a hash: one that another user may have put there, or
can change, is neither loaded nor stored.
"""

import contextlib
import functools
import hashlib
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

CACHED = 10_000
"""The most loops in the cache, of some 20 KB each; then the least recently used tenth goes."""


def cache_folder() -> Path | None:
    """The folder of compiled loops: NAS_CACHE_DIR, else in the user's cache folder, if any."""
    if given := os.environ.get("NAS_CACHE_DIR"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "nas"
    try:
        return Path.home() / ".cache" / "nas"
    except RuntimeError:  # a user without a home
        return None


def place(digest: str) -> Path | None:
    """The path of the library with this hash, whether it exists or not; None without a cache."""
    folder = cache_folder()
    return folder / f"loop-{digest}.so" if folder else None


def is_whole(path: Path) -> bool:
    """Whether there is an undamaged library of our own at the path; this counts as a use of it."""
    try:
        content = path.read_bytes()
        if not (_is_safe(path.parent) and _is_ours(path, stat.S_IWGRP | stat.S_IWOTH)):
            _warn(path.parent)
            return False
    except OSError:
        return False
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        return False
    with contextlib.suppress(OSError):  # a cache may be read-only
        os.utime(path)
    return True


def _is_ours(path: Path, others: int) -> bool:
    """Whether a path belongs to this user or root, and has none of the modes `others`."""
    status = path.stat()
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & others


def _is_safe(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder, or another folder into its place."""
    above = (parent.stat().st_mode for parent in folder.resolve().parents)
    return _is_ours(folder, stat.S_IWGRP | stat.S_IWOTH) and all(
        not mode & stat.S_IWOTH or mode & stat.S_ISVTX for mode in above
    )


@functools.cache
def _warn(folder: Path) -> None:
    logger.warning(
        "compiled loops in %s are not used, since other users can write there or own them: make it "
        "yours alone (chmod 700), or set NAS_CACHE_DIR to another folder. Loops are compiled anew.",
        folder,
    )


def store(made: Path, paths: Sequence[Path]) -> bool:
    """Write a library and its hash to paths in one folder; return whether that succeeded."""
    folder = paths[0].parent
    part, link = (folder / f"loop-{os.urandom(8).hex()}.{kind}" for kind in ("part", "link"))
    try:
        for path in (*reversed(folder.parents), folder):
            path.mkdir(0o700, exist_ok=True)
        if not os.environ.get("NAS_CACHE_DIR"):  # an earlier nas made it as the umask said
            folder.chmod(0o700)
        if not _is_safe(folder):
            _warn(folder)
            return False
        content = made.read_bytes()
        part.write_bytes(content + hashlib.sha256(content).digest())
        part.chmod(0o644)
        for path in paths[1:]:
            _link(part, link)
            link.replace(path)
        part.replace(paths[0])
    except OSError:
        for temporary in (part, link):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return False
    _bound(folder)
    return True


def _link(file: Path, name: Path) -> None:
    """Give a file another name, or copy it on a file system without links."""
    try:
        name.hardlink_to(file)
    except OSError:
        name.write_bytes(file.read_bytes())
        name.chmod(0o644)


def _bound(folder: Path) -> None:
    """Remove old libraries from a full cache; other processes may do the same at once."""
    with contextlib.suppress(OSError):
        paths = list(folder.glob("loop-*"))
        if len(paths) <= CACHED:
            return
        paths.sort(key=lambda path: path.stat().st_mtime)
        for path in paths[: -(CACHED - CACHED // 10)]:
            path.unlink(missing_ok=True)
