"""Evaluations as data: what outcomes are cached under, and what older studies stored."""

import dataclasses
from typing import Any

from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome
from nas.protocol.settings import SettingsGrid
from nas.spaces import load_space
from nas.study.config import SearchConfig, definition
from nas.tasks import Xml
from nas.tasks.fields import described

TWO = (Settings(), Settings(num_layers=2, learning_rate=0.1))
EVALUATION = Evaluation("def a(x, h):\n    return h\n", "key", Xml(), TWO, 7, 0.5)


def test_the_digest_is_that_of_studies_before_there_was_momentum_or_halving() -> None:
    assert EVALUATION.digest() == "350dae8936bc09929e710d3a"


def test_all_but_the_text_of_the_cell_counts_in_the_digest() -> None:
    def changed(**fields: object) -> str:
        return dataclasses.replace(EVALUATION, **fields).digest()  # type: ignore[arg-type]

    momentum = (TWO[0], dataclasses.replace(TWO[1], momentum=0.9))
    digests = {
        EVALUATION.digest(),
        changed(key="other"),
        changed(task=Xml(window=9)),
        changed(settings=TWO[::-1]),
        changed(settings=momentum),
        changed(seed=8),
        changed(fidelity=1.0),
        changed(halving=2),
        changed(halving=3),
        changed(measure_test=True),
    }
    assert len(digests) == 10
    assert changed(cell="def b(x, h):\n    return h\n") == EVALUATION.digest()


def test_added_fields_are_described_where_they_are_used() -> None:
    assert not {"momentum", "stacking"} & described(Settings()).keys()
    used = Settings(momentum=0.5, stacking="norm")
    assert described(used) == dataclasses.asdict(used)
    assert "momentum" not in described(SettingsGrid())
    assert described(SettingsGrid(momentum=(0.0, 0.9)))["momentum"] == (0.0, 0.9)


def test_settings_and_outcomes_that_older_studies_stored_can_be_read() -> None:
    stored = dataclasses.asdict(Settings(clip_norm=2.5))
    del stored["momentum"], stored["stacking"]
    assert Settings(**stored) == Settings(clip_norm=2.5)
    epoch = Epoch(1.0, 2.0, 0.5, 0.1, {"a": 0.5})
    outcome = Outcome("cut", 0.5, 0, (epoch,), 9, 3, Cost(4, 5, 6.0))
    assert Outcome.from_json(dataclasses.asdict(outcome)) == outcome


def test_the_definition_of_a_study_has_added_fields_only_where_they_are_used() -> None:
    def defined(config: SearchConfig) -> dict[str, Any]:
        return definition(config, load_space(config.space))

    plain = defined(SearchConfig())
    assert "halving" not in plain["protocol"]
    assert "momentum" not in plain["settings"]
    used = SearchConfig(
        protocol=ProtocolConfig(halving=3), settings=SettingsGrid(momentum=(0.0, 0.9))
    )
    assert defined(used)["protocol"]["halving"] == 3
    assert defined(used)["settings"]["momentum"] == (0.0, 0.9)
