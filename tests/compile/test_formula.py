"""The C below the loops: elementary functions, what overflows, and matrix products."""

import ctypes
import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas.cell import OPS, loads
from nas.compile.emit import PRODUCTS as DECLARED
from nas.compile.emit.formula import Printer, names
from nas.compile.native import library
from nas.compile.reference import FUNCTIONS
from nas.nn.rnn import RNN
from tests.tolerances import OTHER_KERNEL_64, UNITS

Array = NDArray[np.floating]
LONG, VOID = ctypes.c_long, ctypes.c_void_p

# In more digits than either type has.
EXACT = {
    "exp": np.exp,
    "tanh": np.tanh,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "softplus": lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))),
}
LOOPS = "".join(
    f"void loop_{name}(const real *a, real *y, index_t n) {{\n"
    f"  for (index_t i = 0; i < n; i += LANES) store(y + i, v_{name}(load(a + i)));\n}}\n"
    for name in (*EXACT, "erf")
)
DTYPES = [np.float32, np.float64]


def apply(name: str, a: Array) -> Array:
    """A function of `prelude.c` on an array."""
    function = library(LOOPS, a.dtype == np.float64).function(f"loop_{name}", VOID, VOID, LONG)
    padded = np.concatenate([a, np.zeros(-a.size % 16, a.dtype)])
    y = np.empty_like(padded)
    function(padded.ctypes.data, y.ctypes.data, padded.size)
    return y[: a.size]


def points(dtype: type) -> Array:
    """All magnitudes, the ranges where the functions change, and the edges of the type."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    least = np.longdouble(info.smallest_subnormal)
    magnitudes = np.exp(rng.uniform(np.log(least), np.log(np.longdouble(info.max)), 20_000))
    ranges = rng.uniform(-1, 1, 100_000) * rng.choice([0.7, 1, 10, 30, 110, 800], 100_000)
    subnormal = rng.integers(1, 1000, 100) * least
    edges = [0.0, -0.0, math.inf, -math.inf, math.nan, info.max, info.min, info.tiny, least]
    edges += [0.625, 709.78, 709.79, -745.1, -745.2, 88.72, 88.73, -87.4, -103.97, -104.1]
    values = [magnitudes, -magnitudes, ranges, subnormal, -subnormal, edges]
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate([np.asarray(v, np.longdouble) for v in values]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_elementary_functions_are_exact_to_units_of_the_last_place(name, dtype):
    a = points(dtype)
    if name == "log1p":
        a = a[~(a < -1)]
    with np.errstate(all="ignore"):
        exact = EXACT[name](a.astype(np.longdouble))
        rounded = exact.astype(dtype)
    y = apply(name, a)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(rounded))
    if name == "sigmoid":  # below the normal numbers 1 / exp(89) is zero, as it is in torch
        small = rounded < np.finfo(dtype).tiny
        assert (y[small] < np.finfo(dtype).tiny).all()
        a, y, exact, rounded = (values[~small] for values in (a, y, exact, rounded))
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    unit = np.spacing(np.minimum(np.abs(rounded[finite]), np.finfo(dtype).max / 2))
    units = np.abs(y[finite] - exact[finite]) / unit
    assert units.max() <= UNITS, a[finite][units.argmax()]
    zero = rounded == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(rounded[zero]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_is_exact_to_units_of_the_last_place(dtype):
    a = points(dtype)
    a = a[np.abs(a) < 27]
    exact = np.array([math.erf(float(value)) for value in a])
    units = np.abs(apply("erf", a) - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert units.max() <= UNITS


# What overflows and what is not a number, in each operation.

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -3.0, 1e-30, 20, -20, 90, -90, 101, -101, 1e30, -1e30]
SPECIAL += [math.inf, -math.inf, math.nan, 1e-45, 710, -710]
ELEMENTWISE = [name for name, op in OPS.items() if op.kind == "elementwise"]


def elementwise(name: str) -> str:
    infix = {"add": "a + b", "sub": "a - b", "mul": "a * b", "div": "a / b", "neg": "-a"}
    arguments = ", ".join("abc"[: OPS[name].arity])
    return infix.get(name, f"{name}({arguments})")


def test_what_is_infinite_or_not_a_number_is_so_on_both_backends():
    old, new = ", ".join(f"{n}_s" for n in ELEMENTWISE), ", ".join(map(elementwise, ELEMENTWISE))
    cell = loads(f"def special(x, a, b, c, {old}):\n    return x, a, b, c, {new}\n")
    grid = itertools.product(SPECIAL, [0, -0.0, 1, -2, math.inf, math.nan], [0, 1, -math.inf])
    abc = torch.tensor(list(grid)).t().unsqueeze(1).unsqueeze(-1)
    states = (*abc, *[torch.zeros_like(abc[0])] * len(ELEMENTWISE))
    x = torch.zeros_like(abc[0])
    ours, theirs = (RNN(cell, 1, 1, backend=b)(x, states)[1][3:] for b in ("c", "eager"))
    for name, one, other in zip(ELEMENTWISE, ours, theirs, strict=True):
        if name == "gelu":
            continue  # torch's is off by 1e-4 of its value at -3, and NaN at infinity
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-15, equal_nan=True, msg=name)
        if OPS[name].arity == 1:
            zeros = (other == 0) & (one == 0)
            assert torch.equal(one[zeros].signbit(), other[zeros].signbit()), name


# Products.

PRODUCTS = """
void product(index_t m, index_t k, index_t width, index_t other, const real *w, const real *v,
             const real *a, index_t lda, const real *init, index_t ldi, real *c, real *panels) {
  index_t padded = (width + LANES - 1) / LANES * LANES;
  index_t n = padded + (other + LANES - 1) / LANES * LANES;
  pack(k, n, 0, width, padded, w, k, 0, panels);
  pack(k, n, padded, other, n - padded, v, k, 0, panels);
  pack(k, n, padded, other, n - padded, v, k, 1, panels);
  gemm(m, k, n, a, lda, panels, init, ldi, c, n);
}
void transposed(index_t m, index_t k, index_t width, index_t other, const real *w, const real *v,
                const real *g, real *c, real *panels, const real *zeros) {
  index_t padded = (width + LANES - 1) / LANES * LANES, wide = (k + LANES - 1) / LANES * LANES;
  index_t n = padded + (other + LANES - 1) / LANES * LANES;
  pack_back(k, wide, n, 0, width, padded, w, k, 0, panels);
  pack_back(k, wide, n, padded, other, n - padded, v, k, 0, panels);
  pack_back(k, wide, n, padded, other, n - padded, v, k, 1, panels);
  gemm(m, n, wide, g, n, panels, zeros, 0, c, wide);
}
"""
SIZES = [
    (m, k, *widths)
    for m, k in [*zip(range(1, 14), [1, 2, 31, 257] * 4, strict=False), (13, 1), (1, 257), (6, 64)]
    for widths in [(1, 8), (16, 17), (31, 33)]
]


def upwards(width: int) -> int:
    return -(-width // 8) * 8


def address(*arrays: Array) -> list[int]:
    return [array.ctypes.data for array in arrays]


@pytest.mark.parametrize("start", ["one row", "rows", "itself"])
def test_products_are_those_of_numpy(start):
    arguments = (*[LONG] * 4, *[VOID] * 3, LONG, VOID, LONG, VOID, VOID)
    function = library(DECLARED + PRODUCTS, True).function("product", *arguments)
    rng = np.random.default_rng(0)
    for m, k, width, other in SIZES:
        w, v, a = (rng.normal(size=(r, c)) for r, c in ((width, k), (other, k), (m, k + 3)))
        n = upwards(width) + upwards(other)
        matrix = np.zeros((n, k))
        matrix[:width], matrix[upwards(width) :][:other] = w, 2 * v  # v is packed, then added
        init = rng.normal(size=(1 if start == "one row" else m, n))
        expected = init + a[:, :k] @ matrix.T
        c = init if start == "itself" else np.full((m, n), np.nan)
        stride = 0 if start == "one row" else n
        panels = np.full(k * n, np.nan)
        function(
            *(m, k, width, other, *address(w, v, a), k + 3),
            *(*address(init), stride, *address(c, panels)),
        )
        np.testing.assert_allclose(c, expected, **OTHER_KERNEL_64)


def test_products_with_the_transpose_are_those_of_numpy():
    arguments = (*[LONG] * 4, *[VOID] * 6)
    function = library(DECLARED + PRODUCTS, True).function("transposed", *arguments)
    rng = np.random.default_rng(0)
    for m, k, width, other in SIZES:
        n, wide = upwards(width) + upwards(other), upwards(k)
        w, v, g = (rng.normal(size=(r, c)) for r, c in ((width, k), (other, k), (m, n)))
        c, panels = np.full((m, wide), np.nan), np.full(wide * n, np.nan)
        function(m, k, width, other, *address(w, v, g, c, panels, np.zeros(wide)))
        expected = g[:, :width] @ w + 2 * g[:, upwards(width) :][:, :other] @ v
        np.testing.assert_allclose(c[:, :k], expected, **OTHER_KERNEL_64)
        assert (c[:, k:] == 0).all()


# Formulas as C.


def test_every_operation_has_a_formula():
    assert {op for op, row in OPS.items() if row.value} == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("1 - y * y", "(splat(1.0) - (Y * Y))"),
        ("-g", "(-G)"),
        ("where(a > 0, g, 0)", "pick((A > splat(0.0)), G, splat(0.0))"),
        ("g / (1 + exp(-a))", "(G / (splat(1.0) + v_exp((-A))))"),
    ],
)
def test_a_formula_is_printed_with_the_names_of_c(formula, text):
    assert Printer({"a": "A", "g": "G", "y": "Y"}).print(formula) == text


def test_a_reduction_is_computed_once():
    asked = []

    def reduce(kind: str, vector: str) -> str:
        asked.append((kind, vector))
        return f"r{len(asked)}"

    printer = Printer({"g": "G", "y": "Y"}, reduce)
    assert printer.print("y * mean(g * y) - total(g) * mean(g * y)") == ("((Y * r1) - (r2 * r1))")
    assert asked == [("mean", "(G * Y)"), ("total", "G")]


def test_names_are_the_values_that_a_formula_reads():
    assert names("g * where(a > b, 1, exp(slope * y))") == {"g", "a", "b", "slope", "y"}
