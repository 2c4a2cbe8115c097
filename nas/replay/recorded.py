"""The space in which a table's study searched, from what the table holds of it."""

import tempfile
from pathlib import Path

from nas.errors import UserError
from nas.replay.bench import Bench
from nas.spaces import load_space
from nas.spaces.base import Space


def recorded_space(bench: Bench, sampler: str) -> Space:
    """The space, for a sampler that suggests choice by choice.

    Raises:
        UserError: if the table does not hold it, or if it has become another one since.
    """
    header = bench.table.header
    needs = f"sampler {sampler} suggests points of the recorded space {header.space or '(unknown)'}"
    if not header.space_file:
        raise UserError(f"{needs}, which the table does not hold.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{header.space}.yaml"
        path.write_text(header.space_file, encoding="utf-8")
        space = load_space(str(path))
    if space.version != header.space_version:
        raise UserError(
            f"{needs}, which is {header.space_version} in the table and {space.version} now: "
            "replay it with the version of nas that recorded it."
        )
    if any(not visit.params for visit in bench.visits[: bench.n_candidates]):
        raise UserError(f"{needs}, but the table has candidates without suggestions.")
    return space
