"""The mutations: six of Jozefowicz, Zaremba & Sutskever 2015, section 3.2, and ten further ones.

Each takes a draft and the number of its current node and gives another draft, or None where it does
not apply. What reads the current node, outputs of the cell included, reads what takes its place. To
add one, write a function like these and a line in MUTATIONS; it is off until the rules name it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from nas.cell.graph import Node, make_node, node
from nas.cell.mutation.delays import delayed, source_of, without_state
from nas.cell.mutation.draft import NUMBERS, Draft, pick, take_apart
from nas.cell.mutation.rules import Mutations, activation, spec_of
from nas.cell.ops import GATES, OPS

# --- the paper's ---


def change_activation(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """1: an activation becomes another one."""
    old = draft.nodes[current]
    spec = spec_of(old)
    others = [other for other in rules.activations if other != spec]
    if spec is None or not others:
        return None
    new = activation(rng.choice(others), old.args[0])
    return draft.changed(current, replace(new, name=old.name))


def change_combination(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """2: an elementwise operation of two arguments becomes another one."""
    old = draft.nodes[current]
    others = [op for op in rules.combinations if op != old.op]
    if OPS[old.op].kind != "elementwise" or len(old.args) != 2 or not others:
        return None
    return draft.changed(current, make_node(rng.choice(others), old.args, {}, old.name))


def insert_activation(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """3: an activation comes between the current node and one of its arguments."""
    return _insert(draft, current, rng, lambda arg: activation(rng.choice(rules.activations), arg))


def _insert(draft: Draft, current: int, rng: Random, make: Callable[[int], Node]) -> Draft | None:
    """Put the node that `make` gives between the current node and one of its arguments."""
    old = draft.nodes[current]
    place = pick((k for k, arg in enumerate(old.args) if draft.nodes[arg].op not in NUMBERS), rng)
    if place is None:
        return None
    draft, inserted = draft.with_node(make(old.args[place]))
    return draft.changed(current, old.with_arg(place, inserted))


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
    """6: the sum, product or difference of an ancestor of the current node and one of any node A.

    The paper says that the graph stays well-defined, but an ancestor of A may depend on the current
    node, which would be a cycle; such ancestors are left out.
    """
    own = pick(draft.ancestors(current), rng)
    if own is None:
        return None
    nodes = [i for i in sorted(draft.nodes) if _has_ancestors(draft, i)]
    candidates = draft.ancestors(rng.choice(nodes))
    other = pick((i for i in candidates if current not in draft.below([i])), rng)
    if other is None:
        return None
    name = draft.nodes[current].name
    combined = make_node(rng.choice(rules.combinations), (own, other), {}, name)
    draft, new = draft.with_node(combined)
    return draft.redirected(current, new)


def _has_ancestors(draft: Draft, index: int) -> bool:
    return any(draft.nodes[arg].op not in NUMBERS for arg in draft.nodes[index].args)


# --- beyond the paper: constants, gates, peepholes, the number of states ---


def insert_constant(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """One of the current node's arguments is multiplied by a constant."""
    draft, number = draft.with_node(node("constant", value=rng.choice(rules.constants)))
    return _insert(draft, current, rng, lambda arg: node("mul", number, arg))


def insert_complement(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """1 - a takes the place of one of the current node's arguments a."""
    draft, one = draft.with_node(node("constant", value=1.0))
    return _insert(draft, current, rng, lambda arg: node("sub", one, arg))


def couple_gates(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A gate becomes 1 - another gate."""
    if draft.nodes[current].op not in GATES:
        return None
    gates = (i for i in draft.interior() if draft.nodes[i].op in GATES)
    other = pick((i for i in gates if current not in draft.below([i])), rng)
    if other is None:
        return None
    draft, one = draft.with_node(node("constant", value=1.0))
    draft, rest = draft.with_node(node("sub", one, other, name=draft.nodes[current].name))
    return draft.redirected(current, rest)


def swap_gate(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A gate becomes a copy of a known cell's, whose state k is read as the state k or the last."""
    if draft.nodes[current].op not in GATES:
        return None
    known = take_apart(rng.choice(rules.library))
    gate = pick((i for i in known.interior() if known.nodes[i].op in GATES), rng)
    if gate is None or any(known.nodes[i].op == "vertical" for i in known.below([gate])):
        return None
    states = draft.states
    place = {state: states[min(k, len(states) - 1)] for k, state in enumerate(known.states)}
    place[known.input] = draft.input
    draft = draft.with_copy(known, gate, place, draft.nodes[current].name)
    return draft.redirected(current, place[gate])


def add_peephole(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A gate also reads a state, old or new, through a diagonal matrix."""
    gate = draft.nodes[current]
    if gate.op not in GATES:
        return None
    addends = (draft.nodes[i] for i in _addends(draft, gate.args[0]))
    read = {n.args[0] for n in addends if n.op == "diagonal"}
    new_states = (i for i in draft.new_states if current not in draft.below([i]))
    state = pick(sorted({*draft.states, *new_states} - read), rng)
    if state is None:
        return None
    draft, peephole = draft.with_node(node("diagonal", state))
    draft, total = draft.with_node(node("add", gate.args[0], peephole))
    return draft.changed(current, replace(gate, args=(total,)))


def _addends(draft: Draft, index: int) -> Iterator[int]:
    if draft.nodes[index].op == "add":
        for arg in draft.nodes[index].args:
            yield from _addends(draft, arg)
    else:
        yield index


def remove_peephole(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A diagonal matrix that is added to something goes."""
    totals = [i for i, n in draft.nodes.items() if n.op == "add" and current in n.args]
    is_peephole = draft.nodes[current].op == "diagonal"
    if not is_peephole or len(totals) != 1 or draft.n_uses(current) != 1:
        return None
    [total] = totals
    [rest] = (arg for arg in draft.nodes[total].args if arg != current)
    return draft.redirected(total, rest)


def merge_states(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """The state whose new value the current node is goes; its readers read another state."""
    states = draft.states
    gone = pick((k for k, new in enumerate(draft.new_states) if new == current), rng)
    if gone is None or len(states) < 2:
        return None
    kept = rng.choice([k for k in range(len(states)) if k != gone])
    return without_state(draft.redirected(states[gone], states[kept]), gone)


def split_state(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """The current node is the new value of a new state, which some readers of a state now read."""
    states = draft.states
    old = rng.choice(states)
    reads = [(i, k) for i, n in draft.nodes.items() for k, arg in enumerate(n.args) if arg == old]
    if current in draft.new_states or len(reads) < 2:
        return None
    moved = rng.sample(reads, rng.randrange(1, len(reads)))
    draft, new = draft.with_node(draft.nodes[old])
    nodes = dict(draft.nodes)
    for i, k in moved:
        nodes[i] = nodes[i].with_arg(k, new)
    end = 1 + len(states)
    return Draft.pruned(nodes, (*draft.outputs[:end], current, *draft.outputs[end:]))


# --- beyond the paper: longer memory, products of matrices ---


def delay_state(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """The current node reads one of its states as it was 2 to `max_delay` steps ago.

    Further states hold the past (`delays.py`); a state that is read with a delay may also be read
    with none. After EXAMM (Desell, ElSaid & Ororbia 2020, "An Empirical Exploration of Deep
    Recurrent Connections and Memory Cells Using Neuro-Evolution").
    """
    old = draft.nodes[current]
    place = pick((k for k, arg in enumerate(old.args) if arg in draft.states), rng)
    if place is None:
        return None
    source, lag = source_of(draft, old.args[place])
    lags = [other for other in range(1, rules.max_delay + 1) if other != lag]
    draft, state = delayed(draft, source, rng.choice(lags))
    return draft.changed(current, old.with_arg(place, state))


def bilinear(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """The argument a of a matrix or an activation becomes a + linear(p) * linear(q).

    p is x or a node that the current one depends on, q a state or such a node: the product of the
    multiplicative RNN, Sutskever, Martens & Hinton 2011, in which p is x and q is h.
    """
    if spec_of(draft.nodes[current]) is None:
        return None
    ancestors = draft.ancestors(current)
    p = rng.choice(sorted({draft.input, *ancestors}))
    q = rng.choice(sorted({*draft.states, *ancestors}))
    draft, left = draft.with_node(node("linear", p))
    draft, right = draft.with_node(node("linear", q))
    draft, product = draft.with_node(node("mul", left, right))
    return _insert(draft, current, rng, lambda arg: node("add", arg, product))


Operator = Callable[[Draft, int, Random, Mutations], Draft | None]

MUTATIONS: dict[str, Operator] = {
    "change_activation": change_activation,
    "change_combination": change_combination,
    "insert_activation": insert_activation,
    "remove_node": remove_node,
    "replace_by_ancestor": replace_by_ancestor,
    "combine_ancestors": combine_ancestors,
    # beyond the paper
    "swap_gate": swap_gate,
    "couple_gates": couple_gates,
    "add_peephole": add_peephole,
    "remove_peephole": remove_peephole,
    "insert_constant": insert_constant,
    "insert_complement": insert_complement,
    "merge_states": merge_states,
    "split_state": split_state,
    "delay_state": delay_state,
    "bilinear": bilinear,
}
