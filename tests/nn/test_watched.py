"""The inside of a model: its values are those of its forward pass, its gradients autograd's."""

from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.errors import UserError
from nas.nn.asking import asked
from nas.nn.loading import load_model, read
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.nn.settings import STACKINGS, Settings
from nas.nn.trained import TrainedModel
from nas.nn.watched import embedded, fresh, inputs_of, memory, watch
from nas.protocol.evaluation import Evaluation
from nas.training.train import run
from nas.zoo import ZOO
from tests.nn.winners import PROSE, TASKS, Kind, winner
from tests.tolerances import OTHER_KERNEL_32


@pytest.mark.parametrize("kind", ["text", "forecast"])
def test_the_scores_of_a_winner_come_from_the_values_that_are_watched(
    kind: Kind, tmp_path: Path
) -> None:
    """The forward pass of the model is the compiled one, in float32."""
    found = winner(kind, tmp_path)
    model = nas.load(found.path)
    assert isinstance(model, TrainedModel)
    data = PROSE[:40] if kind == "text" else np.random.default_rng(0).normal(size=(40, 2)) * 9
    sequence = asked(data, model.meaning).sequences[0]
    y, [values] = watch(model.rnn, inputs_of(model, sequence))
    with torch.no_grad():
        scores, _ = model(torch.from_numpy(sequence).unsqueeze(1))
        expected = model.network.head(torch.from_numpy(y).float())
    if kind == "forecast":
        expected = model.target_means + model.target_scales * expected
    torch.testing.assert_close(scores[:, 0], expected.to(scores.dtype), **OTHER_KERNEL_32)
    cell = model.cell
    for k, new in enumerate(cell.new_states):
        np.testing.assert_array_equal(values[1 + k][1:], values[new][:-1])
    gates = [i for i in cell.live if cell.nodes[i].op == "sigmoid"]
    assert len(gates) == 2
    assert all(((values[i] > 0) & (values[i] < 1)).all() for i in gates)


@pytest.mark.parametrize("stacking", STACKINGS)
@pytest.mark.parametrize("name", ["lstm", "clockwork_rnn", "grid_lstm", "slstm"])
def test_stacks_are_watched_as_they_run(name: str, stacking: str) -> None:
    torch.manual_seed(0)
    rnn = RNN(ZOO[name], 8, 8, 2, dtype=torch.float64, backend="eager", stacking=stacking)
    x = torch.randn(5, 8, dtype=torch.float64)
    with torch.no_grad():
        expected, _ = rnn(x)
    y, layers = watch(rnn, x)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12)
    assert [set(values) for values in layers] == [set(ZOO[name].live)] * 2


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_memory_is_the_norm_of_the_jacobian(name: str) -> None:
    torch.manual_seed(1)
    rnn = RNN(ZOO[name], 3, 40, 2, dtype=torch.float64, backend="eager")
    x = torch.randn(6, 3, dtype=torch.float64)
    ends = []
    for end in (5, 6):
        jacobian = torch.autograd.functional.jacobian(lambda x: rnn(x)[0][-1], x[:end])
        norms = [float(torch.linalg.norm(jacobian[:, t])) / 40**0.5 for t in range(end)]
        ends.append(norms[::-1][:5])
    np.testing.assert_allclose(memory(rnn, x, 2), np.mean(ends, 0), rtol=1e-10)


def test_a_fresh_model_is_the_one_from_which_training_began(tmp_path: Path) -> None:
    """A learning rate of almost nothing leaves the weights where they began."""
    task, settings = TASKS["text"](tmp_path), (Settings(1500, init_scale=0.7, learning_rate=1e-12),)
    result = run(Evaluation(str(ZOO["gru"]), ZOO["gru"].key, task, settings, 3))
    assert result.weights is not None
    path = tmp_path / "began.safetensors"
    path.write_bytes(result.weights)
    began, described = load_model(path), read(path).described
    assert isinstance(began, SequenceModel)
    again = fresh(ZOO["gru"], began, described)
    for (name, tensor), other in zip(began.state_dict().items(), again.parameters(), strict=True):
        torch.testing.assert_close(tensor, other.data, rtol=0, atol=1e-8, msg=name)
    other = fresh(ZOO["lstm"], began, described)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (began, other)]
    assert 0.8 * sizes[0] <= sizes[1] <= sizes[0]


def test_embedded_tokens_and_features_are_those_of_the_model() -> None:
    for ends in (5, nas.nn.model.Interface(3, 2, "gaussian", tokens=False)):
        model = SequenceModel(ZOO["gru"], ends, 4, 1, 0.0)
        data = torch.tensor([0, 4, 2]) if ends == 5 else torch.randn(3, 3)
        with torch.no_grad():
            expected = model.embedding(data)
        torch.testing.assert_close(embedded(model, data).float(), expected)


def test_layers_that_run_both_ways_are_refused() -> None:
    with pytest.raises(UserError, match="no one order of steps"):
        watch(RNN("gru", 3, 4, bidirectional=True), torch.zeros(3, 3))
