"""The experiments that come with nas: each can be run, and says what it claims."""

from pathlib import Path

import pytest

from nas.cli import parse
from nas.definition import definition, protocol_of
from nas.spaces import load_space

ROOT = Path(__file__).parent.parent / "experiments"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/config.yaml"))


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
    readme = (ROOT / name / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {name}\n")
    for part in ("**Question.**", "**Design", "**Choices", "ost.**"):
        assert part in readme, part


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
