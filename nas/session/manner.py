"""How a run is carried out: by a command, or by a call from Python."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from nas.session.callbacks import AnyCallback, checked


@dataclass(frozen=True)
class Manner:
    """What a run prints to, who watches it, and whose process it is."""

    console: Console | None = None
    """None: the terminal, as a command."""
    callbacks: tuple[AnyCallback, ...] = ()
    is_command: bool = True
    """Whether the process is the run's own, so that a second signal may end it at once."""

    def say(self, text: str) -> None:
        """Print a text as it is."""
        if self.console is None:
            print(text, flush=True)
        else:
            self.console.print(text, markup=False, highlight=False)

    @property
    def again(self) -> str:
        """What goes on with a run that was interrupted."""
        return "The same command" if self.is_command else "The same call"

    @property
    def output(self) -> str:
        """What was printed to a console that keeps it; else empty."""
        file = self.console.file if self.console else None
        return file.getvalue() if isinstance(file, io.StringIO) else ""


COMMAND = Manner()


def of_call(callbacks: Sequence[AnyCallback], *, progress: bool) -> Manner:
    """The manner of a call from Python, which is quiet unless progress is asked for.

    Raises:
        UserError: for something that is no callback.
    """
    # In a notebook, rich would show each line as an output of its own, whatever the file.
    shown = Console(soft_wrap=not sys.stdout.isatty(), force_jupyter=False)
    quiet = Console(file=io.StringIO(), soft_wrap=True, width=120, force_jupyter=False)
    console = shown if progress else quiet
    return Manner(console, checked(callbacks), is_command=False)
