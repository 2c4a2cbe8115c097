"""The class of one layer in one direction: parameters, their initial values, a step, the loop."""

import textwrap
from collections.abc import Iterator, Sequence

from nas.cell.cell import Cell
from nas.cell.graph import Width
from nas.compile.reference import parameter_labels
from nas.export.expressions import LINE, Equations, legendre_name, number


def layer_class(cell: Cell, equations: Equations, name: str) -> str:
    """The class's code."""
    parts = [
        f"class {name}(nn.Module):",
        f'    """One layer of {cell.name} in one direction."""',
        "",
        _constructor(cell),
        _reset(cell),
        _step(equations),
        _loop(cell, equations),
    ]
    return "\n".join(parts)


def wrapped(start: str, items: Sequence[str], end: str, indent: int) -> str:
    """`start items end` on one line, or on three, or on a line each."""
    space = " " * indent
    line = f"{space}{start}{', '.join(items)}{end}"
    if len(line) <= LINE:
        return line
    inner = f"{space}    {', '.join(items)}"
    if len(inner) > LINE:
        inner = "\n".join(f"{space}    {item}," for item in items)
    return f"{space}{start}\n{inner}\n{space}{end}"


def size_code(width: Width) -> str:
    """A width as code in a constructor."""
    return {"hidden": "hidden_size", "input": "input_size"}.get(str(width), str(width))


def _constructor(cell: Cell) -> str:
    lines = [
        "    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:",
        "        super().__init__()",
        "        self.hidden_size = hidden_size",
    ]
    for i, label in parameter_labels(cell).items():
        lines += [f"        {line}" for line in _parameter(cell, i, label)]
    for width, name, window in sorted(_memories(cell)):
        items = [f'"{name}"', f"legendre({width}, {window})", "persistent=False"]
        lines.append(wrapped("self.register_buffer(", items, ")", 8))
    return "\n".join([*lines, "        self.reset_parameters()", ""])


def _memories(cell: Cell) -> set[tuple[str, str, str]]:
    """Width, name and window of each Legendre memory."""
    return {
        (size_code(cell.widths[i]), legendre_name(n), number(n.number("window")))
        for i, n in enumerate(cell.nodes)
        if n.op == "legendre" and i in cell.live
    }


def _parameter(cell: Cell, i: int, label: str) -> Iterator[str]:
    n, width = cell.nodes[i], size_code(cell.widths[i])
    shape = width
    if n.op == "linear":
        columns = [size_code(cell.widths[arg]) for arg in n.args]
        counted = {c: columns.count(c) for c in dict.fromkeys(columns)}
        terms = [c if times == 1 else f"{times} * {c}" for c, times in counted.items()]
        shape = f"{width}, {' + '.join(terms)}"
    elif n.op == "block_diagonal":
        blocks = int(n.number("blocks"))
        shape = f"{blocks}, {width} // {blocks}, {width} // {blocks}"
    elif n.op in ("masked", "skew"):
        shape = f"{width}, {width}"
    yield f"self.{label}_weight = nn.Parameter(torch.empty({shape}))"
    if n.op == "linear" and n.attr("bias") is not None:
        yield f"self.{label}_bias = nn.Parameter(torch.empty({width})) if bias else None"
    if n.op == "masked":
        blocks, upper = int(n.number("blocks")), n.attr("mask") == "block_upper"
        mask = f"block_triangular({width}, {blocks}, upper={upper})"
        items = [f'"{label}_mask"', mask, "persistent=False"]
        yield from wrapped("self.register_buffer(", items, ")", 8).lstrip().split("\n        ")


def _reset(cell: Cell) -> str:
    """Initial values, drawn in the order of the parameters."""
    fixed: dict[float, list[str]] = {}
    biases, eyes, drawn = False, [], False
    for i, label in parameter_labels(cell).items():
        n = cell.nodes[i]
        initial = n.attr("init") if n.op in ("vector", "scalar", "diagonal") else None
        drawn = drawn or initial is None
        if initial is not None:
            fixed.setdefault(n.number("init"), []).append(f"{label}_weight")
        if n.op == "linear" and n.attr("bias") is not None:
            biases = biases or n.number("bias") == 0
            if n.number("bias"):
                fixed.setdefault(n.number("bias"), []).append(f"{label}_bias")
        if n.op == "linear" and n.number("eye"):
            eyes.append((label, n.number("eye")))
    cases = [(_is_one_of(names), f"constant_(parameter, {v!r})") for v, names in fixed.items()]
    if biases:
        cases.append(('name.endswith("_bias")', "zeros_(parameter)"))
    if drawn:
        cases.append(("", "uniform_(parameter, -bound, bound)"))
    said = ["weights from U[-s, s], s = 1 / sqrt(hidden_size)"] if drawn else []
    said += ["biases zero"] if biases else []
    said += [f"{', '.join(names)} {number(value)}" for value, names in fixed.items()]
    said += [f"{number(value)} more on the diagonal of {label}_weight" for label, value in eyes]
    text = textwrap.wrap(f"Draw new parameters: {'; '.join(said)}.", LINE - 8 - 6)
    lines = ["    def reset_parameters(self) -> None:", *_docstring(text, 8)]
    if not cases:
        return "\n".join([*lines, ""])
    if drawn:
        lines.append("        bound = 1 / math.sqrt(self.hidden_size)")
    named = any(condition for condition, _ in cases)
    loop = (
        "name, parameter in self.named_parameters()" if named else "parameter in self.parameters()"
    )
    lines.append(f"        for {loop}:")
    for place, (condition, action) in enumerate(cases):
        if not named:
            lines.append(f"            nn.init.{action}")
            continue
        keyword = "else" if not condition else "elif " if place else "if "
        lines += [f"            {keyword}{condition}:", f"                nn.init.{action}"]
    if eyes:
        lines.append("        with torch.no_grad():")
        lines += [f"            self.{a}_weight.diagonal().add_({number(v)})" for a, v in eyes]
    return "\n".join([*lines, ""])


def _is_one_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f'name == "{names[0]}"'
    listed = ", ".join(f'"{name}"' for name in names)
    if len(listed) + 30 <= LINE:
        return f"name in ({listed})"
    return (
        "name in (\n" + "".join(f'                "{name}",\n' for name in names) + "            )"
    )


def _docstring(lines: Sequence[str], indent: int) -> list[str]:
    space = " " * indent
    if len(lines) == 1:
        return [f'{space}"""{lines[0]}"""']
    return [f'{space}"""{lines[0]}', *(f"{space}{line}" for line in lines[1:]), f'{space}"""']


def _step(e: Equations) -> str:
    names = [e.x, *e.states, *e.verticals, *([e.step] if e.step else [])]
    result = "Tensor" if len(e.returned) == 1 else "tuple[Tensor, ...]"
    taken = [name for name in (*e.states, *e.verticals)]
    given = f" {e.step} (batch, 1) counts its steps from 0." if e.step else ""
    shapes = f"One step: {e.x} (batch, input) and {', '.join(taken)} (batch, width).{given}"
    lines = [
        wrapped("def step(", ["self", *(f"{n}: Tensor" for n in names)], f") -> {result}:", 4),
        *_docstring(textwrap.wrap(shapes, LINE - 8 - 6), 8),
        *(f"        {line}" for line in e.lines),
    ]
    last = ", ".join(e.returned)
    if len(last) + 8 + 7 > LINE and len(e.returned) > 1:
        last = "(\n" + "".join(f"            {code},\n" for code in e.returned) + "        )"
    return "\n".join([*lines, f"        return {last}", ""])


def takes_one(cell: Cell, e: Equations) -> bool:
    """Whether a layer takes and gives its only state as a tensor, not in a list."""
    return len(cell.states) == 1 and len(e.returned) == 1 and not e.step


def _loop(cell: Cell, e: Equations) -> str:
    """The method that runs a layer over all steps."""
    if takes_one(cell, e):
        return _LOOP_OF_ONE
    n_below = len(cell.verticals)
    y_apart = cell.y != cell.new_states[0]
    n_states = len(cell.states)
    items = ["self", "steps: Sequence[Tensor]", "state: Sequence[Tensor]"]
    items += ["below: Sequence[Sequence[Tensor]]"] if n_below else []
    items.append("reverse: bool = False")
    above = ", list[Sequence[Tensor]]" if n_below else ""
    result = f") -> tuple[list[Tensor], list[Tensor]{above}]:"
    lines = [wrapped("def forward(", items, result, 4)]
    lines += _LOOP_DOC.splitlines()
    lines.append(f"        outputs{', above' if n_below else ''} = []{', []' if n_below else ''}")
    lines.append("        state = list(state)")
    if e.step:
        lines.append("        t = steps[0].new_zeros(len(state[0]), 1)")
    if n_below:
        lines.append("        pairs = list(zip(steps, below, strict=True))")
    steps, each = ("pairs", "x, lower") if n_below else ("steps", "x")
    lines.append(f"        for {each} in reversed({steps}) if reverse else {steps}:")
    lines.append("            n = len(x)")
    extra = (", *lower" if n_below else "") + (", t[:n]" if e.step else "")
    values = f"self.step(x, *(s[:n] for s in state){extra})"
    lines += _taken_apart(values, y_apart, n_states, n_below, single=len(e.returned) == 1)
    lines.append(
        "            state = [torch.cat([s, old[n:]]) for s, old in zip(new, state, strict=True)]"
    )
    if e.step:
        lines.append("            t = torch.cat([t[:n] + 1, t[n:]])")
    lines.append("        if reverse:")
    lines.append("            outputs.reverse()")
    if n_below:
        lines.append("            above.reverse()")
    lines.append(f"        return outputs, state{', above' if n_below else ''}")
    return "\n".join([*lines, ""])


def _taken_apart(
    values: str, y_apart: bool, n_states: int, n_below: int, *, single: bool
) -> list[str]:
    """Lines that give y to outputs, and name the new states and what goes to the layer above."""
    if single:
        values = f"[{values}]"
    if not n_below:
        head = f"y, *new = {values}" if y_apart else f"new = {values}"
        return [
            f"            {head}",
            f"            outputs.append({'y' if y_apart else 'new[0]'})",
        ]
    first = 1 if y_apart else 0
    return [
        f"            values = {values}",
        "            outputs.append(values[0])",
        f"            new = values[{first or ''}:{first + n_states}]",
        f"            above.append(values[{first + n_states}:])",
    ]


_LOOP_DOC = '''\
        """All steps, each (batch, input), the last first if reverse; states are (batch, width).

        In a packed batch, whose steps hold fewer and fewer sequences, those that are over keep
        their states.
        """'''

_LOOP_OF_ONE = '''\
    def forward(
        self, steps: Sequence[Tensor], state: Tensor, reverse: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """All steps, each (batch, input), the last first if reverse; state is (batch, width).

        In a packed batch, whose steps hold fewer and fewer sequences, those that are over keep
        their states.
        """
        outputs = []
        for x in reversed(steps) if reverse else steps:
            n = len(x)
            new = self.step(x, state[:n])
            outputs.append(new)
            state = torch.cat([new, state[n:]])
        if reverse:
            outputs.reverse()
        return outputs, state
'''
