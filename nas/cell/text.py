"""A cell as equations: `dumps` prints the text, `loads` reads it back exactly.

The text is one Python function, read by `ast` and never executed:

    def lstm(x, h, c):
        i = sigmoid(linear(x, h))
        ...
        return h_new, c_new

`x` is the input and the other arguments are the states; a default is a state's initial value, an
annotation its width, and arguments after `*` come from the layer below. Returned are the new states,
with y in front where it is not the first of them.
"""

import ast
import difflib
import inspect
import math
from collections.abc import Iterator
from dataclasses import replace

from nas.cell.arrange import arrange
from nas.cell.graph import Cell, Node, node, returned
from nas.cell.ops import INPUTS, OPS, AttrValue
from nas.cell.trace import with_output
from nas.errors import CellError

INFIX = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2)}
BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
CALLED = tuple(op for op in OPS if op not in INPUTS and op not in INFIX and op != "constant")


def dumps(cell: Cell) -> str:
    """Print a cell as text, ending in a newline."""
    lines = [f"def {cell.name}({', '.join(_parameters(cell))}):"]
    lines += _doc_lines(cell.doc)
    for i, n in enumerate(cell.nodes):
        if n.name and n.op not in INPUTS:
            lines.append(f"    {n.name} = {_expression(cell, i)}")
    outputs = ", ".join(_reference(cell, out)[0] for out in returned(cell))
    lines.append(f"    return {outputs}")
    return "\n".join(lines) + "\n"


def _parameters(cell: Cell) -> Iterator[str]:
    after_states = False
    for n in cell.nodes:
        if n.op == "input":
            yield n.name
        elif n.op == "state":
            width, initial = n.attr("width"), n.number("initial")
            note = "" if width == "hidden" else f": {width}"
            equals = " = " if note else "="
            yield n.name + note + (f"{equals}{_number(initial)}" if initial else "")
        elif n.op == "vertical":
            if not after_states:
                yield "*"
            after_states = True
            yield n.name


def _doc_lines(doc: str) -> list[str]:
    if not doc:
        return []
    safe = doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    safe = safe[:-1] + '\\"' if safe.endswith('"') else safe
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
    return f'"{value}"' if isinstance(value, str) and value not in ("input", "hidden") else str(value)


def _reference(cell: Cell, index: int) -> tuple[str, int]:
    """How a line writes one of its arguments, and how tightly that binds."""
    return (cell.nodes[index].name, 9) if cell.nodes[index].name else _bound(cell, index)


def _expression(cell: Cell, index: int) -> str:
    return _bound(cell, index)[0]


def _bound(cell: Cell, index: int) -> tuple[str, int]:
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


def loads(text: str) -> Cell:
    """Read a cell from its text.

    Raises:
        CellError: with the line, the rule and the way out.
    """
    try:
        tree = ast.parse(inspect.cleandoc(text) if text[:1].isspace() else text)
        return _Reader(tree).cell()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, CellError):
            raise
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise CellError(f"cell text: {line}{reason}; a cell is a function of equations.") from None


class _Reader:
    """Turns the syntax tree of one function into nodes, line by line."""

    def __init__(self, tree: ast.Module) -> None:
        functions = [item for item in tree.body if isinstance(item, ast.FunctionDef)]
        if len(functions) != 1 or len(tree.body) != 1:
            raise CellError(
                "cell text: write one function and nothing else, such as "
                '"def rnn(x, h):" with a line "return tanh(linear(x, h))".'
            )
        self.function = functions[0]
        self.nodes: list[Node] = []
        self.names: dict[str, int] = {}

    def cell(self) -> Cell:
        n_states, n_verticals = self._read_signature()
        body = list(self.function.body)
        doc = ast.get_docstring(self.function) or ""
        if doc or _is_string(body[0]):
            body = body[1:]
        if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
            raise self._error(self.function, "the last line must return the new states.")
        for line in body[:-1]:
            self._read_line(line)
        value = body[-1].value
        items = value.elts if isinstance(value, ast.Tuple) else [value]
        outputs = [self._read(item) for item in items]
        outputs = with_output(self.function.name, outputs, n_states, n_verticals)
        states, verticals = outputs[1 : 1 + n_states], outputs[1 + n_states :]
        nodes = tuple(self.nodes)
        name = self.function.name
        return arrange(Cell(name, nodes, outputs[0], tuple(states), tuple(verticals), doc))

    def _error(self, place: ast.AST, message: str) -> CellError:
        line = getattr(place, "lineno", 1)
        return CellError(f"cell {self.function.name}: line {line}: {message}")

    def _add(self, new: Node) -> int:
        self.nodes.append(new)
        return len(self.nodes) - 1

    def _read_signature(self) -> tuple[int, int]:
        arguments = self.function.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or not arguments.args:
            raise self._error(self.function, "the arguments are x, then the states, by name.")
        x, *states = arguments.args
        self.names[x.arg] = self._add(node("input", name=x.arg))
        defaults = [None] * (len(states) - len(arguments.defaults)) + list(arguments.defaults)
        if len(defaults) != len(states):
            raise self._error(self.function, f"{x.arg} is the input and has no initial value.")
        for state, default in zip(states, defaults, strict=True):
            initial = 0.0 if default is None else self._read_number(default)
            width = "hidden" if state.annotation is None else self._read_attr(state.annotation)
            new = node("state", name=state.arg, width=width, initial=initial)
            self.names[state.arg] = self._add(new)
        for vertical in arguments.kwonlyargs:
            self.names[vertical.arg] = self._add(node("vertical", name=vertical.arg))
        return len(states), len(arguments.kwonlyargs)

    def _read_line(self, line: ast.stmt) -> None:
        if not isinstance(line, ast.Assign) or not all(isinstance(t, ast.Name) for t in line.targets):
            raise self._error(line, "every line is an equation, name = expression.")
        index = self._read(line.value)
        for target in line.targets:
            assert isinstance(target, ast.Name)
            if not self.nodes[index].name:
                self.nodes[index] = replace(self.nodes[index], name=target.id)
            self.names[target.id] = index

    def _read(self, place: ast.expr) -> int:
        if isinstance(place, ast.Name):
            return self._read_name(place)
        if isinstance(place, ast.Call):
            return self._read_call(place)
        if isinstance(place, ast.BinOp) and type(place.op) in BINARY:
            op = BINARY[type(place.op)]
            return self._add(node(op, self._read(place.left), self._read(place.right)))
        if isinstance(place, ast.BinOp) and isinstance(place.op, ast.Pow):
            if not (isinstance(place.right, ast.Constant) and place.right.value == 2):
                raise self._error(place, "a power is only ** 2.")
            return self._add(node("square", self._read(place.left)))
        if isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub):
            if isinstance(place.operand, ast.Constant):
                return self._add(node("constant", value=self._read_number(place)))
            return self._add(node("neg", self._read(place.operand)))
        if isinstance(place, ast.Constant):
            return self._add(node("constant", value=self._read_number(place)))
        raise self._error(place, f'"{ast.unparse(place)}" is not an equation of a cell.')

    def _read_name(self, place: ast.Name) -> int:
        if place.id in self.names:
            return self.names[place.id]
        if place.id == "inf":
            return self._add(node("constant", value=math.inf))
        raise self._error(place, self._undefined(place))

    def _undefined(self, place: ast.Name) -> str:
        """Say why a name has no value yet: a cycle, a line too early, or a slip of the pen."""
        lines = {
            target.id: line
            for line in self.function.body
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        }
        if place.id in lines:
            if path := _cycle(place.id, lines):
                return (
                    f"a cycle, {' <- '.join(path)}: a step is computed in order; carry the value to "
                    "the next step as a state, or leave one of the lines out."
                )
            return (
                f'"{place.id}" is used before it is defined on line {lines[place.id].lineno}; move '
                "that line up."
            )
        near = difflib.get_close_matches(place.id, [*self.names, *lines], n=1, cutoff=0.4)
        guess = f' Did you mean "{near[0]}"?' if near else ""
        return f'undefined name "{place.id}".{guess} Defined here: {", ".join(self.names)}.'

    def _read_call(self, place: ast.Call) -> int:
        if not isinstance(place.func, ast.Name) or place.func.id not in CALLED:
            name = ast.unparse(place.func)
            near = difflib.get_close_matches(name, CALLED, n=1, cutoff=0.4)
            guess = f' Did you mean "{near[0]}"?' if near else ""
            message = f'no operation "{name}".{guess} Known: {", ".join(CALLED)}.'
            raise self._error(place, message)
        args = [self._read(arg) for arg in place.args]
        attrs = {}
        for keyword in place.keywords:
            if keyword.arg is None:
                raise self._error(place, "attributes are written one by one, key=value.")
            attrs[keyword.arg] = self._read_attr(keyword.value)
        try:
            return self._add(node(place.func.id, *args, **attrs))
        except CellError as error:
            raise self._error(place, str(error)) from None

    def _read_attr(self, place: ast.expr) -> AttrValue:
        if isinstance(place, ast.Name) and place.id in ("input", "hidden"):
            return place.id
        if isinstance(place, ast.Constant) and (place.value is None or isinstance(place.value, str)):
            return place.value
        return self._read_number(place)

    def _read_number(self, place: ast.expr) -> float:
        if isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub):
            return -self._read_number(place.operand)
        if isinstance(place, ast.Name) and place.id == "inf":
            return math.inf
        if isinstance(place, ast.Constant) and type(place.value) in (int, float):
            return float(place.value)  # type: ignore[arg-type]  # the line above says it is a number
        raise self._error(place, f"a number is expected here, got {ast.unparse(place)}.")


def _is_string(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _cycle(start: str, lines: dict[str, ast.Assign]) -> list[str]:
    """A path from `start` through the lines that it needs back to itself, or nothing."""
    paths = [[start]]
    seen = set()
    while paths:
        path = paths.pop(0)
        for item in ast.walk(lines[path[-1]].value):
            if isinstance(item, ast.Name) and item.id in lines:
                if item.id == start:
                    return [*path, start]
                if item.id not in seen:
                    seen.add(item.id)
                    paths.append([*path, item.id])
    return []
