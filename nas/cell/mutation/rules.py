"""Which mutations are open, and which of their results are recurrent cells worth training.

Jozefowicz et al. 2015 reject a graph only if its outputs do not fit its inputs. Here a cell also
has a limited size, as many states as its parent unless the rules open that, and no idle part. What
is idle is decided by the algebra of `nas/cell/canon.py`, in which c - c reads nothing:

- x reaches every state, within a step or through the steps before, so that each is written;
- every state reaches y in the same way, so that each is read and y depends on x and the past;
- no two states are copies of each other, and none stays at its initial value (the h of h * x).

All matrices are square: most mutants join x elementwise with hidden values, so x needs their width.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from nas.cell.canon import meanings
from nas.cell.cell import Cell
from nas.cell.count import check_sizes, width_unit
from nas.cell.graph import Node, node, reachable
from nas.cell.mutation.delays import lags, n_computed
from nas.cell.mutation.draft import n_matrices, n_operations
from nas.cell.ops import ACTIVATIONS, OPS
from nas.errors import CellError, UserError, check_fields, unknown

PAPER_OPERATORS = (
    "change_activation",
    "change_combination",
    "insert_activation",
    "remove_node",
    "replace_by_ancestor",
    "combine_ancestors",
)
PAPER_ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear 0", "linear 1", "linear 0.9", "linear 1.1")
STATE_OPERATORS = ("merge_states", "split_state")
"""Operators that change the number of states."""
CROSSOVERS = {"subgraph": 6, "combine": 4, "blend": 2}
"""The crossovers of `nas/cell/mutation/crossover.py`, with their odds among those that are open."""
ADDED = {"added": True}
"""The metadata of fields that the first studies did not have: at their default, no digest has
them."""
ORDERED = (
    ("least", "most"),
    ("min_operations", "max_operations"),
    ("min_matrices", "max_matrices"),
)
"""Pairs of fields of which the second must not be below the first."""


@dataclass(frozen=True)
class Mutations:
    """Which mutations are open; the defaults are those of Jozefowicz et al. 2015, section 3.2."""

    operators: tuple[str, ...] = PAPER_OPERATORS
    """Names of `nas.cell.mutation.MUTATIONS`, each as likely as the others."""
    activations: tuple[str, ...] = PAPER_ACTIVATIONS
    """Operations of one argument; "linear A" is a new matrix and bias, A added to the diagonal."""
    combinations: tuple[str, ...] = ("mul", "add", "sub")
    """Elementwise operations of two arguments."""
    visits: Literal["probability", "count"] = "probability"
    """probability: p ~ U[0, 1] is drawn once, each node is mutated with probability p, and the
    result is kept if `least` to `most` mutations were made. count: `least` to `most` nodes are
    drawn, uniformly."""
    least: Annotated[int, "at least 1"] = 1
    """Fewest mutations between a parent and its child."""
    most: int = 3
    """Most mutations between a parent and its child."""
    min_operations: Annotated[int, "at least 1"] = 1
    """Operations of a child, at least; without it, walks without selection end in tiny cells."""
    max_operations: Annotated[int, "at least 1"] = 60
    """Operations of a child, at most; every matrix and addition to it counts, an LSTM has 21."""
    min_matrices: int = 1
    """Matrices of a child, at least."""
    max_matrices: Annotated[int, "at least 1"] = 24
    """Matrices of a child, at most; an LSTM has 8."""
    change_states: bool = False
    """Whether a child may have more or fewer states than its parent."""
    max_states: Annotated[int, "at least 1"] = 4
    """States of a child, where their number may change."""
    constants: tuple[float, ...] = (-1.0, 0.5, 2.0)
    """Factors of the operator insert_constant."""
    library: tuple[Cell, ...] = ()
    """Cells whose gates the operator swap_gate may take."""
    max_draws: Annotated[int, "at least 1"] = 2000
    """Draws after which a cell counts as having no acceptable mutant."""
    max_delay: Annotated[int, "at least 2"] = field(default=8, metadata=ADDED)
    """Where the operator delay_state is open: how many steps ago a state may be read, at most. The
    states that hold the past are then counted in no other limit."""
    crossovers: tuple[str, ...] = field(default=("subgraph", "combine"), metadata=ADDED)
    """Names of CROSSOVERS by which two cells may have a child; blend brings in a gate."""

    def check(self, operators: tuple[str, ...]) -> "Mutations":
        """Return the rules if every field is sound; `operators` are the names in MUTATIONS.

        Raises:
            UserError: naming the field, the rule and the value.
        """
        binary = tuple(op for op in OPS if OPS[op].arity == 2)
        for name, allowed in (("operators", operators), ("combinations", binary)):
            for choice in self._choices(name):
                if choice not in allowed:
                    raise UserError(unknown(name.removesuffix("s"), choice, allowed))
        for choice in self.crossovers:
            if choice not in CROSSOVERS:
                raise UserError(unknown("crossover", choice, CROSSOVERS))
        for spec in self._choices("activations"):
            activation(spec, 0)
        check_fields(self)
        for least, most in ORDERED:
            low, high = getattr(self, least), getattr(self, most)
            if high < low:
                raise UserError(f"{most} must be at least {least} = {low}, got {high}.")
        for name in self.operators:
            if name in STATE_OPERATORS and not self.change_states:
                raise UserError(f"the operator {name} needs change_states: true.")
        if "swap_gate" in self.operators and not self.library:
            raise UserError("the operator swap_gate needs cells in library, got none.")
        if "insert_constant" in self.operators and not self.constants:
            raise UserError("the operator insert_constant needs constants, got none.")
        return self

    def described(self) -> dict[str, object]:
        """The fields for a digest, cells as text; without added ones that have their default."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for f in fields(self):
            if f.metadata.get("added") and plain[f.name] == f.default:
                del plain[f.name]
        return {**plain, "library": [str(cell) for cell in self.library]}

    @property
    def opens_delays(self) -> bool:
        """Whether states that hold the past of another one are counted apart."""
        return "delay_state" in self.operators

    def counted_states(self, cell: Cell) -> int:
        """The number of states of a cell as the limits count them."""
        return n_computed(cell) if self.opens_delays else len(cell.states)

    def _choices(self, name: str) -> tuple[str, ...]:
        choices: tuple[str, ...] = getattr(self, name)
        if not choices:
            raise UserError(f"{name} needs at least one choice, got an empty list.")
        return choices


def activation(spec: str, arg: int) -> Node:
    """The node that an activation such as "tanh" or "linear 0.9" puts on a node.

    Raises:
        UserError: if there is no such activation.
    """
    name, _, number = spec.partition(" ")
    if name == "linear":
        try:
            return node("linear", arg, eye=float(number or 0))
        except ValueError:
            raise UserError(f'activation "linear A" needs a number, got "{spec}".') from None
    if spec not in ACTIVATIONS:
        known = (*ACTIVATIONS, *PAPER_ACTIVATIONS)
        raise UserError(unknown("activation", spec, sorted({*known})))
    return node(spec, arg)


def spec_of(n: Node) -> str | None:
    """A node written as an activation, such as "linear 0.9"; None if it is none."""
    if n.op == "linear":
        return f"linear {n.number('eye'):g}" if len(n.args) == 1 else None
    return n.op if n.op in ACTIVATIONS else None


def broken_rule(cell: Cell, rules: Mutations, n_states: int | None = None) -> str:
    """The rule that keeps a verified cell out, or an empty string.

    `n_states` are the parent's, as `rules.counted_states` counts them.
    """
    count = rules.counted_states(cell)
    if n_states is not None and not rules.change_states and count != n_states:
        return f"it has {count} states, its parent {n_states}"
    if rules.change_states and count > rules.max_states:
        return f"it has {count} states, above max_states = {rules.max_states}"
    if rules.opens_delays and (lag := max(lags(cell))) > rules.max_delay:
        return f"it reads a state of {lag} steps ago, above max_delay = {rules.max_delay}"
    for name, number in (("operations", n_operations(cell)), ("matrices", n_matrices(cell))):
        least, most = getattr(rules, f"min_{name}"), getattr(rules, f"max_{name}")
        if number < least:
            return f"it has {number} {name}, below min_{name} = {least}"
        if number > most:
            return f"it has {number} {name}, above max_{name} = {most}"
    size = width_unit(cell)
    try:
        check_sizes(cell, size, size)
    except CellError as error:
        return f"it has no module, since {error}"
    return idle_part(cell)


def idle_part(cell: Cell) -> str:
    """The first part of a cell that does nothing, as the rule it breaks; else an empty string."""
    y, *rest = meanings(cell)
    new_states = rest[: len(cell.states)]
    labels = [f"state {k}" for k in range(len(new_states))]
    reads = {label: new.inputs for label, new in zip(labels, new_states, strict=True)}
    readers = {a: {b for b in labels if a in reads[b]} for a in ("input", *labels)}
    written = reachable({"input"}, lambda label: readers.get(label, ()))
    read = reachable(y.inputs, lambda label: reads.get(label, ()))
    kinds = [(new.term, state.initial) for new, state in zip(new_states, cell.states, strict=True)]
    stuck = _stuck(cell)
    for k, (state, label) in enumerate(zip(cell.states, labels, strict=True)):
        if label not in written:
            return f"x does not reach the state {state.name}"
        if label not in read:
            return f"the state {state.name} does not reach y"
        if kinds[k] in kinds[:k]:
            twin = cell.states[kinds.index(kinds[k])].name
            return f"the states {twin} and {state.name} are copies of each other"
        if k in stuck:
            return f"the state {state.name} stays at {state.initial:g}"
    return ""


def _stuck(cell: Cell) -> set[int]:
    """The states that always keep their initial value, as the h of h * x does."""
    known = {k: state.initial for k, state in enumerate(cell.states)}
    while known:
        after = meanings(cell, known)[1:]
        kept = {k: value for k, value in known.items() if after[k].number == value}
        if kept == known:
            break
        known = kept
    return set(known)


PAPER = Mutations()
"""The rules of Jozefowicz et al. 2015."""
