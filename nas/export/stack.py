"""The class of the stack: layers, directions, packed batches, in the shapes of torch.nn.LSTM."""

import keyword
import textwrap

from nas.cell.cell import Cell
from nas.cell.graph import Width
from nas.export.expressions import LINE, Equations, number
from nas.export.layer import size_code, takes_one, wrapped
from nas.nn.stacking import Stacking

TAKEN = ("Tensor", "Sequence", "PackedSequence", "Path", "F", "None", "True", "False")
"""Names that the file uses itself."""


def class_name(cell: Cell) -> str:
    """The cell's name as that of a class: lstm_b is LstmB."""
    name = "".join(part[:1].upper() + part[1:] for part in cell.name.split("_"))
    is_free = name.isidentifier() and name not in TAKEN and not keyword.iskeyword(name)
    return name if is_free else f"{name}Cell"


def stack_class(cell: Cell, equations: Equations, name: str, stacking: Stacking = "plain") -> str:
    """The class's code."""
    return "\n".join(
        [
            f"class {name}(nn.Module):",
            _doc(cell),
            _constructor(cell, name),
            _reset(name),
            _forward(cell),
            _packed(cell),
            _run(cell, equations, stacking),
        ]
    )


def is_single(cell: Cell) -> bool:
    """Whether a state is a tensor and not a tuple of them."""
    return len(cell.states) == 1


def state_type(cell: Cell) -> str:
    return "Tensor" if is_single(cell) else "tuple[Tensor, ...]"


def _doc(cell: Cell) -> str:
    short = {"hidden": "H", "input": "I"}
    widths = {short.get(str(state.width), str(state.width)) for state in cell.states}
    shape = f"(L * D, B, {widths.pop() if len(widths) == 1 else 'width'})"
    y = short.get(str(cell.widths[cell.y]), str(cell.widths[cell.y]))
    names = ", ".join(state.name for state in cell.states)
    like = "GRU" if is_single(cell) else "LSTM"
    what = (
        f"The state {names} is {shape} and starts"
        if is_single(cell)
        else f"The states ({names}), each {shape}, are a tuple and start"
    )
    initial = {state.initial for state in cell.states}
    values = ", ".join(f"{s.name} at {number(s.initial)}" for s in cell.states)
    starts = f"at {number(initial.pop())}" if len(initial) == 1 else f"with {values}"
    said = (
        "With L layers, D directions, time T, batch B, input size I and hidden size H: the input "
        "is (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence; the "
        f"output (T, B, D * {y}) likewise. {what} {starts} unless given."
    )
    lines = textwrap.wrap(said, LINE - 4, break_long_words=False)
    first = f"Layers of {cell.name}; drop-in for torch.nn.{like}."
    text = "\n".join(["", *(f"    {line}" for line in lines)])
    return f'    """{first}\n{text}\n    """\n'


def _sizes(cell: Cell) -> str:
    """The input sizes of the layers, as code."""
    y: Width = cell.widths[cell.y]
    if y == "input":
        return "[input_size * directions**k for k in range(num_layers)]"
    return f"[input_size] + [directions * {size_code(y)}] * (num_layers - 1)"


def _checks(cell: Cell) -> list[str]:
    lines = []
    if cell.needs_equal_widths:
        lines += [
            "        if input_size != hidden_size:",
            f'            rule = "{cell.name} joins its input with hidden values"',
            '            raise ValueError(f"{rule}: {input_size=} must equal {hidden_size=}.")',
        ]
        if cell.widths[cell.y] in ("hidden", "input"):
            lines += [
                "        if num_layers > 1 and bidirectional:",
                f'            raise ValueError("{cell.name} has one layer in both directions.")',
            ]
    elif any(state.width == "input" for state in cell.states):
        y = size_code(cell.widths[cell.y])
        lines += [
            f"        if num_layers > 1 and input_size != (2 if bidirectional else 1) * {y}:",
            '            raise ValueError("a state is as wide as x: make layers equally wide.")',
        ]
    return lines


def _constructor(cell: Cell, name: str) -> str:
    checks = "\n".join(_checks(cell))
    made = f"{name}Layer(size, hidden_size, bias)"
    items = [f"{made} for size in sizes for _ in range(directions)"]
    if len(items[0]) + 12 > LINE:
        items = [f"{made}\n            for size in sizes\n            for _ in range(directions)"]
    layers = f"self.layers = nn.ModuleList(\n            {items[0]}\n        )"
    return f"""\
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
{checks}{chr(10) if checks else ""}\
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.batch_first = batch_first
        self.dropout = dropout
        self.directions = directions = 2 if bidirectional else 1
        sizes = {_sizes(cell)}
        {layers}
        self.to(device=device, dtype=dtype)
"""


def _reset(name: str) -> str:
    return f'''\
    def reset_parameters(self) -> None:
        """Draw new parameters in all layers."""
        for layer in self.layers:
            assert isinstance(layer, {name}Layer)
            layer.reset_parameters()
'''


def _each(cell: Cell, variable: str, method: str) -> str:
    """A method of the state, or of each of several."""
    if is_single(cell):
        return f"{variable}.{method}"
    return f"tuple(s.{method} for s in {variable})"


def _forward(cell: Cell) -> str:
    kind = state_type(cell)
    return f"""\
    def forward(
        self, x: Tensor | PackedSequence, state: {kind} | None = None
    ) -> tuple[Tensor | PackedSequence, {kind}]:
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, state)
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(1)
            state = None if state is None else {_each(cell, "state", "unsqueeze(1)")}
        elif self.batch_first:
            x = x.transpose(0, 1)
        outputs, final = self._run(list(x.unbind()), state)
        y = torch.stack(outputs)
        if not batched:
            return y.squeeze(1), {_each(cell, "final", "squeeze(1)")}
        return (y.transpose(0, 1) if self.batch_first else y), final
"""


def _packed(cell: Cell) -> str:
    kind = state_type(cell)
    return f"""\
    def _forward_packed(
        self, x: PackedSequence, state: {kind} | None
    ) -> tuple[PackedSequence, {kind}]:
        if state is not None and x.sorted_indices is not None:
            state = {_each(cell, "state", "index_select(1, x.sorted_indices)")}
        outputs, final = self._run(list(torch.split(x.data, x.batch_sizes.tolist())), state)
        if x.unsorted_indices is not None:
            final = {_each(cell, "final", "index_select(1, x.unsorted_indices)")}
        y = torch.cat(outputs)
        return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), final
"""


def _run(cell: Cell, e: Equations, stacking: Stacking) -> str:
    n_below = len(cell.verticals)
    kind = state_type(cell)
    items = ["self", "steps: list[Tensor]", f"state: {kind} | None"]
    lines = [
        wrapped("def _run(", items, f") -> tuple[list[Tensor], {kind}]:", 4),
        '        """All layers over all steps, each (batch, input)."""',
        *_initial(cell),
    ]
    if n_below:
        lines += [
            "        zeros = [x.new_zeros(len(x), self.hidden_size) for x in steps]",
            f"        below = [[(zero,) * {n_below} for zero in zeros]] * self.directions",
        ]
    plain = takes_one(cell, e)
    own = "state[k + d]" if is_single(cell) else "[s[k + d] for s in state]"
    own = own if plain or not is_single(cell) else f"[{own}]"
    stacked = "torch.stack(finals)"
    if not is_single(cell):
        stacked = "tuple(torch.stack(layers) for layers in zip(*finals, strict=True))"
    result = "y, final, below[d]" if n_below else "y, final"
    read = "steps"
    before: list[str] = []
    cat = "[torch.cat(both, dim=-1) for both in zip(*outputs, strict=True)]"
    after = [f"            steps = {cat}"]
    if "norm" in stacking:
        read = "read"
        before = ["            read = [F.layer_norm(x, x.shape[-1:]) if k else x for x in steps]"]
    if "residual" in stacking:
        after = [
            f"            given = {cat}",
            "            steps = [y + x if k else y for y, x in zip(given, steps, strict=True)]",
        ]
    arguments = [read, own, *(["below[d]"] if n_below else []), "reverse=d == 1"]
    final = "final" if plain or not is_single(cell) else "final[0]"
    lines += [
        "        finals = []",
        "        for k in range(0, len(self.layers), self.directions):",
        "            if k and self.dropout:",
        "                steps = [F.dropout(x, self.dropout, self.training) for x in steps]",
        *before,
        "            outputs = []",
        "            for d in range(self.directions):",
        wrapped(f"{result} = self.layers[k + d](", arguments, ")", 16),
        "                outputs.append(y)",
        f"                finals.append({final})",
        *after,
        f"        return steps, {stacked}",
    ]
    return "\n".join([*lines, ""])


def _initial(cell: Cell) -> list[str]:
    """Lines that make the states, or check those that are given."""
    widths = [
        {"hidden": "self.hidden_size", "input": "self.input_size"}.get(str(s.width), str(s.width))
        for s in cell.states
    ]
    alike = len({(s.width, s.initial) for s in cell.states}) == 1
    lines = []
    if alike:
        lines.append(f"        shape = (len(self.layers), len(steps[0]), {widths[0]})")
        one = _filled("shape", cell.states[0].initial)
        made = one if is_single(cell) else f"({', '.join([one] * len(cell.states))})"
        if not is_single(cell) and len(made) > 70:
            made = f"({one},) * {len(cell.states)}"
    else:
        lines.append("        rows = (len(self.layers), len(steps[0]))")
        shapes = ", ".join(f"(*rows, {width})" for width in widths)
        lines += [f"        shapes = ({shapes})"] if len(shapes) < 76 else _listed(widths)
        values = ", ".join(number(s.initial) for s in cell.states)
        lines.append(f"        start = ({values})")
        made = "tuple(map(steps[0].new_full, shapes, start))"
    lines += ["        if state is None:", f"            state = {made}"]
    if is_single(cell):
        lines += [
            "        if state.shape != shape:",
            '            raise ValueError(f"state must be {shape}, got {tuple(state.shape)}.")',
        ]
        return lines
    expected = f"[shape] * {len(cell.states)}" if alike else "list(shapes)"
    return [
        *lines,
        f"        if (got := [tuple(s.shape) for s in state]) != {expected}:",
        '            raise ValueError(f"states must be {SHAPES}, got {got}.")'.replace(
            "{SHAPES}", f"{len(cell.states)} of {{shape}}" if alike else "{shapes}"
        ),
    ]


def _listed(widths: list[str]) -> list[str]:
    return [
        "        shapes = (",
        *(f"            (*rows, {width})," for width in widths),
        "        )",
    ]


def _filled(shape: str, initial: float) -> str:
    if initial == 0:
        return f"steps[0].new_zeros({shape})"
    return f"steps[0].new_full({shape}, {number(initial)})"
