"""From a cell back to the choices that give it.

A key is a hash, and the keys of all points take a minute. So every form has an outline, which is
counted without building a cell, and which the canonical form of a cell shows as well: forms of one
key have one outline. At most 72 of the 24,756 points share one, and only their keys are compared.
"""

import json
from collections import Counter
from typing import NamedTuple

from nas.cell import Cell, canonical_form
from nas.spaces.gated import Form, Separate


class Outline(NamedTuple):
    """What is counted of a cell."""

    n_states: int
    n_matrices: int
    n_peepholes: int
    biases: tuple[float, ...]
    """Initial values of the bias vectors, sorted."""
    n_sigmoids: int
    n_tanhs: int
    n_relus: int


def outline_of(form: Form) -> Outline:
    """The outline of the cell that `build` makes of the form."""
    gates = list(form.gates.values())
    n_matrices = 2 + sum(len(gate.reads) for gate in gates)
    biases = [0.0, *(gate.bias for gate in gates)]
    activations = Counter(["sigmoid"] * len(gates) + [form.candidate])
    n_states = 1
    if isinstance(form, Separate):
        activations[form.activation] += 1
        n_states = 2 + form.recurrent * len(gates)
        n_matrices += form.recurrent * len(gates) ** 2
    else:
        activations["sigmoid"] += bool(form.beta)
        biases += [0.0] * (form.place == "after")
    return Outline(
        n_states,
        n_matrices,
        sum(gate.peephole for gate in gates),
        tuple(sorted(biases)),
        activations["sigmoid"],
        activations["tanh"],
        activations["relu"],
    )


def outline_of_cell(cell: Cell) -> Outline:
    """The outline of any cell, read from its canonical form."""
    text = canonical_form(cell)
    _, end = json.JSONDecoder().raw_decode(text)
    rows, _ = json.loads(text[end:])
    labels = Counter(label.split(" ")[0] for label, _ in rows)
    learned = [label.split(" ")[1:] for label, _ in rows if label.startswith("learned ")]
    kinds = Counter(kind for kind, *_ in learned)
    biases = sorted(float(rest[-1]) for kind, *rest in learned if kind == "vector")
    return Outline(
        len(cell.states),
        kinds["matrix"],
        kinds["diagonal"],
        tuple(biases),
        labels["sigmoid"],
        labels["tanh"],
        labels["max"],  # relu(a) is max(a, 0) in the canonical form
    )
