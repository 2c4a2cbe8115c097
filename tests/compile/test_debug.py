"""NAS_DEBUG: what is printed, when, and that docs/compiler.md shows it as it is."""

import re
from pathlib import Path

import pytest
import torch

import nas
from nas.cell import loads
from nas.compile import debug
from nas.compile.emit import emit
from nas.compile.passes import PASSES, make_plan
from nas.compile.plan import Plan
from nas.errors import UserError
from nas.zoo import ZOO

PAGE = Path(nas.__file__).parent.parent / "docs" / "compiler.md"

LSTM_PASSES = """\
passes of lstm: input 32, hidden 32, 16 values a vector
dead code: nothing to do
constants: nothing to do
identities: nothing to do
repetitions: nothing to do
hoisting:
  in the loop: %3, i, %5, f, %7, g, %9, o, %11, %12, c_new, %14, %15
stages:
  stage 1: %3, %5, %7, %9
regions:
  region 0: nothing
  region 1: i, f, g, o, %11, %12, c_new, %14, %15
"""

LSTM_PLAN = """\
plan of lstm: input 32, hidden 32, 16 values a vector
stage 1: 128 columns
  columns 0 to 31: %3 = linear(x, h)
  columns 32 to 63: %5 = linear(x, h)
  columns 64 to 95: %7 = linear(x, h)
  columns 96 to 127: %9 = linear(x, h)
  hoisted: x (32) to columns 0 to 127
  at each step: h (32) to columns 0 to 127
region 1
  i = sigmoid(%3)
  f = sigmoid(%5)
  g = tanh(%7)
  o = sigmoid(%9)
  %11 = f * c
  %12 = i * g
  c_new = %11 + %12
  %14 = tanh(c_new)
  %15 = o * %14
y: %15
next h: %15
next c: c_new
hoisted, read at each step: nothing
kept for the backward pass: h, c, i, f, g, o, %14
computed again by it: nothing
dependent stages a step: 1
operations of a step of one sequence    products  pointwise
  in the loop, forward                      8192       1728
  in the loop, backward                     8192        736
  gradients of its matrices                 8192          0
  hoisted, forward                          8192          0
  hoisted, backward, x being data           8192          0
bytes: 16384 of matrices read at each step of the loop, 896 kept a row, 33280 of parameters
"""

CHANGED = """\
dead code:
  c is not needed
  dead = tanh(x) is not needed
constants:
  k = 1 / 2 is 0.5
identities:
  d = b * 1 is b
repetitions:
  e = tanh(h) is b
hoisting:
  hoisted: w = sin(x)
  in the loop: b, %12, m, %14
"""


@pytest.fixture
def lstm() -> Plan:
    return make_plan(ZOO["lstm"], 32, 32, 16)


def shown(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> str:
    monkeypatch.setenv("NAS_DEBUG", word)
    debug.show(plan, "void forward;\n", 4)
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("passes", LSTM_PASSES),
        ("plan", LSTM_PLAN),
        ("source", "source of lstm: input 32, hidden 32, 16 values a vector\nvoid forward;\n"),
        (" plan,passes,", LSTM_PASSES + LSTM_PLAN),
        ("", ""),
    ],
)
def test_what_is_asked_for_is_printed(
    lstm: Plan,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
    expected: str,
) -> None:
    assert shown(lstm, monkeypatch, capsys, word) == expected


def test_an_unknown_word_is_refused(lstm: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DEBUG", "plan,pases")
    with pytest.raises(UserError, match=r'may name passes, plan, source, .*; got "pases"\.'):
        debug.show(lstm, "", 4)


def test_each_change_is_a_line() -> None:
    text = (
        "def f(x, h, c):\n    dead = tanh(x)\n    k = 1 / 2\n    b = tanh(h)\n    d = b * 1\n"
        "    e = tanh(h)\n    w = sin(x)\n    m = linear(d * e, w)\n    return m * k, m\n"
    )
    said = debug.passes_text(make_plan(loads(text), 4, 4, 4))
    assert CHANGED in said


def test_a_loop_says_what_it_is_when_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAS_DEBUG", "passes,plan,source")
    rnn = nas.RNN("mgu", 3, 11, backend="c")
    for _ in range(2):  # the second call compiles nothing
        rnn(torch.zeros(2, 1, 3))
    said = capsys.readouterr().err
    titles = [line for line in said.splitlines() if line.endswith("values a vector")]
    sizes = "mgu: input 3, hidden 11, 16 values a vector"
    assert titles == [f"{word} of {sizes}" for word in debug.CHOICES]
    assert "dependent stages a step: 2\n" in said
    assert "void forward(" in said


@pytest.mark.parametrize("name", ["lstm", "mut1"])
def test_the_page_on_the_compiler_shows_the_plan_as_it_is(name: str) -> None:
    plan = make_plan(ZOO[name], 32, 32, 16, in_c=True)
    assert f"```\n{debug.plan_text(plan, 4)}```\n" in PAGE.read_text()


def test_the_page_on_the_compiler_shows_the_passes_as_they_are() -> None:
    assert debug.passes_text(make_plan(ZOO["mut1"], 32, 32, 16, in_c=True)) in PAGE.read_text()


def test_the_page_on_the_compiler_quotes_the_code_as_it_is() -> None:
    line = "vec v10 = v_tanh(v9);"
    assert f"`{line}`" in PAGE.read_text()
    assert line in emit(make_plan(ZOO["mut1"], 32, 32, 16, in_c=True)).text


def test_the_page_on_the_compiler_lists_the_passes() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \|", PAGE.read_text().split("## The passes")[1], re.MULTILINE)
    assert rows[1:] == [step.name for step in PASSES]
