"""A call's output in a notebook."""

import signal
import threading

import pytest

from nas.command_line import terminated_as_interrupted
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


def test_a_second_signal_does_not_end_the_process_of_a_call() -> None:
    """As it ends a command; the handlers of before are there again afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    with terminated_as_interrupted(ends_process=False):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_of_another_thread_are_those_of_the_main_one() -> None:
    seen = list[object]()

    def enter() -> None:
        with terminated_as_interrupted():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
