"""The six mutations of Jozefowicz, Zaremba & Sutskever 2015, section 3.2.

Each takes a draft and the number of its current node and gives another draft, or None where it does
not apply. What reads the current node, outputs of the cell included, reads what takes its place.
"""

from dataclasses import replace
from random import Random

from nas.cell.graph import make_node
from nas.cell.mutation.draft import NUMBERS, Draft, pick
from nas.cell.mutation.rules import Mutations, activation, spec_of
from nas.cell.ops import OPS


def change_activation(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """1: an activation becomes another one."""
    old = draft.nodes[current]
    spec = spec_of(old)
    others = [one for one in rules.activations if one != spec]
    if spec is None or not others:
        return None
    new = activation(rng.choice(others), old.args[0])
    return draft.changed(current, replace(new, name=old.name))


def change_combination(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """2: an elementwise operation of two arguments becomes another one."""
    old = draft.nodes[current]
    others = [one for one in rules.combinations if one != old.op]
    if OPS[old.op].kind != "elementwise" or len(old.args) != 2 or not others:
        return None
    return draft.changed(current, make_node(rng.choice(others), old.args, {}, old.name))


def insert_activation(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """3: an activation comes between the current node and one of its parents."""
    old = draft.nodes[current]
    places = [k for k, arg in enumerate(old.args) if draft.nodes[arg].op not in NUMBERS]
    place = pick(places, rng)
    if place is None:
        return None
    new = activation(rng.choice(rules.activations), old.args[place])
    draft, inserted = draft.with_node(new)
    args = (*old.args[:place], inserted, *old.args[place + 1 :])
    return draft.changed(current, replace(old, args=args))


def remove_node(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """4: a node of one argument and one use goes."""
    old = draft.nodes[current]
    if len(old.args) != 1 or draft.n_uses(current) != 1:
        return None
    return draft.redirected(current, old.args[0])


def replace_by_ancestor(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """5: a node that the current one depends on takes its place."""
    ancestor = pick(draft.ancestors(current), rng)
    return None if ancestor is None else draft.redirected(current, ancestor)


def combine_ancestors(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """6: the sum, product or difference of an ancestor of the current node and one of a node A.

    The paper says that the graph stays well-defined, but an ancestor of A may depend on the current
    node, which would be a cycle; such ancestors are left out.
    """
    own = pick(draft.ancestors(current), rng)
    if own is None:
        return None
    nodes = [i for i in sorted(draft.nodes) if draft.ancestors(i)]
    candidates = draft.ancestors(rng.choice(nodes))
    other = pick((i for i in candidates if current not in draft.below([i])), rng)
    if other is None:
        return None
    name = draft.nodes[current].name
    combined = make_node(rng.choice(rules.combinations), (own, other), {}, name)
    draft, new = draft.with_node(combined)
    return draft.redirected(current, new)
