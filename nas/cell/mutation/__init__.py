"""Mutation: a cell becomes another one, a few operations away, in the way of the literature.

    mutant = mutate(zoo["gru"], seed=0)
    mutant.cell, mutant.operators
    child = cross(zoo["gru"], zoo["rnn"], seed=0)

`operators.py` has the mutations and says how to add one, `crossover.py` makes a child of two cells;
`rules.py` says which are open and which results are accepted.
"""

from collections.abc import Collection
from random import Random

from nas.cell.cell import Cell
from nas.cell.mutation.accept import Drawn, Mutant, NoMutant, first_accepted
from nas.cell.mutation.crossover import cross
from nas.cell.mutation.draft import Draft, take_apart
from nas.cell.mutation.operators import MUTATIONS
from nas.cell.mutation.rules import PAPER, Mutations

__all__ = ["MUTATIONS", "Mutant", "Mutations", "NoMutant", "cross", "mutate", "random_walk"]


def mutate(
    cell: Cell,
    seed: int | str | Random,
    rules: Mutations = PAPER,
    known: Collection[str] = (),
) -> Mutant:
    """Return a mutant that obeys the rules and whose key is neither the cell's nor `known`.

    The same cell, seed, rules and known keys give the same mutant.

    Raises:
        NoMutant: if none was accepted in `rules.max_draws` draws, with the last one's reason.
        UserError: if a field of the rules is not sound.
    """
    rules.check(tuple(MUTATIONS))
    rng = seed if isinstance(seed, Random) else Random(seed)
    parent = take_apart(cell)
    if not parent.interior():
        raise NoMutant(f"cell {cell.name} has no operation that could be mutated.")

    def draw() -> Drawn | str:
        draft, operators = _mutated(parent, rng, rules)
        if rules.least <= len(operators) <= rules.most:
            return draft, operators
        return f"{len(operators)} mutations applied"

    return first_accepted((cell,), draw, rules, known)


def _mutated(draft: Draft, rng: Random, rules: Mutations) -> tuple[Draft, tuple[str, ...]]:
    """The draft after one visit of its nodes, and the names of the mutations that applied.

    For each visited node an operator is drawn, uniformly; where it does not apply, the node stays
    as it is and nothing is counted.
    """
    nodes = draft.interior()
    if rules.visits == "count":
        count = min(rng.randint(rules.least, rules.most), len(nodes))
        visited = rng.sample(nodes, count)
    else:
        p = rng.random()
        visited = [i for i in nodes if rng.random() < p]
    applied: list[str] = []
    for current in visited:
        if len(applied) > rules.most:
            break
        if current not in draft.nodes:
            continue  # an earlier mutation took it out
        name = rng.choice(rules.operators)
        mutated = MUTATIONS[name](draft, current, rng, rules)
        if mutated is not None:
            draft = mutated
            applied.append(name)
    return draft, tuple(applied)


def random_walk(
    cell: Cell, n: int, seed: int | str | Random, rules: Mutations = PAPER
) -> list[Mutant]:
    """Return `n` cells of different keys, each a mutant of the one before, from `cell` on.

    Raises:
        NoMutant: if a cell on the way has no further mutant.
    """
    rng = seed if isinstance(seed, Random) else Random(seed)
    known = {cell.key}
    walked: list[Mutant] = []
    for _ in range(n):
        walked.append(mutate(walked[-1].cell if walked else cell, rng, rules, known))
        known.add(walked[-1].cell.key)
    return walked
