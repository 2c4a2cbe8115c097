"""The tasks that cells are compared on. A new one is one file and one line in this table."""

from nas.tasks.arithmetic import Arithmetic
from nas.tasks.base import Task
from nas.tasks.memorization import Memorization
from nas.tasks.text import Text
from nas.tasks.xml import Xml

__all__ = ["TASKS", "Arithmetic", "Memorization", "Task", "Text", "Xml"]

TASKS: dict[str, type[Task]] = {
    "memorization": Memorization,
    "arithmetic": Arithmetic,
    "xml": Xml,
    "text": Text,
}
