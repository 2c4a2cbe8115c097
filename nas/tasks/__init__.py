"""The tasks that cells are compared on.

A new one is a file, an import and a row here, and a field of `TasksConfig` in `config.py`;
README.md beside this file says which base class fits which data.
"""

from nas.tasks.adding import Adding as Adding
from nas.tasks.arithmetic import Arithmetic as Arithmetic
from nas.tasks.arithmetic_attention import ArithmeticAttention as ArithmeticAttention
from nas.tasks.arrays import Arrays as Arrays
from nas.tasks.base import Task as Task
from nas.tasks.captions import Captions as Captions
from nas.tasks.copy_attention import CopyAttention as CopyAttention
from nas.tasks.copy_memory import CopyMemory as CopyMemory
from nas.tasks.csv import Csv as Csv
from nas.tasks.digits import Digits as Digits
from nas.tasks.draw import Draw as Draw
from nas.tasks.dyck import Dyck as Dyck
from nas.tasks.groups import A5 as A5
from nas.tasks.groups import S3 as S3
from nas.tasks.groups import Cyclic as Cyclic
from nas.tasks.memorization import Memorization as Memorization
from nas.tasks.module import Module as Module
from nas.tasks.music import Music as Music
from nas.tasks.penn_treebank import PennTreebank as PennTreebank
from nas.tasks.recall import Recall as Recall
from nas.tasks.regular import CycleNavigation as CycleNavigation
from nas.tasks.regular import EvenPairs as EvenPairs
from nas.tasks.regular import ModularArithmetic as ModularArithmetic
from nas.tasks.regular import Parity as Parity
from nas.tasks.selective_copying import SelectiveCopying as SelectiveCopying
from nas.tasks.storn import Storn as Storn
from nas.tasks.text import Text as Text
from nas.tasks.vrnn import Vrnn as Vrnn
from nas.tasks.words import Words as Words
from nas.tasks.xml import Xml as Xml

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
    "storn": Storn,
    "vrnn": Vrnn,
    "digits": Digits,
    "parity": Parity,
    "even_pairs": EvenPairs,
    "cycle_navigation": CycleNavigation,
    "modular_arithmetic": ModularArithmetic,
    "cyclic": Cyclic,
    "s3": S3,
    "a5": A5,
    "dyck": Dyck,
    "adding": Adding,
    "copy_memory": CopyMemory,
    "selective_copying": SelectiveCopying,
    "recall": Recall,
    "copy_attention": CopyAttention,
    "arithmetic_attention": ArithmeticAttention,
    "captions": Captions,
    "draw": Draw,
}
