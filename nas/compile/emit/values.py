"""Which values of a step are stored in memory, and for how long."""

from nas.cell.ops import OPS
from nas.compile.emit.formula import derivatives, names
from nas.compile.plan import Plan

Group = tuple[int, ...]
"""Operations of a region that share a loop over the row."""
CHEAP = ("add", "sub", "mul", "neg", "blend", "max", "min", "relu", "leaky_relu", "abs", "square")
"""Operations that are as fast as reading their result from memory."""
DEEPEST = 3
"""Operations in a row that the backward pass computes again rather than reads."""
ARGUMENTS = ("a", "b", "c")
"""What formulas call the arguments of an operation."""


class Values:
    """Where the values of a plan's loop live.

    A value that another group or step reads is stored: until the backward pass has read it if it
    is kept, else for the step. Neighbouring operations read the others from registers.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.schedule: list[int | Group] = []
        """What a step runs, in order: stages by their number, and groups."""
        for s, region in enumerate(plan.regions):
            self.schedule += [s - 1] if s else []
            self.schedule += self._groups(region)
        groups = [step for step in self.schedule if not isinstance(step, int)]
        self.group_of = {i: group for group in groups for i in group}
        self.stage_of = {
            target.node: (s, target)
            for s, stage in enumerate(plan.stages)
            for target in stage.targets
        }
        self.multiplied = {p.arg for stage in plan.stages for p in stage.products}
        self.read_back = self._read_back()
        """Values that the backward pass reads: arguments and results in derivatives."""
        self.again = self._again()
        """Values that the backward pass computes again, with the depth of that computation."""
        self.kept = (self.read_back & self.group_of.keys()) - self.again.keys()
        """Results of groups that stay in memory until the backward pass."""
        self.stored = self.kept | self._passed_on()
        """Results of groups that are written to memory."""
        self.state_of = self._state_of()
        """The states among whose values a result lies."""

    def stage_is_kept(self, s: int) -> bool:
        """Whether the backward pass reads the sums of a stage."""
        return any(target.node in self.read_back for target in self.plan.stages[s].targets)

    def _groups(self, region: tuple[int, ...]) -> list[Group]:
        """Neighbouring operations of one width are a group; a row operation is alone."""
        groups: list[Group] = []
        last: object = None
        for i in region:
            alone = OPS[self.plan.node(i).op].kind == "row"
            width = None if alone else self.plan.padded(i)
            if groups and width is not None and width == last:
                groups[-1] += (i,)
            else:
                groups.append((i,))
            last = width
        return groups

    def _read_back(self) -> set[int]:
        nodes = set(self.multiplied)
        for i in self.group_of:
            read = {
                name for formula in derivatives(self.plan.node(i).op) for name in names(formula)
            }
            args = zip(self.plan.args(i), ARGUMENTS, strict=False)
            nodes |= {arg for arg, name in args if name in read}
            nodes |= {i} if "y" in read else set()
        return nodes

    def _again(self) -> dict[int, int]:
        """Cheap operations of values that the backward pass reads anyway."""
        again: dict[int, int] = {}
        for i in sorted(self.read_back & self.group_of.keys() - self.multiplied):
            args = self.plan.args(i)
            inner = [arg for arg in args if arg in self.group_of or arg in self.stage_of]
            depth = 1 + max((again.get(arg, 0) for arg in args), default=0)
            cheap = self.plan.node(i).op in CHEAP and depth <= DEEPEST
            if cheap and self.read_back.issuperset(inner):
                again[i] = depth
        return again

    def _passed_on(self) -> set[int]:
        """Results that another group reads, or that leave the step."""
        read = {
            arg
            for i, group in self.group_of.items()
            for arg in self.plan.args(i)
            if self.group_of.get(arg, group) is not group
        }
        return read | self.group_of.keys() & set(self.plan.outputs)

    def _state_of(self) -> dict[int, int]:
        state_of: dict[int, int] = {}
        for place in self.plan.state_places:
            i = self.plan.outputs[place]
            if i in self.group_of and self.plan.padded(i) == self.plan.padded(place):
                state_of.setdefault(i, place)
        return state_of
