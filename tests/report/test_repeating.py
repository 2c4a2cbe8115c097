"""Which statistic repeats, in the report of a search that measured its cells twice."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, norm

from nas.protocol.evaluation import Epoch, Evaluation, Outcome
from nas.protocol.repeating import again
from nas.protocol.statistic import Statistic, value_of
from nas.report.facts import Facts, read_facts
from nas.report.recording import summary
from nas.report.repeating import by_statistic, table
from nas.session.coordinator import Coordinator
from nas.study.config import protocol_of
from nas.study.location import find_study
from nas.study.parse import parse
from nas.study.study import open_study
from nas.zoo import ZOO
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.session.test_coordinator import OneCell, Shuffled

FILE = """\
study: twice
tasks: {use: [arithmetic], arithmetic: {epochs: 3}}
settings: {init_scale: [1.0], clip_norm: [5.0], num_layers: [1], learning_rate: [0.1, 0.2, 0.5]}
protocol: {kind: flat, filter: false, n_settings: 3, repeat: 1.0, over: mean, of: area}
"""
CELLS = ("gru", "lstm", "rnn", "mut1", "mut2", "mut3", "ligru", "ugrnn", "lstm_b")


def curve(evaluation: Evaluation, member: int) -> Outcome:
    """Three epochs, which depend on the cell, the setting and the seed."""
    about = f"{evaluation.key} {evaluation.settings[member]} {evaluation.seed}"
    drawn = random.Random(about)
    values = [drawn.uniform(0.2, 0.9) for _ in range(3)]
    made = outcome(evaluation, member)
    path = tuple(Epoch(1.0, v, v, 0.1) for v in values)
    return dataclasses.replace(made, best=max(values), curve=path)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder: Path = tmp_path_factory.mktemp("repeating") / "studies" / "twice"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(FILE)
    protocol = protocol_of(parse([str(folder / "config.yaml")]))
    workers, opened = Shuffled(2, 0, curve), open_study("twice", folder, "", {})
    cells = [ZOO[name] for name in CELLS]
    plan = plan_of(OneCell(), protocol, cells, "random", n_candidates=1, in_flight=1)
    assert Coordinator(plan, opened, workers).run()
    workers.close(wait=True)
    return read_facts(find_study(str(folder)))


def test_each_statistic_is_that_of_both_measurements(twice: Facts) -> None:
    found = {(s.over, s.of): one for _, s, one in by_statistic(twice)}
    assert len(found) == 6
    (task,) = twice.protocol.tasks
    cells = [(row.visit.cell, row.key) for row in twice.rows]
    assert len(cells) == len(CELLS) + 1
    for (over, of), one in found.items():
        pairs = []
        for cell, key in cells:
            (first,) = twice.protocol.given_evaluations(cell, key, task)
            pair = []
            for evaluation in (first, again(first)):
                outcomes = [curve(evaluation, k) for k in range(3)]
                pair.append(value_of(task, outcomes, Statistic(over, of), 3))
            pairs.append(pair)
        values = np.array(pairs, dtype=np.float64)
        assert one.n == len(cells)
        assert one.tau is not None
        assert one.tau.mean == pytest.approx(kendalltau(values[:, 0], values[:, 1]).statistic)
        deviation = np.sqrt(np.mean(np.diff(values) ** 2) / 2)
        assert one.deviation == pytest.approx(deviation)
    compared = twice.reliability.tasks["arithmetic"]
    assert compared.deviation == pytest.approx(found["mean", "area"].deviation), "as it is judged"
    shown = table(twice)
    assert shown is not None
    assert len(shown.rows) == 6
    assert "The study goes by the mean of all settings, of each the mean over all" in shown.caption


def test_the_record_has_the_interval_of_each_score_and_place(twice: Facts) -> None:
    beside = summary(twice, {}).beside
    reference = twice.baselines[0]
    assert set(beside) == {row.key for row in twice.rows} - {reference}, "that of the GRU is 1"
    assert twice.reliability.score is not None
    deviation = twice.reliability.score.deviation
    for row in twice.rows:
        if row.key != reference:
            low, high = map(float, beside[row.key]["nas.interval"].split(" to "))
            assert high - low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.01)
            assert (low + high) / 2 == pytest.approx(row.score, rel=0.01)
            places = [int(n) for n in beside[row.key]["nas.place"].split(" to ")]
            assert places[0] <= places[-1] <= len(twice.rows)
