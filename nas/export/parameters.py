"""The learned values of a layer as code: how the constructor makes them, how they begin."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas.cell.cell import Cell
from nas.cell.graph import Width
from nas.compile.reference import parameter_labels
from nas.export.expressions import LINE, legendre_name, number


def size_code(width: Width) -> str:
    """A width as code in a constructor."""
    return {"hidden": "hidden_size", "input": "input_size"}.get(str(width), str(width))


def wrapped(start: str, items: Sequence[str], end: str, indent: int) -> str:
    """`start items end` on one line, or on three, or on a line each, as ruff breaks it."""
    space = " " * indent
    line = f"{start}{', '.join(items)}{end}"
    if len(line) + indent <= LINE:
        return line
    inner = f"{space}    {', '.join(items)}"
    if len(inner) > LINE:
        inner = "\n".join(f"{space}    {item}," for item in items)
    return f"{start}\n{inner}\n{space}{end}"


def docstring(text: str, indent: int = 8) -> str:
    """A paragraph as the docstring of a method."""
    lines = textwrap.wrap(text, LINE - indent - 6)
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    return f"\n{' ' * indent}".join([f'"""{lines[0]}', *lines[1:], '"""'])


def parameters(cell: Cell) -> Iterator[str]:
    """The statements that make a layer's parameters and buffers."""
    for i, label in parameter_labels(cell).items():
        n, width = cell.nodes[i], size_code(cell.widths[i])
        shape = width
        if n.op == "linear":
            columns = [size_code(cell.widths[arg]) for arg in n.args]
            counts = {column: columns.count(column) for column in columns}
            terms = [c if times == 1 else f"{times} * {c}" for c, times in counts.items()]
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
            yield _buffer(f"{label}_mask", mask)
    memories = {
        (size_code(cell.widths[i]), legendre_name(n), number(n.number("window")))
        for i, n in enumerate(cell.nodes)
        if n.op == "legendre" and i in cell.live
    }
    for width, name, window in sorted(memories):
        yield _buffer(name, f"legendre({width}, {window})")


def _buffer(name: str, value: str) -> str:
    return wrapped("self.register_buffer(", [f'"{name}"', value, "persistent=False"], ")", 8)


@dataclass(frozen=True)
class Reset:
    """The parts of `reset_parameters`."""

    doc: str
    draws: bool
    """Whether some weights are random."""
    cases: Sequence[tuple[str, str]]
    """Conditions on a parameter's name, the last one empty for the rest, with their actions."""
    eyes: Sequence[tuple[str, str]]
    """Labels of matrices whose diagonal gets a number added, and the number."""

    @property
    def has_names(self) -> bool:
        return any(condition for condition, _ in self.cases)


def reset(cell: Cell) -> Reset:
    """How a layer's parameters begin, drawn in the order of the parameters."""
    constants: dict[float, list[str]] = {}
    has_zero_biases, draws, eyes = False, False, []
    for i, label in parameter_labels(cell).items():
        n = cell.nodes[i]
        if n.op in ("vector", "scalar", "diagonal") and n.attr("init") is not None:
            constants.setdefault(n.number("init"), []).append(f"{label}_weight")
        else:
            draws = True
        if n.op == "linear" and n.attr("bias") is not None:
            if bias := n.number("bias"):
                constants.setdefault(bias, []).append(f"{label}_bias")
            else:
                has_zero_biases = True
        if n.op == "linear" and n.number("eye"):
            eyes.append((label, number(n.number("eye"))))
    cases = [(_is_any(names), f"constant_(parameter, {v!r})") for v, names in constants.items()]
    begins = [f"{', '.join(names)} {number(value)}" for value, names in constants.items()]
    if has_zero_biases:
        cases.append(('name.endswith("_bias")', "zeros_(parameter)"))
        begins.insert(0, "biases zero")
    if draws:
        cases.append(("", "uniform_(parameter, -bound, bound)"))
        begins.insert(0, "weights from U[-s, s], s = 1 / sqrt(hidden_size)")
    begins += [f"{value} more on the diagonal of {label}_weight" for label, value in eyes]
    return Reset(docstring(f"Draw new parameters: {'; '.join(begins)}."), draws, cases, eyes)


def _is_any(names: Sequence[str]) -> str:
    """The condition that a parameter has one of these names."""
    if len(names) == 1:
        return f'name == "{names[0]}"'
    listed = ", ".join(f'"{name}"' for name in names)
    if len(listed) + 30 <= LINE:
        return f"name in ({listed})"
    lines = "".join(f'                "{name}",\n' for name in names)
    return f"name in (\n{lines}            )"
