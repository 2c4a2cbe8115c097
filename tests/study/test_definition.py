"""A study is gone on with by its own definition alone."""

from pathlib import Path
from typing import Any

import pytest

from nas.errors import UserError
from nas.study.study import open_study


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"version": "csv-2", "path": "a.csv"},
            r"s was begun with other data of the task csv \(csv-1, not csv-2\): they have changed",
        ),
        (
            {"version": "csv-2", "path": "b.csv"},
            r"was begun with tasks.csv.path = a.csv, not b.csv: use another --study name, or the s",
        ),
    ],
)
def test_other_data_and_other_fields_are_told_apart(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    begun = {"path": "a.csv", "version": "csv-1"}
    open_study("s", tmp_path, "", {"tasks": {"csv": begun}})
    open_study("s", tmp_path, "", {"tasks": {"csv": begun}})
    with pytest.raises(UserError, match=message):
        open_study("s", tmp_path, "", {"tasks": {"csv": changed}})
