"""TPE on a bounded history: the same as Optuna's until it is long, and its best ones always."""

import random
import warnings

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers.registry import SAMPLERS
from nas.samplers.tpe import N_BEST, N_LATEST, BoundedTPE, is_seed, kept

CHOICES = optuna.distributions.CategoricalDistribution([*"abcdefgh"])
WIDTH = optuna.distributions.FloatDistribution(0, 1)


def trials(count: int) -> list[FrozenTrial]:
    rng = random.Random(0)
    return [
        create_trial(
            value=rng.choice([0.1, 0.2, rng.random()]),
            params={"a": rng.choice("abcdefgh"), "b": rng.random()},
            distributions={"a": CHOICES, "b": WIDTH},
        )
        for _ in range(count)
    ]


def drawn(sampler: TPESampler, past: list[FrozenTrial]) -> dict[str, object]:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(past)
    study.ask().suggest_float("b", 0, 1)  # one that is running
    trial = study.ask()
    trial.suggest_categorical("a", [*"abcdefgh"])
    trial.suggest_float("b", 0, 1)
    trial.suggest_float("new", 0, 1)
    return dict(trial.params)


@pytest.mark.parametrize("count", [0, 5, 40, N_LATEST])
@pytest.mark.parametrize("seed", range(3))
def test_a_short_history_gives_what_optuna_gives(count: int, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    ours = SAMPLERS["tpe"](seed)
    assert isinstance(ours, BoundedTPE)
    past = trials(count)
    assert drawn(ours, past) == drawn(theirs, past)


def test_the_best_the_latest_and_the_running_are_kept() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials(3 * N_LATEST))
    study.ask()
    past = study.get_trials()
    shown = kept(past)
    assert [t.number for t in shown] == sorted(t.number for t in shown)
    assert len(shown) <= N_LATEST + N_BEST + 1
    assert shown[-1].state == TrialState.RUNNING
    assert shown[-N_LATEST - 1 : -1] == past[-N_LATEST - 1 : -1]
    limit = sorted((t.value or 0 for t in past if t.value), reverse=True)[N_BEST - 1]
    assert {t.number for t in past if t.value and t.value > limit} <= {t.number for t in shown}


def test_as_many_are_best_as_optuna_counts() -> None:
    assert default_gamma(10**6) == N_BEST
    assert default_gamma(N_LATEST) == N_BEST, "no fewer among those that are kept"


# --- seeds ---

SEED = optuna.distributions.IntDistribution(0, 2**31 - 1)
LENGTH = optuna.distributions.IntDistribution(1, 3, log=True)


def lines(count: int, generation: int) -> list[FrozenTrial]:
    """Trials of lines of mutants, the good ones of this length and with seeds near 1000."""
    rng = random.Random(1)
    made = []
    for _ in range(count):
        length = rng.randint(1, 3)
        seeds = {f"mutation_{k}": rng.randrange(900, 1100) for k in range(2, length + 1)}
        made.append(
            create_trial(
                value=float(length == generation),
                params={"generation": length, **seeds},
                distributions={"generation": LENGTH, **dict.fromkeys(seeds, SEED)},
            )
        )
    return made


def test_seeds_are_no_part_of_the_models_and_lengths_are() -> None:
    seen: list[int] = []
    for number in range(30):
        study = optuna.create_study(direction="maximize")
        study.add_trials(lines(80, generation=3))
        study.sampler = SAMPLERS["tpe"](number)
        trial = study.ask()
        assert {*trial.relative_params} == {"generation"}
        seen.append(trial.suggest_int("generation", 1, 3, log=True))
        drawn_seed = trial.suggest_int("mutation_2", 0, 2**31 - 1)
        by_chance = RandomSampler(seed=number).sample_independent(study, trials(1)[0], "", SEED)
        assert drawn_seed == by_chance
        assert len(study.trials[0].params) == len(study.trials[0].distributions)
    assert seen.count(3) > 20, "the good length is drawn more than in a third of the cases"


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [(SEED, True), (LENGTH, False), (CHOICES, False), (WIDTH, False)],
)
def test_what_a_seed_is(
    distribution: optuna.distributions.BaseDistribution, expected: bool
) -> None:
    assert is_seed(distribution) is expected
