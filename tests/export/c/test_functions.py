"""The functions in C are as near to those of NumPy as their comments say."""

import math

import numpy as np
import pytest
from scipy import special

from nas.cell import node
from nas.export.c.data import Data
from nas.export.c.formats import table_of
from nas.export.c.functions import functions, needed
from nas.export.c.model import tanh_table
from tests.export.c.written import Functions

EDGES = np.array([0, -0.0, 1, -1, 88, -88, 89, -104, 1e-38, 1e-45, 3e38, -3e38], dtype=np.float32)
EXACT = {
    "exp_of": (np.exp, 2e-7),
    "sigmoid_of": (special.expit, 4e-7),
    "tanh_of": (np.tanh, 3e-7),
    "log_of": (np.log, 2e-7),
    "softplus_of": (lambda x: np.logaddexp(0, x), 4e-7),
    "sqrt_of": (np.sqrt, 2e-7),
    "floor_of": (np.floor, 0),
}
"""The function in float64, and the error relative to its value."""
DENORMAL = dict.fromkeys(EXACT, 2e-45) | {"sigmoid_of": 3e-39}
"""The error of values below 1.2e-38, of which a sigmoid makes 0 from 3e-39 down."""
WHOLE = ("tanh_fixed", "sigmoid_fixed", "fit_3", "grown_3", "lookup_exp")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Functions:
    floats = [*EXACT, "sin_of", "cos_of", "gelu_of", "silu_of"]
    whole = ["tanh_fixed", "sigmoid_fixed", "fit", "grown", "lookup"]
    table = table_of(node("exp", 0), 13, 12, -3.0, 1.5)
    listed = ", ".join(map(str, table.values.tolist()))
    text = [
        *tanh_table(Data()),
        f"static const int16_t exp_table[257] = {{ {listed} }};",
        *needed([*floats, *whole]),
        "static int32_t fit_3(int32_t x) { return fit(x, 3); }",
        "static int32_t grown_3(int32_t x) { return grown(x, 3); }",
        "static int32_t lookup_exp(int32_t x) { return lookup(exp_table, x); }",
    ]
    kinds = dict.fromkeys(floats, "float") | dict.fromkeys(WHOLE, "int32_t")
    return Functions(tmp_path_factory.mktemp("c"), "\n".join(text), kinds)


def floats() -> np.ndarray:
    """Numbers of all sizes and signs, and those of the middle in small steps."""
    wide = 10.0 ** np.linspace(-44, 38, 20_000)
    return np.concatenate([EDGES, wide, -wide, np.linspace(-20, 20, 100_001)]).astype(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_a_function_is_as_near_as_its_comment_says(name: str, compiled: Functions) -> None:
    function, bound = EXACT[name]
    x = floats()
    with np.errstate(all="ignore"):
        wanted = function(x.astype(np.float64))
        as_float = wanted.astype(np.float32)
    found = compiled(name, x)
    finite = np.isfinite(as_float)
    np.testing.assert_array_equal(found[~finite], as_float[~finite])
    size = np.abs(wanted[finite])
    size = np.maximum(size, 1) if name == "log_of" else size
    # Numbers that are smaller than the smallest normal float have fewer digits.
    assert (np.abs(found[finite] - wanted[finite]) - bound * size).max() <= DENORMAL[name]
    assert math.isnan(compiled(name, np.array([np.nan], dtype=np.float32))[0])
    if bound:
        assert f"{bound:.0e}".replace("e-0", "e-") in functions()[name].text


def test_functions_of_angles_and_the_normal_distribution(compiled: Functions) -> None:
    x = np.concatenate([np.linspace(-20, 20, 100_001), np.linspace(-1e6, 1e6, 9_999)])
    x = x.astype(np.float32)
    exact = x.astype(np.float64)
    assert np.abs(compiled("sin_of", x) - np.sin(exact)).max() <= 2e-7
    assert np.abs(compiled("cos_of", x) - np.cos(exact)).max() <= 2e-7
    size = np.maximum(np.abs(exact), 1e-30)
    gelu = exact * special.ndtr(exact)
    assert (np.abs(compiled("gelu_of", x) - gelu) / size).max() <= 3e-7
    silu = exact * special.expit(exact)
    assert (np.abs(compiled("silu_of", x) - silu) / size).max() <= 5e-7
    far = np.array([np.inf, np.nan], dtype=np.float32)
    assert np.isnan(compiled("sin_of", far)).all()


def test_whole_numbers_are_as_near_as_their_comments_say(compiled: Functions) -> None:
    x = np.arange(-32767, 32768, dtype=np.int32)
    tanh = compiled("tanh_fixed", x) / 32768 - np.tanh(x / 4096)
    assert np.abs(tanh).max() <= 1.3e-4
    sigmoid = compiled("sigmoid_fixed", x) / 32768 - special.expit(x / 2048)
    assert np.abs(sigmoid).max() <= 1e-4
    far = np.arange(-(2**30), 2**30, 99_991, dtype=np.int32)
    fitted = np.clip(np.floor(far / 8 + 0.5), -32767, 32767)
    np.testing.assert_array_equal(compiled("fit_3", far), fitted)
    np.testing.assert_array_equal(compiled("grown_3", x), np.clip(x * 8, -32767, 32767))


def test_a_table_is_as_near_as_it_says(compiled: Functions) -> None:
    table = table_of(node("exp", 0), 13, 12, -3.0, 1.5)
    x = np.arange(-3 * 8192, int(1.5 * 8192), dtype=np.int32)
    apart = np.abs(compiled("lookup_exp", x) / 4096 - np.exp(x / 8192)).max()
    assert apart <= table.error + 1 / 4096
    assert table.error < 7e-4, "the curve between two places 1/32 apart: (1/32)^2 / 8 * e^1.5"
