"""The rules of a cell as data: one broken cell for each."""

import pytest
from hypothesis import given

from nas.cell import Cell, Node, arrange, node, verify
from nas.errors import CellError
from tests.strategies import cells

X, H = node("input", name="x"), node("state", name="h")
SUM = node("add", 0, 1, name="a")


def cell(*nodes: Node, name: str = "broken", **outputs: object) -> Cell:
    last = len(nodes) - 1
    return Cell(name, nodes, **{"y": last, "new_states": (last,)} | outputs)


BROKEN = {
    "unknown op": (cell(X, H, Node("eval", (0,))), 'no operation "eval"'),
    "too few arguments": (cell(X, H, node("add", 0)), "takes 2 arguments, got 1"),
    "no arguments": (cell(X, H, node("linear")), "takes at least 1 argument, got none"),
    "missing attributes": (cell(X, H, Node("linear", (0,))), "needs the attributes"),
    "wrong attribute": (cell(X, H, node("vector", width="wide")), "width must be input, hidden"),
    "later argument": (cell(X, H, node("add", 0, 2)), "reads node 2, which does not come before"),
    "no x": (cell(H, node("tanh", 0)), "its inputs are one x, then its states"),
    "two x": (cell(X, node("input", name="z"), H, SUM), "its inputs are one x, then its states"),
    "state before x": (cell(H, X, SUM), "its inputs are one x, then its states"),
    "input after a node": (
        cell(X, node("tanh", 0), H, node("add", 1, 2)),
        "inputs come before all other nodes",
    ),
    "no state": (cell(X, node("tanh", 0), new_states=()), "has no state"),
    "too many new states": (cell(X, H, new_states=(1, 1)), r"\(h\) and must give as many new ones"),
    "new vertical too many": (
        cell(X, H, new_verticals=(1,)),
        "takes 0 values from the layer below and must give as many to the layer above, got 1",
    ),
    "output that is no node": (cell(X, H, y=2), "output 2 is not a node"),
    "name of the cell": (cell(X, H, SUM, name="two words"), "called as a Python function may be"),
    "keyword as name of the cell": (cell(X, H, SUM, name="def"), "called as a Python function"),
    "name of a value": (
        cell(X, H, node("add", 0, 1, name="two words")),
        "'two words' cannot be the name of a value",
    ),
    "name that Python would change": (
        cell(X, H, node("add", 0, 1, name="\u00b5")),  # the micro sign becomes a Greek mu
        "cannot be the name of a value",
    ),
    "input without a name": (cell(node("input"), H), "an input without a name"),
    "one name twice": (cell(X, H, node("add", 0, 1, name="h")), 'two values are called "h"'),
    "shared without a name": (
        cell(X, H, node("tanh", 1), node("mul", 2, 2)),
        r"node 2 \(tanh\) is used 2 times and needs a name",
    ),
}


@pytest.mark.parametrize(("broken", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(broken, message):
    with pytest.raises(CellError, match=message):
        verify(broken)


def test_making_a_node_names_what_is_unknown():
    with pytest.raises(CellError, match='no operation "tahn"'):
        node("tahn", 0)
    with pytest.raises(CellError, match='tanh has no attribute "bias"; it takes no attributes'):
        node("tanh", 0, bias=1)


@given(cells())
def test_verify_gives_the_cell_back(cell):
    assert verify(cell) is cell


def test_arrange_repairs_names():
    loose = Cell(
        "loose",
        (X, H, node("tanh", 1), node("mul", 2, 2, name="h"), node("sin", 3, name="sin")),
        3,
        (4,),
    )
    names = [n.name for n in arrange(loose).nodes]
    assert names == ["x", "h", "v1", "h_new", "sin_value"]


def test_arrange_drops_nodes_that_nothing_uses_unless_they_have_a_name():
    loose = Cell("loose", (X, H, node("tanh", 1), node("sin", 1, name="kept"), SUM), 4, (4,))
    assert [n.op for n in arrange(loose).nodes] == ["input", "state", "sin", "add"]
