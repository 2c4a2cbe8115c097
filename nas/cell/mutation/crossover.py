"""Crossover: a child of two cells.

    child = cross(zoo["rnn"], zoo["gru"], seed=0)
    child.cell, child.operators

Each crossover takes the drafts of the parent and of its mate and gives the child's, or None where
it does not apply. In what comes from the mate, x is the parent's, state k is the parent's state k
or its last one, and a delay is the same delay of that state; its matrices are new ones. To add one,
write a function like these, a line in KINDS, and its odds in CROSSOVERS of `rules.py`.

Joining two parents is what mutation cannot do in one step, such as an additive cell and a
multiplicative one.
"""

from collections.abc import Callable, Collection, Iterable
from random import Random

from nas.cell.cell import Cell
from nas.cell.graph import make_node, node
from nas.cell.mutation.accept import Drawn, Mutant, first_accepted
from nas.cell.mutation.delays import delayed, held, source_of
from nas.cell.mutation.draft import NUMBERS, Draft, pick, take_apart
from nas.cell.mutation.operators import MUTATIONS
from nas.cell.mutation.rules import CROSSOVERS, PAPER, Mutations
from nas.errors import UserError


def cross(
    cell: Cell,
    mate: Cell,
    seed: int | str | Random,
    rules: Mutations = PAPER,
    known: Collection[str] = (),
) -> Mutant:
    """Return a child of two cells that obeys the rules, of a key that is neither's nor `known`.

    It has as many states as the first, unless the rules open that. The same cells, seed, rules and
    known keys give the same child.

    Raises:
        NoMutant: if none was accepted in `rules.max_draws` draws, with the last one's reason.
        UserError: if the rules open no crossover.
    """
    if not rules.crossovers:
        raise UserError("crossovers needs at least one choice to cross two cells, got none.")
    rules.check(tuple(MUTATIONS))
    rng = seed if isinstance(seed, Random) else Random(seed)
    parent, other = take_apart(cell), take_apart(mate)
    odds = [CROSSOVERS[name] for name in rules.crossovers]

    def draw() -> Drawn | str:
        [name] = rng.choices(rules.crossovers, odds)
        child = KINDS[name](parent, other, rng, rules)
        return (child, (name,)) if child else f"the crossover {name} did not apply"

    return first_accepted((cell, mate), draw, rules, known)


def subgraph(draft: Draft, mate: Draft, rng: Random, rules: Mutations) -> Draft | None:
    """An operation of the mate, with all that it depends on, takes the place of one use of a value.

    The value is a state of the parent or the result of an operation, which its other uses keep.
    """
    root = pick((i for i in mate.interior() if mate.nodes[i].op not in NUMBERS), rng)
    readers = ((i, k) for i in draft.interior() for k in range(len(draft.nodes[i].args)))
    fixed = ("input", "vertical", *NUMBERS)
    uses = [(i, k) for i, k in readers if draft.nodes[draft.nodes[i].args[k]].op not in fixed]
    if root is None or not uses or _reads_layer_below(mate, [root]):
        return None
    draft, [copied] = _with_copies(draft, mate, [root])
    reader, place = rng.choice(uses)
    return draft.changed(reader, draft.nodes[reader].with_arg(place, copied))


def combine(draft: Draft, mate: Draft, rng: Random, rules: Mutations) -> Draft | None:
    """Every new state, and y, is the sum, product or difference of both parents'."""
    op = rng.choice(rules.combinations)

    def join(draft: Draft, own: int, other: int) -> tuple[Draft, int]:
        return draft.with_node(make_node(op, (own, other), {}))

    return _joined(draft, mate, join)


def blend(draft: Draft, mate: Draft, rng: Random, rules: Mutations) -> Draft | None:
    """Every new state, and y, is g times the parent's and 1 - g times the mate's, g a gate."""
    draft, of_x = draft.with_node(node("linear", draft.input))
    draft, of_h = draft.with_node(node("linear", next(iter(_computed(draft)))))
    draft, total = draft.with_node(node("add", of_x, of_h))
    draft, gate = draft.with_node(node("sigmoid", total))
    draft, one = draft.with_node(node("constant", value=1.0))
    draft, rest = draft.with_node(node("sub", one, gate))

    def join(draft: Draft, own: int, other: int) -> tuple[Draft, int]:
        draft, kept = draft.with_node(node("mul", gate, own))
        draft, taken = draft.with_node(node("mul", rest, other))
        return draft.with_node(node("add", kept, taken))

    return _joined(draft, mate, join)


Crossover = Callable[[Draft, Draft, Random, Mutations], Draft | None]
KINDS: dict[str, Crossover] = {"subgraph": subgraph, "combine": combine, "blend": blend}

Join = Callable[[Draft, int, int], tuple[Draft, int]]


def _joined(draft: Draft, mate: Draft, join: Join) -> Draft | None:
    """The draft whose computed states, and y, are joined with the mate's; delays stay."""
    mine, theirs = _computed(draft), list(_computed(mate).values())
    y = draft.outputs[0]
    own = [*mine.values()]
    others = [theirs[min(k, len(theirs) - 1)] for k in range(len(own))]
    if y not in own:
        own.append(y)
        others.append(mate.outputs[0])
    if _reads_layer_below(mate, others):
        return None
    draft, copies = _with_copies(draft, mate, others)
    joined: list[int] = []
    for value, copied in zip(own, copies, strict=True):
        draft, new = join(draft, value, copied)
        joined.append(new)
    news = dict(zip(mine, joined, strict=False))
    states = zip(draft.states, draft.new_states, strict=True)
    after = [news.get(state, old) for state, old in states]
    to_layer_above = draft.outputs[1 + len(after) :]
    return Draft.pruned(draft.nodes, (joined[own.index(y)], *after, *to_layer_above))


def _computed(draft: Draft) -> dict[int, int]:
    """The states that are no delays, in order, with their new values."""
    takes = held(draft.states, draft.new_states)
    news = zip(draft.states, draft.new_states, strict=True)
    return {state: new for state, new in news if state not in takes}


def _reads_layer_below(draft: Draft, roots: Iterable[int]) -> bool:
    return any(draft.nodes[i].op == "vertical" for i in draft.below(roots))


def _with_copies(draft: Draft, mate: Draft, roots: list[int]) -> tuple[Draft, list[int]]:
    """The draft with these nodes of the mate and what they depend on, and their numbers in it."""
    mine, theirs = list(_computed(draft)), list(_computed(mate))
    place = {mate.input: draft.input}
    for state in mate.states:
        if state in mate.below(roots):
            source, lag = source_of(mate, state)
            own = mine[min(theirs.index(source), len(mine) - 1)]
            draft, place[state] = delayed(draft, own, lag)
    for root in roots:
        draft = draft.with_copy(mate, root, place)
    return draft, [place[root] for root in roots]
