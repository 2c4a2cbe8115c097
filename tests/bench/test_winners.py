"""A step of a trained winner gives the same in each runtime that is timed."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from nas.bench import winners
from nas.bench.command import main
from nas.export.c.compiled import Compiled
from nas.export.c.files import write
from nas.export.c.formats import NUMBER_FORMATS
from nas.export.c.network import network_of
from nas.export.c.ranges import random_pieces, ranges_of
from tests.bench.test_bench_parts import ONE_ROW, run
from tests.nn.winners import Kind, winner
from tests.tolerances import OTHER_RUNTIME_32


def values(answer: Any) -> np.ndarray:
    """A copy of what a step gives."""
    found = answer.numpy() if isinstance(answer, torch.Tensor) else answer
    return np.array(found).ravel()


@pytest.mark.process
@pytest.mark.parametrize("kind", get_args(Kind))
def test_arms_of_the_same_weights_give_the_same_at_each_step(kind: Kind, tmp_path: Path) -> None:
    model = winners.read(winner(kind, tmp_path).path)
    network = network_of(model)
    ranges = ranges_of(network, random_pieces(network))
    made = {f: Compiled(write(network, ranges, f, "winner", "test")) for f in NUMBER_FORMATS}
    arms, torch_name = winners.arms_of(model, made)
    assert torch_name == "nn.LSTM", "torch has another GRU"
    before = np.zeros(1)
    for _ in range(5):
        found = {name: values(arm()) for name, arm in arms.items()}
        wanted = found["nas"]
        assert np.abs(wanted - before).max() > 1e-6, "the state is carried on"
        before = wanted
        assert found[torch_name].shape == wanted.shape
        for name in ("C float32", "onnxruntime"):
            np.testing.assert_allclose(found[name], wanted, **OTHER_RUNTIME_32)
        np.testing.assert_allclose(found["C int16x8"], wanted, rtol=0.05, atol=0.05)


@pytest.mark.process
def test_a_winner_is_timed_and_a_path_without_one_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = winner("forecast", tmp_path).path
    (part,) = run([*ONE_ROW, "--winners", str(path)], tmp_path / "bench.json")["winners"]
    assert part["cell"].endswith(f"{path}, gru")
    ours = part["median_s"]["C float32"]
    for arm in ("onnxruntime", "nn.LSTM", "nas", "C int16x8"):
        assert part["ratios"][arm]["ratio"] == pytest.approx(part["median_s"][arm] / ours, rel=1e-5)
    assert main([*ONE_ROW, "--winners", str(tmp_path / "none")]) == 2
    assert "none is not there: name a folder studies/NAME/winner" in capsys.readouterr().err
