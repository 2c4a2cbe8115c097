"""Which tasks a command uses, and the configuration of each.

A new task is a field here and a line in `nas/tasks/__init__.py`.
"""

from dataclasses import dataclass, field

from nas.errors import UserError, unknown
from nas.tasks import TASKS
from nas.tasks.adding import Adding
from nas.tasks.arithmetic import Arithmetic
from nas.tasks.arithmetic_attention import ArithmeticAttention
from nas.tasks.arrays import Arrays
from nas.tasks.base import Task
from nas.tasks.copy_attention import CopyAttention
from nas.tasks.copy_memory import CopyMemory
from nas.tasks.csv import Csv
from nas.tasks.digits import Digits
from nas.tasks.dyck import Dyck
from nas.tasks.memorization import Memorization
from nas.tasks.module import Module
from nas.tasks.music import Music
from nas.tasks.penn_treebank import PennTreebank
from nas.tasks.recall import Recall
from nas.tasks.regular import CycleNavigation, EvenPairs, ModularArithmetic, Parity
from nas.tasks.selective_copying import SelectiveCopying
from nas.tasks.text import Text
from nas.tasks.words import Words
from nas.tasks.xml import Xml


@dataclass(frozen=True)
class TasksConfig:
    """Which tasks candidates are scored on, and the configuration of each."""

    use: tuple[str, ...] = ("arithmetic", "xml", "text")
    """Tasks of the score, in the order in which a candidate must pass them; --tasks sets it."""
    memorization: Memorization = field(default_factory=Memorization)
    """Reproduce symbols in order; also the filter of `protocol.filter`."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    """Add and subtract numbers, character by character."""
    xml: Xml = field(default_factory=Xml)
    """Predict synthetic XML."""
    text: Text = field(default_factory=Text)
    """Predict the characters of a text."""
    words: Words = field(default_factory=Words)
    """Predict the words of a text."""
    penn_treebank: PennTreebank = field(default_factory=PennTreebank)
    """Predict the words of the Penn Treebank."""
    csv: Csv = field(default_factory=Csv)
    """Forecast or classify the rows of a table."""
    arrays: Arrays = field(default_factory=Arrays)
    """Sequences of an .npz file with labels or targets."""
    module: Module = field(default_factory=Module)
    """Sequences of a LightningDataModule."""
    music: Music = field(default_factory=Music)
    """Predict the next frame of polyphonic music."""
    digits: Digits = field(default_factory=Digits)
    """Say which digit an image shows, after its pixels."""
    parity: Parity = field(default_factory=Parity)
    """Is the number of ones odd?"""
    even_pairs: EvenPairs = field(default_factory=EvenPairs)
    """Do the first and the last bit differ?"""
    cycle_navigation: CycleNavigation = field(default_factory=CycleNavigation)
    """Where on a cycle do steps end?"""
    modular_arithmetic: ModularArithmetic = field(default_factory=ModularArithmetic)
    """The value of an expression modulo 5."""
    dyck: Dyck = field(default_factory=Dyck)
    """Which brackets may come next?"""
    adding: Adding = field(default_factory=Adding)
    """Add the two marked numbers of a sequence."""
    copy_memory: CopyMemory = field(default_factory=CopyMemory)
    """Give symbols back after a delay."""
    selective_copying: SelectiveCopying = field(default_factory=SelectiveCopying)
    """Give back the symbols that were scattered among blanks."""
    recall: Recall = field(default_factory=Recall)
    """Give the value that followed a key."""
    copy_attention: CopyAttention = field(default_factory=CopyAttention)
    """Write a string again, attending to it."""
    arithmetic_attention: ArithmeticAttention = field(default_factory=ArithmeticAttention)
    """Write the value of a sum or difference, attending to it."""

    def check(self) -> None:
        """Raise UserError if a task is unknown, twice there, or wrongly configured."""
        if not self.use:
            raise UserError(f"tasks needs at least one of {', '.join(sorted(TASKS))}, got none.")
        for name in self.use:
            if name not in TASKS:
                raise UserError(unknown("task", name, TASKS))
        if len(set(self.use)) < len(self.use):
            raise UserError(f"tasks names each task once, got {', '.join(self.use)}.")
        for name in self.use:
            self.task(name).check()

    def task(self, name: str) -> Task:
        """The configured task of this name."""
        task = getattr(self, name)
        assert isinstance(task, Task)
        return task
