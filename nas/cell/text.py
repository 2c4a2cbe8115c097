"""A cell as equations: `dumps` prints the text, `loads` in `reader.py` reads it back exactly.

The text is one Python function, read by `ast` and never executed:

    def lstm(x, h, c):
        i = sigmoid(linear(x, h))
        ...
        return h_new, c_new

`x` is the input and the other arguments are the states; a default is a state's initial value, an
annotation its width, and arguments after `*` come from the layer below. The function returns the
new states, with y in front where it is not the first of them.
"""

import math
import re
from collections.abc import Iterator

from nas.cell.graph import Graph, node, returned
from nas.cell.ops import INPUTS, WIDTHS, AttrValue

INFIX = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2)}


def dumps(cell: Graph) -> str:
    """Print a cell as text, ending in a newline."""
    lines = [f"def {cell.name}({', '.join(_parameters(cell))}):"]
    lines += _doc_lines(cell.doc)
    for i, n in enumerate(cell.nodes):
        if n.name and n.op not in INPUTS:
            lines.append(f"    {n.name} = {_bound(cell, i)[0]}")
    outputs = ", ".join(_reference(cell, out)[0] for out in returned(cell))
    lines.append(f"    return {outputs}")
    return "\n".join(lines) + "\n"


def _parameters(cell: Graph) -> Iterator[str]:
    after_states = has_default = False
    for n in cell.nodes:
        if n.op == "input":
            yield n.name
        elif n.op == "state":
            width, initial = n.attr("width"), n.number("initial")
            note = "" if width == "hidden" else f": {width}"
            equals = " = " if note else "="
            has_default = has_default or initial != 0  # Python wants the rest to have one too
            yield n.name + note + (f"{equals}{_number(initial)}" if has_default else "")
        elif n.op == "vertical":
            if not after_states:
                yield "*"
            after_states = True
            yield n.name


def _doc_lines(doc: str) -> list[str]:
    if not doc:
        return []
    safe = re.sub(r'"(?=""|\Z)', r"\"", doc.replace("\\", "\\\\"))
    first, *rest = safe.split("\n")
    lines = [f'    """{first}', *(f"    {line}".rstrip() for line in rest)]
    return [*lines[:-1], lines[-1] + '"""'] if not rest else [*lines, '    """']


def _number(value: float) -> str:
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _attr(value: AttrValue) -> str:
    if isinstance(value, float):
        return _number(value)
    return f'"{value}"' if isinstance(value, str) and value not in WIDTHS else str(value)


def _reference(cell: Graph, index: int) -> tuple[str, int]:
    """A value as other lines write it, and how tightly that binds."""
    name = cell.nodes[index].name
    return (name, 9) if name else _bound(cell, index)


def expression(cell: Graph, index: int) -> str:
    """A value as other lines write it."""
    return _reference(cell, index)[0]


def _bound(cell: Graph, index: int) -> tuple[str, int]:
    """A node written out, and how tightly its outermost operation binds."""
    n = cell.nodes[index]
    if n.op == "constant":
        value = n.number("value")
        return _number(value), 9 if math.copysign(1, value) > 0 else 3
    if n.op in INFIX:
        sign, strength = INFIX[n.op]
        (left, left_binds), (right, right_binds) = (_reference(cell, arg) for arg in n.args)
        left = left if left_binds >= strength else f"({left})"
        right = right if right_binds > strength else f"({right})"
        return f"{left} {sign} {right}", strength
    if n.op == "neg":
        text, binds = _reference(cell, n.args[0])
        return (f"-{text}" if binds > 3 else f"-({text})"), 3
    arguments = [_reference(cell, arg)[0] for arg in n.args]
    defaults = node(n.op).attrs
    arguments += [
        f"{key}={_attr(value)}"
        for (key, value), (_, default) in zip(n.attrs, defaults, strict=True)
        if value != default
    ]
    return f"{n.op}({', '.join(arguments)})", 9
