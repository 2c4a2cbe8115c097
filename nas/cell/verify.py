"""The rules of the cell language, executable: `verify` names the rule that a cell breaks."""

from keyword import iskeyword
from unicodedata import normalize

from nas.cell.graph import AnyGraph, infer_widths, uses
from nas.cell.ops import INPUTS, OPS, attr_rule
from nas.errors import CellError

MOST_OPERATIONS = 1000
"""Operations of a cell, its inputs and each matrix of a linear map included: ten times those of the
largest published one. Reading, hashing and drawing take seconds up to it."""


def verify(cell: AnyGraph) -> AnyGraph:
    """Return `cell` if it obeys every rule of the language.

    Raises:
        CellError: naming the cell, the node, the rule and the value.
    """
    verify_structure(cell)
    _verify_names(cell)
    infer_widths(cell)
    return cell


def verify_structure(cell: AnyGraph) -> None:
    """The rules that do not depend on names: size, ops, arguments, attributes, inputs, outputs."""
    size = sum(len(n.args) if n.op == "linear" else 1 for n in cell.nodes)
    if size > MOST_OPERATIONS:
        raise CellError(
            f"cell {cell.name} has {size:,} operations, each matrix counted: a cell has at most "
            f"{MOST_OPERATIONS:,}, so leave some out."
        )
    _verify_nodes(cell)
    _verify_interface(cell)


def _verify_nodes(cell: AnyGraph) -> None:
    for i, n in enumerate(cell.nodes):
        where = f"cell {cell.name}: node {n.name or i} ({n.op})"
        op = OPS.get(n.op)
        if op is None:
            raise CellError(f'cell {cell.name}: no operation "{n.op}". Known: {", ".join(OPS)}.')
        if op.arity is None and not n.args:
            raise CellError(f"{where} takes at least 1 argument, got none.")
        if op.arity is not None and len(n.args) != op.arity:
            raise CellError(f"{where} takes {op.arity} arguments, got {len(n.args)}.")
        if tuple(key for key, _ in n.attrs) != tuple(op.attrs):
            raise CellError(f"{where} needs the attributes {list(op.attrs)}, got {n.attrs}.")
        for key, value in n.attrs:
            if rule := attr_rule(n.op, key, value):
                raise CellError(f"{where}: {key} {rule}, got {value!r}.")
        for arg in n.args:
            if not 0 <= arg < i:
                raise CellError(
                    f"{where} reads node {arg}, which does not come before it: a step is computed "
                    "in order and has no cycles."
                )
        if n.op == "linear" and n.number("eye") and len(n.args) != 1:
            raise CellError(
                f"{where}: eye needs exactly one argument, got {len(n.args)}; write "
                "linear(x) + linear(h, eye=1, bias=None)."
            )


def _verify_interface(cell: AnyGraph) -> None:
    kinds = [n.op for n in cell.nodes if n.op in INPUTS]
    if kinds != sorted(kinds, key=INPUTS.index) or kinds.count("input") != 1:
        raise CellError(
            f"cell {cell.name}: its inputs are one x, then its states, then its verticals; "
            f"got {kinds}."
        )
    if [n.op for n in cell.nodes[: len(kinds)]] != kinds:
        raise CellError(f"cell {cell.name}: inputs come before all other nodes.")
    if not cell.states:
        raise CellError(f"cell {cell.name} has no state: it would not be recurrent.")
    if len(cell.new_states) != len(cell.states):
        names = ", ".join(state.name for state in cell.states)
        raise CellError(
            f"cell {cell.name} has {len(cell.states)} states ({names}) and must give as many new "
            f"ones, got {len(cell.new_states)}."
        )
    if len(cell.new_verticals) != len(cell.verticals):
        raise CellError(
            f"cell {cell.name} takes {len(cell.verticals)} values from the layer below and must "
            f"give as many to the layer above, got {len(cell.new_verticals)}."
        )
    for out in cell.outputs:
        if not 0 <= out < len(cell.nodes):
            raise CellError(f"cell {cell.name}: output {out} is not a node.")


def _verify_names(cell: AnyGraph) -> None:
    taken: set[str] = set()
    if not _is_name(cell.name):
        raise CellError(f"a cell is called as a Python function may be, got {cell.name!r}.")
    for n in cell.nodes:
        if n.op in INPUTS and not n.name:
            raise CellError(f"cell {cell.name}: an input without a name.")
        if n.name and not _is_name(n.name):
            raise CellError(f"cell {cell.name}: {n.name!r} cannot be the name of a value.")
        if n.name in taken:
            raise CellError(f'cell {cell.name}: two values are called "{n.name}".')
        if n.name:
            taken.add(n.name)
    for i, count in enumerate(uses(cell)):
        if count > 1 and not cell.nodes[i].name:
            raise CellError(
                f"cell {cell.name}: node {i} ({cell.nodes[i].op}) is used {count} times and needs "
                "a name."
            )


def _is_name(text: str) -> bool:
    """Whether Python reads `text` as a name and keeps it as it is (NFKC turns µ into μ)."""
    return text.isidentifier() and not iskeyword(text) and normalize("NFKC", text) == text
