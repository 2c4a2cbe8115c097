"""Cells as text: exact in both ways, never executed, and every slip of the pen named."""

import textwrap

import pytest
from hypothesis import given

import nas
from nas.cell import Cell, arrange, dumps, loads, node
from nas.errors import CellError
from tests.strategies import cells


@given(cells())
def test_text_round_trip(cell):
    assert loads(dumps(cell)) == cell


@given(cells())
def test_printed_text_reads_back_as_the_same_text(cell):
    text = dumps(cell)
    assert dumps(loads(text)) == text


@given(cells())
def test_arranging_an_arranged_cell_changes_nothing(cell):
    assert arrange(cell) == cell


@pytest.mark.parametrize("name", nas.zoo)
def test_zoo_text_round_trip(name):
    assert loads(str(nas.zoo[name])) == nas.zoo[name]


PRINTED = '''\
def everything(x, h, c=1, s: 1 = -inf, x_prev: input = 0, *, d):
    """A first line.

    A \\\\ backslash, a \\""" and a last quote\\"
    """
    r = sigmoid(linear(x, h, bias=-1))
    k = 3
    m = -(r - (c - k)) * (1 - -r) / (r / c) - max(-r, 0.25)
    shared = linear(h, bias=None, eye=1)
    e = vector(init=1e-05, width=input)
    q = masked(shared, mask="block_lower", blocks=2) + diagonal(shared, init=0) * step()
    return square(q) + m, c + inf, min(s, scalar()), x + e, blend(r, d, k)
'''


def test_printed_form():
    assert dumps(loads(PRINTED)) == PRINTED


def test_text_means_what_python_means():
    one = loads("def f(x, h):\n    return h - x - h * 2 ** 1\n".replace("2 ** 1", "h ** 2"))
    other = loads("def f(x, h):\n    return (h - x) - (h * square(h))\n")
    assert one == other
    assert one != loads("def f(x, h):\n    return h - (x - h * square(h))\n")


def test_the_sign_of_a_number_belongs_to_it():
    one = loads("def f(x, h):\n    return h + -(-3) - -2 * -h\n")
    assert str(one) == "def f(x, h):\n    return h + 3 - -2 * -h\n"


def test_a_product_is_negated_in_brackets():
    text = "def f(x, h):\n    return -(x * h) - (-x) * h\n"
    assert str(loads(text)) == "def f(x, h):\n    return -(x * h) - -x * h\n"


def test_lines_that_rebind_a_name_get_new_names():
    cell = loads("def f(x, h):\n    h = tanh(h)\n    h = sin(h)\n    return linear(x, h)\n")
    assert "h_new = tanh(h)" in str(cell)
    assert "h_new2 = sin(h_new)" in str(cell)


def test_indented_text_is_read():
    text = dumps(nas.zoo["gru"])
    assert loads(textwrap.indent(text, "    ")) == nas.zoo["gru"]
    assert loads("\n\n" + textwrap.indent(text, "\t")) == nas.zoo["gru"]


def test_deep_chain_is_printed_with_names_and_reads_back():
    inputs = (node("input", name="x"), node("state", name="h"))
    chain = tuple(node("sin", i) for i in range(1, 901))
    deep = arrange(Cell("deep", inputs + chain, 901, (901,)))
    assert loads(dumps(deep)) == deep
    assert 18 < dumps(deep).count(" = ") < 30


LINE_ERRORS = {
    "undefined name": (
        "gate = tanh(h)\n    return gaet * x",
        'line 3: undefined name "gaet". Did you mean "gate"?',
    ),
    "undefined name, nothing near": (
        "return zzzzzz",
        'undefined name "zzzzzz". Defined here: x, h',
    ),
    "cycle": (
        "a = tanh(b)\n    b = sin(c)\n    c = a + h\n    return b",
        "line 2: a cycle, b <- c <- a <- b: a step is computed in order",
    ),
    "itself": ("a = a + h\n    return a", "a cycle, a <- a"),
    "used before definition": (
        "a = tanh(b)\n    b = sin(h)\n    return a",
        '"b" is used before it is defined on line 3; move that line up',
    ),
    "unknown operation": ("return tahn(h)", 'no operation "tahn". Did you mean "tanh"?'),
    "an input is no operation": ("return state(h)", 'no operation "state"'),
    "method": ("return h.sin()", 'no operation "h.sin"'),
    "wrong arity": ("return tanh(h, x)", "tanh.* takes 1 arguments, got 2"),
    "no argument": ("return linear()", r"linear.* takes at least 1 argument, got none"),
    "unknown attribute": (
        "return linear(h, biass=1)",
        'line 2: linear has no attribute "biass"; it takes bias, eye, width',
    ),
    "no attributes at all": (
        "return tanh(h, bias=1)",
        "tanh has no attribute.* takes no attributes",
    ),
    "attribute of wrong value": (
        "return linear(h, width=0)",
        "width must be input, hidden or a pos",
    ),
    "attribute of wrong kind": ('return linear(h, bias="one")', "bias must be a number, got 'one'"),
    "infinite attribute": ("return linear(h, bias=inf)", "bias must be finite, got inf"),
    "unknown mask": (
        'return masked(h, mask="odd")',
        "mask must be one of block_upper, block_lower",
    ),
    "half a block": ("return block_diagonal(h, blocks=1.5)", "blocks must be a positive whole"),
    "unpacked attributes": ("return linear(h, **h)", "attributes are written one by one"),
    "too many returned": ("return h, h, h", "1 states and must return 1 new states.* got 3 values"),
    "nothing returned": ("return", "the last line must return the new states"),
    "no return": ("a = tanh(h)", "the last line must return the new states"),
    "statement": ("if h:\n        a = h\n    return h", "every line is an equation"),
    "augmented assignment": ("h += x\n    return h", "every line is an equation"),
    "target that is no name": ("a, b = h\n    return h", "every line is an equation"),
    "power": ("return h ** 3", r"a power is only \*\* 2"),
    "comparison": ("return h > x", '"h > x" is not an equation of a cell'),
    "text": ('return h + "1"', "a number is expected here, got '1'"),
    "truth": ("return h + True", "a number is expected here, got True"),
    "number too large": (f"return h + {'9' * 400}", "int too large to convert to float"),
}


@pytest.mark.parametrize(("body", "message"), LINE_ERRORS.values(), ids=LINE_ERRORS)
def test_a_wrong_line_is_named(body, message):
    with pytest.raises(CellError, match=message):
        loads(f"def f(x, h):\n    {body}\n")


SIGNATURE_ERRORS = {
    "no state": ("def f(x): return x", "has no state: it would not be recurrent"),
    "no input": ("def f(): return 1", "the arguments are x, then the states, by name"),
    "star": ("def f(x, *h): return x", "the arguments are x, then the states, by name"),
    "keywords": ("def f(x, **h): return x", "the arguments are x, then the states, by name"),
    "positional": ("def f(x, /, h): return h", "the arguments are x, then the states, by name"),
    "same name twice": ("def f(x, h, h): return h, h", 'two arguments are called "h"'),
    "default of x": ("def f(x=1, h=1): return h", "x is the input and has no initial value"),
    "width of x": ("def f(x: 1, h): return h", "only states have a width, x has none"),
    "default of a vertical": ("def f(x, h, *, d=1): return h, d", "has no initial value"),
    "width of a vertical": ("def f(x, h, *, d: 1): return h, d", "only states have a width, d"),
    "unknown width": ("def f(x, h: wide): return h", "a number is expected here, got wide"),
    "width zero": ("def f(x, h: 0): return h", "width must be input, hidden or a positive whole"),
    "decorator": ("@print\ndef f(x, h): return h", "a cell has no decorators"),
    "verticals not returned": (
        "def f(x, h, *, d): return h",
        "must return 1 new states and 1 for the layer above",
    ),
}


@pytest.mark.parametrize(("text", "message"), SIGNATURE_ERRORS.values(), ids=SIGNATURE_ERRORS)
def test_a_wrong_signature_is_named(text, message):
    with pytest.raises(CellError, match=message):
        loads(text)


WIDTH_ERRORS = {
    "elementwise": (
        "def f(x, h):\n    return h + linear(x, width=3)",
        "joins values of widths 3 and hidden; only equal widths, or width 1, meet elementwise",
    ),
    "new state": (
        "def f(x, h):\n    return linear(x, width=3)",
        "state h and its new value joins values of widths 3 and hidden",
    ),
    "new state of width 1": (
        "def f(x, h):\n    return scalar()",
        "state h and its new value have widths hidden and 1; make them equal",
    ),
    "state of width 1": (
        "def f(x, h, s: 1):\n    return h, h",
        "state s and its new value have widths 1 and hidden",
    ),
    "vertical": (
        "def f(x, h, *, d):\n    return h, linear(x, width=3)",
        "vertical d joins values of widths 3 and hidden",
    ),
    "eye": (
        "def f(x, h):\n    return linear(x, h, eye=1)",
        r"eye needs exactly one argument, got 2; write linear\(x\) \+ linear\(h, eye=1, bias=None",
    ),
}


@pytest.mark.parametrize(("text", "message"), WIDTH_ERRORS.values(), ids=WIDTH_ERRORS)
def test_a_clash_of_widths_is_named(text, message):
    with pytest.raises(CellError, match=message):
        loads(text)


HOSTILE = {
    "import": "__import__('os').system('touch {file}')",
    "call": "__import__('os')",
    "default": "h\ndef g(x, h=open('{file}', 'w')): return h",
    "attribute": "linear(h, bias=open('{file}', 'w'))",
    "lambda": "(lambda: open('{file}', 'w'))()",
    "walrus": "(h := open('{file}', 'w'))",
    "comprehension": "[open('{file}', 'w') for _ in h][0]",
    "f-string": "f\"{{open('{file}', 'w')}}\"",
    "getattr": "h.__class__.__mro__[1].__subclasses__()",
    "await": "await open('{file}', 'w')",
}


@pytest.mark.parametrize("expression", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_and_not_executed(expression, tmp_path):
    file = tmp_path / "executed"
    with pytest.raises(CellError):
        loads(f"def f(x, h):\n    return {expression.format(file=file)}\n")
    assert not file.exists()


UNREADABLE = {
    "nothing": ("", "write one function and nothing else"),
    "no function": ("h = 1", "write one function and nothing else"),
    "two functions": ("def f(x, h): return h\ndef g(x, h): return h", "write one function"),
    "async": ("async def f(x, h): return h", "write one function and nothing else"),
    "code before": ("import os\ndef f(x, h): return h", "write one function and nothing else"),
    "syntax": ("def f(x, h):\n    return h +", "cell text: line 2: invalid syntax"),
    "NUL": ("def f(x, h):\n    return h\0", "cell text: .*null byte"),
    "brackets": ("def f(x, h):\n    return " + "(" * 5000 + "h" + ")" * 5000, "cell text"),
    "calls": ("def f(x, h):\n    return " + "sin(" * 150 + "h" + ")" * 150 + "\n@", "cell text"),
    "minus signs": ("def f(x, h):\n    return " + "-" * 100_000 + "h", "cell text"),
    "long sum": ("def f(x, h):\n    return h" + " + h" * 100_000, "cell text"),
    "only a doc": ('def f(x, h):\n    """Nothing."""', "the last line must return"),
}


@pytest.mark.parametrize(("text", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_text_is_an_error_that_says_so(text, message):
    with pytest.raises(CellError, match=message):
        loads(text)
