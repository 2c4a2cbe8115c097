"""The space of gated cells: LSTM, GRU and everything that is one or more choices away from them.

It holds the variants of Greff et al. 2015 (arXiv:1503.04069) and of Jozefowicz, Zaremba & Sutskever
2015, every set of peepholes, both forms of the GRU, MGU, UGRNN, JANET and the plain RNN. A field is
suggested only where its choice changes the cell: no two points have one key, and every point is a
recurrent cell in which each state is read and written. The candidate always reads x and h, so that
both count whatever the gates read.
"""

import dataclasses
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

from nas.cell import Cell, renamed
from nas.errors import UserError
from nas.spaces.base import Params, Scalar, Space, digest, suggested
from nas.spaces.file import check_names, listed
from nas.spaces.gated import (
    Form,
    Gate,
    Merged,
    Outline,
    Separate,
    build,
    outline_of,
    outline_of_cell,
)
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


Reads = Literal["xh", "x", "h"]
ReadsOrNone = Literal["xh", "x", "h", "none"]
Choices = tuple[Scalar, ...]
Choose = Callable[[str, Choices], Scalar]
"""Takes one of the two or more choices of a field."""


@dataclass(frozen=True)
class Gates(Space):
    """Gated cells; each field holds the open choices, a single one is fixed and never suggested.

    The defaults are all that is allowed. `search_spaces/gates.yaml` explains the fields.
    """

    name: str = "gates"
    states: tuple[Literal["separate", "merged"], ...] = ("separate", "merged")
    candidate_activation: tuple[str, ...] = ("tanh", "relu", "identity", "sigmoid")
    forget_bias: tuple[float, ...] = (0, 1, 2)
    input_gate: tuple[ReadsOrNone, ...] = ("xh", "x", "h", "none")
    coupled_gates: tuple[bool, ...] = (False, True)
    forget_gate: tuple[ReadsOrNone, ...] = ("xh", "x", "h", "none")
    output_gate: tuple[ReadsOrNone, ...] = ("xh", "x", "h", "none")
    input_peephole: tuple[bool, ...] = (False, True)
    forget_peephole: tuple[bool, ...] = (False, True)
    output_peephole: tuple[bool, ...] = (False, True)
    gate_recurrence: tuple[bool, ...] = (False, True)
    output_activation: tuple[str, ...] = ("tanh", "relu", "identity")
    ungated_output_activation: tuple[str, ...] = ("tanh", "relu")
    update_gate: tuple[ReadsOrNone, ...] = ("xh", "x", "h", "none")
    reset_place: tuple[Literal["none", "before", "after"], ...] = ("none", "before", "after")
    shared_gate: tuple[bool, ...] = (False, True)
    reset_gate: tuple[Reads, ...] = ("xh", "x", "h")
    beta: tuple[float, ...] = (0, 1)

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        check_names(fields, ALLOWED)
        opened: dict[str, Any] = {field: _opened(field, at) for field, at in fields.items()}
        return dataclasses.replace(cls(name), **opened)

    @property
    def version(self) -> str:
        return digest("gates", 1, {field: getattr(self, field) for field in ALLOWED})

    def propose(self, trial: "BaseTrial") -> Cell:
        return self._named(lambda field, choices: suggested(trial, field, choices))

    def at(self, params: Params) -> Cell:
        """The cell of a point, as it is proposed."""
        return self._named(_replay(params))

    def neighbour(self, params: Params, rng: Random) -> Params | None:
        """A point with one choice changed, and drawn choices where the change opens new fields.

        None if the space has a single point.
        """
        names = [field for field in ALLOWED if field in params and len(getattr(self, field)) > 1]
        if not names:
            return None
        changed = rng.choice(names)
        point: Params = {}

        def choose(field: str, choices: Choices) -> Scalar:
            others = [choice for choice in choices if choice != params.get(field)]
            is_kept = field in params and field != changed
            point[field] = params[field] if is_kept else rng.choice(others)
            return point[field]

        _FormBuilder(self, choose).form()
        return point

    def outlines(self) -> Collection[Outline]:
        """The outlines of the cells inside."""
        return _by_outline(self).keys()

    def params_of(self, cell: Cell) -> Params | None:
        for params in _by_outline(self).get(outline_of_cell(cell), ()):
            if self._cell(_replay(params)).key == cell.key:
                return dict(params)
        return None

    def size(self) -> int:
        return sum(len(alike) for alike in _by_outline(self).values())

    def describe(self) -> str:
        choices: dict[str, Choices] = {field: getattr(self, field) for field in ALLOWED}
        fixed = [f"{field} {_text(of[0])}" for field, of in choices.items() if len(of) == 1]
        n_open = len(choices) - len(fixed)
        rest = f"; fixed: {', '.join(fixed)}" if fixed else ""
        return f"{self.name}: {self.size():,} gated cells, {n_open} open choices{rest}"

    def points(self) -> Iterator[tuple[Params, Form]]:
        """All points, depth first: the suggestions and the form of each."""
        unfinished: list[Params] = [{}]
        while unfinished:
            params = unfinished.pop()
            form = _FormBuilder(self, _first_choices(params, unfinished)).form()
            yield params, form

    def _named(self, choose: Choose) -> Cell:
        cell = self._cell(choose)
        return renamed(cell, ZOO.named(cell.key) or f"gates_{cell.key[:6]}")

    def _cell(self, choose: Choose) -> Cell:
        builder = _FormBuilder(self, choose)
        form = builder.form()
        chosen = ", ".join(f"{field} {_text(v)}" for field, v in builder.chosen.items())
        return build(form, "gates", textwrap.fill(f"A point of the gate space: {chosen}.", 94))


ALLOWED: dict[str, Choices] = {
    field.name: getattr(Gates, field.name)
    for field in dataclasses.fields(Gates)
    if field.name != "name"
}
"""All choices of each field, in the order in which they are suggested."""


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _opened(field: str, given: object) -> Choices:
    """The choices in the order of ALLOWED, so that the order in a file does not matter."""
    allowed = ALLOWED[field]
    values = listed(given)
    known = f"Allowed: {', '.join(map(_text, allowed))}."
    if not values:
        raise UserError(f"{field} must have at least one choice, got none. {known}")
    opened: list[Scalar] = []
    for value in values:
        # 1 is True in Python, not in a file
        same = [a for a in allowed if a == value and isinstance(a, bool) == isinstance(value, bool)]
        if not same:
            shown = _text(value) if isinstance(value, (str, bool)) else repr(value)
            raise UserError(f"{field} must be among its allowed choices, got {shown}. {known}")
        if same[0] in opened:
            raise UserError(f"{field} must name each choice once, got {_text(same[0])} twice.")
        opened += same
    return tuple(a for a in allowed if a in opened)


class _FormBuilder:
    """Builds a form from the choices that it needs; others would not change the cell."""

    def __init__(self, space: Gates, choose: Choose) -> None:
        self.space = space
        self.choose = choose
        self.chosen: Params = {}
        """The choices of the form, fixed ones included."""

    def form(self) -> Form:
        return self._separate() if self._choice("states") == "separate" else self._merged()

    def _choice(self, field: str) -> Scalar:
        choices: Choices = getattr(self.space, field)
        self.chosen[field] = self.choose(field, choices) if len(choices) > 1 else choices[0]
        return self.chosen[field]

    def _word(self, field: str) -> str:
        return str(self._choice(field))

    def _flag(self, field: str) -> bool:
        return bool(self._choice(field))

    def _number(self, field: str) -> float:
        return float(self._choice(field))

    def _separate(self) -> Separate:
        i_reads = self._word("input_gate")
        coupled = i_reads != "none" and self._flag("coupled_gates")
        f_reads = "none" if coupled else self._word("forget_gate")
        keeps = coupled or f_reads != "none"
        bias = self._number("forget_bias") if keeps else 0.0
        # 1 - i keeps the old state, so a bias towards keeping is one against i.
        i = self._with_peephole("input", i_reads, -bias if coupled else 0.0)
        f = self._with_peephole("forget", f_reads, bias)
        o = self._with_peephole("output", self._word("output_gate"))
        return Separate(
            input=i,
            forget=f,
            coupled=coupled,
            output=o,
            recurrent=bool(i or f or o) and self._flag("gate_recurrence"),
            candidate=self._word("candidate_activation"),
            # Without an output gate, the identity would make h a copy of c.
            activation=self._word("output_activation" if o else "ungated_output_activation"),
        )

    def _with_peephole(self, name: str, reads: str, bias: float = 0.0) -> Gate | None:
        return None if reads == "none" else Gate(reads, bias, self._flag(f"{name}_peephole"))

    def _merged(self) -> Merged:
        reads, place = self._word("update_gate"), self._word("reset_place")
        has_update, has_reset = reads != "none", place != "none"
        shared = has_update and has_reset and self._flag("shared_gate")
        bias = self._number("forget_bias") if has_update else 0.0
        own_reset = has_reset and not shared
        return Merged(
            update=Gate(reads, -bias if shared else bias) if has_update else None,
            reset=Gate(self._word("reset_gate")) if own_reset else None,
            shared=shared,
            place=place,
            beta=self._number("beta") if has_update and not shared else 0.0,
            candidate=self._word("candidate_activation"),
        )


def _replay(params: Params) -> Choose:
    """Takes the choices of a point."""
    return lambda field, _: params[field]


def _first_choices(params: Params, unfinished: list[Params]) -> Choose:
    """Completes a point by first choices, and adds the beginnings with the other choices."""

    def choose(field: str, choices: Choices) -> Scalar:
        if field not in params:
            unfinished.extend({**params, field: choice} for choice in reversed(choices[1:]))
            params[field] = choices[0]
        return params[field]

    return choose


@lru_cache(maxsize=8)
def _by_outline(space: Gates) -> dict[Outline, list[Params]]:
    """All points by outline: half a second for the whole space."""
    points: dict[Outline, list[Params]] = {}
    for params, form in space.points():
        points.setdefault(outline_of(form), []).append(params)
    return points
