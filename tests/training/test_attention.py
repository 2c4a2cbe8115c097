"""Models that attend, against the equations of the papers, written out in torch."""

import copy
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from nas.compile.backend import Backend
from nas.nn.attention import AttentionModel
from nas.nn.layers import States
from nas.nn.rnn import RNN
from nas.tasks.base import AttentionForm
from nas.zoo import ZOO
from tests.tensors import seeded
from tests.training.attending import (
    CLOCKED,
    DIVIDER,
    FORMS,
    SOURCES,
    SYMBOLS,
    WIDTH,
    WRITTEN,
    close,
    joined,
    model,
    window,
)


class Written:
    """The equations of both papers for one source at a time, with torch's own cells."""

    def __init__(self, of: AttentionModel, kind: type[nn.LSTM] | type[nn.GRU], layers: int) -> None:
        self.of, self.kind = of, kind
        self.modules = []
        for k, rnn in enumerate((of.rnn, of.backward_rnn, of.decoder)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(k)
                module = kind(WIDTH, WIDTH, layers).double()
            for parameter in module.parameters():  # not near 0, where all is linear
                parameter.data *= 3
            rnn.load_state_dict(RNN.from_torch(module).state_dict())
            self.modules.append(module)
        self.maps = {
            name: parameter.detach().clone().requires_grad_()
            for name, parameter in of.named_parameters()
            if not name.startswith(("rnn", "backward", "decoder"))
        }

    def cells(self, module: nn.RNNBase) -> list[Callable[[Tensor, object], object]]:
        kind = nn.LSTMCell if self.kind is nn.LSTM else nn.GRUCell
        found = []
        for layer in range(module.num_layers):
            cell = kind(WIDTH, WIDTH, dtype=torch.float64)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(cell, name, getattr(module, f"{name}_l{layer}"))
            found.append(cell)
        return cast(list[Callable[[Tensor, object], object]], found)

    def step(
        self, cells: list[Callable[[Tensor, object], object]], x: Tensor, states: list[object]
    ) -> tuple[Tensor, list[object]]:
        new = []
        for cell, state in zip(cells, states, strict=True):
            new.append(cell(x, state))
            x = cast(Tensor, new[-1][0] if isinstance(new[-1], tuple) else new[-1])
        return x, new

    def scores(self, source: Sequence[int], inputs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of each written step, (written, outputs), and its weights (written, steps)."""
        E = self.maps["embedding.weight"]
        zero: object = None
        h: list[list[Tensor]] = []
        states: list[object] = []
        for module, symbols in zip(self.modules, (source, source[::-1]), strict=False):
            cells = self.cells(module)
            states, ways = [zero] * len(cells), []
            for symbol in symbols:
                s, states = self.step(cells, E[symbol], states)
                ways.append(s)
            h.append(ways)
        annotations = [torch.cat(both) for both in zip(h[0], h[1][::-1], strict=True)]
        s = h[1][-1]
        cells = self.cells(self.modules[2])
        scores, every = [], []
        for symbol in inputs:
            if self.of.form == "additive":
                W, U, C = (self.maps[f"{n}.weight"] for n in ("query", "key", "context"))
                v = self.maps["score.weight"][0]
                e = torch.stack([v @ torch.tanh(W @ s + U @ h_j) for h_j in annotations])
                alpha = torch.exp(e) / torch.exp(e).sum()
                c = sum(a * h_j for a, h_j in zip(alpha, annotations, strict=True))
                s, states = self.step(cells, E[symbol] + C @ cast(Tensor, c), states)
                read = torch.cat([s, cast(Tensor, c)])
            else:
                W, W_c = self.maps["score.weight"], self.maps["combined.weight"]
                s, states = self.step(cells, E[symbol], states)
                e = torch.stack([s @ W @ h_j for h_j in annotations])
                alpha = torch.exp(e) / torch.exp(e).sum()
                c = sum(a * h_j for a, h_j in zip(alpha, annotations, strict=True))
                read = torch.tanh(W_c @ torch.cat([s, cast(Tensor, c)]))
            scores.append(self.maps["head.weight"] @ read + self.maps["head.bias"])
            every.append(alpha)
        return torch.stack(scores), torch.stack(every)

    def gradient_of(self, module: nn.RNNBase) -> dict[str, Tensor]:
        """As the parameters of a `RNN`, where torch's two biases are one but in the candidate."""
        shown = copy.deepcopy(module)
        for (name, parameter), of in zip(
            shown.named_parameters(), module.parameters(), strict=True
        ):
            assert of.grad is not None
            parameter.data = of.grad.clone()
            if name.startswith("bias_hh"):
                merged = len(parameter) if self.kind is nn.LSTM else 2 * WIDTH
                parameter.data[:merged] = 0
        return dict(RNN.from_torch(shown).named_parameters())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("form", FORMS)
def test_the_equations_of_the_papers(
    form: AttentionForm, kind: type[nn.LSTM] | type[nn.GRU], layers: int
) -> None:
    """Scores, weights and all gradients; each source alone there, all padded in one window here."""
    ours = model("lstm" if kind is nn.LSTM else "gru_v1", form, layers, k=2)
    theirs = Written(ours, kind, layers)
    tokens = window()
    scores, _ = ours(tokens, None)
    weights = ours.weights(tokens)
    first, loss, expected_loss = max(map(len, SOURCES)), torch.zeros(()), torch.zeros(())
    for stream, (source, text) in enumerate(zip(SOURCES, WRITTEN, strict=True)):
        expected, alpha = theirs.scores(source, (DIVIDER, *text))
        found = scores[first : first + len(expected), stream]
        close(found, expected)
        close(weights[: len(expected), stream, first - len(source) :], alpha)
        weighing = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
        loss = loss + (found.tanh() * weighing).sum()
        expected_loss = expected_loss + (expected.tanh() * weighing).sum()
    loss.backward()
    expected_loss.backward()
    for name, parameter in theirs.maps.items():
        gradient = ours.get_parameter(name).grad
        assert gradient is not None
        assert parameter.grad is not None
        close(gradient, parameter.grad)
        assert gradient.abs().max() > 1e-4, name
    for rnn, module in zip(
        (ours.rnn, ours.backward_rnn, ours.decoder), theirs.modules, strict=True
    ):
        wanted = theirs.gradient_of(module)
        for name, parameter in rnn.named_parameters():
            assert parameter.grad is not None
            close(parameter.grad, wanted[name].detach())


@pytest.mark.parametrize("form", FORMS)
def test_weights_sum_to_one_and_padding_has_none(form: AttentionForm) -> None:
    weights = model("gru", form).weights(window())
    assert weights.shape == (1 + max(map(len, WRITTEN)), len(SOURCES), max(map(len, SOURCES)))
    close(weights.sum(-1), torch.ones(weights.shape[:2], dtype=torch.float64))
    for stream, source in enumerate(SOURCES):
        padding = weights.shape[2] - len(source)
        assert (weights[:, stream, :padding] == 0).all()
        assert (weights[:, stream, padding:] > 0).all()


@pytest.mark.parametrize("name", ["lstm", "clocked", "rwkv_4", "qrnn_fo", "depth_gated_lstm"])
@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form: AttentionForm, name: str) -> None:
    """An example alone, among others, and with padding before and behind gives one thing."""
    one = model(name, form, layers=2)
    tokens, wide = window(), window(before=3, after=2)
    scores, padded = one(tokens, None)[0], one(wide, None)[0]
    close(padded[3 : len(wide) - 2], scores)
    close(padded[:3], one.head.bias.expand(3, *scores.shape[1:]))
    for stream, (source, text) in enumerate(zip(SOURCES, WRITTEN, strict=True)):
        alone, _ = one(window([source], [text]), None)
        first = max(map(len, SOURCES))
        close(scores[first : first + 1 + len(text), stream], alone[len(source) :, 0])


@pytest.mark.parametrize("form", FORMS)
def test_every_symbol_of_the_source_and_none_to_come_matters(form: AttentionForm) -> None:
    one, tokens = model("gru", form), window()
    scores, _ = one(tokens, None)
    first = max(map(len, SOURCES))
    for step in range(first):
        other = tokens.clone()
        other[step, 0] = (other[step, 0] + 1) % SYMBOLS
        changed = (one(other, None)[0] - scores).abs().amax(-1) > 1e-9
        assert changed[first:, 0].all()
        assert not changed[:, 1:].any()
    other = tokens.clone()
    other[first + 2, 0] = 0
    changed = (one(other, None)[0] - scores).abs().amax(-1) > 1e-9
    assert not changed[: first + 2].any()
    assert changed[first + 2 :, 0].all()


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("name", ["lstm", "clocked", "clockwork_rnn", "depth_gated_lstm"])
def test_steps_one_by_one_are_a_run(name: str, backend: Backend) -> None:
    """Clocks go on: what a step gives depends on its index."""
    cell = CLOCKED if name == "clocked" else ZOO[name]
    rnn = RNN(cell, 8, 8, 2, dtype=torch.float64, backend=backend)
    rnn.reset_parameters(2.0, seeded())
    x = torch.randn(5, 3, 8, generator=seeded(1), dtype=torch.float64)
    whole, final = rnn(x)
    state: States | None = None
    for i, row in enumerate(x):
        y, state = rnn.step(row, state, i)
        close(y, whole[i])
    assert state is not None
    for ours, theirs in zip(joined(state), joined(final), strict=True):
        close(ours, theirs)
