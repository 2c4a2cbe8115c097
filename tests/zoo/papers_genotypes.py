"""Equations of DARTS and ENAS, as their code computes them; see `papers.py`.

DARTS (quark0/darts, rnn/model.py): one matrix gives gate and candidate, gate first; states s0, s1,
…; the mean of those that `concat` names. ENAS (google-research/enas_lm, src/fixed_lib.py): the
candidate first; an arc of predecessor and function by turns; the mean of all but the first.
"""

import re

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step

# As genotypes.py of quark0/darts has them.
DARTS_V1 = "relu 0, relu 1, tanh 2, relu 3, relu 4, identity 1, relu 5, relu 1"
DARTS_V2 = "sigmoid 0, relu 1, relu 1, identity 1, tanh 2, sigmoid 5, tanh 3, relu 5"
ENAS = (
    "tanh 0, tanh 1, relu 1, tanh 3, tanh 3, relu 3, relu 4, relu 7, relu 8, relu 8, relu 8",
    [2, 5, 6, 9, 10, 11],
)
ENAS_LM = "0 2 1 0 2 1 2 2 4 0 5 0 3 2 6 2"


def fused(p: Parameters, k: int, *, gate_first: bool) -> Array:
    halves = [p.arrays[f"s{k}_weight"], p.arrays[f"s{k}_2_weight"]]
    return np.concatenate(halves if gate_first else halves[::-1]).T


def darts_cell(
    p: Parameters, x: Array, h: Array, genotype: list[tuple[str, int]], concat: list[int]
) -> State:
    functions = {
        "tanh": np.tanh,
        "relu": lambda a: np.where(a > 0, a, 0.0),
        "sigmoid": sigmoid,
        "identity": lambda a: a,
    }
    c0, h0 = np.split(np.concatenate([x, h]) @ fused(p, 0, gate_first=True), 2)
    states = [h + sigmoid(c0) * (np.tanh(h0) - h)]
    for i, (name, predecessor) in enumerate(genotype):
        s = states[predecessor]
        c, new = np.split(s @ fused(p, i + 1, gate_first=True), 2)
        states.append(s + sigmoid(c) * (functions[name](new) - s))
    return (np.mean([states[i] for i in concat], axis=0),)


def enas_lm_cell(p: Parameters, x: Array, h: Array, arc: list[int]) -> State:
    candidate, gate = np.split(np.concatenate([x, h]) @ fused(p, 0, gate_first=False), 2)
    layers = [h + sigmoid(gate) * (np.tanh(candidate) - h)]
    for i in range(len(arc) // 2):
        before = layers[arc[2 * i]]
        candidate, gate = np.split(before @ fused(p, i + 1, gate_first=False), 2)
        match arc[2 * i + 1]:
            case 0:
                candidate = np.tanh(candidate)
            case 1:
                candidate = np.maximum(candidate, 0)
            case 2:
                candidate = sigmoid(candidate)
        layers.append(before + sigmoid(gate) * (candidate - before))
    return (sum(layers[1:]) / (len(arc) // 2),)


def of_darts(text: str, concat: list[int] | None = None) -> Step:
    pairs = [(name, int(k)) for name, k in re.findall(r"(\w+) (\d+)", text)]
    nodes = concat or list(range(1, len(pairs) + 1))
    return lambda p, x, h: darts_cell(p, x, h, pairs, nodes)


PAPERS: dict[str, Step] = {
    "darts_v1": of_darts(DARTS_V1),
    "darts_v2": of_darts(DARTS_V2),
    "enas": of_darts(*ENAS),
    "enas_lm": lambda p, x, h: enas_lm_cell(p, x, h, [int(k) for k in ENAS_LM.split()]),
}

PARTS: dict[str, Parts] = {
    "darts_v1": (2, 2 + 2 * 8, 0, 0),
    "darts_v2": (2, 2 + 2 * 8, 0, 0),
    "enas": (2, 2 + 2 * 11, 0, 0),
    "enas_lm": (2, 2 + 2 * 8, 0, 0),
}
