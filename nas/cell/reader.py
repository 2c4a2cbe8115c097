"""From the text of a cell back to the cell: `loads` reads the text that `text.py` describes."""

import ast
import difflib
import math
import textwrap
from dataclasses import replace

from nas.cell.cell import Cell, assemble
from nas.cell.graph import Node, make_node, node
from nas.cell.ops import INPUTS, OPS, WIDTHS, AttrValue
from nas.errors import CellError

INFIX = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
CALLED = tuple(
    op for op in OPS if op not in INPUTS and op not in INFIX.values() and op != "constant"
)


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
        self._read_signature()
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
        returned = [self._read(item) for item in items]
        return assemble(self.function.name, self.nodes, returned, doc)

    def _error(self, place: ast.AST, message: str) -> CellError:
        line = getattr(place, "lineno", 1)
        return CellError(f"cell {self.function.name}: line {line}: {message}")

    def _add(self, new: Node) -> int:
        self.nodes.append(new)
        return len(self.nodes) - 1

    def _read_signature(self) -> None:
        arguments = self.function.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or not arguments.args:
            raise self._error(self.function, "the arguments are x, then the states, by name.")
        if self.function.decorator_list:
            raise self._error(self.function, "a cell has no decorators.")
        x, *states = arguments.args
        for plain in (x, *arguments.kwonlyargs):
            if plain.annotation is not None:
                raise self._error(plain, f"only states have a width, {plain.arg} has none to give.")
        if any(default is not None for default in arguments.kw_defaults):
            raise self._error(self.function, "a value of the layer below has no initial value.")
        self._add_input(x, node("input", name=x.arg))
        defaults = [None] * (len(states) - len(arguments.defaults)) + list(arguments.defaults)
        if len(defaults) != len(states):
            raise self._error(self.function, f"{x.arg} is the input and has no initial value.")
        for state, default in zip(states, defaults, strict=True):
            initial = 0.0 if default is None else self._read_number(default)
            width = "hidden" if state.annotation is None else self._read_attr(state.annotation)
            new = node("state", name=state.arg, width=width, initial=initial)
            self._add_input(state, new)
        for vertical in arguments.kwonlyargs:
            self._add_input(vertical, node("vertical", name=vertical.arg))

    def _add_input(self, argument: ast.arg, new: Node) -> None:
        if argument.arg in self.names:
            raise self._error(argument, f'two arguments are called "{argument.arg}".')
        self.names[argument.arg] = self._add(new)

    def _read_line(self, line: ast.stmt) -> None:
        targets = line.targets if isinstance(line, ast.Assign) else []
        names = [target for target in targets if isinstance(target, ast.Name)]
        if not isinstance(line, ast.Assign) or len(names) < len(targets):
            raise self._error(line, "every line is an equation, name = expression.")
        index = self._read(line.value)
        for target in names:
            if not self.nodes[index].name:
                self.nodes[index] = replace(self.nodes[index], name=target.id)
            self.names[target.id] = index

    def _read(self, place: ast.expr) -> int:
        if isinstance(place, ast.Name):
            return self._read_name(place)
        if isinstance(place, ast.Call):
            return self._read_call(place)
        if isinstance(place, ast.BinOp) and type(place.op) in INFIX:
            op = INFIX[type(place.op)]
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
        """The reason why a name has no value yet: a cycle, a line too early, or a typing error."""
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
                    f"a cycle, {' <- '.join(path)}: a step is computed in order; carry the value "
                    "to the next step as a state, or leave one of the lines out."
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
        attrs: dict[str, AttrValue] = {}
        for keyword in place.keywords:
            if keyword.arg is None:
                raise self._error(place, "attributes are written one by one, key=value.")
            attrs[keyword.arg] = self._read_attr(keyword.value)
        try:
            return self._add(make_node(place.func.id, args, attrs))
        except CellError as error:
            raise self._error(place, str(error)) from None

    def _read_attr(self, place: ast.expr) -> AttrValue:
        if isinstance(place, ast.Name) and place.id in WIDTHS:
            return place.id
        if isinstance(place, ast.Constant) and isinstance(place.value, str | None):
            return place.value
        return self._read_number(place)

    def _read_number(self, place: ast.expr) -> float:
        if isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub):
            return -self._read_number(place.operand)
        if isinstance(place, ast.Name) and place.id == "inf":
            return math.inf
        if isinstance(place, ast.Constant) and isinstance(place.value, int | float):
            if not isinstance(place.value, bool):
                return float(place.value)
        raise self._error(place, f"a number is expected here, got {ast.unparse(place)}.")


def _is_string(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _cycle(start: str, lines: dict[str, ast.Assign]) -> list[str]:
    """A path from `start` through the lines that it needs back to itself; empty if none."""
    paths = [[start]]
    visited = set()
    while paths:
        path = paths.pop(0)
        for item in ast.walk(lines[path[-1]].value):
            if isinstance(item, ast.Name) and item.id in lines:
                if item.id == start:
                    return [*path, start]
                if item.id not in visited:
                    visited.add(item.id)
                    paths.append([*path, item.id])
    return []


MOST_CHARACTERS = 1_000_000
"""Characters of a text that is read as a cell; one of the most operations has some 50,000."""


def loads(text: str) -> Cell:
    """Read a cell from its text; a byte order mark before it is ignored.

    Raises:
        CellError: with the line, the rule and the way out.
    """
    if len(text) > MOST_CHARACTERS:
        raise CellError(
            f"cell text: a cell has at most {MOST_CHARACTERS:,} characters, got {len(text):,}."
        )
    try:
        return _Reader(ast.parse(textwrap.dedent(text.removeprefix("\ufeff")))).cell()
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, CellError):
            raise
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise CellError(f"cell text: {line}{reason}; a cell is a function of equations.") from None
