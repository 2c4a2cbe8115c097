"""The backward kernel of a plan.

Steps run in reverse. A value's gradient is the sum of what flows back from each of its uses. The
gradients of what maps give are written for all rows: those of matrices are products of them after
the loop.
"""

from nas.compile.gpu.layout import Block, Layout, width_of
from nas.compile.gpu.printer import inside
from nas.compile.gpu.writer import Precision, Writer, value_name
from nas.compile.plan import Stage

Parts = dict[tuple[int, Block | None], list[str]]
"""The contributions to the gradient of each block of each node."""


def gradient_name(i: int, block: Block | None) -> str:
    """The variable of a node's gradient."""
    return f"g{i}" if block is None else f"g{i}_{block.name}"


class Backward:
    """Writes the kernel `backward`: all steps in reverse of 16 sequences of one member."""

    def __init__(self, layout: Layout, precision: Precision, *, resident: bool) -> None:
        self.layout, self.plan = layout, layout.plan
        self.writer = Writer(layout, precision, resident=resident)
        self.parts: Parts = {}
        self.loads: list[str] = []
        """The first lines of a step: what is read, and what is computed again."""
        self.stores: list[str] = []
        """The last lines of a step, for the reason in `Forward._keep`."""
        self.known: set[int] = set()
        self.sums: dict[str, tuple[int, int, Block | None]] = {}
        """The running sums of the gradients of what all steps read: the first column and the width
        of each vector in its buffer, and the block."""

    def text(self) -> str:
        writer, plan, after = self.writer, self.plan, list[str]()
        for p in plan.state_places:
            width = self.layout.columns(p)
            place = writer.sequences(f"dfinal{p}", width)
            for block in writer.blocks(p):
                writer.before.append(f"{_state(p, block)} = {writer.load(place, width, block)}")
        self._flow_in()
        for item in reversed(self.layout.values.schedule):
            if isinstance(item, int):
                self._stage(item)
            else:
                for i in reversed(item):
                    self._operation(i)
        self._hoisted_rows()
        writer.step = self.loads + writer.step + self.stores
        self._states()
        for p in plan.state_places:
            width = self.layout.columns(p)
            place = writer.sequences(f"dstart{p}", width)
            after += [writer.store(place, width, b, _state(p, b)) for b in writer.blocks(p)]
        after += self._totals()
        return writer.function("backward", after)

    def _flow_in(self) -> None:
        """The gradients that come from outside of the step."""
        writer, plan = self.writer, self.plan
        for p in plan.state_places:
            for block in writer.blocks(p):
                self._add(plan.outputs[p], block, _state(p, block))
        for place, i in self.layout.outputs:
            width = self.layout.columns(i)
            rows = writer.rows(f"dout{place}", width)
            for block in writer.blocks(i):
                name = f"o{place}" if block is None else f"o{place}_{block.name}"
                self.loads.append(f"{name} = {writer.load(rows, width, block)}")
                self._add(i, block, name)

    def _value(self, i: int, block: Block | None) -> str:
        """A value of the step, read or computed again at the beginning of the step."""
        if i not in self.known:
            self.known.add(i)
            width = self.layout.columns(i)
            if i in self.layout.values.again:
                lines: list[str] = []
                self.writer.result(i, self._value, lines)
                self.loads += lines
                return value_name(i, block)
            if i in self.layout.kept:
                first, width = self.layout.kept[i]
                place = self.writer.rows("kept", width_of(self.layout.kept), first)
            else:
                place = self.writer.rows(f"row{i}", width)
            self.loads += [
                f"{value_name(i, b)} = {self.writer.load(place, width, b)}"
                for b in self.writer.blocks(i)
            ]
        return value_name(i, block)

    def _add(self, i: int, block: Block | None, text: str) -> None:
        """Add to the gradient of a node; `text` is as wide as `block`, the node may be a column."""
        if self.plan.constant(i) is not None:
            return
        own = None if self.plan.sizes[i] == 1 else block
        if own != block:
            assert block is not None
            self.writer.columns.add(block)
            text = f"tl.sum({text}, axis=1, keep_dims=True)"
        if i in self.layout.vectors:
            self._accumulate(*self.layout.vectors[i], own, text)
        else:
            self.parts.setdefault((i, own), []).append(text)

    def _accumulate(self, first: int, width: int, block: Block | None, text: str) -> None:
        """Add to the running sum of the gradient of what all steps read, a vector of the buffer."""
        name = f"s{first}" if block is None else f"s{first}_{block.name}"
        if name not in self.sums:
            self.sums[name] = (first, width, block)
            size = 1 if block is None else block.size
            self.writer.before.append(f"{name} = tl.zeros([16, {size}], tl.float32)")
        self.writer.step.append(f"{name} += tl.where(there, {text}, 0.0)")

    def _gradient(self, i: int) -> bool:
        """Sum up what flows into a node; whether anything does."""
        found = False
        for block in self.writer.blocks(i):
            if parts := self.parts.get((i, block)):
                found = True
                name = gradient_name(i, block)
                self.writer.step.append(f"{name} = {' + '.join(parts)}")
        return found

    def _operation(self, i: int) -> None:
        if not self._gradient(i):
            return
        plan, step = self.plan, self.writer.step
        printer = self.writer.printer(i, self._value, step, lambda b: gradient_name(i, b))
        formulas, args = self.writer.derivatives(i), plan.args(i)
        of = [*args, i] if len(formulas) > len(args) else args
        for k, (arg, formula) in enumerate(zip(of, formulas, strict=False)):
            if plan.constant(arg) is not None:
                continue
            learned = k == len(args)
            texts = [(b, printer.print(formula, b)) for b in self.writer.blocks(i)]
            for block, text in texts:
                name = f"d{i}_{k}" if block is None else f"d{i}_{k}_{block.name}"
                narrow = plan.sizes[arg] == 1 and block is not None
                step.append(f"{name} = {inside(text, block, plan.sizes[i]) if narrow else text}")
                if learned:
                    self._accumulate(*self.layout.own[i], block, name)
                else:
                    self._add(arg, block, name)

    def _stage(self, s: int) -> None:
        stage, writer = self.plan.stages[s], self.writer
        for target in stage.targets:
            i = target.node
            if not self._gradient(i):
                writer.step += [
                    f"{gradient_name(i, b)} = tl.zeros([16, {b.size if b else 1}], tl.float32)"
                    for b in writer.blocks(i)
                ]
            if i in self.layout.biases:
                for block in writer.blocks(i):
                    self._accumulate(*self.layout.own[i], block, gradient_name(i, block))
        self._products(stage, s)

    def _products(self, stage: Stage, s: int) -> None:
        """Gradients of what the maps of a stage multiply."""
        writer, started = self.writer, set[str]()
        for target in stage.targets:
            i, width = target.node, target.width
            args = [arg for node, arg in self.layout.matrices if node == i]
            first, columns = self.layout.sums[i]
            place = writer.rows("dsums", width_of(self.layout.sums), first)
            for block in writer.used(width):
                name = f"a{i}_{block.name}"
                value = gradient_name(i, None if width == 1 else block)
                left = writer.factor(name, value, width, block)
                writer.step.append(writer.store(place, columns, block, name))
                for arg in args:
                    for to in writer.used(self.plan.sizes[arg]):
                        right = writer.weight(i, arg, block, to, turned=False)
                        name = f"p{s}_{arg}_{to.name}"
                        writer.product(name, left, right, adds=name in started)
                        if name not in started:
                            started.add(name)
                            self._add(arg, to, name)

    def _hoisted_rows(self) -> None:
        """Write the gradients of hoisted values."""
        writer = self.writer
        for i in self.layout.rows:
            width = self.layout.columns(i)
            place = writer.rows(f"drow{i}", width)
            for block in writer.blocks(i):
                size = block.size if block else 1
                nothing = [f"tl.zeros([16, {size}], tl.float32)"]
                total = " + ".join(self.parts.get((i, block), nothing))
                self.stores.append(writer.store(place, width, block, total))

    def _states(self) -> None:
        """The gradients of the states before the step; those of ended sequences stay."""
        moved: list[str] = []
        for p in self.plan.state_places:
            for block in self.writer.blocks(p):
                total = " + ".join(self.parts.get((p, block), ["0.0"]))
                old, new = _state(p, block), f"n{p}" if block is None else f"n{p}_{block.name}"
                self.writer.step.append(f"{new} = tl.where(there, {total}, {old})")
                moved.append(f"{old} = {new}")
        self.writer.step += moved

    def _totals(self) -> list[str]:
        """The running sums of this program's sequences, each in a row of its own."""
        writer, columns, lines = self.writer, self.layout.n_vectors, list[str]()
        for name, (first, width, block) in self.sums.items():
            pointer = writer.pointer("dvectors", f"(tl.num_programs(1) * {columns})")
            place = f"{pointer} + tl.program_id(1) * {columns} + {first}"
            column = "tl.arange(0, 1)[None, :]" if block is None else f"c{block.name}"
            is_cut = block is not None and block.first + block.size > width
            mask = f", mask={column} < {width}" if is_cut else ""
            total = f"tl.sum({name}, axis=0, keep_dims=True)"
            lines.append(f"tl.store({place} + {column}, {total}{mask})")
        return lines


def _state(p: int, block: Block | None) -> str:
    """The variable of the gradient of a state after the step."""
    return f"e{p}" if block is None else f"e{p}_{block.name}"
