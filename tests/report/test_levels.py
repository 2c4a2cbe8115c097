"""What needs no network, in a report: known levels as ratios to a known GRU, and none that lack."""

import re
from pathlib import Path

import pytest

from nas.report import cost, results, settings
from nas.report.command import main
from nas.report.document import Table
from nas.report.facts import Facts
from nas.report.settings import Effects, Marginal
from nas.study.study import open_study
from nas.tasks import Xml
from nas.tasks.base import Baseline, Split, Task
from nas.tasks.levels import BLIND, Levels
from tests.report.made_up import CONFIG, DEFINITION, facts, make, passed, scored, visit

LEVELS = {
    "memorization": Levels(0.04, Baseline("one symbol always", 0.05)),
    "xml": Levels(0.1, Baseline("2-gram", 0.25)),  # the GRU has an accuracy of 0.5
    "text": Levels(4.0, Baseline("5-gram", 2.5)),  # and a loss of 2
}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Facts:
    def given(task: Task, seed: int, split: Split = "validation") -> Levels:
        assert (seed, split) == (0, "validation")
        return LEVELS[task.name]

    monkeypatch.setattr("nas.report.facts.levels_of", given)
    return facts(make(tmp_path))


def tables(section: object) -> list[Table]:
    return [part for part in section.parts if isinstance(part, Table)]  # type: ignore[attr-defined]


def test_the_leaderboard_ends_with_their_ratios_to_the_gru(known: Facts) -> None:
    board, _ = tables(results.board(known, None))
    assert {len(row) for row in board.rows} == {len(board.head)}
    wanted = {"cell", "kind", "score", "xml", "text"}
    places = [place for place, name in enumerate(board.head) if name in wanted]
    last = [[row[place] for place in places] for row in board.rows[-2:]]
    assert last == [
        ["simple predictor", "no network", "0.500", "0.500", "0.800"],
        [BLIND, "no network", "0.200", "0.200", "0.500"],
    ]
    kinds = [row[2] for row in board.rows]
    assert [kinds[place] == "candidate" for place in range(len(kinds))] == [
        place not in board.marked for place in range(len(kinds))
    ]


def test_a_table_holds_the_metrics_themselves(known: Facts) -> None:
    _, reached = tables(results.board(known, None))
    names = ("hostile", "gru", "lstm")
    assert reached.head == ("task", "metric", "examples", *names, "without a network")
    xml, text = (next(row for row in reached.rows if row[0] == name) for name in ("xml", "text"))
    # 20 batches of 20 streams, 35 steps each
    assert xml[2] == "of 14,000 scored steps in 400 windows, one step weighs 7.14e-05"
    assert xml[3:] == ("0.6", "0.5", "0.45", "2-gram 0.25, blind guess 0.1")
    assert text[3:] == ("1.818", "2", "1.818", "5-gram 2.5, blind guess 4")
    assert "more is better" in xml[1]
    assert "less is better" in text[1]


@pytest.mark.usefixtures("undrawn")
def test_captions_of_scores_and_tables_of_settings_name_them(known: Facts) -> None:
    for section in (cost.race, cost.trade_offs):
        captions = " ".join(part.caption for part in section(known, None).parts[:1])  # type: ignore[union-attr]
        assert "not drawn: simple predictor 0.500 and blind guess 0.200." in captions
    values = tables(settings.settings(known, None))[-1]
    median = values.head.index("median")
    simple = {(r[0], r[1]): r[median] for r in values.rows if r[1].startswith("no network")}
    assert simple == {
        ("xml", "no network: 2-gram"): "0.2500",
        ("xml", "no network: blind guess"): "0.1000",
        ("text", "no network: 5-gram"): "2.5000",
        ("text", "no network: blind guess"): "4.0000",
    }


def test_a_picture_of_a_metric_keeps_its_scale() -> None:
    """A level between the runs is a dashed line at its height; one far off is an arrow."""
    values = (0.5, 0.6, 0.7)
    marginals = tuple(Marginal("learning_rate", rate, 3, 0, values, values) for rate in (0.1, 0.2))
    effects = Effects(Xml(), 6, 0, {"learning_rate": marginals}, {}, 0.0)
    levels = {"xml": Levels(0.03, Baseline("2-gram", 0.65))}
    svg = settings.marginals_figure([effects], levels, "").svg
    found = re.findall(r">([^<>]*(?:gram|blind guess)[^<>]*)<", svg)
    assert [one.strip() for one in found] == ["2-gram", "↓ blind guess"]
    plain = settings.marginals_figure([effects], {"xml": Levels(None, None, "why")}, "").svg
    heights = {float(one) for one in re.findall(r">(0\.\d+)<", svg)} - {0.1, 0.2}
    assert heights
    assert all(0.45 <= one <= 0.75 for one in heights), "the axis is that of the runs alone"
    assert svg.count("stroke-dasharray") == plain.count("stroke-dasharray") + 1


@pytest.mark.usefixtures("undrawn")
def test_a_report_is_written_without_the_data_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a text that must be fetched, one sentence; nothing is fetched."""

    def fetch(*_: object, **__: object) -> str:
        raise AssertionError("nothing is fetched")

    from nas.zoo import ZOO

    folder = tmp_path / "far"
    folder.mkdir()
    text = CONFIG.format(name="far", sampler="tpe")
    fetched = text.replace("use: [xml, text]", "use: [xml, text], text: {path: tinyshakespeare}")
    assert fetched != text
    (folder / "config.yaml").write_text(fetched)
    study = open_study("far", folder, "", DEFINITION)
    visit(study, ZOO["gru"], passed(1, 1), scored(1, 1), "given")
    visit(study, ZOO["mgu"], passed(1.1, 1.2), scored(1.1, 1.2))
    monkeypatch.setattr("pooch.retrieve", fetch)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    monkeypatch.delenv("NAS_DATA_DIR", raising=False)
    assert main([str(folder), "--tracking-uri", "off"]) == 0
    page = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "not computed: tinyshakespeare.txt is not here" in page
    assert "2-gram 0." in page, "the others are"
    assert "no network" not in page.split("What the ratios are of")[0], "there is no score"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("[xml, text]", "[xml, txet]", 'no task "txet". Did you mean "text"?'),
        ("candidates: 9", "candidates: -1", "n_candidates must be at least 0, got -1."),
    ],
)
def test_a_wrong_configuration_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, said: str
) -> None:
    folder = make(tmp_path)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace(right, wrong))
    assert main([str(folder), "--tracking-uri", "off"]) == 2
    assert said in capsys.readouterr().err
