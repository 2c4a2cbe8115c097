"""A call's output in a notebook."""

import pytest

from nas.session.manner import of_call


def test_a_call_is_quiet_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where rich prints to no file, but shows each line as an output of its own."""
    shown = list[object]()
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *given: shown.append(given))
    quiet, loud = (of_call((), progress=progress) for progress in (False, True))
    quiet.say("a line")
    assert (quiet.output, capsys.readouterr().out) == ("a line\n", "")
    loud.say("a line")
    assert (loud.output, capsys.readouterr().out) == ("", "a line\n")
    assert not shown
