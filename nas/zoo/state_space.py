"""Linear recurrences, and cells that normalise an exponential memory.

A complex state is two real ones. Parameters that must be positive or below 1 are unary maps of
vectors, computed once and not at every step. Where a paper draws frequencies at random, here they
start at the index of the unit, which spreads them as well.
"""

from typing import Annotated, Any

from nas.cell import (
    Value,
    blend,
    block_diagonal,
    cos,
    diagonal,
    exp,
    legendre,
    linear,
    maximum,
    relu,
    sigmoid,
    silu,
    sin,
    softplus,
    sqrt,
    tanh,
    unit,
    vector,
)

Pair = tuple[Value, Value]
Three = tuple[Value, Value, Value]
Four = tuple[Value, Value, Value, Value]
Input = Annotated[Value, "input"]
"""A state as wide as x."""
INFINITE: Any = float("-inf")
"""Below all numbers: the initial value of a running maximum."""


def _g(a: Value) -> Value:
    """a + 1/2 where a >= 0, else sigmoid(a): Feng et al. 2024, listing 6."""
    return relu(a) + sigmoid(-relu(-a))


def minlstm(x: Value, h: Value) -> Value:
    """Feng et al. 2024, arXiv:2410.01201: input and forget gate add up to 1, and know x alone.

    The candidate passes through g as in the log-space form; the gates are f / (f + i) and
    i / (f + i).
    """
    f = sigmoid(linear(x))
    i = sigmoid(linear(x))
    total = f + i
    return f / total * h + i / total * _g(linear(x))


def gilr_lstm(x: Value, s: Value, c: Value) -> Three:
    """Martin & Cundy 2018, arXiv:1709.04057: an LSTM whose gates read s, a linear surrogate of h.

    As in the official code, gates read the new s and the output is o * c.
    """
    g = sigmoid(linear(x))
    s = g * s + (1 - g) * tanh(linear(x))
    f = sigmoid(linear(x, s))
    i = sigmoid(linear(x, s))
    o = sigmoid(linear(x, s))
    c = f * c + i * tanh(linear(x, s))
    return o * c, s, c


def para_gru(x: Value, h: Value) -> Value:
    """Danieli et al. 2025, arXiv:2510.21450 (ParaRNN): a GRU whose recurrent maps are diagonal.

    The maps of x are dense (in the official code they may be split into heads).
    """
    z = sigmoid(linear(x) + diagonal(h))
    r = sigmoid(linear(x) + diagonal(h))
    return (1 - z) * h + z * tanh(linear(x) + diagonal(r * h))


def para_lstm(x: Value, h: Value, c: Value) -> Pair:
    """Danieli et al. 2025, arXiv:2510.21450 (ParaRNN): a diagonal LSTM with coupled gates.

    f sees the old c and o the new one; the maps of x are dense.
    """
    f = sigmoid(linear(x) + diagonal(h) + diagonal(c))
    c = f * c + (1 - f) * tanh(linear(x) + diagonal(h))
    o = sigmoid(linear(x) + diagonal(h) + diagonal(c))
    return o * tanh(c), c


def slstm(x: Value, h: Value, c: Value, n: Value, m: Value = INFINITE) -> Four:
    """Beck et al. 2024, arXiv:2405.04517 (xLSTM): exponential gates with a normaliser and a
    stabiliser, in four heads.

    The forget gate is the sigmoid; m starts below all numbers, so that the first step forgets
    nothing that was never there.
    """
    i = linear(x) + block_diagonal(h)
    log_f = -softplus(-(linear(x) + block_diagonal(h)))
    z = tanh(linear(x) + block_diagonal(h))
    o = sigmoid(linear(x) + block_diagonal(h))
    past = log_f + m
    m = maximum(past, i)
    keep = exp(past - m)
    write = exp(i - m)
    c = keep * c + write * z
    n = keep * n + write
    return o * (c / n), c, n, m


def lru(x: Value, re: Value, im: Value) -> Three:
    """Orvieto et al. 2023, arXiv:2303.06349: a complex diagonal recurrence inside the unit circle.

    |lambda| = exp(-exp(nu)) starts at 0.9; inputs are scaled by gamma, learned, from
    sqrt(1 - 0.81). The map of x beside the output is dense and without a bias.
    """
    size = exp(-exp(vector(-2.2503673273124454)))
    angle = exp(vector()) + unit()
    gamma = exp(vector(-0.8303656034108255))
    a = size * cos(angle)
    b = size * sin(angle)
    new_re = a * re - b * im + gamma * linear(x, bias=None)
    new_im = a * im + b * re + gamma * linear(x, bias=None)
    return linear(new_re, new_im, x, bias=None), new_re, new_im


def _hold(rate: Value, frequency: Value, dt: Value) -> Four:
    """exp(Lambda dt) and (exp(Lambda dt) - 1) / Lambda for Lambda = -rate + i frequency."""
    size = exp(-(dt * rate))
    turn = dt * frequency
    a = size * cos(turn)
    b = size * sin(turn)
    grown = a - 1
    norm = rate * rate + frequency * frequency  # times the conjugate of Lambda, over this
    return a, b, (frequency * b - rate * grown) / norm, -(rate * b + frequency * grown) / norm


def s5(x: Value, re: Value, im: Value) -> Three:
    """Smith, Warrington & Linderman 2023, arXiv:2208.04933: one diagonal system for all features.

    Zero-order hold of Lambda = -exp(a) + i w with a step exp(dt) for each state; Lambda starts as
    S4D-Lin's, -1/2 + i pi k. The output is twice the real part, and D x with a learned vector of
    the width of x would need equal widths: here the map of x is dense.
    """
    rate = exp(vector(-0.6931471805599453))
    frequency = vector() + 3.141592653589793 * unit()
    dt = exp(vector(-4.6))
    a, b, hold_re, hold_im = _hold(rate, frequency, dt)
    of_x = linear(x, bias=None)
    also_x = linear(x, bias=None)
    new_re = a * re - b * im + (hold_re * of_x - hold_im * also_x)
    new_im = a * im + b * re + (hold_re * also_x + hold_im * of_x)
    return 2 * linear(new_re, new_im, bias=None) + linear(x, bias=None), new_re, new_im


def s4d(
    x: Value, re_0: Value, im_0: Value, re_1: Value, im_1: Value
) -> tuple[Value, Value, Value, Value, Value]:
    """Gu et al. 2022, arXiv:2206.11893 (S4D-Lin): a small diagonal system for each feature of x.

    Two complex states a feature (the paper has 32), zero-order hold, B = 1; output 2 Re(C s) + D x.
    """
    dt = exp(vector(-4.6))
    rate_0 = exp(vector(-0.6931471805599453))
    rate_1 = exp(vector(-0.6931471805599453))
    frequency_0 = vector()
    frequency_1 = vector(3.141592653589793)
    new_re_0, new_im_0 = _held(x, re_0, im_0, _hold(rate_0, frequency_0, dt))
    new_re_1, new_im_1 = _held(x, re_1, im_1, _hold(rate_1, frequency_1, dt))
    of_0 = diagonal(new_re_0) - diagonal(new_im_0)
    of_1 = diagonal(new_re_1) - diagonal(new_im_1)
    y = 2 * (of_0 + of_1) + diagonal(x, init=1)
    return y, new_re_0, new_im_0, new_re_1, new_im_1


def _held(x: Value, re: Value, im: Value, hold: Four) -> Pair:
    """A complex state of S4D after a step in which x stays."""
    a, b, hold_re, hold_im = hold
    return a * re - b * im + hold_re * x, a * im + b * re + hold_im * x


def rg_lru(x: Value, h: Value) -> Value:
    """De et al. 2024, arXiv:2402.19427 (Griffin): a real gated linear recurrence, c = 8.

    Block-diagonal gates in four heads, with biases. As in the paper the first step is like others
    (the official code does not scale the input there). sigmoid(Lambda)^8 starts near 0.95.
    """
    r = sigmoid(block_diagonal(x) + vector(width="input"))
    i = sigmoid(block_diagonal(x) + vector(width="input"))
    a = exp(-8 * softplus(vector(-5)) * r)
    return a * h + sqrt(1 - a * a) * (i * x)


def hgrn(x: Value, h: Value) -> Value:
    """Qin et al. 2023, arXiv:2311.04823, in the real form of flash-linear-attention.

    The lower bound of the forget gate is learned in each layer by itself; in the paper it grows
    over the layers by a cumulative softmax. The output gate is a layer of its own.
    """
    bound = sigmoid(vector(-2))
    f = bound + (1 - bound) * sigmoid(linear(x))
    return f * h + (1 - f) * silu(linear(x))


def hgrn_complex(x: Value, re: Value, im: Value) -> Three:
    """Qin et al. 2023, arXiv:2311.04823: HGRN with a complex state, turned by a learned angle.

    The bound as in `hgrn`; the output is a map of both parts, gated.
    """
    bound = sigmoid(vector(-2))
    f = bound + (1 - bound) * sigmoid(linear(x))
    write = 1 - f
    angle = vector() + unit()
    c = cos(angle)
    s = sin(angle)
    new_re = f * (c * re - s * im) + write * silu(linear(x))
    new_im = f * (c * im + s * re) + write * silu(linear(x))
    gate_re = silu(linear(x))
    gate_im = silu(linear(x))
    return linear(gate_re * new_re, gate_im * new_im), new_re, new_im


def mamba(x: Value, h_1: Value, h_2: Value, h_3: Value, h_4: Value) -> tuple[Value, ...]:
    """Gu & Dao 2023, arXiv:2312.00752 (S6): a diagonal system whose step, B and C are chosen by x.

    Algorithm 2 alone, with 4 states a feature (the paper: 16); projections, convolution and gate of
    the block stand around it. A starts as S4D-Real's -1, -2, …; the step has rank 1.
    """
    dt = softplus(linear(x, bias=None, width=1) + vector(-4.6))
    pace = -dt
    held = dt * x
    b_1 = linear(x, bias=None, width=1)
    b_2 = linear(x, bias=None, width=1)
    b_3 = linear(x, bias=None, width=1)
    b_4 = linear(x, bias=None, width=1)
    new_1 = exp(pace * exp(vector())) * h_1 + b_1 * held
    new_2 = exp(pace * exp(vector(0.6931471805599453))) * h_2 + b_2 * held
    new_3 = exp(pace * exp(vector(1.0986122886681098))) * h_3 + b_3 * held
    new_4 = exp(pace * exp(vector(1.3862943611198906))) * h_4 + b_4 * held
    c_1 = linear(x, bias=None, width=1)
    c_2 = linear(x, bias=None, width=1)
    c_3 = linear(x, bias=None, width=1)
    c_4 = linear(x, bias=None, width=1)
    y = c_1 * new_1 + c_2 * new_2 + c_3 * new_3 + c_4 * new_4 + diagonal(x, init=1)
    return y, new_1, new_2, new_3, new_4


def rwkv_4(
    x: Value, x_old: Input, top: Value, bottom: Value, p: Value = INFINITE
) -> tuple[Value, Value, Value, Value, Value]:
    """Peng et al. 2023, arXiv:2305.13048 (RWKV-4): the time mixing, in its stable form.

    An average of values with weights exp(k) that decay, and a bonus for the present; r, k and v
    read x mixed with the x before. The channel mixing is a layer of its own.
    """
    r = linear(blend(vector(0.5, width="input"), x, x_old), bias=None)
    k = linear(blend(vector(0.5, width="input"), x, x_old), bias=None)
    v = linear(blend(vector(0.5, width="input"), x, x_old), bias=None)
    now = vector(-1.2) + k
    q = maximum(p, now)
    old = exp(p - q)
    new = exp(now - q)
    wkv = (old * top + new * v) / (old * bottom + new)
    faded = p - exp(vector(-1))
    q_next = maximum(faded, k)
    keep = exp(faded - q_next)
    write = exp(k - q_next)
    y = linear(sigmoid(r) * wkv, bias=None)
    return y, x, keep * top + write * v, keep * bottom + write, q_next


def lmu(x: Value, h: Value, m: Value) -> Pair:
    """Voelker, Kajic & Eliasmith 2019: the Legendre memory unit.

    m holds as many Legendre coefficients as there are hidden units, of the last 100 values of a
    signal u; the zero-order hold of the paper, in which B u is A times a memory that is u in its
    first coefficient.
    """
    u = linear(x, h, m, bias=None, width=1)
    first = relu(1 - unit()) * u
    m = legendre(m - first, window=100) + first
    return tanh(linear(x, h, m, bias=None)), m
