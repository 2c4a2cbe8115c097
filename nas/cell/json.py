"""A cell as JSON, for tools that do not read equations; `from_json(to_json(cell)) == cell`."""

from typing import Any

from nas.cell.arrange import arrange
from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.cell.ops import OPS
from nas.errors import CellError

FORMAT = "nas.cell/1"


def to_json(cell: Cell) -> dict[str, Any]:
    """The cell as plain lists, strings and numbers; infinite numbers are written as strings."""
    return {
        "format": FORMAT,
        "name": cell.name,
        "doc": cell.doc,
        "nodes": [
            {
                "op": n.op,
                "args": list(n.args),
                "attrs": {key: _plain(value) for key, value in n.attrs},
                "name": n.name,
            }
            for n in cell.nodes
        ],
        "y": cell.y,
        "new_states": list(cell.new_states),
        "new_verticals": list(cell.new_verticals),
    }


def _plain(value: object) -> object:
    return repr(value) if isinstance(value, float) and abs(value) == float("inf") else value


def from_json(data: Any) -> Cell:
    """Read a cell from the result of `to_json`.

    Raises:
        CellError: if the data are not of this format or the cell breaks a rule.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        given = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CellError(f'a cell in JSON has "format": "{FORMAT}", got {given!r}.')
    try:
        nodes = tuple(_node(item) for item in data["nodes"])
        outputs = [data["y"], *data["new_states"], *data["new_verticals"]]
        if not all(type(index) is int for index in outputs):
            raise CellError(f"cell in JSON: outputs are indices of nodes, got {outputs}.")
        new_states, new_verticals = tuple(data["new_states"]), tuple(data["new_verticals"])
        name, doc = str(data["name"]), str(data.get("doc", ""))
        cell = Cell(name, nodes, data["y"], new_states, new_verticals, doc)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CellError(f"cell in JSON: missing or wrong field {error}.") from None
    return arrange(cell)


def _node(item: dict[str, Any]) -> Node:
    op = item["op"]
    if op not in OPS:
        raise CellError(f'cell in JSON: no operation "{op}". Known: {", ".join(OPS)}.')
    given = item["attrs"]
    if unknown := sorted(set(given) - set(OPS[op].attrs)):
        raise CellError(f'cell in JSON: {op} has no attribute "{unknown[0]}".')
    attrs = {**OPS[op].attrs, **given}
    if not all(type(arg) is int for arg in item["args"]):
        raise CellError(f"cell in JSON: arguments are indices of nodes, got {item['args']}.")
    values = tuple((key, _value(key, attrs[key])) for key in OPS[op].attrs)
    return Node(op, tuple(item["args"]), values, str(item["name"]))


def _value(key: str, value: Any) -> Any:
    """An attribute as a node has it: a number is a float, unless it counts features or blocks."""
    is_number = type(value) is int and key not in ("width", "blocks")
    return float(value) if is_number or value in ("inf", "-inf") else value
