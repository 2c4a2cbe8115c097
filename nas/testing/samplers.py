"""A conformance suite for samplers: `check_sampler("module:Sampler", space)` in a test of yours.

Every check runs small studies as the coordinator does: a sampler is made anew for each trial, and
trial n is drawn when the results of trials 0 … n - IN_FLIGHT, and no others, have been told.
"""

from collections.abc import Callable, Iterator

import optuna
from optuna import Study
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from nas.cell import Cell
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.registry import Repeatable, find_sampler
from nas.spaces.base import Params, Space
from nas.study.opening import quiet

N_TRIALS = 60
N_LEARNING = 100
N_SEEDS = 4
IN_FLIGHT = 4
N_TURNS = 3
SIZE = 8
"""Input and hidden size at which the toy counts parameters."""
TOY = EvolutionConfig(list_size=10, population=15, tournament=5)
"""Selection that shows within so few trials."""
LEAST_GAIN = 1.1
"""Factor by which the last third of a learner's candidates must beat that of random ones."""

Make = Callable[[int], BaseSampler]
Value = Callable[[Cell], float]
Drawn = list[tuple[Params, Cell]]


def many_parameters(cell: Cell) -> float:
    """The toy objective: the more parameters a cell has, the better."""
    return float(cell.n_params(SIZE, SIZE))


def few_parameters(cell: Cell) -> float:
    """The opposite objective."""
    return -many_parameters(cell)


def check_sampler(name: str, space: Space, *, learns: bool = True) -> None:
    """Raise AssertionError, with the rule and the value, unless the sampler fits the coordinator.

    `name` is one of `nas.samplers` or module:Class. With `learns`, it must also be better than
    random draws at finding cells of many parameters.
    """
    make = find_sampler(name, space, TOY, N_TURNS)
    with quiet():
        for message in _broken_rules(make, space, learns):
            raise AssertionError(f"sampler {name}: {message}")


def _broken_rules(make: Make, space: Space, learns: bool) -> Iterator[str]:
    drawn = run(make, space, seed=0)
    keys = keys_of(drawn)
    if run(make, space, seed=0) != drawn:
        yield "the same seed must give the same cells."
    if keys_of(run(make, space, seed=1)) == keys:
        yield "another seed must give others."
    if (n_unique := len(set(keys))) <= N_TRIALS // 2:
        yield f"cells must differ, got {n_unique} of {N_TRIALS}."
    for params, cell in drawn:
        if not space.contains(cell):
            yield f"cells must be in the space, got {params}."
    yield from _in_window(make, space)
    yield from _in_resume(make, space)
    if learns:
        yield from _in_learning(make, space)


def run(
    make: Make,
    space: Space,
    seed: int,
    value: Value = many_parameters,
    n_trials: int = N_TRIALS,
    untold: Value | None = None,
) -> Drawn:
    """The draws of a small study; trials that are judged but not told have `untold` values."""
    study = optuna.create_study(direction="maximize")
    drawn: Drawn = []
    for number in range(n_trials):
        if number >= IN_FLIGHT:
            ended = number - IN_FLIGHT
            _judge(study, ended, value(drawn[ended][1]))
            study.tell(ended, value(drawn[ended][1]))
        for late in range(max(0, number - IN_FLIGHT + 1), number):
            _judge(study, late, (untold or value)(drawn[late][1]))
        drawn.append(_ask(study, make, space, seed, number))
    return drawn


def keys_of(drawn: Drawn) -> list[str]:
    """The keys of the cells, in order."""
    return [cell.key for _, cell in drawn]


def _ask(study: Study, make: Make, space: Space, seed: int, number: int) -> tuple[Params, Cell]:
    study.sampler = Repeatable(make, seed, number)
    trial = study.ask()
    return _propose(trial, space)


def _propose(trial: Trial, space: Space) -> tuple[Params, Cell]:
    cell = space.propose(trial)
    trial.set_user_attr("key", cell.key)
    trial.set_user_attr("cell", str(cell))
    trial.set_user_attr("kind", "drawn")
    return dict(trial.params), cell


def _judge(study: Study, number: int, score: float) -> None:
    """Store a judgement as the coordinator does, whether the trial is told or not."""
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    judgement = {"score": score, "value": score, "ratios": {"task": score}}
    study._storage.set_trial_user_attr(trial_id, "judgement", judgement)


def _in_window(make: Make, space: Space) -> Iterator[str]:
    """Change the results that the sampler was not told, which must change nothing."""
    n = N_TRIALS // 2
    drawn = run(make, space, 0, n_trials=n)
    other = run(make, space, 0, n_trials=n, untold=few_parameters)
    if drawn != other:
        yield "results that were not told must not change the candidates."


def _in_resume(make: Make, space: Space) -> Iterator[str]:
    """Draw trials in another process, or once more after a crash: they must be the same."""
    for number in (0, IN_FLIGHT + 1, N_TRIALS // 2):
        study = _study_before(make, space, number)
        trials, attrs = study.get_trials(), study._storage.get_study_system_attrs(study._study_id)
        params, cell = _ask(study, make, space, 0, number)
        for n_choices in range(0, len(params), max(1, len(params) // 3)):
            again = optuna.create_study(direction="maximize")
            again.add_trials(trials)
            for attr, kept in attrs.items():
                again._storage.set_study_system_attr(again._study_id, attr, kept)
            resumed = _cut_short(again, make, space, number, n_choices)
            if resumed != (params, cell):
                yield (
                    f"trial {number}, begun again after {n_choices} choices, must be {params}, got "
                    f"{resumed[0]}."
                )


def _study_before(make: Make, space: Space, number: int) -> Study:
    """A study in which trial `number` is the next."""
    study = optuna.create_study(direction="maximize")
    for k in range(number):
        _, cell = _ask(study, make, space, 0, k)
        study.tell(k, many_parameters(cell))
    return study


def _cut_short(
    study: Study, make: Make, space: Space, number: int, n_choices: int
) -> tuple[Params, Cell]:
    study.sampler = Repeatable(make, 0, number)
    trial = study.ask()
    try:
        space.propose(_Dying(study, trial._trial_id, n_choices))
    except _Crash:
        pass
    study.sampler = Repeatable(make, 0, number)
    return _propose(Trial(study, trial._trial_id), space)


class _Crash(Exception):
    pass


class _Dying(Trial):
    """A trial whose process dies after some choices."""

    def __init__(self, study: Study, trial_id: int, n_choices: int) -> None:
        super().__init__(study, trial_id)
        self.left = n_choices

    def _suggest(self, name: str, distribution: optuna.distributions.BaseDistribution) -> object:
        if self.left == 0:
            raise _Crash
        self.left -= 1
        return super()._suggest(name, distribution)


def _in_learning(make: Make, space: Space) -> Iterator[str]:
    ours, theirs = (
        sum(_last_third(run(m, space, seed, n_trials=N_LEARNING)) for seed in range(N_SEEDS))
        for m in (make, find_sampler("random", space))
    )
    if not ours > LEAST_GAIN * theirs:
        yield (
            f"its last candidates must have {LEAST_GAIN} times the parameters of random ones, got "
            f"{ours / N_SEEDS:.0f} and {theirs / N_SEEDS:.0f}."
        )


def _last_third(drawn: Drawn) -> float:
    last = [many_parameters(cell) for _, cell in drawn[-len(drawn) // 3 :]]
    return sum(last) / len(last)
