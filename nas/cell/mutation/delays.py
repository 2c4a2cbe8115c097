"""Delay lines: states that only hold what another state was, as h_1 … h_4 do in the cell tau_gru.

A state whose new value is another state of the step before is a delay. A line of them lets a cell
read a state as it was k steps ago, and is counted apart from the states that the cell computes.
"""

from collections.abc import Mapping, Sequence

from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.cell.mutation.draft import Draft


def held(states: Sequence[int], new_states: Sequence[int]) -> dict[int, int]:
    """Each delay, and the state whose value it takes over; what only holds itself is none."""
    pairs = {s: new for s, new in zip(states, new_states, strict=True) if new in states}
    return {s: pairs[s] for s in pairs if len(_line(s, pairs)) <= len(pairs)}


def _line(state: int, takes: Mapping[int, int]) -> list[int]:
    """The states before a state in its line; in a circle, more than there are delays."""
    line: list[int] = []
    while state in takes and len(line) <= len(takes):
        state = takes[state]
        line.append(state)
    return line


def lags(cell: Cell) -> list[int]:
    """How many steps ago the value of each state was new: 1, and more for a delay."""
    states = [i for i, n in enumerate(cell.nodes) if n.op == "state"]
    takes = held(states, cell.new_states)
    return [1 + len(_line(state, takes)) for state in states]


def n_computed(cell: Cell) -> int:
    """The number of states that are no delays."""
    return lags(cell).count(1)


def source_of(draft: Draft, state: int) -> tuple[int, int]:
    """The state whose past a state holds, and how many steps ago it read it; itself and 1."""
    line = _line(state, held(draft.states, draft.new_states))
    return (line[-1] if line else state), 1 + len(line)


def delayed(draft: Draft, state: int, lag: int) -> tuple[Draft, int]:
    """The draft with a state that holds another one as it was `lag` steps ago, 1 for itself."""
    for _ in range(lag - 1):
        draft, state = with_delay(draft, state)
    return draft, state


def with_delay(draft: Draft, state: int) -> tuple[Draft, int]:
    """The draft with a state that holds another one of the step before; one that does is taken."""
    attrs = draft.nodes[state].attrs
    for known, new in zip(draft.states, draft.new_states, strict=True):
        if new == state != known and draft.nodes[known].attrs == attrs:
            return draft, known
    source, lag = source_of(draft, state)
    end = 1 + len(draft.states)
    draft, new = draft.with_node(Node("state", (), attrs, f"{draft.nodes[source].name}_{lag}"))
    outputs = (*draft.outputs[:end], state, *draft.outputs[end:])
    return Draft(draft.nodes, outputs), new


def without_idle_delays(draft: Draft) -> Draft:
    """The draft without delays that nothing reads, such as the rest of a line that ends earlier."""
    while True:
        news = dict(zip(draft.states, draft.new_states, strict=True))
        takes = held(draft.states, draft.new_states)
        y, *rest = draft.outputs
        computed = [news[state] for state in news if state not in takes]
        read = draft.below([y, *computed, *rest[len(news) :], *takes.values()])
        idle = [k for k, state in enumerate(news) if state in takes and state not in read]
        if not idle:
            return draft
        draft = without_state(draft, idle[-1])


def without_state(draft: Draft, place: int) -> Draft:
    """The draft without the state at this place, which nothing reads any more."""
    nodes = {i: n for i, n in draft.nodes.items() if i != draft.states[place]}
    outputs = (*draft.outputs[: 1 + place], *draft.outputs[2 + place :])
    return Draft.pruned(nodes, outputs)
