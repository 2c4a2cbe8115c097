"""What is said of a cell: its equations, cost, speed and nearest known cell.

To say something more about a cell, add a line to `lines`.
"""

import textwrap
from collections.abc import Iterator

from nas.cell.cell import Cell, renamed
from nas.cell.count import check_sizes, formula
from nas.zoo import ZOO
from nas.zoo.nearest import nearest
from nas.zoo.usage import call_of, twin_of

WIDTH = 100
SPEED_SHAPE = (20, 50)
"""Sequences and steps of a minibatch whose speed is measured."""
ROUNDS = 20
ROUND_S = 0.02
STAGES = {0: "no matrix product reads a state", 1: "its matrix products wait for no other"}
STAGES_MANY = "stages of matrix products, one after the other"
"""Words for the number of matrix products of a step that wait for one another."""


def lines(cell: Cell, input_size: int, hidden_size: int) -> Iterator[str]:
    """Name, source, equations, cost, and the nearest known cell."""
    source = " ".join(cell.doc.split())
    yield f"{cell.name} (key {cell.key})"
    yield from textwrap.wrap(source, WIDTH) or ["It does not say where it comes from."]
    yield ""
    yield str(renamed(cell, cell.name, "")).rstrip()
    yield ""
    names = ", ".join(state.name for state in cell.states)
    yield f"states: {len(cell.states)} ({names})"
    yield f"in code: {call_of(cell)}, as {twin_of(cell)}"
    n_params = cell.n_params(input_size, hidden_size)
    sizes = f"D = {input_size} and H = {hidden_size}"
    yield f"parameters: {formula(cell)} = {n_params:,} for {sizes}"
    flops, stages = cell.flops(input_size, hidden_size), n_stages(cell, input_size, hidden_size)
    yield f"a step: {flops:,.0f} FLOPs, {STAGES.get(stages, f'{stages} {STAGES_MANY}')}"
    yield f"known: {known(cell)}"


def known(cell: Cell) -> str:
    """Which known cell it is, and the nearest other one with the difference."""
    same = [name for name in ZOO if ZOO[name].key == cell.key]
    others = [name for name in ZOO if name not in same]
    near = nearest(cell, others)
    if not same:
        return f"nearest is {near}"
    return f"it is {' and '.join(same)}; the nearest other is {near}"


def n_stages(cell: Cell, input_size: int, hidden_size: int) -> int:
    """How many matrix products of a step wait for one another."""
    from nas.compile.passes import make_plan

    return make_plan(cell, input_size, hidden_size, lanes=1).dependent_stages


def speed_of(cell: Cell, hidden_size: int) -> str:
    """How fast training steps are against nn.LSTM, and against torch's module of the same cell."""
    from nas.bench.arms import make_arms, work
    from nas.bench.config import Shape
    from nas.bench.machine import threads
    from nas.bench.timing import compare, take_turns

    check_sizes(cell, hidden_size, hidden_size)
    shape = Shape(hidden_size, *SPEED_SHAPE, vocabulary=2)
    with threads(1):
        arms = make_arms(cell, shape, "data", eager=False)
        yardstick = make_arms(ZOO["lstm"], shape, "data", eager=False)
        todo = {arm.name: work(arm, "fwd+bwd") for arm in (*arms.arms, yardstick.arms[1])}
        times = take_turns(todo, ROUNDS, ROUND_S)
    compared = [arm.name for arm in arms.arms[1:] if arms.same_cell]
    ratios = []
    for name in dict.fromkeys((*compared, "nn.LSTM")):
        by = compare(times[name], times[arms.ours])
        ratios.append(f"{by.ratio:.2f} times {name}'s ({by.low:.2f} to {by.high:.2f})")
    batch, steps = SPEED_SHAPE
    return (
        f"{', '.join(ratios)}, forward and backward, backend {arms.ours}, {batch} sequences of "
        f"{steps} steps, width {hidden_size} throughout, one thread"
    )
