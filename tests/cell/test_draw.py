"""Pictures of cells: what is drawn, where it stands, and that both writers agree."""

import functools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from matplotlib.image import imread

import nas
from nas.cell import OPS, Cell, loads
from nas.cell.mutation import random_walk
from nas.cell.mutation.rules import Mutations
from nas.cell.picture.diagram import Part, parts_of
from nas.cell.picture.drawing import POINT, STATE_INKS, picture, text_width
from nas.cell.picture.layout import Layout, crossings, place
from nas.cell.picture.write import Arrow, Line, Picture, Shape, Text, svg, write_png
from nas.errors import UserError
from nas.zoo import ZOO
from tests.shares import every_eighth

STRANGE = """
def strange(x, h, c=1, x_old: input = 0, s: 1 = 0, *, below):
    v = vector(init=0.5)
    k = scalar() * s + 0.1
    a = max(block_diagonal(h) + masked(c), -1) / (2 - c)
    b = blend(sigmoid(linear(x, x_old, below, bias=1)), layer_norm(a), abs(c - v))
    w = linear(linear(b, width=input) - x, bias=None)
    return linear(b, h), b * step() + w, -c + 3, x, k, softplus(b)
"""


@functools.cache
def walked() -> tuple[Cell, ...]:
    """The largest cell of a walk from each of two."""
    rules = Mutations(min_operations=20)
    walks = (random_walk(ZOO[name], 60, 1, rules) for name in ("lstm", "gru"))
    return tuple(max((m.cell for m in walk), key=lambda c: len(c.live)) for walk in walks)


each_cell = pytest.mark.parametrize(
    "cell", [*every_eighth(ZOO.values()), loads(STRANGE), *walked()], ids=lambda cell: cell.name
)
drawn_once = functools.cache(picture)


@functools.cache
def laid_out(cell: Cell) -> Layout:
    return place(parts_of(cell))


def described(parts: tuple[Part, ...], i: int) -> str:
    """A part with all that it reads, as an expression."""
    part = parts[i]
    read = [
        wire.mark + ("~" if wire.elementwise else "") + described(parts, wire.source)
        for wire in part.wires
    ]
    return f"{part.label}({', '.join(sorted(read))})" if read else part.label


def drawn_cell(name: str) -> dict[str, str]:
    parts = parts_of(ZOO[name])
    outputs = (i for i, part in enumerate(parts) if part.kind == "output" and part.port != "y")
    return {parts[i].label: described(parts, parts[i].wires[0].source) for i in outputs}


def test_the_parts_of_known_cells() -> None:
    gate = "σ((h, x))"
    assert drawn_cell("rnn") == {"h": "tanh((h, x))"}
    new = f"+(×(c, {gate}), ×(tanh((h, x)), {gate}))"
    assert drawn_cell("lstm") == {"h": f"×(tanh({new}), {gate})", "c": new}
    seen = "σ((h, x), ~c)"
    new = f"+(tanh((h, x)), ×(c, {seen}))"
    assert drawn_cell("lstm_nig")["c"] == new
    assert drawn_cell("lstm_nig")["h"] == f"×(tanh({new}), σ((h, x), ~{new}))"
    candidate = f"tanh((x, ×(h, {gate})))"
    assert drawn_cell("gru") == {"h": f"+(×(1−({gate}), {candidate}), ×(h, {gate}))"}
    candidate = f"tanh(+(W(x), ×(W(h), {gate})))"
    assert drawn_cell("gru_v1") == {"h": f"+(×(1−({gate}), {candidate}), ×(h, {gate}))"}


def test_the_parts_of_a_strange_cell() -> None:
    parts = parts_of(loads(STRANGE))
    labels = Counter(part.label for part in parts if part.kind not in ("input", "output", "merge"))
    assert labels["2−"] == labels["max −1"] == labels["+0.1"] == labels["W blocks"] == 1
    assert labels["1−"] == 1, "blend is drawn as what it means"
    marks = Counter(wire.mark for part in parts for wire in part.wires)
    assert marks["÷"] == 1
    assert marks["−"] == 2
    notes = {part.note for part in parts} - {""}
    assert notes == {"bias 1", "at 0.5", "width input"}


def test_layers_that_read_the_same_share_a_merge() -> None:
    merges = [part for part in parts_of(ZOO["lstm_fgr"]) if part.kind == "merge"]
    assert [len(part.wires) for part in merges] == [2, 4], "the second takes up the first"


@each_cell
def test_every_operation_is_drawn(cell: Cell) -> None:
    """What is computed is found again: activations and products of the graph, by their count."""
    parts = parts_of(cell)
    labels = Counter(part.label for part in parts)
    live = Counter(cell.nodes[i].op for i in cell.live)
    assert labels["tanh"] == live["tanh"]
    assert labels["σ"] == live["sigmoid"]
    products = sum(label.startswith("×") * n for label, n in labels.items())
    assert products == live["mul"] + 2 * live["blend"]
    dashed = sum(wire.elementwise for part in parts for wire in part.wires)
    assert dashed == live["diagonal"]


def test_every_operation_has_a_label() -> None:
    for name, op in OPS.items():
        if op.kind in ("elementwise", "row"):
            of = ", ".join("hcx"[: op.arity or 1])
            cell = loads(f"def one(x, h, c):\n    return {written(name, of)}, c + linear(x)\n")
            parts = parts_of(cell)
            assert "h" in described(parts, parts[-1].wires[0].source)


def written(op: str, args: str) -> str:
    infix = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
    if op == "neg":
        return f"-{args}"
    return args.replace(",", infix[op]) if op in infix else f"{op}({args})"


# --- places ---


def middle_parts(layout: Layout) -> list[int]:
    return [i for i, s in enumerate(layout.grid.slots) if not s.passes]


@each_cell
def test_lines_run_to_the_right_and_slots_keep_apart(cell: Cell) -> None:
    layout = laid_out(cell)
    grid = layout.grid
    for a, b in grid.lines:
        assert grid.slots[b].layer == grid.slots[a].layer + 1
    for layer in layout.order:
        heights = [layout.heights[slot] for slot in layer]
        for k in range(1, len(layer)):
            assert heights[k] - heights[k - 1] >= grid.gap(layer[k - 1], layer[k])
        assert min(heights) >= 0
        assert max(heights) <= layout.n_units


@each_cell
def test_states_leave_where_they_enter_and_x_is_lowest(cell: Cell) -> None:
    layout = laid_out(cell)
    at = {
        (grid_part.kind, grid_part.port): layout.heights[i]
        for i in middle_parts(layout)
        if (grid_part := layout.grid.parts[layout.grid.slots[i].part]).port
    }
    states = [at["input", f"state {k}"] for k in range(len(cell.states))]
    assert states == [at["output", f"state {k}"] for k in range(len(cell.states))]
    assert states == sorted(states, reverse=True), "h is the lowest, the last state the highest"
    assert at["input", "x"] > max(states)


CROSSINGS = {"lstm": 0, "lstm_peephole": 1, "gru": 2, "mgu": 2, "mut3": 2, "lstm_cifg": 0}


def test_few_lines_cross() -> None:
    assert {name: laid_out(ZOO[name]).n_crossings for name in CROSSINGS} == CROSSINGS


def test_few_lines_cross_in_all_known_cells() -> None:
    """Three a cell; the state spaces of s4d (85), mamba and s5 and rwkv_4 have half of them."""
    assert sum(laid_out(cell).n_crossings for cell in ZOO.values()) <= 423


def test_no_two_neighbours_would_better_change_places() -> None:
    walk = random_walk(ZOO["lstm"], 60, 3, Mutations(min_operations=20))
    for mutant in walk[30::5]:
        check_neighbours(place(parts_of(mutant.cell)))


def check_neighbours(layout: Layout) -> None:
    order = [list(layer) for layer in layout.order]
    for layer in order[1:-1]:
        for k in range(len(layer) - 1):
            layer[k], layer[k + 1] = layer[k + 1], layer[k]
            assert crossings(layout.grid, order) >= layout.n_crossings
            layer[k], layer[k + 1] = layer[k + 1], layer[k]


@pytest.mark.parametrize("name", ["ugrnn", "mgu", "lstm_nig", "gru"])
def test_no_order_at_all_has_fewer_crossings(name: str) -> None:
    """All orders of a layer, one layer after another, with the fewest crossings up to there."""
    layout = laid_out(ZOO[name])
    grid, order = layout.grid, layout.order
    best = {order[0]: 0}
    for k, layer in enumerate(order[1:], start=1):
        orders = list(permutations(layer)) if k < len(order) - 1 else [layer]
        best = {
            new: min(
                fewest + crossings(grid, [list(old), list(new)]) for old, fewest in best.items()
            )
            for new in orders
        }
    assert layout.n_crossings == best[order[-1]]


def test_the_state_of_the_lstm_is_a_straight_line() -> None:
    lines = [one for one in picture(ZOO["lstm"]).drawn if isinstance(one, Line)]
    curves = [one for one in lines if any(len(piece) == 3 for piece in one.pieces)]
    top = min(one.start[1] for one in lines)
    straight = [one for one in lines if one.start[1] == top and one not in curves]
    assert min(one.start[0] for one in straight) < 60, "from the left"
    assert max(one.pieces[-1][-1][0] for one in straight) > 600, "to the right"


# --- the picture ---


def boxes(drawn: Picture) -> list[Shape]:
    return [one for one in drawn.drawn if isinstance(one, Shape)][1:]  # without the frame


@each_cell
def test_nothing_overlaps_and_all_is_on_the_paper(cell: Cell) -> None:
    drawn = drawn_once(cell)
    shapes = boxes(drawn)
    for k, one in enumerate(shapes):
        for other in shapes[:k]:
            apart = [
                abs(one.middle[i] - other.middle[i]) * 2 - one.size[i] - other.size[i]
                for i in (0, 1)
            ]
            assert max(apart) > 0, (one, other)
    for text in (one for one in drawn.drawn if isinstance(one, Text)):
        width = text_width(text.text, text.size) + 0.72 * text_width(text.sub, text.size)
        left = text.at[0] - {"start": 0, "middle": width / 2, "end": width}[text.anchor]
        assert 0 <= left <= left + width <= drawn.width, text
        assert text.size / 2 <= text.at[1] <= drawn.height - text.size / 2


@each_cell
def test_no_line_runs_through_a_box(cell: Cell) -> None:
    """Straight pieces; curves lie between two layers, where nothing stands."""
    drawn = drawn_once(cell)
    for line in (one for one in drawn.drawn if isinstance(one, Line)):
        at = line.start
        for piece in line.pieces:
            ends, at = (at, piece[-1]), piece[-1]
            if len(piece) == 1:
                for shape in boxes(drawn):
                    assert not inside(shape, ends), (line, shape)


def inside(shape: Shape, ends: tuple[tuple[float, float], tuple[float, float]]) -> bool:
    """Whether a horizontal or vertical piece passes through the inner part of a shape."""
    within = []
    for i in (0, 1):
        low, high = sorted(end[i] for end in ends)
        edge = shape.size[i] / 2 - 5  # lines end at the edge of a circle, inside of its box
        within.append(high > shape.middle[i] - edge and low < shape.middle[i] + edge)
    return all(within)


@each_cell
def test_every_wire_arrives(cell: Cell) -> None:
    """One head of an arrow for each wire of a box or circle, each output and each input below."""
    parts = parts_of(cell)
    wires = sum(len(part.wires) for part in parts if part.kind in ("layer", "point"))
    below = sum(part.kind == "input" and not part.port.startswith("state") for part in parts)
    outputs = sum(part.kind == "output" for part in parts)
    arrows = [one for one in drawn_once(cell).drawn if isinstance(one, Arrow)]
    assert len(arrows) == wires + below + outputs


def test_the_mark_of_a_subtraction_is_at_what_is_subtracted() -> None:
    """On the side of its port where no other line arrives, whichever comes from above."""
    for text, sign in (("tanh(linear(x)) - h", 1), ("h - tanh(linear(x))", -1)):
        drawn = picture(loads(f"def one(x, h):\n    return {text}\n"))
        [mark] = (one for one in drawn.drawn if isinstance(one, Text) and one.text == "−" and
                  one.size == 14)  # fmt: skip
        [circle] = (one for one in drawn.drawn if isinstance(one, Shape) and one.fill == POINT and
                    abs(one.middle[0] - mark.at[0]) < 30)  # fmt: skip
        tips = [one.tip for one in drawn.drawn if isinstance(one, Arrow)]
        ports = [tip for tip in tips if abs(tip[0] - circle.middle[0]) < 20]
        nearest = min(ports, key=lambda tip: abs(tip[1] - mark.at[1]))
        inks = {one.tip: one.ink for one in drawn.drawn if isinstance(one, Arrow)}
        assert (inks[nearest] == STATE_INKS[0]) == (sign == 1)


@each_cell
def test_the_svg_is_whole(cell: Cell) -> None:
    text = cell.svg()
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert [child.tag for child in root][:2] == [f"{space}title", f"{space}desc"]
    assert root[0].text == cell.name
    assert root[1].text is not None
    assert str(cell).strip() in root[1].text
    assert not re.search(r"href|url\(", text), "self-contained"
    tags = Counter(child.tag.removeprefix(space) for child in root)
    drawn = Counter(type(one).__name__ for one in drawn_once(cell).drawn)
    assert tags["path"] == drawn["Line"]
    assert tags["text"] == drawn["Text"]
    assert tags["rect"] == drawn["Shape"] + 1
    assert tags["polygon"] == drawn["Arrow"]
    assert text == svg(drawn_once(cell)), "the same each time"


def test_what_xml_reads_as_its_own_is_escaped() -> None:
    cell = loads('def odd(x, h):\n    """a < b & "c" ]]> ü"""\n    return tanh(linear(x, h))\n')
    desc = ET.fromstring(cell.svg())[1].text
    assert desc is not None
    assert 'a < b & "c" ]]> ü' in desc


def test_a_layer_of_a_diagonal_alone_has_no_merge() -> None:
    cell = loads(
        "def odd(x, h, c):\n    c_new = sigmoid(linear(x, h)) * c\n"
        "    return h * sigmoid(linear(x) + h + diagonal(c_new)), c_new\n"
    )
    assert all(part.wires for part in parts_of(cell) if part.kind == "merge")
    assert cell.svg()


def test_both_writers_draw_the_same(tmp_path: Path) -> None:
    """In the middle of every box and circle, the PNG has the colour that the SVG says."""
    drawn = picture(ZOO["lstm_peephole"])
    path = tmp_path / "cell.png"
    write_png(drawn, path, scale=2.0)
    image = imread(path)
    assert abs(image.shape[0] - 2 * drawn.height) <= 2
    assert abs(image.shape[1] - 2 * drawn.width) <= 2
    for shape in boxes(drawn):
        x, y = shape.middle[0] - shape.size[0] / 2 + 4, shape.middle[1]
        seen = "#" + "".join(f"{round(255 * v):02x}" for v in image[round(2 * y), round(2 * x), :3])
        assert seen == shape.fill
        number = re.escape(f"{shape.middle[0] - shape.size[0] / 2:.1f}".removesuffix(".0"))
        assert re.search(rf'<rect x="{number}" [^>]*fill="{shape.fill}"', svg(drawn))


def test_a_png_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"picture .*none.* cannot be written: No such file"):
        nas.zoo["rnn"].png(tmp_path / "none" / "cell.png")
