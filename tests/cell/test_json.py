"""Cells as JSON: exact in both ways through real JSON text, and wrong data named."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

import nas
from nas.cell import from_json, to_json
from nas.errors import CellError
from tests.strategies import cells


@given(cells())
def test_json_round_trip(cell):
    text = json.dumps(to_json(cell), allow_nan=False)  # strict JSON: inf is written as a string
    assert from_json(json.loads(text)) == cell


def test_missing_attributes_have_their_defaults_and_numbers_may_be_whole():
    data = to_json(nas.zoo["gru"])
    for item in data["nodes"]:
        item["attrs"] = {"bias": 0} if item["op"] == "linear" else {}
        if item["op"] == "constant":
            item["attrs"] = {"value": 1}
    assert from_json(data) == nas.zoo["gru"]


def changed(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data = to_json(nas.zoo["rnn"])
    edit(data)
    return data


WRONG = {
    "no object": ([], "got 'list'"),
    "no format": (changed(lambda d: d.pop("format")), '"format": "nas.cell/1", got None'),
    "other format": (changed(lambda d: d.update(format="nas.cell/9")), "got 'nas.cell/9'"),
    "no nodes": (changed(lambda d: d.pop("nodes")), "missing or wrong field 'nodes'"),
    "nodes of a wrong kind": (changed(lambda d: d.update(nodes=5)), "missing or wrong field"),
    "node of a wrong kind": (changed(lambda d: d["nodes"].append(5)), "missing or wrong field"),
    "attributes of a wrong kind": (
        changed(lambda d: d["nodes"][2].update(attrs=[])),
        "missing or wrong field",
    ),
    "number too large": (
        changed(lambda d: d["nodes"][2]["attrs"].update(bias=10**400)),
        "missing or wrong field",
    ),
    "unknown op": (changed(lambda d: d["nodes"][2].update(op="eval")), 'no operation "eval"'),
    "unknown attribute": (
        changed(lambda d: d["nodes"][2]["attrs"].update(biass=1)),
        'linear has no attribute "biass"',
    ),
    "attribute of a wrong kind": (
        changed(lambda d: d["nodes"][2]["attrs"].update(bias=[1])),
        "bias must be a number",
    ),
    "not a number": (
        changed(lambda d: d["nodes"][2]["attrs"].update(bias=float("nan"))),
        "bias must be a number",
    ),
    "argument that comes later": (
        changed(lambda d: d["nodes"][2].update(args=[3])),
        "reads node 3, which does not come before it",
    ),
    "argument before the first": (
        changed(lambda d: d["nodes"][2].update(args=[-1])),
        "reads node -1, which does not come before it",
    ),
    "argument that is no index": (
        changed(lambda d: d["nodes"][2].update(args=[0.0])),
        "arguments are indices of nodes",
    ),
    "output that is no node": (changed(lambda d: d.update(y=99)), "output 99 is not a node"),
    "output that is no index": (changed(lambda d: d.update(y="0")), "outputs are indices of nodes"),
    "too few states": (changed(lambda d: d.update(new_states=[])), "must give as many new ones"),
}


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG)
def test_wrong_data_is_named(data, message):
    with pytest.raises(CellError, match=message):
        from_json(data)
