"""What a check says of one thing."""

from dataclasses import dataclass
from typing import Literal

State = Literal["there", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that commands use, and whether it is here."""

    name: str
    state: State
    detail: str
    """What is there, or what is wrong."""
    advice: str = ""
    """What to install or set, if it is not there; addresses are lines of their own, at the end."""
    needed: bool = False
    """Whether no search can run without it."""

    @property
    def prevents_searches(self) -> bool:
        return self.needed and self.state != "there"
