"""Cells from outside that are large, or look the same everywhere: a key in seconds, or a sentence.

Before powers were counted and symmetries used, many of these took hours or all memory.
"""

from collections.abc import Callable

import pytest

from nas import cell
from nas.cell import labelling
from nas.cell.cell import Cell
from nas.cell.json import from_json, to_json
from nas.cell.picture.drawing import picture
from nas.cell.reader import MOST_CHARACTERS, loads
from nas.cell.verify import MOST_OPERATIONS
from nas.errors import CellError


def of(*lines: str) -> Cell:
    return loads("def f(x, h):\n" + "".join(f"    {line}\n" for line in lines))


def summed(term: Callable[[int], str], n: int) -> Cell:
    """h and so many terms."""
    return of("v = h", *(f"v = v + {term(k)}" for k in range(n)), "return v")


def power(exponent: int) -> Cell:
    """A power of a value by squares, as one writes it with few lines."""
    lines = ["p = tanh(linear(x, h))"]
    for digit in f"{exponent:b}"[1:]:
        lines.append("v = v * v" if len(lines) > 1 else "v = p * p")
        lines += ["v = v * p"] if digit == "1" else []
    return of(*lines, "return v")


GATE, PAIR = "tanh(linear(x, h))", "tanh(linear(x) * linear(x))"
RING = [f"g{k} = tanh(linear(x))" for k in range(6)]
KEYS = {
    "equal arguments": (of(f"return linear({', '.join('x' * 6)}, h)"), "90cbdf2dc28baf85"),
    "gates": (of(f"return {' + '.join([GATE] * 6)}"), "a70d3051d307f550"),
    "pairs": (of(f"return h + {' + '.join([PAIR] * 5)}"), "432076b21b9bbb7c"),
    "a ring": (
        of(*RING, f"return h + {' + '.join(f'exp(g{k} * g{(k + 1) % 6})' for k in range(6))}"),
        "f12f6d284d52aa23",
    ),
}
"""Cells that look the same in many places, with their keys by the first code."""


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_symmetric_cells_are_those_of_the_first_code(name: str) -> None:
    made, key = KEYS[name]
    assert made.key == key


@pytest.mark.parametrize("exponent", [2**22, 2**22 + 1, 65, 64, 5])
def test_a_power_is_counted(exponent: int) -> None:
    """By the rules of powers: p ** n = p ** m * p ** (n - m), which is not p ** (n + 1)."""
    half = exponent // 2
    one, other = power(half), power(exponent - half)
    lines = [line.strip() for line in str(one).splitlines()[1:-1]]
    more = [line.strip().replace("v", "w") for line in str(other).splitlines()[2:-1]]
    names = [str(c).splitlines()[-1].split()[1] for c in (one, other)]
    split = of(*lines, *more, f"return {names[0]} * {names[1].replace('v', 'w')}")
    assert split.key == power(exponent).key
    assert split.key != power(exponent + 1).key


LARGE = {
    "powers": lambda: of("v = tanh(linear(x, h))", *["v = v * v"] * 980, "return v"),
    "doublings": lambda: of("v = tanh(linear(x, h))", *["v = v + v"] * 980, "return v"),
    "a chain": lambda: of("v = linear(x, h)", *["v = tanh(v)"] * 980, "return v"),
    "long products": lambda: of("v = linear(x, h)", *["v = v * tanh(v)"] * 245, "return v"),
    "long sums": lambda: of("v = linear(x, h)", *["v = v + tanh(v)"] * 245, "return v"),
    "equal arguments": lambda: of(f"return linear({', '.join('x' * 300)}, h)"),
    "equal gates": lambda: summed(lambda k: GATE, 125),
    "states": lambda: loads(
        f"def f(x, {', '.join(f's{k}' for k in range(200))}):\n"
        + "".join(f"    t{k} = tanh(linear(x, s{k}))\n" for k in range(200))
        + f"    return {', '.join(f't{k}' for k in range(200))}\n"
    ),
    "ENAS with 100 nodes": lambda: cell("enas: 0 " + "0 0 " * 100),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_cells_are_read_hashed_and_drawn(name: str) -> None:
    made = LARGE[name]()
    assert loads(str(made)) == made
    assert len(made.key) == 16
    assert picture(made)


SIZE = "a cell has at most 1,000"
REFUSED = {
    "a chain of 5,000 lines": (lambda: of(*["h = tanh(h)"] * 5000, "return h"), SIZE),
    "10,000 arguments": (lambda: of(f"return linear({', '.join('x' * 10_000)}, h)"), SIZE),
    "2,000 states": (
        lambda: loads(f"def f(x, {(s := ', '.join(f's{k}' for k in range(2000)))}):\n return {s}"),
        SIZE,
    ),
    "ENAS with 1,000 nodes": (lambda: cell("enas: 0 " + "0 0 " * 1000), SIZE),
    "a long text": (lambda: loads("#" * (MOST_CHARACTERS + 1)), "at most 1,000,000 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cells_beyond_the_limits_are_refused(name: str) -> None:
    make, sentence = REFUSED[name]
    with pytest.raises(CellError, match=sentence):
        make()


def test_the_limit_counts_matrices_and_holds_in_json() -> None:
    made = of(f"return linear({', '.join('x' * (MOST_OPERATIONS - 3))}, h)")
    data = to_json(made)
    assert from_json(data) == made
    data["nodes"][2]["args"].append(0)
    with pytest.raises(CellError, match="f has 1,001 operations, each matrix counted"):
        from_json(data)


def test_a_cell_that_is_too_much_alike_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "MOST_LOOKS", 20_000)
    with pytest.raises(CellError, match="too many parts of the cell look alike to give it a key"):
        _ = summed(lambda k: PAIR, 20).key
