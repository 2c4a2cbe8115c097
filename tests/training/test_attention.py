"""Models that attend: against the equations of the papers, written out in torch, and member by
member."""

import copy
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from nas.attention import AttentionModel
from nas.attention_stack import StackedAttentionModel
from nas.budget import count_params, solve_width
from nas.cell.text import loads
from nas.compile.backend import Backend
from nas.errors import UserError
from nas.evaluation import Settings
from nas.rnn import RNN, States
from nas.tasks.base import Attention, AttentionForm, Interface
from nas.zoo import ZOO
from tests.known import known
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64

FORMS: tuple[AttentionForm, ...] = ("additive", "general")
SYMBOLS, DIVIDER, PADDING, WIDTH = 7, 7, 8, 8
SOURCES = ((1, 2, 3, 4, 5), (6, 0, 0), (2,), (5, 5, 1, 0))
WRITTEN = ((3, 1, 4), (6,), (2, 2, 2, 0), ())
"""What follows the divider."""
SCALES, SEEDS = (0.7, 1.4, 2.8), (5, 6, 7)
CLOCKED = loads("""
def clocked(x, h, n = 1):
    h2 = tanh(linear(x, h) + 0.3 * sin(step()))
    return h2 * n, h2, n * 0.9
""")


def interface(form: AttentionForm) -> Interface:
    return Interface(PADDING + 1, SYMBOLS, attention=Attention(form, DIVIDER, PADDING))


def window(
    sources: Sequence[Sequence[int]] = SOURCES,
    written: Sequence[Sequence[int]] = WRITTEN,
    before: int = 0,
    after: int = 0,
) -> Tensor:
    """Tokens (time, batch), with so many steps more that are padding for all."""
    left, right = max(map(len, sources)) + before, max(map(len, written)) + after
    rows = []
    for source, text in zip(sources, written, strict=True):
        row = [PADDING] * (left - len(source)) + [*source, DIVIDER, *text]
        rows.append(row + [PADDING] * (right - len(text)))
    return torch.tensor(rows).t()


def model(name: str, form: AttentionForm, layers: int = 1, k: int = 0) -> AttentionModel:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    one = AttentionModel(cell, interface(form), WIDTH, layers, 0.0)
    one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
    return one.double().eval()


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
            if self.of.attention.form == "additive":
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


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, **OTHER_KERNEL_64)


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


# --- members ---


def stacked(
    name: str,
    form: AttentionForm,
    layers: int = 2,
    backend: Backend = "auto",
    dropouts: Sequence[float] = (0.0, 0.0, 0.0),
) -> StackedAttentionModel:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    members = StackedAttentionModel(cell, interface(form), WIDTH, layers, dropouts, backend)
    members.reset_parameters(SCALES, SEEDS)
    return members


def gradients(scores: Sequence[Tensor], of: nn.Module) -> list[Tensor]:
    """Of a sum in which no two scores of a member count alike."""
    parts = [(one.tanh() * torch.linspace(-1, 1, one.numel()).view_as(one)).sum() for one in scores]
    parameters = list(of.parameters())
    return list(torch.autograd.grad(torch.stack(parts).sum(), parameters))


def joined(states: States) -> list[Tensor]:
    return [states] if isinstance(states, Tensor) else list(states)


@pytest.mark.parametrize("form", FORMS)
def test_members_are_drawn_as_models_are(form: AttentionForm) -> None:
    members = stacked("mut2", form)
    for k in range(3):
        expected = model("mut2", form, 2, k).float().state_dict()
        state = members.member_state(k)
        assert list(state) == list(expected)
        one = AttentionModel(ZOO["mut2"], interface(form), WIDTH, 2, 0.0)
        one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
        assert all(torch.equal(state[label], value) for label, value in one.state_dict().items())


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("name", known([*ZOO, "clocked"]))
@pytest.mark.parametrize("form", FORMS)
def test_members_give_what_models_give(form: AttentionForm, name: str) -> None:
    """Every cell: scores, final states and gradients, two layers, padded sources."""
    check_members(form, name, "auto")


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("form", FORMS)
def test_members_give_what_models_give_on_the_eager_backend(form: AttentionForm) -> None:
    check_members(form, "lstm", "eager")


def check_members(form: AttentionForm, name: str, backend: Backend) -> None:
    members = stacked(name, form, backend=backend)
    scores, states = members(window(before=1, after=1), None)
    found = gradients(list(scores), members)
    names = [label for label, _ in members.named_parameters()]
    plain = {
        "embedding": "embedding.weight",
        "head_weight": "head.weight",
        "head_bias": "head.bias",
    }
    plain |= {label: f"{label}.weight" for label in members.maps}
    ours = dict(zip([plain.get(label, label) for label in names], found, strict=True))
    for k in range(3):
        one = model(name, form, 2, k)
        expected, final = one(window(before=1, after=1), None)
        close(scores[k], expected)
        for place, state in enumerate(joined(final)):
            for layer, wanted in enumerate(state):
                close(states[layer][place][k], wanted)
        for (label, _), gradient in zip(
            one.named_parameters(), gradients([expected], one), strict=True
        ):
            close(ours[label][k], gradient)


@pytest.mark.parametrize("width", [7, 32])
@pytest.mark.parametrize("form", FORMS)
def test_on_the_cpu_a_member_does_not_depend_on_the_others(form: AttentionForm, width: int) -> None:
    """To the bit: scores, states, gradients and dropout, among 20 and after others have left."""
    dropouts = [0.3 * (k % 3) for k in range(20)]

    def built() -> StackedAttentionModel:
        made = StackedAttentionModel(ZOO["lstm"], interface(form), width, 2, dropouts)
        made.reset_parameters([1.4] * 20, range(20))
        return made

    def results(members: StackedAttentionModel) -> list[Tensor]:
        scores, states = members(window(), None)
        found = gradients(list(scores), members)
        return [scores.detach(), *(s.detach() for layer in states for s in layer), *found]

    whole = built()
    first, second = results(whole), results(whole)
    for kept in ([0], [19], [3, 2, 17]):
        some = built()
        some.keep(kept)
        for expected in (first, second):
            for ours, theirs in zip(results(some), expected, strict=True):
                assert torch.equal(ours, theirs[kept])


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("form", FORMS)
def test_all_members_in_one_operation_give_what_each_gives_in_turn(
    form: AttentionForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where members are not gone through one after another."""
    members = stacked("gru", form)
    in_turn, _ = members(window(), None)
    expected = gradients(list(in_turn), members)
    monkeypatch.setattr(StackedAttentionModel, "_parts", lambda _, tensor: tensor)
    at_once, _ = members(window(), None)
    close(at_once, in_turn)
    for ours, theirs in zip(gradients(list(at_once), members), expected, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_dropout_acts_between_layers_and_before_the_output_layer(form: AttentionForm) -> None:
    """The same masks, in the same order, as a model with torch's own dropout draws them."""
    members = stacked("gru", form, dropouts=(0.0, 0.5, 0.2))
    scores, _ = members(window(), None)
    for k, dropout in enumerate(members.dropouts):
        one = AttentionModel(ZOO["gru"], interface(form), WIDTH, 2, dropout)
        one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEEDS[k])
            expected, _ = one(window(), None)
        torch.testing.assert_close(scores[k], expected, **OTHER_KERNEL_32)


# --- budget and errors ---


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", ["lstm", "gru", "mut1", "scrn", "fastgrnn_low_rank"])
@pytest.mark.parametrize("form", FORMS)
def test_the_budget_counts_what_is_learned(form: AttentionForm, name: str, layers: int) -> None:
    ends, budget = interface(form), 25_000
    width = solve_width(ZOO[name], ends, Settings(budget, layers))
    learned = AttentionModel(ZOO[name], ends, width, layers, 0.0).parameters()
    count = count_params(ZOO[name], ends, width, layers)
    assert sum(parameter.numel() for parameter in learned) == count <= budget
    assert count_params(ZOO[name], ends, width + 1, layers) > budget


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2, 3]], r"has the divider, symbol 7, at one step of all its .*, got it at .* of 3"),
        ([[1, 7, 3], [1, 2, 7]], r"at one step of all its sequences, got it at the steps \[1, 2\]"),
        (
            [[1, 7, 3], [8, 7, 3]],
            r"at least one symbol and is padded at its start alone, got \[8\]",
        ),
        ([[1, 2, 7], [2, 8, 7]], r"padded at its start alone, got \[2, 8\]"),
        ([[7, 1, 2]], r"at least one symbol"),
    ],
)
def test_windows_without_sources_are_refused(tokens: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model("gru", "additive")(torch.tensor(tokens).t(), None)


def test_a_state_is_refused() -> None:
    one, tokens = model("gru", "general"), window()
    with pytest.raises(UserError, match=r"every window of its task must be fresh, got one that"):
        one(tokens, one(tokens, None)[1])
    members = stacked("gru", "general")
    with pytest.raises(UserError, match=r"every window of its task must be fresh, got one that"):
        members(tokens, members(tokens, None)[1])
