"""Functions of the op table's formulas in Triton, by their names there, that Triton lacks.

Comparisons are written so that a NaN passes. Of Triton's own functions, `exp` is a fast one that is
right to some units in the last place, and the others are those of CUDA's library.
"""

import triton
import triton.language as tl


@triton.jit
def square(a):
    return a * a


@triton.jit
def sign(a):
    return tl.where(a > 0.0, 1.0, tl.where(a < 0.0, -1.0, 0.0))


@triton.jit
def max(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def min(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def relu(a):
    return tl.where(a < 0.0, 0.0, a)


@triton.jit
def sigmoid(a):
    return 1.0 / (1.0 + tl.exp(-a))


@triton.jit
def softplus(a):
    """log(1 + exp(a)); u - 1 is what of e is left in u, so that the quotient mends log(u)."""
    e = tl.exp(-tl.abs(a))
    u = 1.0 + e
    near = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    return relu(a) + near


@triton.jit
def tanh(a):
    """After Cephes (Moshier), as in prelude.c: a polynomial near 0, and exp elsewhere."""
    z = a * a
    m = tl.abs(a)
    p = -5.70498872745e-3 * z + 2.06390887954e-2
    p = p * z - 5.37397155531e-2
    p = p * z + 1.33314422036e-1
    p = p * z - 3.33332819422e-1
    far = 1.0 - 2.0 / (tl.exp(2.0 * m) + 1.0)
    y = tl.where(m < 0.625, m + m * z * p, far)
    return tl.where(a < 0.0, -y, y)
