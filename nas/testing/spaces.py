"""A conformance suite for spaces: `check_space(load_space("my_space.yaml"))` in a test of yours."""

import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator
from random import Random

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FixedTrial

from nas.cell import Cell, dumps, loads, verify
from nas.samplers.propose import FilledTrial
from nas.spaces.base import Params, Space
from nas.study.opening import quiet

SEED = 0
N_DRAWS = 100
N_TRIALS = 30
N_POINTS = 20
N_PARENTS = 5
SIZE = 8
"""Input and hidden size at which the trials count parameters."""

Drawn = list[tuple[Params, Cell]]
SAMPLERS: tuple[Callable[[], BaseSampler], ...] = (
    lambda: RandomSampler(seed=SEED),
    lambda: TPESampler(seed=SEED),
)


def check_space(space: Space, start_cells: Iterable[Cell] = ()) -> None:
    """Raise AssertionError, with the rule and the value, if `space` breaks the contract of `Space`.

    `start_cells` are cells that must be inside. The checks draw points at random, with Optuna's
    random sampler and its TPE sampler where a point is made choice by choice, all in memory and
    from fixed seeds; then they vary and cross some of them.
    """
    for message in _broken_rules(space, start_cells):
        raise AssertionError(f"space {space.name}: {message}")


def _broken_rules(space: Space, start_cells: Iterable[Cell]) -> Iterator[str]:
    yield from _in_identity(space)
    for cell in start_cells:
        yield from _in_start(space, cell)
    draws = _random_points(space)
    if space.by_choice:
        with quiet():
            draws += _draws(space)
            for sampler in SAMPLERS:
                trials = _trials(space, sampler())
                if trials != _trials(space, sampler()):
                    yield f"{type(sampler()).__name__} must give the same cells from the same seed."
                draws += trials
    yield from _in_varied(space, draws[:N_PARENTS])
    yield from _in_crossed(space, draws[:N_PARENTS])
    for params, cell in {str(params): (params, cell) for params, cell in draws}.values():
        check_recurrent(cell)
        yield from _in_proposed(space, params, cell)
    size, n_drawn = space.size(), len({cell.key for _, cell in draws})
    if size is not None and n_drawn > size:
        yield f"size() is {size}, but {n_drawn} were drawn."


def check_recurrent(cell: Cell) -> None:
    """Raise AssertionError unless y follows from x and all states, and every state is written."""
    verify(cell)
    needed = _below(cell, [cell.y])
    states = [i for i, n in enumerate(cell.nodes) if n.op == "state"]
    news = dict(zip(states, cell.new_states, strict=True))
    reached: set[int] = set()
    while more := (needed & news.keys()) - reached:
        reached |= more
        needed |= _below(cell, [news[state] for state in more])
    inputs = {i for i, n in enumerate(cell.nodes) if n.op == "input"}
    if not inputs <= needed:
        raise AssertionError(f"cell {cell.name}: y must depend on x.\n{cell}")
    for state, new in news.items():
        name = cell.nodes[state].name
        if state not in needed:
            raise AssertionError(f"cell {cell.name}: y must depend on the state {name}.\n{cell}")
        if new == state:
            raise AssertionError(f"cell {cell.name}: the state {name} must be written.\n{cell}")


def _below(cell: Cell, roots: list[int]) -> set[int]:
    """The nodes that the roots need within one step, and the roots."""
    needed: set[int] = set()
    todo = list(roots)
    while todo:
        index = todo.pop()
        if index not in needed:
            needed.add(index)
            todo.extend(cell.nodes[index].args)
    return needed


def _in_identity(space: Space) -> Iterator[str]:
    copy = pickle.loads(pickle.dumps(space))
    if copy != space:
        yield "a pickled copy must equal the space."
    if copy.version != space.version:
        yield (
            f"version must depend on the contents alone, got {space.version} and then "
            f"{copy.version}."
        )
    text, size = space.describe(), space.size()
    if not text or "\n" in text:
        yield f"describe() must be one line, got {text!r}."
    if size is not None and (size <= 0 or not any(s in text for s in (str(size), f"{size:,}"))):
        yield f"size() must be positive and describe() must say it, got {size} and {text!r}."


def _in_start(space: Space, cell: Cell) -> Iterator[str]:
    if not space.contains(cell):
        yield f"the start cell {cell.name} must be inside."
    if (params := space.params_of(cell)) is not None:
        proposed = space.propose(FixedTrial(params))
        if proposed.key != cell.key:
            yield f"params_of({cell.name}) must give that cell, got {params} and\n{proposed}"


def _in_proposed(space: Space, params: Params, cell: Cell) -> Iterator[str]:
    if loads(dumps(cell)) != cell:
        yield f"the text must give the cell again:\n{cell}"
    again = space.propose(FixedTrial(params))
    if again != cell:
        yield f"{params} must always give\n{cell}got\n{again}"
    if not space.contains(cell):
        yield f"a proposed cell must be inside:\n{cell}"
    if (own := space.params_of(cell)) is not None:
        if space.propose(FixedTrial(own)).key != cell.key:
            yield f"params_of must give the cell, got {own} for\n{cell}"


def _in_varied(space: Space, parents: Drawn) -> Iterator[str]:
    for seed, (params, cell) in enumerate(parents):
        space.recall(params, str(cell))
        for n_mutations in (1, 2):
            varied = space.vary(params, seed, n_mutations)
            if varied is not None:
                if space.vary(params, seed, n_mutations) != varied:
                    yield f"vary must give the same point again from {params} and seed {seed}."
                yield from _in_proposed(space, varied, space.propose(FixedTrial(varied)))


def _in_crossed(space: Space, parents: Drawn) -> Iterator[str]:
    for seed, ((params, cell), (others, mate)) in enumerate(itertools.pairwise(parents)):
        space.recall(params, str(cell))
        space.recall(others, str(mate))
        child = space.cross(params, others, seed)
        if child is not None:
            if space.cross(params, others, seed) != child:
                yield f"cross must give the same point again from {params}, {others}, seed {seed}."
            yield from _in_proposed(space, child, space.propose(FixedTrial(child)))


def _random_points(space: Space) -> Drawn:
    """Points as samplers that draw whole cells draw them."""
    drawn: Drawn = []
    for seed in range(N_POINTS):
        point = FilledTrial(space.draw(seed), Random(seed))
        cell = space.propose(point)
        drawn.append((point.params, cell))
    return drawn


def _draws(space: Space) -> Drawn:
    study = optuna.create_study(sampler=RandomSampler(seed=SEED))
    drawn: Drawn = []
    for _ in range(N_DRAWS):
        trial = study.ask()
        cell = space.propose(trial)
        drawn.append((trial.params, cell))
    return drawn


def _trials(space: Space, sampler: BaseSampler) -> Drawn:
    """The cells of a small study whose objective any sampler can learn: few parameters."""
    drawn: Drawn = []

    def objective(trial: optuna.Trial) -> float:
        cell = space.propose(trial)
        drawn.append((trial.params, cell))
        return float(cell.n_params(SIZE, SIZE))

    optuna.create_study(sampler=sampler).optimize(objective, n_trials=N_TRIALS)
    return drawn
