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
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CellError(f'a cell in JSON has "format": "{FORMAT}", got {found!r}.')
    try:
        nodes = tuple(_node(item) for item in data["nodes"])
        outputs = [data["y"], *data["new_states"], *data["new_verticals"]]
        if not all(type(index) is int for index in outputs):
            raise CellError(f"cell in JSON: outputs are indices of nodes, got {outputs}.")
        cell = Cell(
            str(data["name"]),
            nodes,
            data["y"],
            tuple(data["new_states"]),
            tuple(data["new_verticals"]),
            str(data.get("doc", "")),
        )
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
    infinite = {"inf": float("inf"), "-inf": -float("inf")}
    attrs = tuple(
        (key, infinite.get(value, value) if isinstance(value, str) else _float(key, value))
        for key, value in ((key, given.get(key, default)) for key, default in OPS[op].attrs.items())
    )
    if not all(type(arg) is int for arg in item["args"]):
        raise CellError(f"cell in JSON: arguments are indices of nodes, got {item['args']}.")
    return Node(op, tuple(item["args"]), attrs, str(item["name"]))


def _float(key: str, value: Any) -> Any:
    return float(value) if type(value) is int and key not in ("width", "blocks") else value
