"""The walk through a cell: steps, what is said of them, the lit part of the picture, the page."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from nas.cell import Cell, loads
from nas.cell.latex import equations
from nas.cell.mathml import mathml
from nas.cell.ops import INPUTS
from nas.cell.picture.diagram import parts_of
from nas.cell.picture.drawing import LAYER, POINT
from nas.cell.picture.write import Arrow, Line, Shape
from nas.cell.walk.lit import lit
from nas.cell.walk.names import named
from nas.cell.walk.page import walk
from nas.cell.walk.steps import Graphs, Step, steps_of
from nas.cell.walk.uses import tops
from nas.cell.walk.values import Term, ranges, terms_of
from nas.cell.walk.words import Words
from nas.compile.reference import EagerCell
from nas.zoo import ZOO
from tests.cell.test_draw import STRANGE, walked
from tests.shares import every_eighth
from tests.strategies import cells

LERPS = loads(
    """
def lerps(x, h, c, e):
    g = sigmoid(linear(x))
    d = g + h * (tanh(x) - g)
    return x * h + g * (c - x * h), (1 - g) * (h * c - d) + d, h + h + g * (e - h)
"""
)

NAMED = loads("def named(x, h):\n    s = linear(x, h)\n    return tanh(s)\n")
"""The picture has one box for both of its steps."""
CELLS = [LERPS, loads(STRANGE), *walked(), *ZOO.values()]
some_cells = pytest.mark.parametrize(
    "cell", [NAMED, *every_eighth(CELLS)], ids=lambda cell: cell.name
)


def told(cell: Cell) -> list[tuple[str, str]]:
    """Title and sentences of each step."""
    steps = steps_of(cell)
    words = Words(named(cell, steps), steps)
    return [(words.title(step), words.sentences(step)) for step in steps]


def check_steps(cell: Cell) -> None:
    steps = steps_of(cell)
    computed = sorted(i for i in cell.live if cell.nodes[i].op not in INPUTS)
    assert sorted(i for step in steps for i in step.nodes) == computed
    given = {i for i, n in enumerate(cell.nodes) if n.op in INPUTS}
    for step in steps:
        given |= set(step.nodes)
        assert step.root in given
        for i in step.nodes:
            assert set(cell.nodes[i].args) <= given
    assert {k for step in steps for k in step.states} == set(range(len(cell.states)))
    assert {k for step in steps for k in step.verticals} == set(range(len(cell.verticals)))
    assert [step.root for step in steps if step.is_output] == [cell.y]
    assert len({step.root for step in steps}) == len(steps)


def test_the_steps_are_a_right_order_of_all_nodes() -> None:
    for cell in CELLS:
        check_steps(cell)


@given(cells())
@settings(max_examples=40)
def test_the_steps_of_any_cell_are_a_right_order_of_all_nodes(cell: Cell) -> None:
    check_steps(cell)
    assert all(title and said.endswith(".") for title, said in told(cell))


# --- what is said ---


def test_what_is_said_of_the_lstm() -> None:
    gate = "A sigmoid of *x* and the old *h*, between 0 and 1 for each unit. It multiplies"
    assert told(ZOO["lstm"]) == [
        ("*f*, how much is kept of *c*", f"{gate} the old *c*: how much of it is kept."),
        (
            "*i*, how much is written into *c*",
            f"{gate} *g*: how much of it is written into *c*.",
        ),
        (
            "*g*, what may be written into *c*",
            "A tanh of *x* and the old *h*, between −1 and 1 for each unit. It may be written into "
            "*c*, as far as *i* lets it.",
        ),
        (
            "The new *c*",
            "The new *c* is the sum of what is kept and what is written. Kept: *f* times the old "
            "*c*. Written: *i* times *g*.",
        ),
        (
            "*o*, how much of *c* is shown",
            f"{gate} the tanh of the new *c*: how much of it is shown in the new *h*.",
        ),
        (
            "The new *h*, which is put out",
            "The new *h* is *o* times the tanh of the new *c*: what the cell shows of *c*. It is "
            "also what the cell puts out.",
        ),
    ]


def test_what_is_said_of_mut1_whose_text_has_it_in_one_line() -> None:
    assert told(ZOO["mut1"]) == [
        (
            "*z*, which shares *h* between old and new",
            "A sigmoid of *x*, between 0 and 1 for each unit. It shares *h* between old and new: "
            "where it is near 1, *candidate* replaces the old *h*; where it is near 0, the old *h* "
            "stays.",
        ),
        (
            "*r*, how much of the old *h* is seen",
            "A sigmoid of *x* and the old *h*, between 0 and 1 for each unit. It multiplies the "
            "old *h* before *candidate* reads it: how much of the old *h* is seen there.",
        ),
        (
            "*candidate*, what may be written into *h*",
            "The tanh of the sum of a learned map of *r* times the old *h* and the tanh of *x*, "
            "between −1 and 1 for each unit. It may be written into *h*, as far as *z* lets it.",
        ),
        (
            "The new *h*, which is put out",
            "The new *h* lies between the old *h* and *candidate*, unit by unit, where *z* says. "
            "Kept: (1 − *z*) times the old *h*. Written: *candidate* times *z*. It is also what "
            "the cell puts out.",
        ),
    ]


def test_the_gru_keeps_what_mut1_replaces() -> None:
    said = dict(told(ZOO["gru"]))["*z*, which shares *h* between old and new"]
    assert said.endswith("near 1, the old *h* stays; where it is near 0, *n* replaces it.")


def test_roles_come_from_the_graph_and_not_from_names() -> None:
    text = str(ZOO["lstm"])
    other = dict(i="aa", f="bb", g="cc", o="dd", c_new="ee", c="ff", h="gg", lstm="other")
    new = re.sub(r"\b(\w+)\b", lambda word: other.get(word[0], word[0]), text.split('"""')[2])
    head = re.sub(r"\b(\w+)\b", lambda word: other.get(word[0], word[0]), text.split('"""')[0])
    back = {f"*{new}*": f"*{old}*" for old, new in other.items()}
    renamed = told(loads(head.rstrip() + new))
    for pair, known in zip(renamed, told(ZOO["lstm"]), strict=True):
        for said, expected in zip(pair, known, strict=True):
            assert re.sub(r"\*\w+\*", lambda name: back.get(name[0], name[0]), said) == expected


@pytest.mark.parametrize(
    ("text", "title", "said"),
    [
        (
            "def a(x, h, old: input):\n    return tanh(linear(x, h, old)), x\n",
            "The new *old*: a delay",
            "The new *old* is *x* as it is: a delay, by which it is read once more.",
        ),
        (
            "def a(x, h, c):\n    f = sigmoid(linear(x))\n    return f * c, tanh(linear(x, h))\n",
            "The new *h*, which is put out",
            "The new *h* is *f* times the old *c*. It does not depend on the old *h*. It is also "
            "what the cell puts out.",
        ),
        (
            "def a(x, h):\n    y = linear(h)\n    return y, tanh(linear(x, h))\n",
            "What is put out",
            "A learned map of the old *h*. It leaves the cell as its output and is not remembered.",
        ),
        (
            "def a(x, h, *, low):\n    return h + relu(linear(x, low)), linear(h)\n",
            "The new *h*, which is put out",
            "The new *h* is the sum of what is kept and what is written. Kept: all of the old *h*. "
            "Written: *candidate*. It is also what the cell puts out.",
        ),
        (
            "def a(x, h, m):\n    return tanh(linear(x, m)), max(m, h)\n",
            "The new *m*",
            "The new *m* is the larger of the old *m* and the old *h*. It reads the old *m* as it "
            "is.",
        ),
        (
            "def a(x, h):\n    return layer_norm(0.9 * h - linear(x))\n",
            "The new *h*, which is put out",
            "The new *h* is the layer norm of what is kept and what is taken away. Kept: 0.9 times "
            "the old *h*. Taken away: a learned map of *x*. It is also what the cell puts out.",
        ),
        (
            "def a(x, h):\n    return tanh(linear(x, h)) * blend(sigmoid(linear(x)), h, x)\n",
            "*gate*, which shares *h* between old and new",
            None,
        ),
        (
            str(ZOO["cfc"]),
            "*late*, which mixes *end* and *start*",
            "A sigmoid of *z*, between 0 and 1 for each unit. It mixes: near 1, *end* goes into "
            "the new *h*; near 0, *start*.",
        ),
        (
            "def a(x, h):\n    z = sigmoid(linear(x, h))\n"
            "    return h + z * (tanh(linear(x)) - h)\n",
            "The new *h*, which is put out",
            "The new *h* lies between the old *h* and *candidate*, unit by unit, where *z* says. "
            "Kept: (1 − *z*) times the old *h*. Written: *z* times *candidate*. It is also what "
            "the cell puts out.",
        ),
        *(
            (
                "def a(x, h):\n    k = sigmoid(linear(x)) * h\n    return k + tanh(linear(x, k))\n",
                title,
                text,
            )
            for title, text in (
                (
                    "*k*, what is kept of *h*",
                    "*gate* times the old *h*. It is what is kept of the old *h*.",
                ),
                (
                    "The new *h*, which is put out",
                    "The new *h* is the sum of what is kept and what is written. Kept: *k*. "
                    "Written: *candidate*. It is also what the cell puts out.",
                ),
            )
        ),
        (
            str(ZOO["lstm_fgr"]),
            "The new *f*",
            "The new *f* is a sigmoid of *x*, the old *h*, the old *i*, the old *f*, the old *o*, "
            "and, by one weight for each unit, the old *c*. Nothing of the old *f* is kept as it "
            "is: all that is left of it has gone through a learned map. It multiplies the old *c*: "
            "how much of it is kept.",
        ),
        (
            str(ZOO["slstm"]),
            "*keep*",
            "The exponential of (*past* minus the new *m*), never below 0 for each unit. It "
            "multiplies the old *c* on its way to the new one. It multiplies the old *n* on its "
            "way to the new one.",
        ),
    ],
)
def test_what_is_said_of_other_structures(text: str, title: str, said: str | None) -> None:
    found = dict(told(loads(text)))
    assert title in found
    assert said is None or found[title] == said


# --- what is known of values ---


def values_of(cell: Cell, seed: int) -> dict[int, np.ndarray]:
    """The values of all nodes in a step from random numbers, by the eager reference."""
    torch.manual_seed(seed)
    width = 8
    layer = EagerCell(cell, width, width, dtype=torch.float64)
    layer.reset_parameters(3.0)
    below = [torch.randn(3, width, dtype=torch.float64) for _ in cell.verticals]
    x = torch.randn(3, width, dtype=torch.float64)
    sizes = layer.sizes[1 : 1 + len(cell.states)]
    states = [torch.randn(3, size, dtype=torch.float64) for size in sizes]
    with torch.no_grad():
        found = layer.values(x, states, below, 5)
        return {i: layer.row(value, i, x).numpy() for i, value in found.items()}


@some_cells
def test_values_are_in_their_ranges_and_sums_of_their_terms(cell: Cell) -> None:
    known = ranges(cell)
    for seed in range(2):
        found = values_of(cell, seed)
        for i in cell.live:
            low, high = known[i]
            assert (found[i] >= low - 1e-12).all(), cell.nodes[i]
            assert (found[i] <= high + 1e-12).all(), cell.nodes[i]
        for step in steps_of(cell):
            check_terms(cell, step, found)


def check_terms(cell: Cell, step: Step, found: dict[int, np.ndarray]) -> None:
    for top in tops(Graphs(cell), step):
        terms = terms_of(cell, top, frozenset(step.nodes))
        with np.errstate(all="ignore"):
            total = sum(product(term, found) for term in terms)
        np.testing.assert_allclose(total + 0 * found[top], found[top] + 0 * total, rtol=1e-9)


def product(term: Term, found: dict[int, np.ndarray]) -> np.ndarray:
    result = np.array(-1.0 if term.negative else 1.0)
    for factor in term.factors:
        value = found[factor.node]
        forms = {"plain": value, "rest": 1 - value, "inverse": 1 / value}
        result = result * forms[factor.form]
    return result


# --- the picture ---


@some_cells
def test_each_box_of_the_picture_is_lit_by_the_steps_of_its_values(cell: Cell) -> None:
    steps = steps_of(cell)
    shown = lit(named(cell, steps), steps)
    everything = set(range(len(steps)))
    places = {node: place for place, step in enumerate(steps) for node in step.nodes}
    parts = parts_of(named(cell, steps))
    for box in shown.picture.drawn:
        if isinstance(box, Shape) and box.of and box.fill in (LAYER, POINT):
            inside = {i for part in box.of for i in parts[part].nodes if cell.nodes[i].args}
            # Several steps only where values inside of the box have names, as in `NAMED`.
            assert shown.lit_by(box) == {places[i] for i in inside} or not inside
    assert set().union(*(shown.lit_by(one) for one in shown.picture.drawn)) == everything


def test_the_lit_part_of_a_gate_of_the_lstm() -> None:
    steps = steps_of(ZOO["lstm"])
    shown = lit(ZOO["lstm"], steps)
    forget = next(k for k, step in enumerate(steps) if ZOO["lstm"].nodes[step.root].name == "f")
    bright = [one for one in shown.picture.drawn if forget in shown.lit_by(one)]
    inks = Counter(one.ink for one in bright if isinstance(one, Line))
    assert set(inks) == {"#333333", "#2b6cb0", "#1f7a4d"}, "x, h and what they flow into; not c"
    assert sum(isinstance(one, Shape) for one in bright) == 2, "its box, and x"
    heads = [one for one in bright if isinstance(one, Arrow) and one.towards == "right"]
    assert len(heads) == 1, "the line into it, not those into its neighbours"
    left, top, width, height = shown.detail(forget)
    assert width < shown.picture.width
    assert 0 <= left <= left + width <= shown.picture.width
    assert 0 <= top <= top + height <= shown.picture.height


# --- the page ---


def check_page(cell: Cell) -> str:
    page = walk(cell)
    assert not re.search(r"<script|<link|src=|@import|url\(", page)
    assert set(re.findall(r'https?://[^\s"<]+', page)) <= {
        *re.findall(r'https?://[^\s"<]+', cell.doc),
        "http://www.w3.org/1998/Math/MathML",
    }
    for part in re.findall(r"<svg.*?</svg>|<math.*?</math>", page, re.DOTALL):
        ET.fromstring(part)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert page.count('<section class="step') == len(steps_of(cell))
    return page


@pytest.mark.parametrize("name", every_eighth(ZOO))
def test_the_page_is_whole_and_needs_nothing_else(name: str) -> None:
    page = check_page(ZOO[name])
    assert f"A walk through {name}" in page


@given(cells())
@settings(max_examples=10)
def test_any_cell_has_a_page(cell: Cell) -> None:
    check_page(cell)


def test_every_equation_stands_beside_its_step() -> None:
    cell = ZOO["gru"]
    page = walk(cell)
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    for line in equations(cell):
        assert sum(mathml(str(line)) in section for section in sections) == 1


@pytest.mark.parametrize("name", every_eighth(ZOO))
def test_equations_are_broken_without_loss(name: str) -> None:
    from latex2mathml.converter import convert

    def signs(html: str) -> str:
        return re.sub(r"\s+|\u2062", "", "".join(ET.fromstring(f"<a>{html}</a>").itertext()))

    for line in equations(ZOO[name]):
        whole = str(line).replace("&", "")
        assert signs(mathml(str(line))) == signs(convert(whole))


def test_a_long_equation_can_be_broken() -> None:
    assert mathml(r"a_t = " + r" + ".join(rf"W_{{{k}}} x_t" for k in range(30))).count("<math") > 3


@pytest.mark.process
def test_a_walk_needs_no_torch() -> None:
    code = "import sys, nas; page = nas.zoo['mut1'].walk(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_notebooks_show_picture_and_equations() -> None:
    cell = ZOO["gru"]
    assert cell._repr_svg_() == cell.svg()
    shown = cell._repr_html_()
    assert cell.svg() in shown
    assert all(mathml(str(line)) in shown for line in equations(cell))
