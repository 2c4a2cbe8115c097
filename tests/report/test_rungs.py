"""The rungs of a ladder in the report, from visits whose every number is made up here."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome
from nas.protocol.judgement import Judgement, Rung
from nas.protocol.rungs import LadderConfig
from nas.protocol.statistic import planned_epochs
from nas.report.endpoints import both, endpoints_of
from nas.report.facts import read_facts
from nas.report.reliability import shown
from nas.report.results import board, reliability, standing
from nas.report.rungs import MEAN, agreements, lines, rungs, spent
from nas.report.text import lines as lines_of
from nas.session.coordinator import Coordinator
from nas.status import lines as status
from nas.study.config import protocol_of
from nas.study.location import find_study
from nas.study.parse import parse
from nas.study.study import open_study
from nas.study.visit import Evaluated, Visit
from nas.zoo import ZOO
from tests.fake_training import outcome
from tests.plans import plan_of
from tests.session.test_coordinator import OneCell, Shuffled

CONFIG = ProtocolConfig(kind="ladder", ladder=LadderConfig())
SECONDS = (2.0, 6.0, 50.0)


def judged(rungs: list[Rung], again: Rung | None = None) -> Judgement:
    last = rungs[-1]
    second = again or Rung(last.rung, {}, {})
    return Judgement(
        f"rung {last.rung + 1}",
        {"xml": 0.5, "text": 2.0},
        last.ratios,
        repeated=second.values,
        repeated_ratios=second.ratios,
        rungs=tuple(rungs),
    )


def at(rung: int, xml: float, text: float) -> Rung:
    ratios = {"xml": float(xml), "text": float(text)}
    return Rung(rung, ratios, ratios)


def visit(number: int, key: str, judgement: Judgement, turn: int = 0, kind: str = "drawn") -> Visit:
    cost = Cost(10, 100, 1e9, SECONDS[turn])
    run = Evaluated("xml", "xml-1", (), 0, 1.0, (Outcome("ok", 0.5, cost=cost),) * (turn + 1))
    return Visit(
        number, number, kind, key, "def …", key, evaluated={f"{key} {turn}": run},  # type: ignore[arg-type]  # a literal
        judgement=judgement, turn=turn,
    )  # fmt: skip


def ladder(n: int = 27) -> tuple[list[Visit], dict[int, dict[str, list[float]]]]:
    """n candidates at rung 1, of which the best third climbs, twice; and one given cell.

    Returns the visits, and the ratios of each rung by key.
    """
    random = np.random.default_rng(0)
    truth = random.uniform(0.5, 1.2, (n, 2))
    visits, known, climbing = [], {}, list(range(n))
    given = [at(rung, 1.0, 1.0) for rung in range(3)]
    visits.append(visit(0, "gru", judged(given, at(2, 1.01, 0.99)), kind="given"))
    for rung in range(3):
        found = {f"c{i}": (truth[i] + 0.1 * random.normal(size=2)).tolist() for i in climbing}
        for place, (key, ratios) in enumerate(found.items()):
            again = at(rung, *(np.array(ratios) + 0.05)) if rung == 0 and place < 10 else None
            judgement = judged([at(rung, *ratios)], again)
            visits.append(visit(len(visits), key, judgement, rung))
        known[rung] = found | {"gru": [1.0, 1.0]}
        best = sorted(climbing, key=lambda i: -float(np.prod(found[f"c{i}"])))
        climbing = best[: len(climbing) // 3]
    aside = Judgement("xml", {"xml": None}, set_aside="its worker died")
    visits.append(visit(len(visits), "poison", aside))
    return visits, known


def test_what_each_rung_measured_and_cost_is_summed_up() -> None:
    visits, _ = ladder()
    found = spent(visits, 3)
    assert [one.n_cells for one in found] == [27, 9, 3]
    assert [one.n_went_on for one in found] == [9, 3, 0]
    assert [one.n_aside for one in found] == [1, 0, 0]
    assert [one.n_runs for one in found] == [28, 9 * 2, 3 * 3]
    assert [one.seconds for one in found] == [28 * 2.0, 9 * 2 * 6.0, 3 * 3 * 50.0]
    assert [one.flops for one in found] == [28e9, 18e9, 9e9]


def test_two_rungs_agree_as_the_ranks_of_the_cells_that_are_at_both() -> None:
    visits, known = ladder(60)
    found = agreements(visits, 3)
    for low, high in ((0, 1), (0, 2), (1, 2)):
        keys = list(known[high])
        of = found[f"rungs {low + 1} and {high + 1}"]
        first, second = (np.array([known[rung][key] for key in keys]) for rung in (low, high))
        assert of[MEAN].n == len(keys)
        if len(keys) < 8:
            assert of[MEAN].tau is None
            continue
        for place, name in enumerate(("xml", "text")):
            expected = kendalltau(first[:, place], second[:, place]).statistic
            assert of[name].tau.mean == pytest.approx(expected)  # type: ignore[union-attr]
        expected = kendalltau(first.prod(axis=1), second.prod(axis=1)).statistic
        assert of[MEAN].tau.mean == pytest.approx(expected)  # type: ignore[union-attr]


def test_cells_that_were_measured_twice_at_a_rung_say_how_well_it_ranks() -> None:
    visits, _ = ladder()
    found = agreements(visits, 3)
    assert found["rung 1, measured twice"]["xml"].n == 10
    assert found["rung 1, measured twice"]["xml"].tau.mean == pytest.approx(1)  # type: ignore[union-attr]
    deviation = found["rung 1, measured twice"]["xml"].deviation
    assert deviation == pytest.approx(0.05 / np.sqrt(2))
    assert "rung 3, measured twice" not in found, "one cell is no pair"


def test_status_has_a_line_for_each_rung_and_pair() -> None:
    visits, _ = ladder()
    told = list(lines(CONFIG, visits))
    assert told[0] == (
        "rung 1 (6,000 parameters, 33% of the epochs, 3 settings, 1 seed): 27 candidates, 9 went "
        "on; 28 training runs, 0.02 h (9%)"
    )
    assert told[2].startswith("rung 3 (25,000 parameters, 100% of the epochs, 6 settings, 2 seeds)")
    tau = agreements(visits, 3)["rungs 1 and 2"][MEAN].tau
    assert told[3] == f"rungs 1 and 2: tau {shown(tau)} (n = 10 cells)"
    assert not list(lines(ProtocolConfig(), visits))


FILE = """\
study: climbing
space: gates
sampler: random
tasks: {use: [arithmetic, parity], arithmetic: {epochs: 3}, parity: {epochs: 3}}
settings: {init_scale: [1.0], clip_norm: [5.0], num_layers: [1], learning_rate: [0.1, 0.2]}
protocol:
  kind: ladder
  repeat: 1.0
  ladder:
    n_params: [600, 900]
    fidelity: [0.3, 1.0]
    n_settings: [1, 2]
    n_seeds: [1, 2]
    halving: [0, 0]
"""


def curve(evaluation: Evaluation, member: int) -> Outcome:
    """One epoch at the lower rung, three at the top, the last of them the best."""
    made = outcome(evaluation, member)
    assert made.best is not None
    n_epochs = planned_epochs(evaluation.task, evaluation.fidelity)
    path = [made.best / 2, made.best / 2, made.best][-n_epochs:]
    return dataclasses.replace(made, curve=tuple(Epoch(1.0, v, v, 0.1) for v in path))


def test_a_report_of_a_ladder_has_its_rungs_and_keeps_their_budgets_apart(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "climbing"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(FILE)
    protocol = protocol_of(parse([str(folder / "config.yaml")]))
    workers, opened = Shuffled(2, 0, curve), open_study("climbing", folder, "", {})
    cells = (ZOO["gru"], ZOO["lstm"], ZOO["rnn"])
    plan = plan_of(OneCell(), protocol, cells, "random", n_candidates=1, in_flight=2)
    assert Coordinator(plan, opened, workers).run()
    workers.close(wait=True)
    facts = read_facts(find_study(str(folder)))
    for key in (ZOO["lstm"].key, facts.drawn[0].key):
        runs = facts.of_cell(key, "parity")
        is_given = key == ZOO["lstm"].key
        assert {run.n_epochs for run in runs} == ({3} if is_given else {1})
        assert len(runs) == (4 if is_given else 1), "settings times seeds, of one rung"
    lstm = facts.row_of(ZOO["lstm"].key)
    ends = endpoints_of(facts, lstm, protocol.tasks[0])  # type: ignore[arg-type]  # it is there
    values = [run.outcome.best for run in facts.of_cell(ZOO["lstm"].key, "arithmetic")]
    assert ends == pytest.approx((np.mean(values) * 2 / 3, np.mean(values)))
    sections = [made(facts, None) for made in (standing, board, reliability, both, rungs)]
    page = "\n".join(lines_of(*(part for section in sections for part in section.parts)))
    assert "What each rung measured and cost" in page
    assert "rungs 1 and 2" in page
    told = "\n".join(status(find_study(str(folder))))
    assert "rung 1 (600 parameters, 30% of the epochs, 1 setting, 1 seed): 1 candidate" in told
