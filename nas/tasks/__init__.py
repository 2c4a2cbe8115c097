"""The tasks that cells are compared on. A new one is one file and one line in this table."""

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

__all__ = [
    "TASKS",
    "Adding",
    "Arithmetic",
    "ArithmeticAttention",
    "Arrays",
    "CopyAttention",
    "CopyMemory",
    "Csv",
    "CycleNavigation",
    "Digits",
    "Dyck",
    "EvenPairs",
    "Memorization",
    "ModularArithmetic",
    "Module",
    "Music",
    "Parity",
    "PennTreebank",
    "Recall",
    "SelectiveCopying",
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
    "penn_treebank": PennTreebank,
    "csv": Csv,
    "arrays": Arrays,
    "module": Module,
    "music": Music,
    "digits": Digits,
    "parity": Parity,
    "even_pairs": EvenPairs,
    "cycle_navigation": CycleNavigation,
    "modular_arithmetic": ModularArithmetic,
    "dyck": Dyck,
    "adding": Adding,
    "copy_memory": CopyMemory,
    "selective_copying": SelectiveCopying,
    "recall": Recall,
    "copy_attention": CopyAttention,
    "arithmetic_attention": ArithmeticAttention,
}
