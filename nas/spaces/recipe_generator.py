"""Random recipes by the rules of NAS-Bench-NLP's generator (Klyuchnikov et al. 2020).

The rules, as in search_space.py of github.com/fmsnew/nas-bench-nlp-release: until there are enough
nodes, the generator draws an operation; a linear map reads x, states and activations, and an
activation of it follows at once; all others read states and any nodes, never x. No node reads
anything twice. Then the generator draws the new states among the nodes and removes nodes that they
do not need. The recipe counts if it needs x and all states and no new state reads an old one
directly.

A recipe follows from genes, a random number for each choice; its neighbours have one gene drawn
anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.cell.graph import reachable
from nas.zoo.imports.recipe import Made, Recipe, used

ALL_BITS = 2**64 - 1
ROLES = ("operation", "arity", "activation", "input 0", "input 1", "input 2")
"""The genes of a draw. A new state has a single one."""
ARITY = {"blend": 3, "mul": 2, "add": 2}
Odds = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Rules:
    """Odds of the generator, and which recipes count."""

    operations: Odds = (("linear", 3), ("blend", 1), ("mul", 1), ("add", 1))
    linear_inputs: Odds = (("2", 4), ("3", 1))
    activations: Odds = (("tanh", 1), ("sigmoid", 1), ("leaky_relu", 1))
    min_nodes: int = 4
    max_nodes: int = 19
    """Most nodes of a recipe without needless ones, x and the states included."""
    all_reach_output: bool = True
    """Whether the output must depend on x and every state; the original generator does not ask."""


@dataclass(frozen=True)
class Genes:
    """A random number for each choice: a hash of the seed and the gene's place."""

    seed: int
    changed: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Genes drawn anew, by draw and role."""

    def of(self, draw: int, role: int) -> int:
        """The gene of a draw and a role, 64 random bits."""
        if (draw, role) in self.changed:
            return self.changed[draw, role]
        return random_bits(random_bits(self.seed, draw), role)


def random_bits(seed: int, number: int) -> int:
    """64 bits from two numbers that look random (SplitMix64: Steele, Lea & Flood 2014)."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & ALL_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ALL_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ALL_BITS
    return z ^ (z >> 31)


def one_of(odds: Odds, gene: int) -> str:
    """A choice, drawn by its odds."""
    place = (gene * sum(weight for _, weight in odds)) >> 64
    for choice, weight in odds:
        place -= weight
        if place < 0:
            return choice
    raise AssertionError("a gene has 64 bits")


def nearest(gene: int, among: list[int]) -> int:
    """One of some numbers, each as likely; a further candidate changes it only by being chosen."""
    return min(among, key=lambda number: random_bits(gene, number))


def n_genes(states: int, nodes: int) -> int:
    """Most genes that a recipe of these sizes has."""
    return len(ROLES) * (states + nodes) + states


def place_of(number: int, states: int) -> tuple[int, int]:
    """The draw and the role of a gene by its number; new states have the draws -1, -2, …."""
    if number < states:
        return -1 - number, 0
    return divmod(number - states, len(ROLES))


def drawn(rules: Rules, states: int, nodes: int, genes: Genes) -> Recipe:
    """The recipe of some genes, without needless nodes; `counts` tells whether it counts."""
    full, names = drafted(rules, states, nodes, genes)
    left = sorted(full)
    for k in range(states):
        chosen = nearest(genes.of(-1 - k, 0), left)
        left.remove(chosen)
        names[chosen] = f"h_new_{k}"
    recipe = {
        names[number]: Made(op, tuple(names[read] for read in inputs))
        for number, (op, inputs) in full.items()
    }
    needed = used(recipe)
    return {name: made for name, made in recipe.items() if name in needed}


def drafted(
    rules: Rules, states: int, nodes: int, genes: Genes
) -> tuple[dict[int, tuple[str, list[int]]], dict[int, str]]:
    """Nodes by number, before any is removed, and the names of inputs and nodes.

    The numbers 0 to `states` are x and the states; draw k makes the nodes 2 k and 2 k + 1 after
    them, the second for the activation of a linear map. So a node's number depends on its draw
    alone, and a change of one gene moves no other node.
    """
    old = list(range(1, states + 1))
    names = {0: "x", **{k: f"h_prev_{k - 1}" for k in old}}
    full: dict[int, tuple[str, list[int]]] = {}
    readable = [0, *old]
    draw = 0
    while len(full) < states + nodes:
        candidates = old + list(full)
        op = _operation(rules, genes.of(draw, 0), len(candidates))
        count = int(one_of(rules.linear_inputs, genes.of(draw, 1))) if op == "linear" else ARITY[op]
        among = list(readable if op == "linear" else candidates)
        inputs: list[int] = []
        for k in range(min(count, len(among))):
            chosen = nearest(genes.of(draw, 3 + k), among)
            among.remove(chosen)
            inputs.append(chosen)
        own = states + 1 + 2 * draw
        names[own] = f"node_{len(full)}"
        full[own] = (op, inputs)
        if op == "linear":
            names[own + 1] = f"node_{len(full)}"
            full[own + 1] = (one_of(rules.activations, genes.of(draw, 2)), [own])
            readable.append(own + 1)
        draw += 1
    return full, names


def _operation(rules: Rules, gene: int, n_candidates: int) -> str:
    """An operation that finds enough candidates to read; others are drawn again."""
    while True:
        op = one_of(rules.operations, gene)
        if op == "linear" or ARITY[op] <= n_candidates:
            return op
        gene = random_bits(gene, 0)


def counts(rules: Rules, recipe: Recipe, states: int) -> bool:
    """Whether a recipe needs x and all states, no new state reads an old one, and its size fits."""
    old = {f"h_prev_{k}" for k in range(states)}
    read = {name for made in recipe.values() for name in made.inputs}
    if not {"x", *old} <= read:
        return False
    if any(old & set(recipe[f"h_new_{k}"].inputs) for k in range(states)):
        return False
    if rules.all_reach_output and not {"x", *old} <= _reaching_output(recipe):
        return False
    return rules.min_nodes <= len(recipe) + 1 + states <= rules.max_nodes


def _reaching_output(recipe: Recipe) -> set[str]:
    """The names on which the output depends, within a step or through the steps before."""

    def sources(name: str) -> tuple[str, ...]:
        if name.startswith("h_prev_"):
            return (name.replace("h_prev", "h_new"),)
        return recipe[name].inputs if name in recipe else ()

    return reachable(["h_new_0"], sources)


def possible(rules: Rules, recipe: Recipe, states: int, nodes: int) -> bool:
    """Whether the generator may draw this recipe, whatever the names of its nodes.

    The recipe must count, obey the rules of reading, and fit among the nodes together with the
    needless activations that follow some of its linear maps.
    """
    if sum(name.startswith("h_new_") for name in recipe) != states:
        return False
    if not counts(rules, recipe, states):
        return False
    users: dict[str, list[str]] = {name: [] for name in recipe}
    for name, made in recipe.items():
        if len(set(made.inputs)) < len(made.inputs) or not _may_read(rules, recipe, made):
            return False
        for read in set(made.inputs) & set(recipe):
            users[read].append(name)
    activations = {op for op, _ in rules.activations}
    linear = [name for name, made in recipe.items() if made.op == "linear"]
    own = {
        name: [user for user in users[name] if recipe[user].op in activations] for name in linear
    }
    if any(len(readers) > 1 for readers in own.values()):
        return False
    size = len(recipe) + sum(not readers for readers in own.values())
    if size <= states + nodes:
        return True
    # The last draw may be a linear map whose activation is one node too many.
    ends = [n for n in linear if users[n] == own[n] and not any(users[u] for u in own[n])]
    return size == states + nodes + 1 and bool(ends)


def _may_read(rules: Rules, recipe: Recipe, made: Made) -> bool:
    """Whether a node's operation may read inputs of these kinds, and so many."""
    activations = {op for op, _ in rules.activations}
    ops = [recipe[name].op for name in made.inputs if name in recipe]
    if made.op in activations:
        return ops == ["linear"]
    if made.op not in {op for op, _ in rules.operations}:
        return False
    if made.op != "linear":
        return "x" not in made.inputs
    arities = [int(arity) for arity, _ in rules.linear_inputs]
    # The first one may find fewer than it would read.
    n_old = 1 + sum(name.startswith("h_new_") for name in recipe)
    fits = len(made.inputs) in arities or n_old == len(made.inputs) < max(arities)
    return fits and set(ops) <= activations
