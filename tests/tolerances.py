"""How close is close enough, once for all tests; each number with its reason. Never relax one."""

EXACT_ALGEBRA = {"rtol": 1e-9, "atol": 1e-9}
"""float64, two forms of one formula: rounding times the conditioning of a few tame steps."""

SAME_FORMULA = {"rtol": 1e-12, "atol": 1e-12}
"""float64, the same operations in the same order up to the order of sums."""

OTHER_KERNEL_64 = {"rtol": 1e-10, "atol": 1e-10}
"""float64, another library's kernel: sums in another order over several steps and layers."""

OTHER_KERNEL_32 = {"rtol": 1e-6, "atol": 1e-6}
"""float32, a few steps of small values: some units of the last place (6e-8)."""

HALF = {"float16": 2e-3, "bfloat16": 2e-2}
"""Absolute, against float64, for values below 1: some units of the last place, for two steps."""

TWICE_EAGER = {"factor": 2.0, "slack": 1e-6}
"""float32: the error against float64 may be this many times the eager reference's, and a little."""

KERNEL_32 = {"factor": 4.0, "slack": 4e-6}
"""float32 by kernels for GPUs, for values near 1: the error against float64 may be this many times
the eager reference's. Sums have another order and exp another rounding, which exponentials of
states (rwkv_4, slstm) magnify; without them errors are below 1e-6."""

UNITS = 3.0
"""Of the last place: elementary functions in vectors against libm's, which has half of one."""
BFLOAT16_SUMS = {"rtol": 1e-5, "atol": 2e-5}
"""Products of factors that are rounded alike: what is left is float32's rounding of sums of up to
some hundred terms, and which of two equally near bfloat16 values a sum of two matrices becomes."""
BFLOAT16_FACTORS = 0.02
"""Of the largest value: factors of 8 binary digits, over some steps."""
SEVEN_DIGITS = {"rel": 2e-6}
"""What is computed from two numbers of seven digits, each rounded by up to 5e-7 of itself."""
OTHER_RUNTIME_32 = {"rtol": 1e-5, "atol": 1e-5}
"""float32, onnxruntime: its tanh and sigmoid are rational functions, over some steps and layers."""
FOREST_SHARE = 0.05
"""Absolute, shares of variance by a forest of 64 trees on 400 points against exact ones."""
GRID_SHARE = 2e-3
"""Absolute, shares of variance of a tree against means over 1000 x 1000 places: its splits lie
between them."""
DEVIATIONS = 5.0
"""Standard errors of a mean of independent draws: a right one is refused once in two million."""
