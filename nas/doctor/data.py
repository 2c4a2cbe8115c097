"""Files of data that tasks know by name: here, or to be fetched when a task first needs them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nas.doctor.finding import Finding
from nas.tasks import corpus, music, penn_treebank
from nas.tasks.files import DATA_FOLDER, Pinned, folder, found

KNOWN: dict[str, tuple[Pinned, ...]] = {
    **{f'text "{name}"': (file,) for name, file in corpus.PINNED.items()},
    **{f'music "{name}"': (file,) for name, file in music.PINNED.items()},
    "penn_treebank": tuple(penn_treebank.PINNED.values()),
}
"""The files of each task that are pinned, by the task and its path."""


def check_data() -> Iterator[Finding]:
    """The folder of data, and whether each pinned file is here and whole."""
    named = os.environ.get(DATA_FOLDER, "")
    if named and not Path(named).expanduser().is_dir():
        advice = f"set {DATA_FOLDER} to a folder that is there"
        yield Finding(DATA_FOLDER, "broken", f"{named} is no folder", advice)
    for name, files in KNOWN.items():
        yield _of(name, files)


def _of(name: str, files: tuple[Pinned, ...]) -> Finding:
    places = {file.file_name: found(file, folder()) for file in files}
    if lacking := [file for file in files if places[file.file_name] is None]:
        names = ", ".join(file.file_name for file in lacking)
        return Finding(
            name,
            "missing",
            f"{names}: fetched when it is first needed",
            f"without a network: put {'it' if len(lacking) == 1 else 'them'} into a folder, and "
            f"set {DATA_FOLDER} to that; from\n" + "\n".join(file.url for file in lacking),
        )
    for file in files:
        path = places[file.file_name]
        assert path is not None
        if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            what = f"{path} is not the file that is pinned by its SHA-256"
            return Finding(name, "broken", what, "remove it, and it is fetched anew")
    return Finding(name, "there", ", ".join(str(path) for path in places.values()))
