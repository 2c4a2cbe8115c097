"""How a command begins and ends: its arguments, its exit code, and signals."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from nas.errors import SearchError, UserError


def arguments_of(given: Sequence[str] | None) -> list[str]:
    """The arguments of a command, those of the process by default; --no-color is taken out.

    It means what the environment variable NO_COLOR does, which rich and other programs look at.
    """
    arguments = sys.argv[1:] if given is None else list(given)
    if "--no-color" in arguments:
        os.environ["NO_COLOR"] = "1"
    return [argument for argument in arguments if argument != "--no-color"]


EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130


def guarded(command: str, main: Callable[[], int]) -> int:
    """Run a command; a user's mistake is one sentence and exit code 2, without a traceback."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_WRONG_USAGE
    except SearchError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except MemoryError:
        print(f"{command}: memory ran out: free some; the same command goes on.", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # who read the output has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:  # before there was anything to keep, or for a second time
        print(f"{command}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


DELICATE = ("sqlalchemy.", "weakref")
"""Modules in which an interrupt does harm: it is swallowed in a callback, or leaves a traceback."""
POSTPONED_S = 2.0
"""Longest time for which an interrupt waits until such code has returned."""
AGAIN_S = 0.01
"""Seconds until a postponed interrupt is tried again."""

_was_interrupted = False


def raise_if_interrupted() -> None:
    """Raise the interrupt once more that was raised before, but got lost.

    Python prints and forgets what is raised in a destructor or in a callback of the garbage
    collector, so a loop that shall be stoppable calls this in each round.

    Raises:
        KeyboardInterrupt: if a signal raised it since `terminated_as_interrupted` was entered.
    """
    if _was_interrupted:
        raise KeyboardInterrupt


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether this code, or what called it, must not be interrupted."""
    while frame is not None:
        if f"{frame.f_globals.get('__name__')}.".startswith(DELICATE):
            return True
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def terminated_as_interrupted(*, ends_process: bool = True) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, which keeps all finished work.

    A second signal ends the process at once, as a kill would: the storage is whole, and workers end
    with the process. As a second exception it could arrive while the workers are being ended, and
    the process would then wait for all of their work. With `ends_process` false, in a process that
    is not the command's own, such as a notebook's, it does nothing: workers are ended in a second.
    In another thread than the main one, to which all signals go, nothing changes.
    """
    global _was_interrupted
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    postponed_until, is_postponed = 0.0, False

    def ignore(number: int, frame: FrameType | None) -> None:
        return

    def end_at_once(number: int, frame: FrameType | None) -> None:
        with suppress(Exception):  # the signal may interrupt a write
            sys.stdout.flush()
        os.write(2, b"Ended at once; the same command goes on.\n")
        os._exit(EXIT_INTERRUPTED)

    def again(number: int) -> None:
        nonlocal is_postponed
        time.sleep(AGAIN_S)
        is_postponed = False
        os.kill(os.getpid(), number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        global _was_interrupted
        nonlocal postponed_until, is_postponed
        if is_postponed:
            return
        postponed_until = postponed_until or time.monotonic() + POSTPONED_S
        if _is_delicate(frame) and time.monotonic() < postponed_until:
            is_postponed = True
            # Not a `Timer`: the main thread may hold a lock of `threading` at this moment.
            _thread.start_new_thread(again, (number,))
            return
        for trapped in before:
            signal.signal(trapped, end_at_once if ends_process else ignore)
        _was_interrupted = True
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # neither ignored nor other
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _was_interrupted = False
