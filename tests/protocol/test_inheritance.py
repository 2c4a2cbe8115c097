"""Settings that candidates inherit: the shares of the paper, never twice, and what is stored."""

import random
from collections import Counter
from pathlib import Path

import pytest

from nas.protocol.config import ProtocolConfig
from nas.protocol.inheritance import Ancestry, Known, inherit
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.session.coordinator import Coordinator
from nas.study.study import Study
from nas.tasks import Arithmetic, Memorization, Xml
from nas.tasks.base import ACCURACY, LOSS, Metric
from nas.workers.local import Workers
from tests.fake_training import outcome
from tests.session.test_coordinator import Shuffled, run_through_crashes, study
from tests.session.test_revisit import coordinator
from tests.shares import every_eighth
from tests.studies import essences

N_POINTS = 840


def known(places: range, metric: Metric = ACCURACY) -> list[Known]:
    """Better the higher the place."""
    sign = 1.0 if metric.higher_is_better else -1.0
    return [Known(place, sign * place) for place in places]


def drawn(ancestry: Ancestry, metric: Metric = ACCURACY, n: int = 4000) -> Counter[str]:
    """One setting for each of many candidates: from the parent, from LSTM and GRU, or elsewhere.

    The parent was tried on places 0 … 199, the baselines on 200 … 399.
    """
    found: Counter[str] = Counter()
    for seed in range(n):
        [place] = inherit(N_POINTS, 1, metric, ancestry, set(), random.Random(seed))
        found[("parent" if place < 200 else "baselines" if place < 400 else "else")] += 1
    return found


def near(share: float, n: int = 4000) -> object:
    """Within four standard deviations."""
    return pytest.approx(n * share, abs=4 * (n * share * (1 - share)) ** 0.5)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS], ids=["accuracy", "loss"])
def test_a_little_known_parent_gives_a_third(metric: Metric) -> None:
    """A third random (uniform: 200 of 840 of it fall into each other part), a third each."""
    parts = Ancestry(known(range(200), metric), known(range(200, 400), metric), 420)
    found = drawn(parts, metric)
    assert found["parent"] == near((1 + 200 / 840) / 3)
    assert found["baselines"] == near((1 + 200 / 840) / 3)


def test_a_well_known_parent_gives_four_fifths() -> None:
    parts = Ancestry(known(range(200)), known(range(200, 400)), 421)
    found = drawn(parts)
    assert found["parent"] == near(0.8 + 0.2 * 200 / 840)
    assert found["baselines"] == near(0.2 * 200 / 840)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS], ids=["accuracy", "loss"])
def test_the_best_hundred_are_meant(metric: Metric) -> None:
    """Of the parent, if it is well known, and always of the baselines."""
    many = Ancestry(known(range(200), metric), known(range(200, 400), metric), 421)
    few = Ancestry(known(range(200), metric), known(range(200, 400), metric), 10)
    for ancestry, source, is_cut in ((many, 0, True), (few, 0, False), (few, 200, True)):
        places: Counter[bool] = Counter()
        for seed in range(3000):
            [place] = inherit(N_POINTS, 1, metric, ancestry, set(), random.Random(seed))
            if source <= place < source + 200:
                places[place >= source + 100] += 1
        low, high = places[False], places[True]
        if is_cut:
            assert low < 0.25 * high, "only random ones are among the lower half"
        else:
            assert low == pytest.approx(high, rel=0.25), "whatever was tried on the parent"


def test_a_setting_without_a_metric_is_not_among_the_best() -> None:
    parts = Ancestry([Known(0, None), Known(1, 0.5)], (), 500)
    places = [
        inherit(N_POINTS, 1, ACCURACY, parts, set(), random.Random(seed))[0] for seed in range(300)
    ]
    assert places.count(1) > 200
    assert places.count(0) < 10


@pytest.mark.parametrize("count", [1, 20, 839, 840, 2000])
@pytest.mark.parametrize("n_taken", [0, 100])
def test_none_is_drawn_twice_and_none_that_is_taken(count: int, n_taken: int) -> None:
    taken = set(random.Random(1).sample(range(N_POINTS), n_taken))
    for seed in range(5 if count > 100 else 50):
        parts = Ancestry(known(range(40)), known(range(20, 60)), 40)
        places = inherit(N_POINTS, count, ACCURACY, parts, taken, random.Random(seed))
        assert len(places) == len(set(places)) == min(count, N_POINTS - n_taken)
        assert taken.isdisjoint(places)


# --- in a study ---

GRID = SettingsGrid(
    init_scale=(1.0, 2.0), learning_rate=(0.2, 0.5, 1.0), clip_norm=(5.0,), num_layers=(1,)
)
CONFIG = ProtocolConfig(
    filter_accuracy=0.85, n_settings=2, draws="inherited", reference_settings=4, pass_ratio=0.93
)
STAGED = Staged(Memorization(n_symbols=3), (Arithmetic(max_digits=1), Xml()), CONFIG, GRID, seed=0)


def inheriting(opened: Study, workers: Workers, crash_after: int = 0) -> Coordinator:
    return coordinator(opened, workers, crash_after, STAGED, n_candidates=30)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    workers = Shuffled(1, 0, outcome)
    opened = study(tmp_path_factory.mktemp("undisturbed"))
    assert inheriting(opened, workers).run()
    workers.close(wait=True)
    return opened


def test_no_setting_is_tried_twice_on_a_cell(undisturbed: Study) -> None:
    tried: Counter[tuple[str, str, object]] = Counter()
    for visit in undisturbed.visits:
        assert visit is not None
        for one in visit.evaluated.values():
            tried.update((visit.key, one.task, settings) for settings in one.settings)
    assert set(tried.values()) == {1}
    assert max(visit.turn for visit in undisturbed.visits if visit) > 0


def test_what_a_visit_is_tried_on_is_stored_with_it(undisturbed: Study) -> None:
    for visit in undisturbed.visits:
        assert visit is not None
        if visit.kind == "given":
            assert not visit.settings
            runs = Counter(one.task for one in visit.evaluated.values() for _ in one.settings)
            assert runs == {"memorization": 1, "arithmetic": 4, "xml": 4}
            continue
        assert set(visit.settings) == {"filter", "arithmetic", "xml"}
        assert len(visit.settings["filter"]) == 1
        for one in visit.evaluated.values():
            name = "filter" if one.task == "memorization" else one.task
            task = STAGED.filter if name == "filter" else STAGED.tasks[name == "xml"]
            assert task is not None
            points = GRID.points(task.n_params)
            assert [points.index(s) for s in one.settings] == visit.settings[name]


def test_children_differ_from_one_another(undisturbed: Study) -> None:
    settings = {str(v.settings["xml"]) for v in undisturbed.visits if v and v.settings}
    assert len(settings) > 8, "15 pairs of 6 settings"


@pytest.mark.parametrize("seed", range(2))
def test_order_of_answers_changes_nothing(tmp_path: Path, undisturbed: Study, seed: int) -> None:
    workers = Shuffled(4, seed, outcome)
    opened = study(tmp_path)
    assert inheriting(opened, workers).run()
    workers.close(wait=True)
    assert essences(opened) == essences(undisturbed)


@pytest.mark.parametrize("seed", every_eighth(range(2)))
def test_crashes_at_random_events_lose_nothing(
    tmp_path: Path, undisturbed: Study, seed: int
) -> None:
    run_through_crashes(tmp_path, inheriting, seed)
    assert essences(study(tmp_path)) == essences(undisturbed)
