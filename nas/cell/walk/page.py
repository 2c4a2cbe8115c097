"""The page of a walk, as one HTML file that needs nothing else: no script, no font, no network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cell.canon import key
from nas.cell.graph import Graph
from nas.cell.latex import equations
from nas.cell.mathml import mathml
from nas.cell.ops import INPUTS
from nas.cell.text import dumps
from nas.cell.walk.lit import Box, Lit, lit
from nas.cell.walk.names import named
from nas.cell.walk.phrases import capital, listed
from nas.cell.walk.steps import Step, steps_of
from nas.cell.walk.words import Words

if TYPE_CHECKING:
    import jinja2

WIDEST = 1050.0
"""Pixels of a picture, above which a step shows its detail only."""

WIDTHS = {"hidden": "one number for each hidden unit", "input": "as wide as *x*"}
"""The widths of states in words."""


@dataclass(frozen=True)
class Told:
    """What the page says of a step."""

    title: str
    kind: str
    sentences: str
    equations: tuple[str, ...]
    reads: str
    goes: str
    figure: str


def walk(cell: Graph, more: Sequence[str] = ()) -> str:
    """The page that goes through a cell, step by step, as HTML; `more` are sections at its end."""
    steps = steps_of(cell)
    told = Words(named(cell, steps), steps)
    shown = lit(told.cell, steps)
    name = f"cell-{key(cell)}"
    return _template().render(
        name=cell.name,
        source=" ".join(cell.doc.split()),
        drawing=shown.drawing(name),
        whole=_figure(name, shown, None, f"The cell {cell.name}"),
        carried=[prose(line) for line in _carried(told)],
        steps=[_told(told, shown, place, name) for place in range(len(steps))],
        lines=[mathml(str(line)) for line in equations(told.cell)],
        text=dumps(cell),
        more=more,
    )


def _told(told: Words, shown: Lit, place: int, name: str) -> Told:
    step = told.steps[place]
    lines = [e for e in equations(told.cell) if e.node in step.nodes or e.node == step.root]
    reads = [] if not step.nodes else told.reads(step)
    return Told(
        prose(told.title(step)),
        _kind(told, step),
        prose(told.sentences(step)),
        tuple(mathml(str(line)) for line in lines),
        prose(listed(reads)),
        prose(listed(_readers(told, step))),
        _figure(name, shown, place, re.sub(r"\*", "", told.title(step))),
    )


def _kind(told: Words, step: Step) -> str:
    """The class of a step, by which the page colours it."""
    if step.states:
        return "state"
    if step.is_output or step.verticals:
        return "out"
    kinds = {use.kind for use in told.uses[step.root]}
    if told.is_gate(step) or "keep" in kinds:
        return "gate"
    return "write" if "write" in kinds else "part"


def _readers(told: Words, step: Step) -> list[str]:
    """The steps that read a step, by what they are called."""
    nodes = told.cell.nodes
    reading = [
        other
        for other in told.steps
        if other is not step and any(step.root in nodes[i].args for i in other.nodes)
    ]
    leaves = [step.is_output or bool(step.verticals) for step in reading]
    return [
        "what leaves" if leaves and not other.states else told.call(other.root)
        for other, leaves in zip(reading, leaves, strict=True)
    ]


def _carried(told: Words) -> list[str]:
    """A sentence on each thing that comes in."""
    cell, said = told.cell, []
    for k, (state, new) in enumerate(zip(cell.states, cell.new_states, strict=True)):
        plural = "" if state.width == 1 else "s"
        width = WIDTHS.get(str(state.width), f"{state.width} number{plural}")
        if cell.nodes[new].op in INPUTS and new != 1 + k:
            held = f"*{cell.nodes[new].name}* of the step before"
            said.append(f"*{state.name}*: {held}, {width}: a delay.")
            continue
        start = f"{state.initial:g}".replace("-", "−").replace("inf", "∞")
        said.append(f"*{state.name}*: a state, {width}, which starts at {start}.")
    return said + [f"*{name}*: from the layer below at the same step." for name in cell.verticals]


def prose(text: str) -> str:
    """A sentence as HTML, with names in italics."""
    return re.sub(r"\*([^*]+)\*", r"<i>\1</i>", escape(text, quote=False))


def _figure(name: str, shown: Lit, step: int | None, label: str) -> str:
    """The picture, whole or with a step's part lit, for wide pages and as a detail for narrow."""
    if step is None:
        return _view(name, shown, None, label, shown.whole, "all")
    near = shown.detail(step)
    if shown.picture.width > WIDEST:
        return _view(name, shown, step, label, near, "all")
    return _view(name, shown, step, label, shown.whole, "wide") + _view(
        name, shown, step, label, near, "narrow"
    )


def _view(name: str, shown: Lit, step: int | None, label: str, box: Box, kind: str) -> str:
    size = " ".join(f"{number:.0f}" for number in box)
    return (
        f'<svg class="{kind}" viewBox="{size}" style="--w:{box[2]:.0f}px;{shown.shown(step)}" '
        f'role="img" aria-label="{escape(capital(label))}"><use href="#{name}"/></svg>'
    )


@cache
def _template() -> "jinja2.Template":
    import jinja2

    text = (Path(__file__).parent / "walk.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(text)
