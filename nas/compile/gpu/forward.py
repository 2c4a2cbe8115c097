"""The forward kernel of a plan."""

from nas.compile.gpu.layout import Layout, blocks, whole, width_of
from nas.compile.gpu.writer import Precision, Writer, value_name
from nas.compile.plan import Stage


class Forward:
    """Writes the kernel `forward`: all steps of 16 sequences of one member."""

    def __init__(self, layout: Layout, precision: Precision, *, resident: bool) -> None:
        self.layout, self.plan = layout, layout.plan
        self.writer = Writer(layout, precision, resident=resident)
        self.keeping: list[str] = []

    def text(self) -> str:
        writer, after = self.writer, list[str]()
        for p in self.plan.state_places:
            for block in writer.blocks(p):
                width = self.layout.columns(p)
                start = writer.load(writer.sequences(f"start{p}", width), width, block)
                writer.before.append(f"{value_name(p, block)} = {start}")
        self._rows()
        self._keep(states=True)
        for item in self.layout.values.schedule:
            if isinstance(item, int):
                self._stage(self.plan.stages[item])
            else:
                for i in item:
                    writer.result(i, value_name, writer.step)
        self._leave()
        for p in self.plan.state_places:
            for block in writer.blocks(p):
                width = self.layout.columns(p)
                place = writer.sequences(f"final{p}", width)
                after.append(writer.store(place, width, block, value_name(p, block)))
        return writer.function("forward", after)

    def _rows(self) -> None:
        """What differs from step to step and depends on no state."""
        writer = self.writer
        for i in self.layout.rows:
            width = self.layout.columns(i)
            for block in writer.blocks(i):
                load = writer.load(writer.rows(f"row{i}", width), width, block)
                writer.step.append(f"{value_name(i, block)} = {load}")
        for g, group in enumerate(self.layout.groups):
            stride, first = sum(whole(target.width) for target in group.targets), 0
            for target in group.targets:
                for block in writer.used(target.width):
                    place = writer.rows(f"base{g}", stride, first)
                    load = writer.load(place, whole(target.width), block)
                    writer.step.append(f"u{target.node}_{block.name} = {load}")
                first += whole(target.width)

    def _keep(self, *, states: bool) -> None:
        """Store what the backward pass reads: states at the beginning of a step, all else at its
        end. Stores between two products make the compiler hold so much that registers spill."""
        writer, stride = self.writer, width_of(self.layout.kept)
        lines: list[str] = []
        for i, (first, columns) in self.layout.kept.items():
            if (i in self.plan.state_places) == states:
                place = writer.rows("kept", stride, first)
                lines += [
                    f"    {writer.store(place, columns, block, value_name(i, block))}"
                    for block in writer.blocks(i)
                ]
        writer.step += ["if keep != 0:", *lines] if lines else []

    def _stage(self, stage: Stage) -> None:
        """Products in the order of their left side, so that few of those are held at a time."""
        writer = self.writer
        started = {
            f"u{t.node}_{block.name}"
            for t in stage.targets
            if self.plan.input_args(t.node)
            for block in blocks(t.width)
        }
        for arg in dict.fromkeys(product.arg for product in stage.products):
            width = self.plan.sizes[arg]
            maps = [t for t in stage.targets if (t.node, arg) in self.layout.matrices]
            for block in writer.used(width):
                value = value_name(arg, None if width == 1 else block)
                left = writer.factor(f"a{arg}_{block.name}", value, width, block)
                for target in maps:
                    for to in writer.used(target.width):
                        right = writer.weight(target.node, arg, to, block, turned=True)
                        name = f"u{target.node}_{to.name}"
                        writer.product(name, left, right, adds=name in started)
                        started.add(name)
        for target in stage.targets:
            self._sum(target.node, target.width)

    def _sum(self, i: int, width: int) -> None:
        """A map's value: its products, and what they begin with."""
        for block in blocks(width):
            name, text = value_name(i, block), f"u{i}_{block.name}"
            if width == 1:
                name, text = f"v{i}", f"tl.sum({text}, axis=1, keep_dims=True)"
            if i in self.layout.biases:
                text += f" + {self.writer.vector(i, None if width == 1 else block, own=True)}"
            self.writer.step.append(f"{name} = {text}")

    def _leave(self) -> None:
        """What leaves the step. A sequence that has ended keeps its states."""
        writer, plan = self.writer, self.plan
        for place, i in self.layout.outputs:
            width = self.layout.columns(i)
            rows = writer.rows(f"out{place}", width)
            for block in writer.blocks(i):
                writer.step.append(writer.store(rows, width, block, value_name(i, block)))
        self._keep(states=False)
        moved: list[str] = []
        for p in plan.state_places:
            for block in writer.blocks(p):
                old = value_name(p, block)
                new = f"n{old[1:]}"
                value = writer.argument(plan.outputs[p], block, value_name)
                writer.step.append(f"{new} = tl.where(there, {value}, {old})")
                moved.append(f"{old} = {new}")
        writer.step += moved
