"""A conformance suite for spaces: `check_space(load_space("my_space.yaml"))` in a test of yours."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FixedTrial

from nas.cell import Cell, dumps, loads, verify
from nas.spaces.base import Params, Space

SEED = 0
N_DRAWS = 100
N_TRIALS = 30
SIZE = 8
"""Input and hidden size at which the trials count parameters."""

Drawn = list[tuple[Params, Cell]]
SAMPLERS: tuple[Callable[[], BaseSampler], ...] = (
    lambda: RandomSampler(seed=SEED),
    lambda: TPESampler(seed=SEED),
)


def check_space(space: Space, start_cells: Iterable[Cell] = ()) -> None:
    """Raise AssertionError, with the rule and the value, if `space` breaks the contract of `Space`.

    `start_cells` are cells that must be inside. The checks draw with Optuna's random sampler and
    with its TPE sampler, both in memory and from fixed seeds.
    """
    _check_identity(space)
    for cell in start_cells:
        _check_start(space, cell)
    with quiet():
        draws = _draws(space)
        for sampler in SAMPLERS:
            trials = _trials(space, sampler())
            again = _trials(space, sampler())
            name = type(sampler()).__name__
            _require(space, trials == again, f"{name} must give the same cells from the same seed.")
            draws += trials
    for params, cell in {str(params): (params, cell) for params, cell in draws}.values():
        check_recurrent(cell)
        _check_proposed(space, params, cell)
    size = space.size()
    n_found = len({cell.key for _, cell in draws})
    _require(space, size is None or n_found <= size, f"size() is {size}, but {n_found} were drawn.")


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
    found: set[int] = set()
    wanted = list(roots)
    while wanted:
        index = wanted.pop()
        if index not in found:
            found.add(index)
            wanted.extend(cell.nodes[index].args)
    return found


def _require(space: Space, holds: bool, message: str) -> None:
    """Not an `assert`, which `python -O` leaves out."""
    if not holds:
        raise AssertionError(f"space {space.name}: {message}")


def _check_identity(space: Space) -> None:
    copy = pickle.loads(pickle.dumps(space))
    _require(space, copy == space, "a pickled copy must equal the space.")
    _require(
        space,
        copy.version == space.version,
        f"version must depend on the contents alone, got {space.version} and then {copy.version}.",
    )
    text = space.describe()
    _require(space, bool(text) and "\n" not in text, f"describe() must be one line, got {text!r}.")
    size = space.size()
    _require(
        space,
        size is None or (size > 0 and any(s in text for s in (str(size), f"{size:,}"))),
        f"size() must be positive and describe() must say it, got {size} and {text!r}.",
    )


def _check_start(space: Space, cell: Cell) -> None:
    _require(space, space.contains(cell), f"the start cell {cell.name} must be inside.")
    params = space.params_of(cell)
    if params is not None:
        proposed = space.propose(FixedTrial(params))
        _require(
            space,
            proposed.key == cell.key,
            f"params_of({cell.name}) must give that cell, got {params} and\n{proposed}",
        )


def _check_proposed(space: Space, params: Params, cell: Cell) -> None:
    _require(space, loads(dumps(cell)) == cell, f"the text must give the cell again:\n{cell}")
    again = space.propose(FixedTrial(params))
    _require(space, again == cell, f"{params} must always give\n{cell}got\n{again}")
    _require(space, space.contains(cell), f"what is proposed must be inside:\n{cell}")
    found = space.params_of(cell)
    if found is not None:
        key = space.propose(FixedTrial(found)).key
        _require(space, key == cell.key, f"params_of must give the cell, got {found} for\n{cell}")


def _draws(space: Space) -> Drawn:
    study = optuna.create_study(sampler=RandomSampler(seed=SEED))
    drawn: Drawn = []
    for _ in range(N_DRAWS):
        trial = study.ask()
        cell = space.propose(trial)
        drawn.append((trial.params, cell))
    return drawn


def _trials(space: Space, sampler: BaseSampler) -> Drawn:
    """The cells of a small study whose objective any sampler can learn from: few parameters."""
    drawn: Drawn = []

    def objective(trial: optuna.Trial) -> float:
        cell = space.propose(trial)
        drawn.append((trial.params, cell))
        return float(cell.n_params(SIZE, SIZE))

    optuna.create_study(sampler=sampler).optimize(objective, n_trials=N_TRIALS)
    return drawn


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from reporting each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
