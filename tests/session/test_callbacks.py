"""What callbacks are told of trainings that run."""

from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.protocol.look import Look
from nas.session.callbacks import Calling
from nas.session.manner import of_call


class _Noted(nas.Callback):
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def on_epoch_end(self, cell: str, task: str, epoch: int, best: float | None) -> None:
        self.told.append((cell, task, epoch, best))


def test_an_epoch_is_told_once_and_a_second_training_anew() -> None:
    noted = _Noted()
    calling = Calling([noted], None)
    evaluation = SimpleNamespace(task=SimpleNamespace(name="text"))
    busy = {"digest": (SimpleNamespace(name="gru"), evaluation)}

    def look(*given: Any, is_busy: bool = True) -> None:
        workers = SimpleNamespace(looks=lambda: [(evaluation, 1.0, *given)])
        seen: Any = SimpleNamespace(busy=busy if is_busy else {}, workers=workers)
        calling.tick(seen)

    look(None)
    look(Look(0.1))
    look(Look(0.3, 1, 0.5))
    look(Look(0.4, 1, 0.5))
    look(Look(0.9, 3, 0.7))
    look(Look(1.0, 4, 0.8), is_busy=False)
    look(Look(0.3, 1, 0.5))
    assert noted.told == [
        ("gru", "text", 1, 0.5),
        ("gru", "text", 3, 0.7),
        ("gru", "text", 1, 0.5),
    ]


def test_a_call_is_quiet_in_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *given: shown.append(given))
    manner = of_call((), progress=False)
    manner.say("a line")
    assert manner.output == "a line\n"
    assert not shown
