"""Genotypes of DARTS and arcs of ENAS; `tests/zoo/papers_genotypes.py` has their equations."""

import json
import re
from pathlib import Path

import pytest

import nas
from nas.errors import CellError
from nas.zoo.imports.genotype import Genotype, read_arc, read_genotype, traced

V2 = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), "
    "('sigmoid', 5), ('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)
V2_AS_ENAS_LM = "0 2 1 1 1 1 1 3 2 0 5 2 3 0 5 1"
"""The README of google-research/enas_lm: "the architecture found by DARTS"."""


def test_the_published_arc_of_darts_is_its_genotype():
    assert nas.cell(f"enas_lm: {V2_AS_ENAS_LM}") is nas.cell(V2) is nas.zoo["darts_v2"]


def test_a_genotype_as_text_mapping_and_file(tmp_path: Path):
    data = {"recurrent": [["tanh", 0], ["relu", 0]], "concat": [1, 2]}
    cell = nas.cell(data)
    assert cell.name == f"darts_{cell.key[:6]}"
    text = "MINE = Genotype(\n  recurrent=[('tanh', 0), ('relu', 0)],\n  concat=range(1, 3)\n)\n"
    assert nas.cell(text) == cell
    for name, content in {"mine.json": json.dumps(data), "mine.txt": text}.items():
        (tmp_path / name).write_text(content)
        assert nas.cell(tmp_path / name) == cell


def test_an_arc_as_text_and_mapping():
    arcs = ["3 0 1", "3,0,1", " 3, 0, 1 ", [3, 0, 1]]
    cells = [nas.cell({"enas": arc}) for arc in arcs] + [nas.cell("enas: 3 0 1")]
    assert len({cell.key for cell in cells}) == 1
    assert read_arc("3 0 1", "enas") == Genotype((("relu", 0),), (1,), "sigmoid", "enas")


def test_the_two_forms_of_an_arc_number_their_functions_differently():
    one, two = read_arc("0 0 2 0 3", "enas"), read_arc("0 2 0 3", "enas_lm")
    assert one.recurrent == (("identity", 0), ("sigmoid", 0))
    assert two.recurrent == (("sigmoid", 0), ("identity", 0))


def test_the_script_of_enas_averages_its_loose_ends():
    """scripts/ptb_final.sh of melodyguan/enas; by hand, nodes 3, 4, 7, 9, 10 and 11 are loose."""
    genotype = read_arc("0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1", "enas")
    assert genotype.concat == (3, 4, 7, 9, 10, 11)
    assert "return total / 6" in str(traced(genotype))


def test_enas_for_darts_averages_its_loose_ends_too():
    text = (
        "Genotype(recurrent=[('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), ('tanh', 3), "
        "('relu', 3), ('relu', 4), ('relu', 7), ('relu', 8), ('relu', 8), ('relu', 8)], "
        "concat=[2, 5, 6, 9, 10, 11])"
    )
    genotype = read_genotype(text)
    assert genotype.concat == genotype.loose_ends
    assert nas.cell(text) is nas.zoo["enas"]


def test_equations_that_speak_of_a_genotype_stay_equations():
    doc = '"""As Genotype(recurrent=[], concat=[])."""'
    text = f"def f(x, h):\n    {doc}\n    return tanh(linear(x, h))\n"
    assert nas.cell(text).key == nas.zoo["rnn"].key


def test_one_node_is_no_mean():
    assert "return s1\n" in str(nas.cell("Genotype(recurrent=[('tanh', 0)], concat=[1])"))


PAIRS = "recurrent=[('tanh', 0), ('relu', 1)]"
BROKEN = {
    "activation": (
        "Genotype(recurrent=[('tahn', 0)], concat=[1])",
        'darts genotype: node 1: no activation "tahn". Did you mean "tanh"? Known: identity, ',
    ),
    "none": (
        "Genotype(recurrent=[('none', 0)], concat=[1])",
        '"none" is a candidate of the search and no activation of a genotype',
    ),
    "predecessor": (
        "Genotype(recurrent=[('tanh', 0), ('tanh', 2)], concat=[2])",
        "node 2 continues a node before it, one of 0 to 1, got 2.",
    ),
    "negative": ("Genotype(recurrent=[('tanh', -1)], concat=[1])", "one of 0 to 0, got -1."),
    "output": (f"Genotype({PAIRS}, concat=[3])", "concat names nodes 0 to 2, got 3."),
    "twice": (f"Genotype({PAIRS}, concat=[2, 2])", "concat must name each node once, got 2 twice."),
    "nothing": (f"Genotype({PAIRS}, concat=[])", "concat must name at least one node, got none."),
    "unused": (
        "Genotype(recurrent=[('tanh', 0), ('relu', 0)], concat=[1])",
        "nothing uses node 2: no node continues it and concat does not name it; leave it out.",
    ),
    "no concat": (f"Genotype({PAIRS})", "a DARTS genotype has the fields recurrent, pairs of"),
    "pairs": ("Genotype(recurrent=['tanh', 0], concat=[1])", 'pairs such as ("tanh", 0), got'),
    "fraction": (
        "Genotype(recurrent=[('tanh', 0.5)], concat=[1])",
        "a predecessor must be a whole number, got 0.5.",
    ),
    "field": (f"Genotype({PAIRS}, cat=[1])", 'no field "cat". Known: recurrent, concat.'),
    "code": (f"Genotype({PAIRS}, concat=print(1))", "lists of literals or range(…), got print(1)."),
    "huge": (f"Genotype({PAIRS}, concat=range(10**9))", "fields are lists of literals or range"),
    "huge range": (f"Genotype({PAIRS}, concat=range(1000000000))", "a DARTS genotype has the"),
    "empty range": (f"Genotype({PAIRS}, concat=range())", "fields are lists of literals or range"),
    "by place": (
        "Genotype([('tanh', 0)], [1])",
        "a DARTS genotype is one line Genotype(recurrent=",
    ),
    "no Python": ("Genotype(recurrent=[", "a DARTS genotype is one line Genotype(recurrent="),
    "even arc": (
        "enas: 0 0 0 1",
        "enas arc: it has the form f0 p1 f1 …, an odd number of at least 3, got 4.",
    ),
    "odd arc": (
        "enas_lm: 0 0 0",
        "enas_lm arc: it has the form p1 f1 p2 f2 …, an even number of at least 2, got 3.",
    ),
    "function": (
        "enas_lm: 0 4",
        "enas_lm arc: no function 4. Known: 0 tanh, 1 relu, 2 sigmoid, 3 identity.",
    ),
    "first function": ("enas: 4 0 0", "enas arc: no function 4. Known: 0 tanh, 1 relu, 2 identity"),
    "arc forward": ("enas: 0 1 0", "node 1 continues a node before it, one of 0 to 0, got 1."),
    "words": ("enas: 0 a 0", "enas arc: it has whole numbers from 0, got 'a'."),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_named(text, message):
    with pytest.raises(CellError, match=re.escape(message)):
        nas.cell(text)


@pytest.mark.parametrize("arc", [5, {"a": 1}, [True, 0, 0]])
def test_an_arc_that_is_no_list_is_named(arc):
    with pytest.raises(CellError, match=r"enas arc: it (is a list of|has) whole numbers"):
        nas.cell({"enas": arc})
