"""A step is timed after training, for the best setting, and changes no outcome."""

from dataclasses import replace

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.tasks import Memorization
from nas.training.train import run
from nas.zoo import ZOO


def test_a_step_of_the_best_settings_model_is_timed() -> None:
    task = Memorization(epochs=1, batches_per_epoch=2, n_params=(2000,), n_symbols=3)
    settings = tuple(Settings(n_params=2000, learning_rate=rate) for rate in (0.1, 0.5))
    plain = Evaluation(str(ZOO["gru"]), ZOO["gru"].key, task, settings, seed=0)
    timed = replace(plain, time_step=True)
    assert timed.digest() == plain.digest()
    without, with_time = run(plain), run(timed)
    assert without.outcomes == with_time.outcomes
    assert without.weights == with_time.weights
    assert [o.cost.step_s for o in without.outcomes] == [0, 0]
    best = max(with_time.outcomes, key=lambda outcome: outcome.best or 0.0)
    for outcome in with_time.outcomes:
        assert (outcome is best) == (outcome.cost.step_s > 0)
    assert 1e-7 < best.cost.step_s < 1e-2
