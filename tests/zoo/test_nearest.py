"""The nearest known cell, and differences in words, for pairs whose difference is known."""

import importlib

import pytest

from nas.cell import Cell, from_json, loads, to_json
from nas.cell.cell import renamed
from nas.cell.distance import ROUNDS, Features, features
from nas.cell.edits import edits
from nas.cell.mutation import random_walk
from nas.cell.mutation.rules import Mutations
from nas.zoo import ZOO
from nas.zoo.nearest import nearest

MODULE = importlib.import_module("nas.zoo.nearest")  # the attribute nas.zoo is the mapping of cells

PAIRS = {
    ("lstm_b", "lstm"): {"forget gate with a bias that starts at 1"},
    ("lstm_no_i", "lstm"): {"no input gate"},
    ("lstm_no_f", "lstm"): {"no forget gate"},
    ("lstm_no_o", "lstm"): {"no output gate"},
    ("lstm", "lstm_no_f"): {"forget gate on c is added"},
    ("lstm_nig", "lstm_peephole"): {"no input gate"},
    ("lstm_nog", "lstm_peephole"): {"no output gate"},
    ("lstm_niaf", "lstm_peephole"): {"candidate without tanh"},
    ("lstm_noaf", "lstm_peephole"): {"the new h reads the new c instead of tanh(the new c)"},
    ("lstm_cifg", "lstm_peephole"): {"forget gate is 1 - input gate"},
    ("lstm_peephole_i", "lstm"): {"peephole from c into input gate"},
    ("lstm_peephole_o", "lstm"): {"peephole from the new c into output gate"},
    ("lstm_peephole_if", "lstm_peephole"): {"no peephole into output gate"},
    ("ugrnn", "gru"): {"no reset gate"},
    ("mgu", "gru"): {"update gate is 1 - reset gate"},
    ("mut3", "gru"): {"update gate reads tanh(h)", "1 - z in place of z"},
    ("mut2", "gru"): {"reset gate does not read x", "reset gate adds x", "1 - z in place of z"},
    ("mut1", "gru"): {
        "update gate does not read h",
        "candidate adds tanh(x)",
        "candidate does not read x",
        "1 - z in place of z",
    },
    ("irnn", "rnn"): {
        "the new h with relu instead of tanh",
        "the new h does not read h",
        "the new h adds linear(h, bias=None, eye=1)",
    },
}


@pytest.mark.parametrize(("name", "known"), PAIRS, ids=lambda name: name)
def test_known_pairs(name: str, known: str) -> None:
    found = nearest(ZOO[name], [known])
    assert found.is_all
    assert set(found.difference) == PAIRS[name, known]


GRU = """
def mine(x, h):
    r = sigmoid(linear(x, h))
    z = sigmoid(linear(x, h))
    n = tanh(linear(x, r * h))
    return z * h + (1 - z) * n
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tanh(linear(x, r * h))", "relu(linear(x, r * h))", "candidate with relu instead of tanh"),
        ("linear(x, r * h)", "linear(x, r * tanh(h))", "candidate reads tanh(h)"),
        ("linear(x, r * h)", "linear(tanh(x), r * h)", "candidate reads tanh(x)"),
        ("z = sigmoid(linear(x, h))", "z = sigmoid(linear(h))", "update gate does not read x"),
        ("z = sigmoid(linear(x, h))", "z = sigmoid(linear(x, r * h))",
         "update gate takes h times reset gate"),
        ("r = sigmoid(linear(x, h))", "r = sigmoid(linear(x, h) + diagonal(h))",
         "peephole from h into reset gate"),
        ("x, h):", "x, h=1):", "state h starts at 1"),
        ("r * h)", "r * h, bias=None)", "candidate without bias"),
        ("z * h +", "z * h -", "the new h takes sub instead of add of z * h and (1 - z) * n"),
    ],
)  # fmt: skip
def test_one_change_of_the_gru(old: str, new: str, said: str) -> None:
    assert old in GRU
    found = nearest(loads(GRU.replace(old, new, 1)), ["gru"])
    assert (found.difference, found.is_all) == ((said,), True)


def test_a_cell_that_is_written_otherwise_is_the_same() -> None:
    same = """
def other(inp, state):
    gate = sigmoid(linear(state, inp))
    reset = sigmoid(linear(inp, state))
    return state * gate + tanh(linear(inp, state * reset)) * (1 - gate)
"""
    found = nearest(loads(same))
    assert (found.name, found.difference, found.distance) == ("gru", (), 0.0)
    assert str(found) == "the same cell as gru"
    assert nearest(renamed(ZOO["lstm"], "mine")).name == "lstm"


def test_the_whole_zoo_is_searched_and_fewest_edits_win() -> None:
    others = [name for name in ZOO if name != "mut3"]
    found = nearest(ZOO["mut3"], others)
    assert str(found) == "gru_chung: update gate reads tanh(h)"


def test_where_no_edits_are_found_a_number_is_said() -> None:
    far = """
def far(x, h, a, b):
    u = softplus(linear(x, h)) * cos(a)
    v = layer_norm(u + linear(b)) / (2 + square(h))
    return max(u, v), sin(v), exp(-square(u))
"""
    found = nearest(loads(far))
    assert not found.is_all
    [said] = found.difference
    assert said.endswith("beside what they read")
    more, fewer = (int(word) for word in said.split() if word.isdigit())
    assert more > 5
    assert fewer > 0


def test_a_cell_far_from_all_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits of a large cell take minutes to try, and four of them lead nowhere."""
    lines = "".join(f"    v{i} = tanh(linear(x, h) - square(v{i - 1}))\n" for i in range(1, 30))
    cell = loads(f"def far(x, h):\n    v0 = tanh(linear(h))\n{lines}    return v29\n")
    monkeypatch.delattr(MODULE, "edits")
    assert not nearest(cell).is_all


def test_a_search_ends_where_it_has_looked_at_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of 80 nodes that have much in common, such as those of DARTS, have too many edits."""
    looked_at = []

    def counted(cell: Cell, rounds: int = ROUNDS) -> Features:
        looked_at.append(cell)
        return features(cell, rounds)

    monkeypatch.setattr(MODULE, "features", counted)
    found = nearest(ZOO["darts_v1"], [name for name in ZOO if name != "darts_v1"])
    assert (found.name, found.is_all) == ("darts_v2", False)
    assert len(looked_at) < 2_000  # of 10,000


def applied(known: Cell, cell: Cell, words: tuple[str, ...]) -> bool:
    """Whether the edits that the words name lead from one cell to the other, in either order."""
    if not words:
        return known.key == cell.key
    ahead = [e.cell for e in edits(known, cell) if e.made == words[0]]
    back = [e.cell for e in edits(cell, known) if e.undone == words[0]]
    return any(applied(one, cell, words[1:]) for one in ahead) or any(
        applied(known, one, words[1:]) for one in back
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_edits_of_a_mutant_lead_to_it(seed: int) -> None:
    """Whatever is said to be all of the difference is: made again by the words, the keys agree."""
    start = ("gru", "lstm")[seed % 2]
    [mutant] = random_walk(ZOO[start], 1, seed, Mutations(most=1))
    found = nearest(mutant.cell, [start])
    if found.is_all:
        assert applied(ZOO[start], mutant.cell, found.difference)


@pytest.mark.parametrize("name", ["lstm_peephole", "gru", "mut1", "mingru"])
def test_edits_are_cells_and_change_nothing_else(name: str) -> None:
    cell = ZOO[name]
    before = to_json(cell)
    found = edits(cell, ZOO["lstm"])
    assert len(found) > 20
    for edit in found:
        assert edit.made
        assert edit.cell.n_params(8, 8) > 0
        assert len(edit.cell.key) == 16
    assert cell == from_json(before)
