"""Recipes of NAS-Bench-NLP for tests, and an interpreter of the format in float64 NumPy."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interpreter import Array

GIVEN = Path(os.environ.get("NAS_DATA_DIR", "")) / "nas_bench_nlp" / "recipes.jsonl"
needs_recipes = pytest.mark.skipif(
    not GIVEN.is_file(), reason="NAS_DATA_DIR names no folder with nas_bench_nlp/recipes.jsonl"
)
Recipe = dict[str, dict[str, Any]]


def given() -> list[dict[str, Any]]:
    """Lines of the benchmark: recipe_id, recipe, num_params."""
    if not GIVEN.is_file():
        return []
    return [json.loads(line) for line in GIVEN.read_text(encoding="utf-8").splitlines()]


def linear(*names: str) -> dict[str, Any]:
    return {"op": "linear", "input": list(names)}


RNN: Recipe = {
    "f": linear("x", "h_prev_0"),
    "h_new_0": {"op": "activation_tanh", "input": ["f"]},
}
"""The tanh RNN."""

GRU: Recipe = {
    "h_new_0": {"op": "blend", "input": ["z_act", "h_prev_0", "n"]},
    "n": {"op": "activation_tanh", "input": ["h_tilde"]},
    "r": linear("x", "h_prev_0"),
    "r_act": {"op": "activation_sigm", "input": ["r"]},
    "h_tilde": linear("x", "rh"),
    "rh": {"op": "elementwise_prod", "input": ["r_act", "h_prev_0"]},
    "z": linear("x", "h_prev_0"),
    "z_act": {"op": "activation_sigm", "input": ["z"]},
}
"""The GRU of Cho et al. 2014, arXiv:1406.1078v3, with its nodes in no order."""

ALL_OPERATIONS: Recipe = {
    "h_new_1": {"op": "elementwise_sum", "input": ["leaky", "p"]},
    "leaky": {"op": "activation_leaky_relu", "input": ["a"]},
    "a": linear("h_prev_1", "x", "h_prev_0"),
    "p": {"op": "elementwise_prod", "input": ["a", "h_prev_1"]},
    "gate": {"op": "activation_sigm", "input": ["h_new_1"]},
    "h_new_0": {"op": "blend", "input": ["gate", "h_new_1", "t"]},
    "t": {"op": "activation_tanh", "input": ["a"]},
}
"""Every operation; the first new state reads the second one."""


def one_step(
    recipe: Recipe, weights: Mapping[str, Array], x: Array, states: Sequence[Array]
) -> Any:
    """The new states by the rules of the format: a value is computed where it is first asked for.

    `weights` has NAME_weight, (out, in), and NAME_bias of each linear node; inputs lie in the
    weight's columns in the order of the recipe.
    """
    known = {"x": x} | {f"h_prev_{k}": state for k, state in enumerate(states)}

    def value(name: str) -> Array:
        if name not in known:
            inputs = [value(one) for one in recipe[name]["input"]]
            known[name] = of(name, recipe[name]["op"], inputs)
        return known[name]

    def of(name: str, op: str, inputs: list[Array]) -> Array:
        if op == "linear":
            return np.hstack(inputs) @ weights[f"{name}_weight"].T + weights[f"{name}_bias"]
        if op == "blend":
            a, b, c = inputs
            return c + a * (b - c)
        if op == "elementwise_prod":
            return inputs[0] * inputs[1]
        if op == "elementwise_sum":
            return inputs[0] + inputs[1]
        (a,) = inputs
        if op == "activation_sigm":
            return (1 + np.tanh(a / 2)) / 2  # does not overflow
        return np.tanh(a) if op == "activation_tanh" else np.where(a < 0, a / 100, a)

    n_states = 1 + max(int(name[6:]) for name in recipe if re.fullmatch(r"h_new_\d+", name))
    return [value(f"h_new_{k}") for k in range(n_states)]
