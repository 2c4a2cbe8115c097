"""Names for the values of steps that the text of a cell leaves without one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nas.cell.graph import Graph
from nas.cell.ops import INPUTS
from nas.cell.walk.steps import Graphs, Step
from nas.cell.walk.uses import uses_of
from nas.cell.walk.values import is_share, ranges


def named(cell: Graph, steps: Sequence[Step]) -> Graph:
    """The cell in which the value of each step has a name: gate, candidate or part if it had none.

    New states go by the name of the state, and what leaves the cell alone needs none.
    """
    kinds = _kinds(cell, steps)
    used = {n.name for n in cell.nodes}
    counts, numbers = Counter(kinds.values()), Counter[str]()
    names: dict[int, str] = {}
    for root, kind in kinds.items():
        name = kind
        while counts[kind] > 1 or name in used:
            numbers[kind] += 1
            name = f"{kind}{numbers[kind]}"
            if name not in used:
                break
        names[root] = name
    nodes = tuple(replace(n, name=names.get(i, n.name)) for i, n in enumerate(cell.nodes))
    return replace(cell, nodes=nodes)


def _kinds(cell: Graph, steps: Sequence[Step]) -> dict[int, str]:
    """What the values without a name are, in the order of the steps."""
    graphs, known = Graphs(cell), ranges(cell)
    uses = uses_of(graphs, steps)
    found = {}
    for step in steps:
        n = cell.nodes[step.root]
        if n.name or n.op in INPUTS or step.verticals:
            continue
        if step.states:
            found[step.root] = f"{cell.states[step.states[0]].name}_new"
        elif step.is_output:
            found[step.root] = "y"
        elif is_share(known[step.root]) and any(use.others for use in uses[step.root]):
            found[step.root] = "gate"
        else:
            is_written = any(use.kind == "write" for use in uses[step.root])
            found[step.root] = "candidate" if is_written else "part"
    return found
