"""The sentences of a walk, written from the graph. Names of values stand between asterisks."""

from collections.abc import Sequence

from nas.cell.graph import Graph, reachable
from nas.cell.ops import INPUTS, LEARNED
from nas.cell.walk.phrases import FUNCTIONS, Phrases, capital, listed
from nas.cell.walk.steps import Step
from nas.cell.walk.uses import Use, shared_by, shown_in, uses_of
from nas.cell.walk.values import Range, Term, is_share, ranges, terms_of

LONG = 34
"""Words of a description, above which the equation says it better."""


class Words(Phrases):
    """What is said of each step of a cell."""

    def __init__(self, cell: Graph, steps: Sequence[Step]) -> None:
        super().__init__(cell, steps)
        self.uses = uses_of(self.graphs, steps)
        self.ranges = ranges(cell)

    def is_gate(self, step: Step) -> bool:
        """Whether a step gives a share, 0 to 1, that something is multiplied with."""
        is_factor = any(use.others for use in self.uses[step.root])
        return is_share(self.ranges[step.root]) and is_factor

    # --- the head of a step ---

    def title(self, step: Step) -> str:
        """A step's value, and what it is for."""
        if step.states:
            news = self.states(step.states)
            if self.graphs.op(step.root) not in INPUTS:
                return f"The new {news}" + (", which is put out" if step.is_output else "")
            return (
                f"{news} stays" if step.root == 1 + step.states[0] else f"The new {news}: a delay"
            )
        if step.is_output:
            return "What is put out"
        if step.verticals:
            return "What the layer above gets"
        purpose = self._purpose(step)
        return capital(self.call(step.root) + (f", {purpose}" if purpose else ""))

    def _purpose(self, step: Step) -> str:
        """What the value of a step is for, in short; empty if nothing is known of it."""
        uses = self.uses[step.root]
        by_kind = {use.kind: use for use in reversed(uses)}
        if (keep := by_kind.get("keep")) and self._twin(keep):
            return f"which shares {self.states(keep.states)} between old and new"
        if pair := self._mixed(step):
            return f"which mixes {self._others(pair[0])} and {self._others(pair[1])}"
        if self.is_gate(step):
            return self._gate_purpose(uses)
        if write := by_kind.get("write"):
            if kept := self._keeps(step, write.states):
                return f"what is kept of {self.states(kept)}"
            may = "may be" if self._let(write) else "is"
            return f"what {may} written into {self.states(write.states)}"
        return ""

    def _gate_purpose(self, uses: Sequence[Use]) -> str:
        parts = []
        for use in {use.kind: use for use in reversed(uses)}.values():
            states = self.states(use.states) if use.states else ""
            match use.kind:
                case "keep":
                    word = "kept" if use.by == "plain" else "forgotten"
                    parts.append(f"how much is {word} of {states}")
                case "reset":
                    parts.append(f"how much of the old {states} is seen")
                case "write":
                    parts.append(f"how much is written into {states}")
                case "show":
                    parts.append(f"how much of {states} is shown")
        if not parts:
            scale = next(use for use in uses if use.others)
            parts.append(f"how much of {self._others(scale)} goes into {self.call(scale.into)}")
        return listed(reversed(parts))

    # --- its sentences ---

    def sentences(self, step: Step) -> str:
        """One to three sentences on what a step computes and what for."""
        if step.states:
            said = self._new_state(step)
            if self.is_gate(step):
                said = " ".join([said, *self._purposes(step)])
        elif not step.nodes:
            said = f"It is {self.of(step.root)} as it is."
        else:
            said = self._value(step)
        return " ".join([said, *self._leaves(step)])

    def reads(self, step: Step) -> list[str]:
        """What a step reads, by name, inputs first."""
        return [self.of(i) for i in self._read(step)]

    def _value(self, step: Step) -> str:
        text, uses = self._whole(step), self.uses[step.root]
        if (known := between(self.ranges[step.root])) and uses:
            text += f", {known} for each unit"
        return " ".join([f"{capital(text)}.", *self._purposes(step)])

    def _purposes(self, step: Step) -> list[str]:
        """Sentences on what the value of a step is for."""
        if pair := self._mixed(step):
            (one, other), into = map(self._others, pair), self.call(pair[0].into)
            return [f"It mixes: near 1, {one} goes into {into}; near 0, {other}."]
        return [said for use in self._told(self.uses[step.root]) if (said := self._used(use, step))]

    def _whole(self, step: Step) -> str:
        """The description of a step, or what it reads where that is shorter."""
        text = self.described(step.root)
        if len(text.split()) <= LONG:
            return text
        made = f"what the equation makes of {listed(self.reads(step))}"
        op = self.graphs.op(step.root)
        return FUNCTIONS[op].format(made) if self.graphs.is_function(step.root) else made

    def _told(self, uses: Sequence[Use]) -> list[Use]:
        """The uses that are told: one for each purpose; keeping a state tells of writing it."""
        told: dict[object, Use] = {}
        for use in sorted(uses, key=lambda use: not use.others):
            told.setdefault((use.kind, use.states), use)
        kept = {use.states for use in uses if use.kind == "keep"}
        return [u for u in told.values() if u.kind != "write" or u.states not in kept][:3]

    def _used(self, use: Use, step: Step) -> str:
        """A sentence on one use of a value; empty if there is nothing to say."""
        gate, states, into = self.is_gate(step), self.states(use.states), self.call(use.into)
        if use.kind == "keep":
            return self._kept(use, step)
        if not use.others:
            if kept := self._keeps(step, use.states):
                return f"It is what is kept of the old {self.states(kept)}."
            return f"It is added to what becomes the new {states}." if states else ""
        others = self._others(use)
        times = f"{self._it(use, step)} multiplies {others}"
        match use.kind:
            case "reset":
                seen = f": how much of the old {states} is seen there" if gate else ""
                return f"{times} before {into} reads it{seen}."
            case "show":
                return f"{times}: how much of it is shown in {into}." if gate else f"{times}."
            case "write" if gate:
                return f"{times}: how much of it is written into {states}."
            case "write" if self._let(use):
                return f"It may be written into {states}, as far as {others} lets it."
            case "write":
                return f"It is multiplied with {others}, and written into {states}."
        if use.by == "inverse":
            return f"It divides {others} in {into}."
        return f"{times}: how much of it goes into {into}." if gate else f"{times} in {into}."

    def _it(self, use: Use, step: Step) -> str:
        return f"1 − {self.call(step.root)}" if use.by == "rest" else "It"

    def _others(self, use: Use) -> str:
        return self.product(Term(use.others))

    def _let(self, use: Use) -> bool:
        """Whether a gate is among the other factors."""
        return any(is_share(self.ranges[factor.node]) for factor in use.others)

    def _twin(self, keep: Use) -> Use | None:
        """The use in which what a value does not keep of a state lets something else in."""
        of = self.uses[keep.of]
        twins = (u for u in of if u.kind == "write" and u.states == keep.states and u.others)
        return next((use for use in twins if {use.by, keep.by} == {"plain", "rest"}), None)

    def _mixed(self, step: Step) -> tuple[Use, Use] | None:
        """The two uses of a value that lets one thing in at 1, another at 0; neither is kept."""
        uses = [u for u in self.uses[step.root] if u.kind != "keep" and u.others]
        for one in uses:
            for other in uses:
                if one.into == other.into and (one.by, other.by) == ("plain", "rest"):
                    return one, other
        return None

    def _kept(self, use: Use, step: Step) -> str:
        states = self.states(use.states)
        if twin := self._twin(use):
            new = self._others(twin)
            stays = f"the old {states} stays"
            one, other = stays, f"{new} replaces it"
            if use.by == "rest":
                one, other = f"{new} replaces the old {states}", stays
            return (
                f"It shares {states} between old and new: where it is near 1, {one}; where it is "
                f"near 0, {other}."
            )
        rest = tuple(f for f in use.others if f.node - 1 not in use.states)
        by = f" (with {self.product(Term(rest))})" if rest else ""
        said = f"{self._it(use, step)} multiplies the old {states}{by}"
        said += ": how much of it is kept" if self.is_gate(step) else " on its way to the new one"
        writes = [u for u in self.uses[step.root] if u.kind == "write" and u.states == use.states]
        if also := next((u for u in writes if u.others), None):
            said += f"; it also multiplies {self._others(also)}, which is written"
        return f"{said}."

    # --- a new state ---

    def _new_state(self, step: Step) -> str:
        state = step.states[0]
        new, op = f"The new {self.state(state)}", self.graphs.op(step.root)
        if step.root == 1 + state:
            return f"{self.state(state)} never changes."
        if op in INPUTS:
            return (
                f"{new} is {self.of(step.root)} as it is: a delay, by which it is read once more."
            )
        if op == "constant":
            return f"{new} is always {self.described(step.root)}."
        said = self._sum(step, state)
        return said if len(said.split()) <= 2 * LONG else f"{new} is {self._whole(step)}."

    def _sum(self, step: Step, state: int) -> str:
        """What a new state keeps of the old one and what is written into it."""
        inner = frozenset(step.nodes)
        top = self.graphs.peeled(step.root, inner)
        terms = terms_of(self.cell, top, inner)
        keeps = [term for term in terms if self._keeps_in(term, state)]
        writes = [term for term in terms if term not in keeps]
        if not keeps:
            return self._afresh(step, state, terms)
        if top == step.root and (shared := self._shared(state, terms)):
            return shared
        new, kept = f"The new {self.state(state)}", self._kept_terms(keeps, state)
        around = self._around(step.root, top)
        if not writes:
            total = around.format("what is kept")
            return f"{new} is {total}: {kept}. Nothing is added to it."
        written = self.sum_of(writes).removeprefix("minus ")
        verb = "taken away" if all(term.negative for term in writes) else "written"
        total = around.format(f"what is kept and what is {verb}")
        if top == step.root:
            total = f"the sum of {total}" if verb == "written" else f"made of {total}"
        return f"{new} is {total}. Kept: {kept}. {capital(verb)}: {written}."

    def _keeps(self, step: Step, states: Sequence[int]) -> tuple[int, ...]:
        """The states that are in every term of a step, which keeps a part of them."""
        terms = terms_of(self.cell, step.root, frozenset(step.nodes))
        return tuple(k for k in states if all(1 + k in term.nodes for term in terms))

    def _keeps_in(self, term: Term, state: int) -> bool:
        """Whether an old state is in a term, or the term is a step that keeps a part of it."""
        step = self.step_of.get(term.nodes[0]) if len(term.factors) == 1 else None
        is_kept = step is not None and not step.states and bool(self._keeps(step, (state,)))
        return 1 + state in term.nodes or is_kept

    def _shared(self, state: int, terms: Sequence[Term]) -> str:
        """A new state that is shared between the old one and something else; else empty."""
        gate = shared_by(self.cell, terms, state)
        if gate is None:
            return ""
        [keep] = [term for term in terms if 1 + state in term.nodes]
        [write] = [term for term in terms if term is not keep]
        other = self.product(Term(tuple(f for f in write.factors if f.node != gate.node)))
        by, old = self.of(gate.node), f"the old {self.state(state)}"
        is_between = is_share(self.ranges[gate.node])
        said = f"lies between {old} and {other}, unit by unit, where {by} says"
        said = said if is_between else f"is {old} and {other}, mixed by {by}"
        kept = self._kept_terms([keep], state)
        return f"The new {self.state(state)} {said}. Kept: {kept}. Written: {self.product(write)}."

    def _around(self, root: int, top: int) -> str:
        """The functions around a sum, the outermost first: "the tanh of {}"."""
        text = "{}"
        while root != top:
            text = text.format(FUNCTIONS[self.graphs.op(root)])
            [root] = self.cell.nodes[root].args
        return text

    def _kept_terms(self, terms: Sequence[Term], state: int) -> str:
        """Terms in which an old state is a factor, which stands last."""
        said = []
        for term in terms:
            ordered = sorted(term.factors, key=lambda factor: factor.node == 1 + state)
            text = self.product(Term(tuple(ordered)))
            if term.nodes == (1 + state,):
                text = f"all of {text}"
            said.append(f"minus {text}" if term.negative else text)
        return listed(said)

    def _afresh(self, step: Step, state: int, terms: Sequence[Term]) -> str:
        """A new state that keeps nothing of the old one as it is."""
        old = f"the old {self.state(state)}"
        text = f"The new {self.state(state)} is {self._whole(step)}"
        inner = frozenset(step.nodes)
        factors = terms[0].nodes if len(terms) == 1 else ()
        shown = {
            k
            for i in factors
            for k in shown_in(self.graphs, i, inner)
            if k != state and not is_share(self.ranges[self.cell.new_states[k]])
        }
        if shown:
            return f"{text}: what the cell shows of {self.states(sorted(shown))}."
        through = [i for i in self._read(step) if 1 + state in self._before(i)]
        if not through:
            return f"{text}. It does not depend on {old}."
        if 1 + state not in self._before(step.root, LEARNED):
            return (
                f"{text}. Nothing of {old} is kept as it is: all that is left of it has gone "
                "through a learned map."
            )
        if 1 + state in through:
            return f"{text}. It reads {old} as it is."
        return f"{text}. What is left of {old} comes through {listed(map(self.call, through))}."

    def _before(self, i: int, but: Sequence[str] = ()) -> set[int]:
        """The node and all on which it depends, not looked for behind operations `but`."""
        nodes = self.cell.nodes
        return reachable([i], lambda k: nodes[k].args if nodes[k].op not in but else ())

    def _read(self, step: Step) -> list[int]:
        """The nodes that a step reads, inputs first."""
        inner = set(step.nodes)
        read = {arg for i in inner for arg in self.cell.nodes[i].args if arg not in inner}
        return sorted(read if inner else {step.root})

    def _leaves(self, step: Step) -> list[str]:
        """Where a value leaves the cell besides as a state."""
        said = []
        if len(step.states) > 1:
            said.append(f"It is also the new {self.states(step.states[1:])}.")
        if step.is_output and step.states:
            said.append("It is also what the cell puts out.")
        elif step.is_output:
            said.append("It leaves the cell as its output and is not remembered.")
        above = [f"*{self.cell.verticals[k]}*" for k in step.verticals]
        return [*said, *(f"The layer above gets it as its {name}." for name in above)]


def between(known: Range) -> str:
    """A range in words; empty if nothing is known."""
    low, high = (f"{end:.4g}".replace("-", "−") for end in known)
    if known[0] > float("-inf") and known[1] < float("inf"):
        return f"between {low} and {high}"
    if known[0] == 0:
        return "never below 0"
    return ""
