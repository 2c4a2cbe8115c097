"""The spaces of DARTS and ENAS: published cells inside, sizes by counting, points and back."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from nas.cell import loads, verify
from nas.errors import UserError
from nas.resources import find
from nas.spaces import Genotypes, load_space
from nas.spaces.genotypes import forests
from nas.testing.spaces import check_recurrent, check_space
from nas.zoo import ZOO
from nas.zoo.imports.genotype import ACTIVATIONS, Genotype, genotype_of, traced

DARTS, ENAS = load_space("darts"), load_space("enas")
SMALL = Genotypes("small", 3, ("tanh", "relu"), ("tanh", "identity"), "loose_ends")


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    """Any genotype: any nodes are averaged, those that nothing continues among them."""
    names = st.sampled_from(list(ACTIVATIONS))
    pairs = tuple((draw(names), draw(st.integers(0, k))) for k in range(draw(st.integers(1, 6))))
    genotype = Genotype(pairs, (), draw(names))
    more = draw(st.sets(st.integers(0, len(pairs))))
    return replace(genotype, concat=tuple(sorted({*genotype.loose_ends, *more})))


@given(genotypes(), st.randoms(use_true_random=False))
def test_a_genotype_comes_back_from_its_cell(genotype: Genotype, random: Random) -> None:
    """Under other numbers of the nodes, since many genotypes are one cell."""
    cell = traced(genotype)
    assert verify(cell) == loads(str(cell)) == cell
    found = genotype_of(loads(shuffled(str(cell), random)))
    assert found is not None
    assert traced(found).key == cell.key
    assert found.first == genotype.first
    assert sorted(a for a, _ in found.recurrent) == sorted(a for a, _ in genotype.recurrent)
    assert len(found.concat) == len(genotype.concat)


def shuffled(text: str, random: Random) -> str:
    """The cell with the terms of each sum of two turned round at random."""
    return re.sub(
        r"= (\w+) \+ (.*)", lambda m: m[0] if random.random() < 0.5 else f"= {m[2]} + {m[1]}", text
    )


@pytest.mark.parametrize(
    "change",
    [
        ("s2 + sigmoid", "s3 + sigmoid"),
        ("sigmoid(linear(s1", "tanh(linear(s1"),
        ("total / 8", "total / 4"),
        ("(tanh(linear(x, h, bias=None)) - h)", "(tanh(linear(x, h)) - h)"),
        ("s1 + s2 + s3", "s1 + s1 + s3"),
        ("(relu(linear(s1, bias=None)) - s1)", "(relu(linear(s0, bias=None)) - s1)"),
        ("linear(x, h, bias=None)", "linear(h, bias=None)"),
        ("return total", "return tanh(total)"),
    ],
    ids=lambda change: change[1],
)
def test_what_is_no_genotype_has_none(change: tuple[str, str]) -> None:
    text = str(ZOO["darts_v2"])
    assert change[0] in text
    assert genotype_of(loads(text)) is not None
    assert genotype_of(loads(text.replace(*change))) is None


@pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith(("darts", "enas"))])
def test_other_known_cells_have_none(name: str) -> None:
    assert genotype_of(ZOO[name]) is None


def test_the_published_cells_are_inside() -> None:
    for name, space in {
        "darts_v1": DARTS,
        "darts_v2": DARTS,
        "enas_lm": DARTS,
        "enas": ENAS,
    }.items():
        params = space.params_of(ZOO[name])
        assert params is not None
        assert space.propose(FixedTrial(params)).key == ZOO[name].key
        assert space.propose(FixedTrial(params)).name == name
    assert not DARTS.contains(ZOO["enas"])
    assert not ENAS.contains(ZOO["darts_v1"])


def test_the_files_name_the_published_spaces() -> None:
    assert DARTS == Genotypes("darts")
    assert (DARTS.nodes, ENAS.nodes) == (8, 11)
    enas = (ENAS.first, ENAS.activations, ENAS.output)
    assert enas == (tuple(ACTIVATIONS), tuple(ACTIVATIONS), "loose_ends")
    text = find("search_spaces", "darts").read_text()
    assert all(f"\n{field}: " in text for field in ("nodes", "first", "activations", "output"))


def test_trees_are_counted_as_in_the_encyclopedia() -> None:
    """Rooted trees of n nodes are forests of n - 1: OEIS A000081."""
    assert [forests(n, 1) for n in range(10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]


ENUMERATED = {
    "loose ends": SMALL,
    "all nodes": replace(SMALL, output="all"),
    "one activation": Genotypes("one", 5, ("tanh",), ("relu",), "loose_ends"),
}


@pytest.mark.parametrize("space", ENUMERATED.values(), ids=ENUMERATED)
def test_the_size_is_the_number_of_cells(space: Genotypes) -> None:
    keys = set()
    names = [range(len(space.activations))] * space.nodes
    predecessors = [range(k) for k in range(2, space.nodes + 1)]
    for first in space.first:
        for activations in itertools.product(*names):
            for continued in itertools.product(*predecessors):
                params = {"activation_0": first} | {
                    f"activation_{k}": space.activations[a] for k, a in enumerate(activations, 1)
                }
                params |= {f"predecessor_{k}": p for k, p in enumerate(continued, 2)}
                keys.add(space.propose(FixedTrial(params)).key)
    assert len(keys) == space.size()


@pytest.mark.process
def test_the_whole_contract() -> None:
    check_space(DARTS, [ZOO[name] for name in ("darts_v1", "darts_v2", "enas_lm")])
    check_space(ENAS, [ZOO["enas"]])


def test_the_contract_in_small_spaces() -> None:
    check_space(replace(SMALL, nodes=2))
    check_space(Genotypes("one", 1, ("relu",), ("relu",), "all"))


@given(st.randoms(use_true_random=False), st.sampled_from([DARTS, ENAS]))
def test_points_are_recurrent_cells_inside(random: Random, space: Genotypes) -> None:
    params = {f"activation_{k}": random.choice(space.activations) for k in range(space.nodes + 1)}
    params |= {f"predecessor_{k}": random.randrange(k) for k in range(2, space.nodes + 1)}
    cell = space.propose(FixedTrial(params))
    check_recurrent(cell)
    assert space.contains(cell)
    d, h, n = 5, 7, space.nodes
    assert cell.n_params(d, h) == 2 * (d + h) * h + 2 * n * h * h


BROKEN = {
    "field": ("node: 8", 'no field "node". Did you mean "nodes"?'),
    "few": ("nodes: 0", "nodes must be a whole number from 1 to 32, got 0."),
    "many": ("nodes: 33", "nodes must be a whole number from 1 to 32, got 33."),
    "flag": ("nodes: true", "nodes must be a whole number from 1 to 32, got True."),
    "output": ("output: some", "output must be one of all, loose_ends, got 'some'."),
    "activation": ("first: [sine]", 'first: no activation "sine".'),
    "none": ("activations: [none]", 'activations: no activation "none".'),
    "empty": ("activations: []", "activations must have at least one choice, got none."),
    "twice": ("activations: [tanh, tanh]", "activations must name each choice once, got tanh"),
}


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: genotypes\n{line}\n")
    with pytest.raises(UserError, match=f"mine.yaml: {re.escape(message)}"):
        load_space(str(path))
