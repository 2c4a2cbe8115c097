"""Mutations beyond the paper's: gates, peepholes, constants, and the number of states.

They are called as those of `nas/cell/mutation/paper.py` are. A gate is a sigmoid or a hard sigmoid.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from nas.cell.graph import node
from nas.cell.mutation.draft import NUMBERS, Draft, pick, take_apart
from nas.cell.mutation.rules import Mutations

GATES = ("sigmoid", "hard_sigmoid")


def insert_constant(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """One of the current node's parents is multiplied by a constant."""
    draft, number = draft.with_node(node("constant", value=rng.choice(rules.constants)))
    return _with_number(draft, current, rng, "mul", number)


def insert_complement(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """1 - a takes the place of one of the current node's parents a."""
    draft, one = draft.with_node(node("constant", value=1.0))
    return _with_number(draft, current, rng, "sub", one)


def _with_number(draft: Draft, current: int, rng: Random, op: str, number: int) -> Draft | None:
    old = draft.nodes[current]
    place = pick((k for k, arg in enumerate(old.args) if draft.nodes[arg].op not in NUMBERS), rng)
    if place is None:
        return None
    draft, inserted = draft.with_node(node(op, number, old.args[place]))
    args = (*old.args[:place], inserted, *old.args[place + 1 :])
    return draft.changed(current, replace(old, args=args))


def add_peephole(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A gate also sees a state, old or new, through a diagonal matrix."""
    gate = draft.nodes[current]
    if gate.op not in GATES:
        return None
    seen = {draft.nodes[i].args[0] for i in _addends(draft, gate.args[0]) if _is_peephole(draft, i)}
    new_states = (i for i in draft.new_states if current not in draft.below([i]))
    state = pick(sorted({*draft.states, *new_states} - seen), rng)
    if state is None:
        return None
    draft, peephole = draft.with_node(node("diagonal", state))
    draft, total = draft.with_node(node("add", gate.args[0], peephole))
    return draft.changed(current, replace(gate, args=(total,)))


def remove_peephole(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A diagonal matrix that is added to something goes."""
    totals = [i for i, n in draft.nodes.items() if n.op == "add" and current in n.args]
    if not _is_peephole(draft, current) or len(totals) != 1 or draft.n_uses(current) != 1:
        return None
    [total] = totals
    [rest] = (arg for arg in draft.nodes[total].args if arg != current)
    return draft.redirected(total, rest)


def _is_peephole(draft: Draft, index: int) -> bool:
    return draft.nodes[index].op == "diagonal"


def _addends(draft: Draft, index: int) -> Iterator[int]:
    if draft.nodes[index].op == "add":
        for arg in draft.nodes[index].args:
            yield from _addends(draft, arg)
    else:
        yield index


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
    """A gate becomes a copy of one of a known cell, whose state k is the state k or the last."""
    if draft.nodes[current].op not in GATES:
        return None
    known = take_apart(rng.choice(rules.library))
    gate = pick((i for i in known.interior() if known.nodes[i].op in GATES), rng)
    if gate is None or any(known.nodes[i].op == "vertical" for i in known.below([gate])):
        return None
    [x] = (i for i, n in draft.nodes.items() if n.op == "input")
    states = draft.states
    place = {state: states[min(k, len(states) - 1)] for k, state in enumerate(known.states)}
    for i in sorted(known.below([gate])):
        n = known.nodes[i]
        if n.op == "input":
            place[i] = x
        elif n.op != "state":
            args = tuple(place[arg] for arg in n.args)
            name = draft.nodes[current].name if i == gate else ""
            draft, place[i] = draft.with_node(replace(n, args=args, name=name))
    return draft.redirected(current, place[gate])


def merge_states(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """A state whose new value the current node is goes; what read it reads another state."""
    states = draft.states
    gone = pick((k for k, new in enumerate(draft.new_states) if new == current), rng)
    if gone is None or len(states) < 2:
        return None
    kept = pick((k for k in range(len(states)) if k != gone), rng)
    assert kept is not None
    draft = draft.redirected(states[gone], states[kept])
    nodes = {i: n for i, n in draft.nodes.items() if i != states[gone]}
    outputs = (*draft.outputs[: 1 + gone], *draft.outputs[2 + gone :])
    return draft.pruned(nodes, outputs)


def split_state(draft: Draft, current: int, rng: Random, rules: Mutations) -> Draft | None:
    """The current node is the new value of a new state, which some readers of a state now read."""
    states = draft.states
    place = pick(range(len(states)), rng)
    assert place is not None
    old = states[place]
    reads = [(i, k) for i, n in draft.nodes.items() for k, arg in enumerate(n.args) if arg == old]
    if current in draft.new_states or len(reads) < 2:
        return None
    moved = rng.sample(reads, rng.randrange(1, len(reads)))
    draft, new = draft.with_node(draft.nodes[old])
    nodes = dict(draft.nodes)
    for i, k in moved:
        args = nodes[i].args
        nodes[i] = replace(nodes[i], args=(*args[:k], new, *args[k + 1 :]))
    end = 1 + len(states)
    return draft.pruned(nodes, (*draft.outputs[:end], current, *draft.outputs[end:]))
