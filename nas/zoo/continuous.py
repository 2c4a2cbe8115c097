"""Recurrent networks that are differential equations, in discrete time.

The time between two steps is a constant of the cell: sequences are sampled at equal distances. Step
sizes, damping and frequencies are hyperparameters of the papers; here they are constants too.
"""

from nas.cell import (
    Value,
    absolute,
    diagonal,
    exp,
    floor,
    linear,
    minimum,
    relu,
    sigmoid,
    skew,
    softplus,
    step,
    tanh,
    unit,
    vector,
)
from nas.zoo.gru import gru

Pair = tuple[Value, Value]


def antisymmetric_rnn(x: Value, h: Value) -> Value:
    """Chang et al. 2019, arXiv:1902.09689: W - W^T neither damps nor amplifies.

    The paper tunes the step size (here 0.1) and the diffusion gamma (here 0.01).
    """
    return h + 0.1 * tanh(linear(x) + skew(h) - 0.01 * h)


def gated_antisymmetric_rnn(x: Value, h: Value) -> Value:
    """Chang et al. 2019, equation 15: a gate that reads the same antisymmetric map of h.

    Step size and diffusion as in `antisymmetric_rnn`.
    """
    flow = skew(h) - 0.01 * h
    z = sigmoid(linear(x) + flow)
    return h + 0.1 * (z * tanh(linear(x) + flow))


def lipschitz_rnn(x: Value, h: Value) -> Value:
    """Erichson et al. 2021, arXiv:2006.12070: a linear flow A h beside the tanh, by Euler's method.

    A = (1 - beta)(M + M^T) + beta (M - M^T) - gamma I = M + (1 - 2 beta) M^T - gamma I, and the
    matrix in the tanh is made alike; beta = 0.75, gamma = 0.001 and the step 0.03 are of the size
    that the paper tunes to.
    """
    damping = 0.001 * h
    flow = skew(h, transpose=-0.5) - damping
    inner = skew(h, transpose=-0.5) - damping
    return h + 0.03 * (flow + tanh(inner + linear(x)))


def cornn(x: Value, h: Value, z: Value) -> Pair:
    """Rusch & Mishra 2021, arXiv:2010.00951: coupled oscillators with velocity z.

    Explicit damping, as in the official code; its constants for sequential MNIST.
    """
    z = z + 0.042 * (tanh(linear(x, h, z)) - 2.7 * h - 4.7 * z)
    return h + 0.042 * z, z


def unicornn(x: Value, h: Value, z: Value) -> Pair:
    """Rusch & Mishra 2021, arXiv:2103.05487: independent oscillators, each with its own step.

    The paper tunes dt and alpha (here 0.1 and 5); without the residual between layers.
    """
    pace = 0.1 * sigmoid(vector())
    z = z - pace * (tanh(linear(x) + diagonal(h)) + 5 * h)
    return h + pace * z, z


def lem(x: Value, h: Value, z: Value) -> Pair:
    """Rusch et al. 2022, arXiv:2110.04744: two states with learned time scales, dt = 1.

    The candidate of h reads the new z, as in the paper and its code (torchrecurrent reads the old).
    """
    dt_z = sigmoid(linear(x, h))
    dt_h = sigmoid(linear(x, h))
    z = (1 - dt_z) * z + dt_z * tanh(linear(x, h))
    return (1 - dt_h) * h + dt_h * tanh(linear(x, z)), z


def ltc(x: Value, h: Value) -> Value:
    """Hasani et al. 2020, arXiv:2006.04439: the fused solver of liquid time constants, dt = 1.

    One step of the solver for each input, since further ones would read the same matrix again; 1 /
    tau is kept positive as softplus of a vector. The dense form of the paper: the package ncps has
    a conductance for each pair of neurons, which is no linear map.
    """
    f = sigmoid(linear(x, h))
    rate = softplus(vector())
    return (h + f * vector(1)) / (1 + rate + f)


def _backbone(x: Value, h: Value) -> Value:
    """The tanh of LeCun et al. 1998, as in ncps."""
    return 1.7159 * tanh(0.666 * linear(x, h))


def cfc(x: Value, h: Value) -> Value:
    """Hasani et al. 2022, arXiv:2106.13898: the closed form of liquid time constants, time 1.

    As in the package ncps, with one layer of hidden width as its backbone. With equal times the
    maps time_a and time_b of ncps are one.
    """
    z = _backbone(x, h)
    start = tanh(linear(z))
    end = tanh(linear(z))
    late = sigmoid(linear(z))
    return start * (1 - late) + late * end


def cfc_no_gate(x: Value, h: Value) -> Value:
    """Hasani et al. 2022, mode "no_gate" of ncps: the two ends are added, not blended."""
    z = _backbone(x, h)
    start = tanh(linear(z))
    end = tanh(linear(z))
    late = sigmoid(linear(z))
    return start + late * end


def cfc_pure(x: Value, h: Value) -> Value:
    """Hasani et al. 2022, mode "pure" of ncps: the solution itself, with a learned limit A."""
    z = _backbone(x, h)
    f = linear(z)
    limit = vector(1)
    return limit - limit * exp(-(absolute(vector()) + absolute(f))) * f


def gru_decay(x: Value, h: Value) -> Value:
    """Che et al. 2018, arXiv:1606.01865 (GRU-D): the state decays before a GRU reads it.

    The elapsed times are features of x, as are the masks; the decay is a map of all of x. Values
    that are missing in x are to be filled in before. z is flipped, which renames its weights.
    """
    decay = exp(-relu(linear(x)))
    return gru(x, decay * h)


def phased_lstm(x: Value, h: Value, c: Value) -> Pair:
    """Neil, Pfeiffer & Liu 2016, arXiv:1610.09513: each unit updates in a part of its period.

    Time is the index of the step; a unit is open for 0.05 of its period, exp of a vector as in the
    paper, and leaks 0.001 else. Shifts start just before 0, 1, 2, … so that units open at
    different steps. Without peepholes, as in TensorFlow's version.
    """
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    k = _openness()
    rest = 1 - k
    c_open = f * c + i * g
    h_open = o * tanh(c_open)
    return k * h_open + rest * h, k * c_open + rest * c


def _openness() -> Value:
    """k of equation 6: up to 1 and down again while a unit is open, then a leak."""
    cycles = (step() - (vector(-0.1) + unit())) / exp(vector(1.5))
    phase = cycles - floor(cycles)
    shut = minimum(floor(phase / 0.05), 1)
    rise = phase / (0.05 / 2)
    return (1 - shut) * minimum(rise, 2 - rise) + shut * (0.001 * phase)


def tau_gru(
    x: Value, h: Value, h_1: Value, h_2: Value, h_3: Value, h_4: Value
) -> tuple[Value, Value, Value, Value, Value]:
    """Erichson, Lim & Mahoney 2022, arXiv:2212.00228: a term that reads the state of long ago.

    The delay, tuned in the paper, is 4 steps: states of the past stand beside h.
    """
    u = tanh(linear(x, h))
    z = tanh(linear(x, h_4))
    g = sigmoid(linear(x, h))
    a = sigmoid(linear(x, h))
    return (1 - g) * h + g * (u + a * z), h, h_1, h_2, h_3
