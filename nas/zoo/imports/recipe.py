"""Recipes of NAS-Bench-NLP (Klyuchnikov et al. 2020, arXiv:2006.07116): cells as JSON.

A recipe maps the name of a node to its operation and the names of its inputs, in any order:

    {"f": {"op": "linear", "input": ["x", "h_prev_0"]},
     "h_new_0": {"op": "activation_tanh", "input": ["f"]}}

`x` is the input, `h_prev_0`, `h_prev_1`, … are the states, which start at 0, and the nodes
`h_new_0`, `h_new_1`, … their new values; the first is the output. Nodes keep their names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nas.cell import Cell, Node, node, renamed
from nas.cell.cell import assemble
from nas.cell.graph import make_node, reachable
from nas.errors import CellError, unknown

OPERATIONS = {
    "linear": "linear",
    "blend": "blend",
    "elementwise_prod": "mul",
    "elementwise_sum": "add",
    "activation_tanh": "tanh",
    "activation_sigm": "sigmoid",
    "activation_leaky_relu": "leaky_relu",
}
"""Ops of the cell language by the benchmark's operations; both have a default slope of 0.01."""
N_INPUTS = {"blend": 3, "mul": 2, "add": 2, "tanh": 1, "sigmoid": 1, "leaky_relu": 1}
"""Number of inputs of a node; a linear one has one or more."""
OLD_STATE = re.compile(r"h_prev_(0|[1-9]\d*)")
NEW_STATE = re.compile(r"h_new_(0|[1-9]\d*)")
PAPER = "Klyuchnikov et al. 2020, arXiv:2006.07116"


@dataclass(frozen=True)
class Made:
    """A node of a recipe."""

    op: str
    """An op of the cell language."""
    inputs: tuple[str, ...]


Recipe = Mapping[str, Made]


def read_entry(entry: Mapping[str, object]) -> Cell:
    """A cell from a line of the benchmark's logs, whose recipe is a mapping or JSON text.

    Raises:
        CellError: if the recipe breaks a rule.
    """
    recipe = entry.get("recipe", entry.get("recepie"))
    if isinstance(recipe, str):
        try:
            recipe = json.loads(recipe)
        except (ValueError, RecursionError) as error:
            raise CellError(f"NAS-Bench-NLP entry: its recipe is not JSON, {error}.") from None
    if not isinstance(recipe, Mapping):
        raise CellError(f"NAS-Bench-NLP entry: its recipe maps names to nodes, got {recipe!r}.")
    cell = read_recipe(recipe)
    number = str(entry.get("recipe_id", entry.get("recepie_id", "")))
    if not number.isdecimal():
        return cell
    return renamed(cell, f"recipe_{number}", f"Recipe {number} of NAS-Bench-NLP, {PAPER}.")


def read_recipe(recipe: Mapping[str, object]) -> Cell:
    """A cell from a recipe.

    Raises:
        CellError: naming the node, the rule and the value: an unknown operation or input, a wrong
            number of inputs, a cycle, states that are not numbered 0, 1, …, or a needless node.
    """
    return cell_of({str(name): _made(str(name), spec) for name, spec in recipe.items()})


def _made(name: str, spec: object) -> Made:
    where = f'NAS-Bench-NLP recipe: node "{name}"'
    if not isinstance(spec, Mapping) or set(spec) != {"op", "input"}:
        raise CellError(f'{where} is {{"op": …, "input": […]}}, got {str(spec)[:80]}.')
    op, inputs = spec["op"], spec["input"]
    if op not in OPERATIONS:
        raise CellError(f"{where}: {unknown('operation', str(op), OPERATIONS)}")
    if not isinstance(inputs, list | tuple) or not all(isinstance(name, str) for name in inputs):
        raise CellError(f"{where} has a list of names as its input, got {str(inputs)[:80]}.")
    return Made(OPERATIONS[str(op)], tuple(inputs))


def cell_of(recipe: Recipe) -> Cell:
    """The cell of a recipe; its name is `recipe` and the beginning of its key.

    Raises:
        CellError: as `read_recipe`.
    """
    n_states = _n_states(recipe)
    leaves = ["x", *(f"h_prev_{k}" for k in range(n_states))]
    _check_nodes(recipe, leaves)
    order = _in_order(recipe)
    _check_use(recipe, leaves)
    place = {name: k for k, name in enumerate(leaves + order)}
    nodes: list[Node] = [node("input", name="x")]
    nodes += [node("state", name=leaf) for leaf in leaves[1:]]
    for name in order:
        inputs = [place[read] for read in recipe[name].inputs]
        nodes.append(make_node(recipe[name].op, inputs, {}, re.sub(r"\W", "_", name)))
    new_states = [place[f"h_new_{k}"] for k in range(n_states)]
    cell = assemble("recipe", nodes, new_states, f"A recipe of NAS-Bench-NLP, {PAPER}.")
    return renamed(cell, f"recipe_{cell.key[:6]}")


def _n_states(recipe: Recipe) -> int:
    numbers = sorted(int(new[1]) for name in recipe if (new := NEW_STATE.fullmatch(name)))
    if not numbers:
        raise CellError(
            'NAS-Bench-NLP recipe: no node is a new state; the first is called "h_new_0".'
        )
    for k, number in enumerate(numbers):
        if number != k:
            raise CellError(
                f'NAS-Bench-NLP recipe: the state "h_new_{k}" is missing where there is '
                f'"h_new_{number}"; new states are numbered from 0 without a gap.'
            )
    return len(numbers)


def _check_nodes(recipe: Recipe, leaves: list[str]) -> None:
    for name, made in recipe.items():
        where = f'NAS-Bench-NLP recipe: node "{name}"'
        if name == "x" or OLD_STATE.fullmatch(name):
            raise CellError(f"{where} has the name of an input; x and h_prev_0, … are given.")
        expected = N_INPUTS.get(made.op)
        if len(made.inputs) != (expected or max(1, len(made.inputs))):
            needs = expected or "at least 1"
            inputs = "inputs" if (expected or 1) > 1 else "input"
            raise CellError(f"{where} ({made.op}) reads {needs} {inputs}, got {len(made.inputs)}.")
        for read in made.inputs:
            if read in recipe or read in leaves:
                continue
            if state := OLD_STATE.fullmatch(read):
                raise CellError(
                    f'{where} reads the state "{read}", but no node is its new value; add '
                    f'"h_new_{state[1]}".'
                )
            raise CellError(f"{where} reads {unknown('node', read, [*recipe, *leaves])}")


def _in_order(recipe: Recipe) -> list[str]:
    """The names in their order, but every node after its inputs."""
    order: list[str] = []
    done: set[str] = set()
    for root in recipe:
        path: list[str] = []
        wanted = [(root, False)]
        while wanted:
            name, ready = wanted.pop()
            if ready:
                path.pop()
                order.append(name)
                done.add(name)
            elif name in path:
                cycle = " <- ".join([*path[path.index(name) :], name])
                raise CellError(
                    f"NAS-Bench-NLP recipe: a cycle, {cycle}: a step is computed in order; let one "
                    "of them read an h_prev."
                )
            elif name in recipe and name not in done:
                path.append(name)
                wanted.append((name, True))
                wanted += [(read, False) for read in reversed(recipe[name].inputs)]
    return order


def used(recipe: Recipe) -> set[str]:
    """The new states and the names that they depend on."""
    new_states = filter(NEW_STATE.fullmatch, recipe)
    return reachable(new_states, lambda name: recipe[name].inputs if name in recipe else ())


def _check_use(recipe: Recipe, leaves: list[str]) -> None:
    """Refuse needless nodes: they would count for nothing here, but count in the benchmark."""
    needed = used(recipe)
    for name in [*recipe, *leaves]:
        if name not in needed:
            what = f'the input "{name}"' if name in leaves else f'node "{name}"'
            raise CellError(
                f"NAS-Bench-NLP recipe: no new state depends on {what}; "
                + ("let a node read it." if name in leaves else "leave it out.")
            )


def recipe_of(cell: Cell) -> Recipe | None:
    """The recipe of a cell as it is written; None if it has operations that recipes have not.

    The states and new states get the names that recipes give them, and other nodes `node_0`, ….
    """
    nodes, states = cell.nodes, [k for k, n in enumerate(cell.nodes) if n.op == "state"]
    if cell.verticals or cell.y != cell.new_states[0]:
        return None
    if len({*cell.new_states, *states}) < 2 * len(states) or nodes[0].op != "input":
        return None
    names = {0: "x", **{state: f"h_prev_{k}" for k, state in enumerate(states)}}
    names |= {new: f"h_new_{k}" for k, new in enumerate(cell.new_states)}
    recipe: dict[str, Made] = {}
    for k in sorted(cell.live - {0, *states}):
        if nodes[k] != make_node(nodes[k].op, nodes[k].args, {}, nodes[k].name):
            return None  # another bias, slope or width
        names.setdefault(k, f"node_{len(recipe)}")
        recipe[names[k]] = Made(nodes[k].op, tuple(names[arg] for arg in nodes[k].args))
    plain = all(state.width == "hidden" and not state.initial for state in cell.states)
    known = all(made.op in OPERATIONS.values() for made in recipe.values())
    return recipe if plain and known else None
