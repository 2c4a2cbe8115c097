"""The experiments that come with nas: each can be run, and says what it claims."""

from pathlib import Path

import pytest

from nas.cli import parse
from nas.compare.command import parse as parse_comparison
from nas.definition import definition, protocol_of
from nas.errors import UserError
from nas.resources import curves, names, searches
from nas.spaces import load_space

ROOT = Path(__file__).parent.parent / "experiments"
NAMES = searches()
COMPARISONS = sorted(set(names("experiments")) - set(NAMES) - set(curves()))
PARTS = ("**Question.**", "**Design", "**Choices", "ost.**")


def test_there_are_some() -> None:
    assert {"quickstart", "overnight", "jozefowicz2015", "from_rnn"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_complete(name: str) -> None:
    """A configuration that is accepted, a space, settings, a definition, and a question."""
    config = parse([name])
    protocol = protocol_of(config)
    assert config.study == name
    assert definition(config, load_space(config.space))
    for task in protocol.tasks:
        assert len(protocol.settings_of(task)) == config.protocol.n_settings
    assert_explained(name)


def assert_explained(name: str) -> None:
    readme = (ROOT / name / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {name}\n")
    for part in PARTS:
        assert part in readme, part


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its data may have to be fetched, which is not what is tested here.
    monkeypatch.setattr("nas.config.TasksConfig.check", lambda self: None)
    monkeypatch.setattr("nas.compare.config.check_comparable", lambda task, seed: None)
    config = parse_comparison(["--config", name])
    assert config.study == name
    assert config.definition()
    for task in config.compared:
        assert len(config.settings.points(task.n_params)) >= config.tuning
    assert_explained(name)


def test_a_comparison_is_no_search() -> None:
    with pytest.raises(UserError, match=r"table1 compares cells .* nas\.compare --config table1"):
        parse(["table1"])


def test_the_papers_first_table_is_compared() -> None:
    assert COMPARISONS == ["table1"]


def test_the_papers_search_has_the_papers_numbers() -> None:
    """Sections 3.1, 3.4, 3.5 and 3.7; grid sizes as computed from them."""
    config = parse(["jozefowicz2015"])
    tasks = {name: config.tasks.task(name) for name in config.tasks.use}
    points = {name: len(config.settings.points(task.n_params)) for name, task in tasks.items()}
    assert points == {"arithmetic": 1680, "xml": 1680, "text": 840}
    assert tasks["arithmetic"].n_params == tasks["xml"].n_params == (250_000, 1_000_000)
    assert tasks["text"].n_params == (5_000_000,)
    assert {task.metric.name for task in tasks.values()} == {"accuracy"}
    assert {(task.batch_size, task.window) for task in tasks.values()} == {(20, 35)}
    assert (config.n_candidates, config.evolution.list_size) == (10_000, 100)
    protocol = config.protocol
    assert (protocol.n_settings, protocol.pass_ratio, protocol.filter_accuracy) == (20, 0.9, 0.95)
    assert (protocol.draws, protocol.kind, protocol.halving) == ("inherited", "staged", 0)
    assert not protocol.veto
    assert not protocol.first_look
    memorization = config.tasks.memorization
    assert (memorization.n_symbols, memorization.n_params) == (5, (25_000,))
    space = load_space(config.space)
    assert space == load_space("graph")
    assert config.evolution.reexamine


def test_only_the_tanh_rnn_is_the_beginning() -> None:
    config = parse(["from_rnn"])
    space = load_space(config.space)
    assert [cell.name for cell in space.start] == ["rnn"]  # type: ignore[attr-defined]
    assert config.include == ("rnn",)
