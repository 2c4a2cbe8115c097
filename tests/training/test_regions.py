"""Models that write what they see in regions, against equations written out in torch; members."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nas.errors import UserError
from nas.nn.budget import count_params, solve_width
from nas.nn.region_members import RegionMembers
from nas.nn.regions import RegionModel
from nas.nn.rnn import RNN
from nas.nn.settings import Settings
from nas.tasks.base import Interface
from nas.tasks.kinds import Annotation, AttentionForm, RegionsKind, Start
from nas.zoo import ZOO
from tests.tensors import seeded
from tests.training.attending import CLOCKED, FORMS, SCALES, SEEDS, WIDTH, close, joined

N, SYMBOLS, PIXELS, BATCH = 5, 4, 6, 3
LENGTHS = (3, 1, 2)
"""Written steps of each caption."""


def interface(
    form: AttentionForm = "additive",
    start: Start = "mean",
    annotation: Annotation = "relu",
    penalty: float = 0.0,
) -> Interface:
    kind = RegionsKind(form, N, SYMBOLS, start, annotation, penalty)
    return Interface(SYMBOLS + PIXELS, SYMBOLS, tokens=False, kind=kind)


def window(order: Sequence[int] = range(N)) -> Tensor:
    """Features (time, batch, inputs), whose regions come in this order."""
    inputs = torch.zeros(N + max(LENGTHS), BATCH, SYMBOLS + PIXELS)
    pixels = torch.rand(N, BATCH, PIXELS, generator=seeded(3))
    inputs[:N, :, SYMBOLS:] = pixels[list(order)]
    for stream, length in enumerate(LENGTHS):
        for step in range(length):
            inputs[N + step, stream, (step + stream) % SYMBOLS if step else SYMBOLS - 1] = 1
    return inputs


def model(ends: Interface, name: str = "gru", layers: int = 1, k: int = 0) -> RegionModel:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    one = RegionModel(cell, ends, WIDTH, layers, 0.0)
    one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
    return one.double().eval()


def stacked(
    ends: Interface, name: str = "gru", layers: int = 1, dropouts: Sequence[float] = (0.0,) * 3
) -> RegionMembers:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    members = RegionMembers(cell, ends, WIDTH, layers, dropouts)
    n = len(dropouts)
    members.reset_parameters((SCALES * n)[:n], [*SEEDS, *range(50, 50 + n)][:n])
    return members


def expected(one: RegionModel, rnn: nn.LSTM | nn.GRU, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and weights of the written steps, (written, batch, …), by the equations of Xu et al.
    2015 and Luong et al. 2015, one caption and one region after another, with torch's own cell."""
    maps = {name: value for name, value in one.named_parameters() if not name.startswith("rnn")}
    E = maps["embedding.weight"]
    about = one.regions
    scores, every = [], []
    for stream in range(inputs.shape[1]):
        a = [E @ inputs[i, stream] for i in range(N)]
        if about.annotation == "relu":
            a = [part.clamp(min=0) for part in a]
        state, y = None, torch.zeros(WIDTH, dtype=inputs.dtype)
        if about.start == "mean":
            mean = maps["start.weight"] @ (sum(a[1:], a[0]) / N)
            out, state = rnn(mean.view(1, 1, -1), state)
            y = out[0, 0]
        rows, weights = [], []
        for x in inputs[N:, stream]:
            if about.form == "additive":
                W, U, C = (maps[f"{n}.weight"] for n in ("query", "key", "context"))
                v = maps["score.weight"][0]
                e = torch.stack([v @ torch.tanh(W @ y + U @ part) for part in a])
            else:
                out, state = rnn((E @ x).view(1, 1, -1), state)
                y = out[0, 0]
                e = torch.stack([y @ maps["score.weight"] @ part for part in a])
            alpha = torch.exp(e) / torch.exp(e).sum()
            z = sum((w * part for w, part in zip(alpha, a, strict=True)), torch.zeros(WIDTH))
            if about.form == "additive":
                out, state = rnn((E @ x + C @ z).view(1, 1, -1), state)
                y = out[0, 0]
                read = torch.cat([y, z])
            else:
                read = torch.tanh(maps["combined.weight"] @ torch.cat([y, z]))
            rows.append(maps["head.weight"] @ read + maps["head.bias"])
            weights.append(alpha)
        scores.append(torch.stack(rows))
        every.append(torch.stack(weights))
    return torch.stack(scores, 1), torch.stack(every, 1)


@pytest.mark.parametrize(
    ("form", "start", "annotation", "kind"),
    [
        ("additive", "mean", "relu", nn.LSTM),
        ("additive", "initial", "linear", nn.GRU),
        ("general", "mean", "linear", nn.GRU),
        ("general", "initial", "relu", nn.LSTM),
    ],
)
def test_the_equations_of_the_papers(
    form: AttentionForm, start: Start, annotation: Annotation, kind: type[nn.LSTM] | type[nn.GRU]
) -> None:
    """Scores, weights, and the gradients of all that is around the cell."""
    ours = model(interface(form, start, annotation), "lstm" if kind is nn.LSTM else "gru_v1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        rnn = kind(WIDTH, WIDTH).double()
    for parameter in rnn.parameters():  # not near 0, where all is linear
        parameter.data *= 3
    ours.rnn.load_state_dict(RNN.from_torch(rnn).state_dict())
    inputs = window().double()
    found, weights = ours(inputs, None)[0], ours.weights(inputs)
    wanted, alpha = expected(ours, rnn, inputs)
    close(found[N:], wanted)
    close(weights, alpha)
    close(found[:N], ours.head.bias.expand(N, BATCH, -1))
    close(weights.sum(-1), torch.ones(weights.shape[:2], dtype=torch.float64))
    around = [value for name, value in ours.named_parameters() if not name.startswith("rnn")]
    weighing = torch.linspace(-1, 1, wanted.numel(), dtype=torch.float64).view_as(wanted)
    pairs = [
        torch.autograd.grad((scores.tanh() * weighing).sum(), around)
        for scores in (found[N:], wanted)
    ]
    for gradient, other in zip(*pairs, strict=True):
        close(gradient, other)
        assert gradient.abs().max() > 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_regions_in_another_order_have_their_weights_in_that_order(form: AttentionForm) -> None:
    """And the scores do not change: what says where a region lies is a feature of its own."""
    one, order = model(interface(form), k=2), [3, 0, 4, 2, 1]
    close(one(window(order).double(), None)[0], one(window().double(), None)[0])
    moved, weights = one.weights(window(order).double()), one.weights(window().double())
    close(moved, weights[..., order])
    assert (weights.amax(-1) - weights.amin(-1) > 1e-4).all()


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(
    ("form", "start", "name"),
    [
        ("additive", "mean", "lstm"),
        ("general", "initial", "mut1"),
        ("additive", "initial", "clocked"),
        ("general", "mean", "clockwork_rnn"),
        *(pytest.param("additive", "mean", name, marks=pytest.mark.process) for name in ZOO),
    ],
)
def test_members_give_what_models_give(form: AttentionForm, start: Start, name: str) -> None:
    """Every cell: scores, states, gradients and the penalty, which is that of the weights of the
    steps that are written."""
    ends, inputs = interface(form, start, penalty=0.7), window().double()
    members = stacked(ends, name, 2)
    scores, states = members(inputs, None)
    added = members.added_loss()
    assert added is not None
    losses = scores.tanh().flatten(1).sum(1) + added
    names = [label for label, _ in members.named_parameters()]
    found = dict(zip(names, torch.autograd.grad(losses.sum(), members.parameters()), strict=True))
    for k in range(3):
        one = model(ends, name, 2, k)
        wanted, final = one(inputs, None)
        close(scores[k], wanted)
        for place, state in enumerate(joined(final)):
            for layer, of_layer in enumerate(state):
                close(states[layer][place][k], of_layer)
        weights = one.weights(inputs)
        sums = [weights[:length, stream].sum(0) for stream, length in enumerate(LENGTHS)]
        penalty = 0.7 * sum(((1 - one) ** 2).sum() for one in sums) / BATCH
        close(added[k], torch.as_tensor(penalty))
        gradients = torch.autograd.grad(wanted.tanh().sum() + penalty, list(one.parameters()))
        for (label, _), gradient in zip(one.named_parameters(), gradients, strict=True):
            ours = {"head.weight": "head_weight", "head.bias": "head_bias"}.get(label, label)
            ours = ours if ours in found else label.removesuffix(".weight")
            close(found[ours][k], gradient)


@pytest.mark.parametrize("form", FORMS)
def test_on_the_cpu_a_member_does_not_depend_on_the_others(form: AttentionForm) -> None:
    """To the bit: scores, the penalty and gradients, among 20 and after others have left."""
    ends, dropouts = interface(form, penalty=1.5), [0.3 * (k % 3) for k in range(20)]

    def results(kept: Sequence[int]) -> list[Tensor]:
        members = stacked(ends, "lstm", 1, dropouts)
        members.keep(kept)
        scores, _ = members(window(), None)
        added = members.added_loss()
        assert added is not None
        loss = scores.tanh().sum() + added.sum()
        return [scores.detach(), added.detach(), *torch.autograd.grad(loss, members.parameters())]

    whole = results(range(20))
    for kept in ([0], [3, 2, 17]):
        for ours, theirs in zip(results(kept), whole, strict=True):
            assert torch.equal(ours, theirs[kept])


def test_without_a_penalty_nothing_is_added() -> None:
    members = stacked(interface())
    members(window(), None)
    assert members.added_loss() is None


@pytest.mark.parametrize("start", ["mean", "initial"])
@pytest.mark.parametrize("form", FORMS)
def test_the_budget_counts_what_is_learned(form: AttentionForm, start: Start) -> None:
    ends = interface(form, start)
    for name, layers in (("lstm", 1), ("scrn", 2)):
        width = solve_width(ZOO[name], ends, Settings(25_000, layers))
        learned = RegionModel(ZOO[name], ends, width, layers, 0.0).parameters()
        count = count_params(ZOO[name], ends, width, layers)
        assert sum(parameter.numel() for parameter in learned) == count <= 25_000
        assert count_params(ZOO[name], ends, width + 1, layers) > 25_000


def test_a_state_is_refused() -> None:
    one, inputs = model(interface()), window().double()
    with pytest.raises(UserError, match=r"every window of its task must be fresh, got one that"):
        one(inputs, one(inputs, None)[1])
