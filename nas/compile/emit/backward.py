"""The backward half of a plan's C source; `emit_shared.py` says how values are laid out.

Steps are gone through in reverse. Gradients of what all steps read are summed up by each thread for
itself.
"""

from nas.compile.emit.gradients import Gradients
from nas.compile.emit.shared import LOOP, Place, Shared, parts, rounded, running
from nas.compile.emit.step_back import StepBack
from nas.compile.plan import Product


class Backward:
    """Prints `backward`: gradients of everything the loop read, from those of what it gave."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.plan, self.slots = shared, shared.plan, shared.slots
        self.lines: list[str] = []
        self.states = range(1, len(self.plan.cell.states) + 1)

    def text(self) -> str:
        rows = self._rows()
        self.lines = ["static void backward_before(real **restrict p, const call_t *call) {"]
        for s, stage in enumerate(self.plan.stages):
            for q, product in enumerate(stage.products):
                wide = self.plan.padded(product.arg)
                if wide > 1:
                    self._pack(product, wide, self.slots(f"panels back {s} {q}"))
            for q, product in enumerate(stage.inputs):
                self.lines.append(f"  if ({self.slots(f'grad input {product.arg}')}) {{")
                wide = rounded(self.plan, product.arg)
                self._pack(product, wide, self.slots(f"panels in back {s} {q}"))
                self.lines.append("  }")
        for name, width in running(self.shared):
            self.lines.append(
                f"  memset({self.slots(f'running {name}')}, 0, BYTES(call->threads * {width}));"
            )
        for i, place in self._histories().items():
            self.lines.append(
                f"  gather(call, {place.base}, {place.stride}, "
                f"{'' if place.first == 'before' else '!'}call->reverse, "
                f"{self.slots(f'gathered {place.first} {i}')});"
            )
        self.lines += ["}", "", *rows]
        self.lines += Gradients(self.shared).lines()
        self.lines += [
            "void backward(real **table, const call_t *call) {",
            "  static const parts_t parts = {backward_before, backward_rows, backward_columns, "
            "backward_inputs};",
            "  run(&parts, table, call);",
            "}",
        ]
        return "\n".join(self.lines) + "\n"

    def _pack(self, product: Product, wide: int, panels: str) -> None:
        k, n = self.plan.sizes[product.arg], product.count
        for target, weight, lead, add in parts(self.shared, product):
            self.lines.append(
                f"  pack_back({k}, {wide}, {n}, {target.column - product.first}, "
                f"{target.width}, {target.padded}, {weight}, {lead}, {add}, {panels});"
            )

    def _histories(self) -> dict[int, Place]:
        """Multiplied values that lie where states do: with rows of sequences that have ended."""
        places = {i: self.shared.place(i) for i in sorted(self.shared.multiplied)}
        return {i: place for i, place in places.items() if place.first in ("before", "after")}

    def _rows(self) -> list[str]:
        plan, slots = self.plan, self.slots
        widest = max(rounded(plan, i) for i in (0, *plan.depth, *plan.matrix_inputs))
        self.lines = [
            f"static const real nil[{widest}];",
            "static void backward_rows(real **restrict p, const call_t *call, index_t from, "
            "index_t to, index_t thread) {",
        ]
        self._begin()
        self.lines.append(LOOP.format(order="reverse ? k : steps - 1 - k", keep="1"))
        self.lines += [*StepBack(self.shared).text(), "  }"]
        for i in self.states:
            width, padded = plan.sizes[i], plan.padded(i)
            into = slots(f"grad start {i}")
            self.lines += [
                f"  if ({into}) for (index_t r = 0; r < to - from; r++)",
                f"    put_row({into} + (from + r) * {width}, in{i} + r * {padded}, {width}, "
                f"{width});",
            ]
        return [*self.lines, "}", ""]

    def _begin(self) -> None:
        """Gradients that come from outside: of final states and of outputs."""
        plan, slots = self.plan, self.slots
        for i in self.states:
            width, padded = plan.sizes[i], plan.padded(i)
            first = f"+ from * {padded}"
            self.lines += [
                f"  real *in{i} = {slots(f'grad state {i}')} {first}, "
                f"*out{i} = {slots(f'grad state {i} too')} {first}, *swap{i};",
                f"  const real *given{i} = {slots(f'grad final {i}')};",
                "  for (index_t r = 0; r < to - from; r++)",
                f"    put_row(in{i} + r * {padded}, given{i} ? given{i} + (from + r) * {width} : "
                f"0, {width}, {padded});",
            ]
        for place, i in enumerate(plan.outputs):
            if place not in self.states and i in plan.depth:
                given = slots(f"grad output {place}")
                self.lines.append(
                    f"  const real *flow{place} = {given} ? {given} : nil; "
                    f"const index_t shift{place} = {given} ? {plan.padded(i)} : 0;"
                )
