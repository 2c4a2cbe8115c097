"""Which tasks a command uses, and the configuration of each.

A new task is a field here and a line in `nas/tasks/__init__.py`.
"""

from dataclasses import dataclass, field

from nas import tasks
from nas.errors import UserError, unknown
from nas.tasks import TASKS
from nas.tasks.base import Task
from nas.tasks.named import named


@dataclass(frozen=True)
class TasksConfig:
    """Which tasks candidates are scored on, and the configuration of each."""

    use: tuple[str, ...] = ("arithmetic", "xml", "text")
    """Tasks of the score, in the order in which a candidate must pass them; --tasks sets it. One of
    your own is module:name of a nas.Task, see docs/python.md."""
    memorization: tasks.Memorization = field(default_factory=tasks.Memorization)
    """Reproduce symbols in order; also the filter of `protocol.filter`."""
    arithmetic: tasks.Arithmetic = field(default_factory=tasks.Arithmetic)
    """Add and subtract numbers, character by character."""
    xml: tasks.Xml = field(default_factory=tasks.Xml)
    """Predict synthetic XML."""
    text: tasks.Text = field(default_factory=tasks.Text)
    """Predict the characters of a text."""
    words: tasks.Words = field(default_factory=tasks.Words)
    """Predict the words of a text."""
    penn_treebank: tasks.PennTreebank = field(default_factory=tasks.PennTreebank)
    """Predict the words of the Penn Treebank."""
    csv: tasks.Csv = field(default_factory=tasks.Csv)
    """Forecast or classify the rows of a table."""
    arrays: tasks.Arrays = field(default_factory=tasks.Arrays)
    """Sequences of an .npz file with labels or targets."""
    module: tasks.Module = field(default_factory=tasks.Module)
    """Sequences of a LightningDataModule."""
    music: tasks.Music = field(default_factory=tasks.Music)
    """Predict the next frame of polyphonic music."""
    storn: tasks.Storn = field(default_factory=tasks.Storn)
    """Model music with a latent variable at each frame."""
    vrnn: tasks.Vrnn = field(default_factory=tasks.Vrnn)
    """Model music with a latent variable that depends on the state."""
    digits: tasks.Digits = field(default_factory=tasks.Digits)
    """Say which digit an image shows, after its pixels."""
    parity: tasks.Parity = field(default_factory=tasks.Parity)
    """Is the number of ones odd?"""
    even_pairs: tasks.EvenPairs = field(default_factory=tasks.EvenPairs)
    """Do the first and the last bit differ?"""
    cycle_navigation: tasks.CycleNavigation = field(default_factory=tasks.CycleNavigation)
    """Where on a cycle do steps end?"""
    modular_arithmetic: tasks.ModularArithmetic = field(default_factory=tasks.ModularArithmetic)
    """The value of an expression modulo 5."""
    cyclic: tasks.Cyclic = field(default_factory=tasks.Cyclic)
    """The sum of all numbers so far, modulo m."""
    s3: tasks.S3 = field(default_factory=tasks.S3)
    """The product of all permutations of three things so far."""
    a5: tasks.A5 = field(default_factory=tasks.A5)
    """The product of all even permutations of five things so far."""
    dyck: tasks.Dyck = field(default_factory=tasks.Dyck)
    """Which brackets may come next?"""
    adding: tasks.Adding = field(default_factory=tasks.Adding)
    """Add the two marked numbers of a sequence."""
    copy_memory: tasks.CopyMemory = field(default_factory=tasks.CopyMemory)
    """Give symbols back after a delay."""
    selective_copying: tasks.SelectiveCopying = field(default_factory=tasks.SelectiveCopying)
    """Give back the symbols that were scattered among blanks."""
    recall: tasks.Recall = field(default_factory=tasks.Recall)
    """Give the value that followed a key."""
    copy_attention: tasks.CopyAttention = field(default_factory=tasks.CopyAttention)
    """Write a string again, attending to it."""
    arithmetic_attention: tasks.ArithmeticAttention = field(
        default_factory=tasks.ArithmeticAttention
    )
    """Write the value of a sum or difference, attending to it."""
    captions: tasks.Captions = field(default_factory=tasks.Captions)
    """Write the names of the digits of an image, attending to its regions."""
    draw: tasks.Draw = field(default_factory=tasks.Draw)
    """Look at an image and draw it in several glimpses."""

    def check(self) -> None:
        """Raise UserError if a task is unknown, named twice, or wrongly configured."""
        if not self.use:
            raise UserError(f"tasks needs at least one of {', '.join(sorted(TASKS))}, got none.")
        self.check_names()
        for name in self.use:
            self.task(name).check()

    def check_names(self) -> None:
        """Raise UserError if a task is unknown or named twice; none of them is imported."""
        for name in self.use:
            if ":" not in name and name not in TASKS:
                raise UserError(
                    unknown("task", name, TASKS) + " One of your own is module:name of a nas.Task."
                )
            if ":" in name and name.rpartition(":")[2] in TASKS:
                raise UserError(
                    f"tasks: {name} has the name of a task that comes with nas: give it another."
                )
        names = [name.rpartition(":")[2] for name in self.use]
        if len(set(names)) < len(names):
            raise UserError(f"tasks names each task once, got {', '.join(self.use)}.")

    @property
    def code(self) -> dict[str, str]:
        """The fields of a study's definition that name code of the user's, which is imported."""
        own = {f"tasks.{n.rpartition(':')[2]}.path": n for n in self.use if ":" in n}
        return own | ({"tasks.module.path": self.module.path} if "module" in self.use else {})

    def task(self, name: str) -> Task:
        """Return the configured task of this name, or that at an import path, which is imported."""
        if ":" in name:
            return named(name)
        task = getattr(self, name)
        assert isinstance(task, Task)
        return task
