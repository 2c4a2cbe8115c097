"""What a command does with wrong input: exit code 2, and one sentence that begins with its name."""

from collections.abc import Callable, Sequence

import pytest


def assert_refused(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    command: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{command}: ")
    assert message in told
    assert told.count("\n") == 1
