"""What a trained model's numbers mean: the columns, units, symbols and classes of its data.

The description of a model's weights (`nas/training/train.py` writes it) has them as plain data; a
file that was written before a part of it existed loads all the same, and `Meaning.lacks` says what
it lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nas.errors import UserError
from nas.tasks import TASKS
from nas.tasks.base import Answers, Interface
from nas.tasks.features import Recipe, recipe_of
from nas.tasks.streams import StringStreams
from nas.tasks.words import UNKNOWN, WordForm, words_in

SERVES, SERVES_DATA = "serves", "data as they are"
"""An entry in the description of a registered model, which without it serves tensors."""
LAST_STEP = (
    *("adding", "digits"),
    *("parity", "even_pairs", "cycle_navigation", "modular_arithmetic"),
)
"""Tasks that are answered at the last step, for files that do not say it."""


@dataclass(frozen=True)
class Scale:
    """Columns in the data's units are `means + scales * normalised`, one number a column."""

    means: tuple[float, ...]
    scales: tuple[float, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the normalised values are the data's own."""
        return not any(self.means) and set(self.scales) <= {1.0}


@dataclass(frozen=True)
class Meaning:
    """What goes into a model and what comes out of it, in the words and units of its data."""

    interface: Interface
    task: str
    """The task that it was trained on; empty if unknown."""
    answers: Answers
    """Where it answers: at each step, at the last one, or with the symbol that comes next."""
    inputs: Scale
    """Of the features; empty for symbols."""
    outputs: Scale
    """Of the numbers that a Gaussian head gives; empty for other heads."""
    columns: tuple[str, ...] = ()
    """Names of the features, in order; empty where they have none."""
    targets: tuple[str, ...] = ()
    """Names of the numbers that are predicted; empty where they have none."""
    label: str = ""
    """Name of what is classified; empty where it has none."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of the scores; empty where they are numbers from 0 on."""
    group: str = ""
    """Name of the column that says to which sequence a row belongs; empty if there is none."""
    horizon: int = 0
    """Steps ahead of the forecast ones; 0 where nothing is forecast."""
    symbols: tuple[str, ...] = ()
    """The character or word of each token; empty where tokens are numbers from 0 on."""
    words: WordForm | None = None
    """How a text is cut into words; None where symbols are characters."""
    lacks: str = ""
    """A sentence on what the file does not say; empty if nothing is missing."""
    recipe: Recipe | None = None
    """How the features are made of a table's columns; None where they are the columns."""

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of what a model gives a score for: targets, classes or symbols; else empty."""
        if self.interface.head == "gaussian":
            return self.targets
        return self.classes or (self.symbols if self.answers == "next symbol" else ())

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of a text.

        Raises:
            UserError: if the vocabulary is unknown or has no such character or word.
        """
        symbols: Sequence[str] = text
        if self.words is not None:
            words = words_in(text, self.words)
            is_open = self.words.lines and text and not text.endswith("\n")
            symbols = words[:-1] if is_open else words  # the last line goes on
        return self.tokens_of_symbols(symbols)

    def tokens_of_symbols(self, symbols: Sequence[str]) -> list[int]:
        """Return the token of each character or word.

        Raises:
            UserError: if the vocabulary is unknown or has no such character or word.
        """
        if not self.symbols:
            raise UserError(self.lacks or "this model reads whole numbers, not text.")
        places = {symbol: place for place, symbol in enumerate(self.symbols)}
        unknown = places.get(UNKNOWN) if self.words else None
        tokens = []
        for place, symbol in enumerate(symbols):
            token = places.get(symbol, unknown)
            if token is None:
                raise UserError(
                    f"{symbol!r} at place {place} of the text is none of the {len(self.symbols)} "
                    "symbols of the model's vocabulary: replace it or leave it out."
                )
            tokens.append(token)
        return tokens

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; words are parted by spaces.

        Raises:
            UserError: if the vocabulary is unknown.
        """
        if not self.symbols:
            raise UserError(self.lacks or "this model writes whole numbers, not text.")
        return ("" if self.words is None else " ").join(self.symbols[token] for token in tokens)


def meaning_of(described: Mapping[str, Any], interface: Interface) -> Meaning:
    """Read the meaning from the description of a model's weights.

    Raises:
        UserError: if a part of it does not fit the interface.
    """
    task = str(described.get("task", ""))
    legend = described.get("legend")
    legend = legend if isinstance(legend, Mapping) else {}
    symbols, form = _symbols(task, legend, interface.inputs)
    answers, lacks = _answers(described, task, interface)
    if interface.tokens and task in TEXTS and not symbols:
        lacks = (
            f"these weights of the task {task} were written without their vocabulary: they read "
            "and write whole numbers; a search of today keeps it."
        )
    is_gaussian = interface.head == "gaussian"
    meaning = Meaning(
        interface,
        task,
        answers,
        _scale(legend, "", 0 if interface.tokens else interface.inputs),
        _scale(legend, "target_", interface.outputs if is_gaussian else 0),
        _names(legend, "features", 0 if interface.tokens else interface.inputs),
        _names(legend, "targets", interface.outputs if is_gaussian else 0),
        str(legend.get("label", "")),
        _names(legend, "classes", interface.outputs),
        str(legend.get("group", "")),
        int(legend.get("horizon", 0)),
        symbols if interface.tokens else (),
        form,
        lacks,
        recipe_of(legend["made"]) if "made" in legend else None,
    )
    if meaning.symbols and len(meaning.symbols) > interface.inputs:
        raise UserError(
            f"the vocabulary has {len(meaning.symbols)} symbols, the model {interface.inputs}"
        )
    return meaning


TEXTS = ("text", "words", "penn_treebank")
"""Tasks whose vocabulary is that of a file."""


def _symbols(
    task: str, legend: Mapping[str, Any], n: int
) -> tuple[tuple[str, ...], WordForm | None]:
    """Return the vocabulary of n symbols, and how a text is cut into words where they are words."""
    if "words" in legend:
        split_at: Literal["space", "punctuation"] = "punctuation" if task == "words" else "space"
        if legend.get("split_at") in ("space", "punctuation"):
            split_at = legend["split_at"]
        lower, lines = legend.get("lower_case") is True, legend.get("lines") is True
        return tuple(map(str, legend["words"])), WordForm(split_at, lower, lines)
    known = TASKS.get(task)
    if "characters" not in legend and known and issubclass(known, StringStreams):
        return tuple(known.symbols if len(known.symbols) == n else ""), None
    return tuple(str(legend.get("characters", ""))), None


def _answers(described: Mapping[str, Any], task: str, interface: Interface) -> tuple[Answers, str]:
    """Return where a model answers, and what its file does not say about it."""
    for known in get_args(Answers):
        if described.get("answers") == known:
            return known, ""
    if task in LAST_STEP:
        return "last step", ""
    if interface.predicts_next:
        return "next symbol", ""
    is_open = task in ("csv", "arrays", "module") and "horizon" not in described.get("legend", {})
    lacks = (
        f"these weights of the task {task} do not say whether each step is answered or the last "
        "one alone: answers are those of each step."
    )
    return "each step", lacks if is_open else ""


def _scale(legend: Mapping[str, Any], prefix: str, n: int) -> Scale:
    """Return the scale of n columns; the identity where the legend has none."""
    means = legend.get(f"{prefix}means", [legend.get(f"{prefix}mean", 0.0)] * n)
    scales = legend.get(f"{prefix}scales", [1.0] * n)
    if not n:
        return Scale((), ())
    if len(means) != n or len(scales) != n:
        raise UserError(
            f"the model has {n} columns, but {len(means)} {prefix}means and {len(scales)} "
            f"{prefix}scales"
        )
    return Scale(tuple(map(float, means)), tuple(map(float, scales)))


def _names(legend: Mapping[str, Any], kind: str, n: int) -> tuple[str, ...]:
    """Return the n names of a kind; none where the legend has none."""
    names = tuple(map(str, legend.get(kind, ()))) if n else ()
    if names and len(names) != n:
        raise UserError(f"the model has {n} {kind}, but {len(names)} names of them")
    return names
