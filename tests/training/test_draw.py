"""DRAW against its equations, written out; its bound against numerical integration."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from nas.nn import windows as in_c
from nas.nn.budget import count_params, solve_width
from nas.nn.draw import Window, filters, glimpses, read, window, write
from nas.nn.latent_model import LatentMembers, LatentModel, generators, noise_of
from nas.nn.rnn import RNN
from nas.nn.settings import Settings
from nas.tasks.base import Interface
from nas.tasks.kinds import DrawKind
from nas.zoo import ZOO
from tests.known import FEW
from tests.tensors import seeded
from tests.training.attending import SCALES, SEEDS, WIDTH, close

SIDE, LATENT, BATCH = 4, 3, 5
BOTH = DrawKind(LATENT, 0, SIDE, 3, 2, 3)
WHOLE = DrawKind(LATENT, 0, SIDE, 3, 0, 0, "zeros")
KINDS = [BOTH, WHOLE, DrawKind(LATENT, 0, SIDE, 3, 3, 0), DrawKind(LATENT, 0, SIDE, 3, 0, 1)]


INTEGRATED = 1e-5
"""The share by which sums over a grid of 161 points from -8 to 8 miss an integral."""


def interface(kind: DrawKind) -> Interface:
    return Interface(kind.side**2, kind.side**2, "bernoulli", tokens=False, kind=kind)


def model(kind: DrawKind, name: str = "gru", layers: int = 1, k: int = 0) -> LatentModel:
    one = LatentModel(ZOO[name], interface(kind), WIDTH, layers, 0.0)
    one.reset_parameters(SCALES[k], seeded(SEEDS[k]))
    with torch.no_grad():  # biases begin at 0, where windows lie in the middle
        for label, parameter in one.named_parameters():
            if label.endswith("bias") and not label.startswith(("rnn", "encoder")):
                parameter.uniform_(-0.5, 0.5, generator=seeded(9))
    return one.double().eval()


def images(kind: DrawKind, batch: int = BATCH) -> Tensor:
    drawn = torch.rand(1, batch, kind.side**2, generator=seeded(4))
    return (drawn > 0.5).double()


def noise(kind: DrawKind, batch: int = BATCH) -> Tensor:
    drawn = torch.randn(kind.glimpses, batch, kind.latent_size, generator=seeded(8))
    return drawn.double()


def windows(n: int = 3) -> Window:
    """Windows inside of an image, at its edges and far outside."""
    random = torch.randn(40, 5, generator=seeded(1), dtype=torch.float64)
    random[-3:, :2] *= 20
    return window(random, n, 7)


def written_filters(of: Window, n: int, side: int, axis: int) -> np.ndarray:
    """Equations 21 to 26 of the paper, number by number, with A = B = side."""
    found = np.zeros((len(of.centre), n, side))
    for b in range(len(of.centre)):
        for i in range(1, n + 1):
            mean = float(of.centre[b, axis]) + (i - n / 2 - 0.5) * float(of.stride[b])
            twice = 2 * float(of.variance[b])
            exponents = [-((a - mean) ** 2) / twice for a in range(1, side + 1)]
            largest = max(exponents)  # Z takes it out again
            row = [math.exp(e - largest) for e in exponents]
            found[b, i - 1] = np.array(row) / sum(row)
    return found


@pytest.mark.parametrize("n", [1, 3, 4])
def test_filters_are_those_of_the_paper_and_sum_to_one(n: int) -> None:
    of = windows(n)
    found = filters(of, n, 7)
    for axis in (0, 1):
        close(found[:, axis], torch.from_numpy(written_filters(of, n, 7, axis)))
    close(found.sum(-1), torch.ones(40, 2, n, dtype=torch.float64))


def test_a_window_is_given_as_in_the_paper() -> None:
    """Equations 21 to 24: 0 is the middle, -1 and 1 half a pixel from the edges, and stride 1
    spreads the filters over the image."""
    five = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0], [-1.0, 0.5, 1.0, -1.0, 2.0]]).double()
    of = window(five, 3, 7)
    close(of.centre, torch.tensor([[4.0, 4.0], [0.0, 6.0]]).double())
    numbers = [[3.0, 1.0, 1.0], [3 * math.exp(-1), math.e, math.exp(2)]]
    found = torch.cat([of.stride, of.variance, of.intensity], 1)
    close(found, torch.tensor(numbers, dtype=torch.float64))


def test_windows_of_any_numbers_are_finite() -> None:
    """Logarithms are held in bounds, and what lies outside reads the nearest pixel."""
    five = torch.tensor([[1e6, -1e6, 100.0, 500.0, 500.0], [-1e6, 1e6, -500.0, -500.0, -500.0]])
    of = window(five, 3, 7)
    close(filters(of, 3, 7).sum(-1), torch.ones(2, 2, 3))
    picture = torch.rand(2, 1, 49, generator=seeded(5))
    assert read(picture, of, 3, 7).isfinite().all()
    assert write(torch.ones(2, 9), of, 3, 7).isfinite().all()
    nearest = read(picture, of._replace(intensity=torch.ones(2, 1)), 3, 7)[1]
    close(nearest, picture[1, 0, 42].expand(9))


def test_reading_and_writing_are_sums_over_pixels() -> None:
    """gamma F_Y x F_X^T and 1 / gamma F_Y^T w F_X, entry by entry."""
    n, of = 3, windows(3)
    columns, rows = (torch.from_numpy(written_filters(of, n, 7, axis)) for axis in (0, 1))
    pictures = torch.rand(40, 2, 49, generator=seeded(2), dtype=torch.float64)
    patch = torch.rand(40, n * n, generator=seeded(3), dtype=torch.float64)
    seen, drawn = read(pictures, of, n, 7), write(patch, of, n, 7)
    wanted = torch.zeros(40, 2, n, n, dtype=torch.float64)
    canvas = torch.zeros(40, 7, 7, dtype=torch.float64)
    for y in range(7):
        for x in range(7):
            weight = rows[:, :, None, y] * columns[:, None, :, x]
            wanted += weight[:, None] * pictures[:, :, y * 7 + x, None, None]
            canvas[:, y, x] = (weight * patch.view(40, n, n)).sum((1, 2))
    close(seen, (wanted * of.intensity[:, None, None]).flatten(1))
    close(drawn, (canvas / of.intensity[:, None]).flatten(1))


@pytest.mark.parametrize("n", [1, 3])
def test_windows_in_c_are_those_of_torch(n: int) -> None:
    """With all gradients; three windows lie far outside of the image, and the numbers of the last
    one are beyond what logarithms are held to."""
    five = torch.randn(40, 5, generator=seeded(1), dtype=torch.float64)
    five[-3:, :2] *= 20
    five[-1, 2:] = torch.tensor([30.0, -30.0, 30.0])
    pictures, canvas = (torch.rand(20, 49, generator=seeded(k)).double() for k in (2, 3))
    canvas = torch.cat([canvas, -canvas])
    patch = torch.rand(40, n * n, generator=seeded(4)).double()
    given = [tensor.requires_grad_() for tensor in (five, canvas, patch)]
    twice = pictures.repeat(2, 1)
    both = torch.stack([twice, twice - torch.sigmoid(canvas)], 1)
    of = window(five, n, 7)
    theirs = read(both, of, n, 7), canvas + write(patch, of, n, 7)
    ours = in_c.look(pictures, canvas, five, n, 7), in_c.write_on(canvas, patch, five, n, 7)
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other)
        direction = torch.randn(other.shape, generator=seeded(5)).double()
        wanted = torch.autograd.grad(other, given, direction, allow_unused=True, retain_graph=True)
        found = torch.autograd.grad(mine, given, direction, allow_unused=True)
        for gradient, expected in zip(found, wanted, strict=True):
            assert (gradient is None) == (expected is None)
            if gradient is not None:
                close(gradient, expected)


def expected(one: LatentModel, kind: DrawKind, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and divergence of each image by the paper's equations, with torch's own LSTM cells and
    distributions; `x` is (images, pixels)."""
    maps = dict(one.named_parameters())
    cells = {}
    for name in ("rnn", "encoder"):
        cells[name] = nn.LSTM(WIDTH, WIDTH).double()
        getattr(one, name).load_state_dict(RNN.from_torch(cells[name]).state_dict())

    def linear(name: str, of: Tensor) -> Tensor:
        result = of @ maps[f"{name}.weight"].t()
        return result + maps[f"{name}.bias"] if f"{name}.bias" in maps else result

    canvas = torch.zeros_like(x)
    if kind.canvas == "learned":
        canvas = canvas + maps["canvas.weight"][:, 0]
    h = torch.zeros(len(x), WIDTH, dtype=x.dtype)
    states: dict[str, object] = {"rnn": None, "encoder": None}
    apart = torch.zeros(len(x), dtype=x.dtype)
    for t in range(kind.glimpses):
        error = x - torch.sigmoid(canvas)
        if kind.read:
            of = window(linear("read_window", h), kind.read, kind.side)
            r = torch.cat([read(one[:, None], of, kind.read, kind.side) for one in (x, error)], 1)
        else:
            r = torch.cat([x, error], 1)
        v = linear("embedding", r) + linear("decoded", h)
        encoded, states["encoder"] = cells["encoder"](v[None], states["encoder"])
        mean, logarithm = linear("posterior", encoded[0]).split(kind.latent_size, 1)
        q = Independent(Normal(mean, logarithm.exp()), 1)
        prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
        apart = apart + kl_divergence(q, prior)
        z = mean + logarithm.exp() * eps[t]
        decoded, states["rnn"] = cells["rnn"](linear("latent", z)[None], states["rnn"])
        h = decoded[0]
        w = linear("head", h)
        if kind.write:
            of = window(linear("write_window", h), kind.write, kind.side)
            w = write(w, of, kind.write, kind.side)
        canvas = canvas + w
    return -Bernoulli(logits=canvas).log_prob(x).sum(1), apart


@pytest.mark.parametrize("kind", KINDS)
def test_the_equations_of_the_paper(kind: DrawKind) -> None:
    """Both terms of the bound, each image, and the gradients of what is around the cells."""
    one, x, eps = model(kind, "lstm"), images(kind), noise(kind)
    loss, apart = expected(one, kind, x[0], eps)
    found = one.terms(x, x, lambda _: [eps])
    close(found.loss[0], loss)
    close(found.divergence[0], apart)
    around = [p for n, p in one.named_parameters() if not n.startswith(("rnn", "encoder"))]
    ours = torch.autograd.grad((found.loss + 0.7 * found.divergence).sum(), around)
    theirs = torch.autograd.grad((loss + 0.7 * apart).sum(), around)
    for gradient, other in zip(ours, theirs, strict=True):
        close(gradient, other)


@pytest.mark.parametrize("kind", [BOTH, WHOLE])
def test_gradients_are_those_of_finite_differences(kind: DrawKind) -> None:
    """All parameters, the cells' included, with the noise held fixed, in random directions."""
    one, x, eps = model(kind, "mut1"), images(kind), noise(kind)
    parameters = list(one.parameters())

    def bound() -> Tensor:
        of = one.terms(x, x, lambda _: [eps])
        return (of.loss + of.divergence).sum()

    gradients = torch.autograd.grad(bound(), parameters)
    for seed in range(3):
        random = seeded(seed)
        way = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in parameters]
        slope = sum(float((g * w).sum()) for g, w in zip(gradients, way, strict=True))
        ends = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                for parameter, one_way in zip(parameters, way, strict=True):
                    parameter += step * one_way
            ends.append(float(bound().detach()))
        with torch.no_grad():
            for parameter, one_way in zip(parameters, way, strict=True):
                parameter += 1e-6 * one_way
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("read_and_write", [(0, 0), (1, 2)])
@pytest.mark.parametrize("n_glimpses", [1, 2])
def test_the_bound_lies_above_the_loss_that_integration_gives(
    n_glimpses: int, read_and_write: tuple[int, int]
) -> None:
    """Images of 2 x 2 and a latent of one number: -ln p(x) is an integral over one or two numbers,
    computed on a grid. The expected bound is at least that and equals it up to KL(q, posterior)
    which the same grid gives; the probabilities of all images sum to 1."""
    kind = DrawKind(1, 0, 2, n_glimpses, *read_and_write)
    one = model(kind, "gru", k=2)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4)
    points = torch.linspace(-8, 8, 161, dtype=torch.float64)
    width = float(points[1] - points[0])
    grid = torch.stack(torch.meshgrid(*[points] * n_glimpses, indexing="ij"), -1)
    z = grid.reshape(-1, n_glimpses).t()[..., None]  # (glimpses, points, 1)
    with torch.no_grad():
        canvas = glimpses(one, None, [z])[-1].canvas[0]
        prior = Normal(0.0, 1.0).log_prob(z).sum((0, 2))
        likelihood = Bernoulli(logits=canvas[:, None]).log_prob(every).sum(-1)  # (points, images)
        evidence = (prior[:, None] + likelihood).logsumexp(0) + n_glimpses * math.log(width)
        assert float(evidence.exp().sum()) == pytest.approx(1, abs=1e-9)
        bounds = []
        for image in every:
            # The noise runs over the grid: z and q follow from it, so the mean is an integral too.
            many = image.expand(1, z.shape[1], 4)
            of = one.terms(many, many, lambda _: [z])
            shares = (prior.exp() * width**n_glimpses)[None]
            bounds.append(float((shares * (of.loss + of.divergence)).sum()))
            weights = -of.loss - of.ratio
            tight = (shares.log() + weights).logsumexp(1).item()
            assert tight == pytest.approx(float(evidence[len(bounds) - 1]), rel=INTEGRATED)
            ratio, apart = (shares * of.ratio).sum(), (shares * of.divergence).sum()
            assert float(ratio) == pytest.approx(float(apart), rel=INTEGRATED)
    assert (torch.tensor(bounds) > -evidence).all()


def test_samples_are_drawn_without_the_encoder() -> None:
    """The canvas of z of the prior is that of the bound whose q gives the same z."""
    one, x, eps = model(BOTH), images(BOTH), noise(BOTH)
    looked = glimpses(one, x[0], [eps])
    z = torch.stack([step.z[0] for step in looked])
    drawn = glimpses(one, None, [z])
    for step, other in zip(drawn, looked, strict=True):
        close(step.canvas[0], other.canvas[0])
        assert not step.read
        assert not step.posterior
    made = one.samples(6, 2, 3)
    assert made.shape == (2, 6, SIDE**2)
    assert torch.equal(made, one.samples(6, 2, 3))
    assert set(made.unique().tolist()) <= {0.0, 1.0}


# --- members ---


def stacked(kind: DrawKind, name: str, layers: int, dropouts: Sequence[float]) -> LatentMembers:
    members = LatentMembers(ZOO[name], interface(kind), WIDTH, layers, dropouts)
    n = len(dropouts)
    members.reset_parameters((SCALES * n)[:n], [*SEEDS, *range(50, 50 + n)][:n])
    return members


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (WHOLE, "lstm"),
        (BOTH, "clockwork_rnn"),
        *(pytest.param(BOTH, name, marks=pytest.mark.process) for name in ZOO),
    ],
)
def test_members_give_what_models_give(
    kind: DrawKind, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell; from a scale of 2.8 some without bounds overflow within three glimpses."""
    if name not in FEW:
        monkeypatch.setenv("NAS_BACKEND", "eager")
    members = stacked(kind, name, 2, (0.0, 0.0, 0.0))
    members.reset_parameters((0.5, 1.0, 1.4), SEEDS)
    x = images(kind)
    scored = torch.ones(x.shape[:2], dtype=torch.bool)
    found = members.measured(x, x, scored, generators([6, 7, 8], x.device))
    for k in range(3):
        one = LatentModel(ZOO[name], interface(kind), WIDTH, 2, 0.0).double()
        one.load_state_dict(members.member_state(k))
        drawing = generators([6 + k], x.device)
        of = one.terms(x, x, noise_of(drawing, torch.float64))
        close(found[k], (of.loss + of.divergence).mean())


@pytest.mark.parametrize("kind", [BOTH, WHOLE])
def test_on_the_cpu_a_member_does_not_depend_on_the_others(kind: DrawKind) -> None:
    """To the bit: the loss and all gradients, with dropout, among 20 and after others have left."""
    dropouts = [0.3 * (k % 3) for k in range(20)]
    x = images(kind).float()
    scored = torch.ones(x.shape[:2], dtype=torch.bool)

    def results(kept: Sequence[int]) -> list[Tensor]:
        members = stacked(kind, "gru", 1, dropouts)
        members.keep(kept)
        found = members.losses(x, x, scored, 0)
        return [found.detach(), *torch.autograd.grad(found.sum(), list(members.parameters()))]

    whole = results(range(20))
    for kept in ([0], [3, 2, 17]):
        for ours, theirs in zip(results(kept), whole, strict=True):
            assert torch.equal(ours, theirs[kept])


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_counts_what_is_learned(kind: DrawKind) -> None:
    width = solve_width(ZOO["lstm"], interface(kind), Settings(20_000))
    learned = LatentModel(ZOO["lstm"], interface(kind), width, 1, 0.0).parameters()
    count = count_params(ZOO["lstm"], interface(kind), width, 1)
    assert sum(parameter.numel() for parameter in learned) == count <= 20_000
    assert count_params(ZOO["lstm"], interface(kind), width + 1, 1) > 20_000
