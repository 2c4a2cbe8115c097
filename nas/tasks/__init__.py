"""The tasks that cells are compared on. A new one is one file and one line in this table."""

from nas.tasks.arithmetic import Arithmetic
from nas.tasks.arrays import Arrays
from nas.tasks.base import Task
from nas.tasks.csv import Csv
from nas.tasks.memorization import Memorization
from nas.tasks.module import Module
from nas.tasks.music import Music
from nas.tasks.text import Text
from nas.tasks.words import Words
from nas.tasks.xml import Xml

__all__ = [
    "TASKS",
    "Arithmetic",
    "Arrays",
    "Csv",
    "Memorization",
    "Module",
    "Music",
    "Task",
    "Text",
    "Words",
    "Xml",
]

TASKS: dict[str, type[Task]] = {
    "memorization": Memorization,
    "arithmetic": Arithmetic,
    "xml": Xml,
    "text": Text,
    "words": Words,
    "csv": Csv,
    "arrays": Arrays,
    "module": Module,
    "music": Music,
}
