"""Workers that run in this process and make outcomes up."""

from typing import Any

import pytest

from tests.curves import made_up
from tests.inline import Inline


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Inline]:
    """Those that are made, in order; outcomes are made up."""
    made: list[Inline] = []

    def make(*arguments: Any, **fields: Any) -> Inline:
        made.append(Inline(*arguments, **{"work": made_up.run, **fields}))
        return made[-1]

    monkeypatch.setattr("nas.workers.local.LocalWorkers", make)
    monkeypatch.setattr("nas.curves.store.backend_of", lambda evaluation, outcomes: "c")
    monkeypatch.setattr("nas.curves.picture.figure_of", lambda on: None)
    monkeypatch.setattr("nas.curves.report.png_of", lambda figure: b"")
    return made
