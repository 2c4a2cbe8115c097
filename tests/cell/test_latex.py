"""Equations as LaTeX: those of the literature, each parameter in its place."""

import re
from collections import Counter

import pytest
from matplotlib.mathtext import MathTextParser

from nas.cell import OPS, Cell, loads
from nas.cell.graph import is_learned
from nas.cell.mutation import random_walk
from nas.cell.mutation.rules import Mutations
from nas.zoo import ZOO
from tests.cell.test_draw import STRANGE, written
from tests.shares import every_eighth

MUTANTS = [m.cell for m in random_walk(ZOO["lstm"], 20, 0, Mutations(min_operations=20))]
CELLS = [*ZOO.values(), loads(STRANGE), *MUTANTS]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
PARAMETER = re.compile(
    r"(?<![\\A-Za-z{])([Wbwvs](?:\^\{\\mathrm\{\w+\}\})?_(?:\{(?:[^{}]|\{[^{}]*\})*\}|\w))"
)


def test_the_lstm() -> None:
    """Greff et al. 2015, without peepholes."""
    assert (
        ZOO["lstm"].latex()
        == r"""\begin{align}
i_t &= \sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i) \\
f_t &= \sigma(W_{xf} x_t + W_{hf} h_{t-1} + b_f) \\
g_t &= \tanh(W_{xg} x_t + W_{hg} h_{t-1} + b_g) \\
o_t &= \sigma(W_{xo} x_t + W_{ho} h_{t-1} + b_o) \\
c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
h_t &= o_t \odot \tanh(c_t)
\end{align}
"""
    )


def test_the_gru() -> None:
    assert (
        ZOO["gru"].latex()
        == r"""\begin{align}
r_t &= \sigma(W_{xr} x_t + W_{hr} h_{t-1} + b_r) \\
z_t &= \sigma(W_{xz} x_t + W_{hz} h_{t-1} + b_z) \\
n_t &= \tanh(W_{xn} x_t + W_{hn} (r_t \odot h_{t-1}) + b_n) \\
h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot n_t
\end{align}
"""
    )


def line_of(cell: Cell, start: str) -> str:
    lines = cell.latex().splitlines()
    [found] = (line.removesuffix(r" \\") for line in lines if line.startswith(start))
    return found


def test_lines_of_the_literature() -> None:
    assert line_of(ZOO["gru_v1"], "n_t") == (
        r"n_t &= \tanh(W_{xn} x_t + b_{xn} + r_t \odot (W_{hn} h_{t-1} + b_{hn}))"
    )
    assert line_of(ZOO["lstm_peephole"], "o_t") == (
        r"o_t &= \sigma(W_{xo} x_t + W_{ho} h_{t-1} + b_o + w_{co} \odot c_t)"
    )
    assert line_of(ZOO["lstm_b"], "b_f") == r"b_f &\text{ starts at } 1"
    assert line_of(ZOO["irnn"], "W_{hh}") == r"W_{hh} &\text{ starts at } I"
    assert line_of(ZOO["mut3"], "z_t") == (
        r"z_t &= \sigma(W_{xz} x_t + W_{hz} \tanh(h_{t-1}) + b_z)"
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("c - (h - c)", r"c_{t-1} - (h_{t-1} - c_{t-1})"),
        ("c - h - c", r"c_{t-1} - h_{t-1} - c_{t-1}"),
        ("c + -h", r"c_{t-1} + (-h_{t-1})"),
        ("-(c + h)", r"-(c_{t-1} + h_{t-1})"),
        ("c * (h - c)", r"c_{t-1} \odot (h_{t-1} - c_{t-1})"),
        ("c * -h", r"c_{t-1} \odot (-h_{t-1})"),
        ("-2 * h", r"(-2) \cdot h_{t-1}"),
        ("h / (c + 1)", r"\frac{h_{t-1}}{c_{t-1} + 1}"),
        ("square(h + c)", r"(h_{t-1} + c_{t-1})^2"),
        ("sqrt(abs(h))", r"\sqrt{\left| h_{t-1} \right|}"),
        ("max(h, 0.000001)", r"\max(h_{t-1}, 1 \cdot 10^{-6})"),
        ("blend(h, c, h)", r"h_{t-1} \odot c_{t-1} + (1 - h_{t-1}) \odot h_{t-1}"),
        ("leaky_relu(h, slope=0.2)", r"\operatorname{leakyrelu}_{0.2}(h_{t-1})"),
        ("scalar(init=2) * h", r"s_h \cdot h_{t-1}"),
        ("step() * h", r"t \cdot h_{t-1}"),
        ("block_diagonal(h)", r"W^{\mathrm{block}}_{hh} h_{t-1}"),
        ("linear(x, bias=None) * h", r"W_{xh} x_t \odot h_{t-1}"),
        ("linear(x) * h", r"(W_{xh} x_t + b_h) \odot h_{t-1}"),
        ("linear(h) + linear(h)", r"W_{hh} h_{t-1} + b_{hh} + W_{hh,2} h_{t-1} + b_{hh,2}"),
    ],
)
def test_expressions(expression: str, expected: str) -> None:
    cell = loads(f"def one(x, h, c):\n    return {expression}, c + linear(x)\n")
    assert line_of(cell, "h_t") == f"h_t &= {expected}"


def test_a_gate_called_t_is_not_the_time() -> None:
    cell = loads("def one(x, h):\n    t = sigmoid(linear(x))\n    return t * h\n")
    assert (
        line_of(cell, r"\mathrm{t}_t &")
        == r"\mathrm{t}_t &= \sigma(W_{x,\mathrm{t}} x_t + b_{\mathrm{t}})"
    )


@each_cell
def test_every_parameter_has_one_symbol(cell: Cell) -> None:
    """As many different symbols as there are matrices, biases and learned vectors."""
    count = 0
    for n in (cell.nodes[i] for i in cell.live):
        if n.op == "linear":
            count += len(n.args) + (n.attr("bias") is not None)
        elif is_learned(n):
            count += not (n.op in ("vector", "scalar") and n.name)
    equations = [line for line in cell.latex().splitlines() if "&=" in line]
    right = " ".join(line.split("&=")[1] for line in equations)
    # States and lines may be called b, s, v, w as well: they have a time.
    found = {name for name in PARAMETER.findall(right) if not re.search(r"[_{,]t(-1)?\}?$", name)}
    assert len(found) == count, found


@each_cell
def test_every_state_has_one_line_and_is_read(cell: Cell) -> None:
    equations = [line for line in cell.latex().splitlines() if "&=" in line]
    left = Counter(line.split(" &=")[0] for line in equations)
    assert set(left.values()) == {1}
    for state in cell.states:
        name = rf"\mathrm{{{state.name}}}" if len(state.name) > 1 else state.name
        name = name.replace("_", r"\_")
        assert left[f"{name}_t"] == 1
        assert any(f"{name}_{{t-1}}" in line for line in equations) or state.name == "x_old"


@each_cell
def test_braces_and_environments_are_balanced(cell: Cell) -> None:
    text = cell.latex()
    assert text.startswith("\\begin{align}\n")
    assert text.endswith("\n\\end{align}\n")
    for opening, closing in ("{}", "()"):
        assert text.count(opening) == text.count(closing)
    body = text.splitlines()[1:-1]
    assert [line.endswith(r" \\") for line in body] == [True] * (len(body) - 1) + [False]
    assert all(line.count("&") == 1 for line in body)


@pytest.mark.parametrize("cell", every_eighth(CELLS), ids=lambda cell: cell.name)
def test_every_line_is_set(cell: Cell) -> None:
    """matplotlib's subset of TeX knows all of it."""
    parser = MathTextParser("path")
    for line in cell.latex().splitlines()[1:-1]:
        parser.parse(f"${line.removesuffix(chr(92) * 2).replace('&', '').strip()}$")


def test_every_operation_is_written() -> None:
    parser = MathTextParser("path")
    for name, op in OPS.items():
        if op.kind in ("elementwise", "row"):
            of = written(name, ", ".join("hcx"[: op.arity or 1]))
            line = line_of(loads(f"def one(x, h, c):\n    return {of}, c + linear(x)\n"), "h_t")
            parser.parse(f"${line.replace('&', '')}$")
            assert "h_{t-1}" in line
