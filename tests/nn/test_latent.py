"""Models with latent variables: their bound against integrals, filters, torch and differences."""

import functools
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from nas.errors import UserError
from nas.nn.budget import count_params
from nas.nn.latent import (
    Gaussian,
    Noise,
    Terms,
    bits_loss,
    bound,
    divergence,
    gaussian,
    importance_weighted,
    log_weights,
    terms,
)
from nas.nn.latent_model import LatentMembers, LatentModel, generators, noise_of
from nas.nn.loading import _kind
from nas.nn.model import described_interface
from nas.nn.settings import Stacking
from nas.tasks.base import Interface
from nas.tasks.kinds import LatentKind, StornKind, VrnnKind
from nas.zoo import ZOO
from tests.known import FEW
from tests.tolerances import DEVIATIONS, EXACT_ALGEBRA, OTHER_KERNEL_64, SAME_FORMULA

KINDS: dict[str, Callable[[int], LatentKind]] = {
    "storn": StornKind,
    "vrnn": VrnnKind,
    "vrnn with N(0, 1)": lambda size: VrnnKind(size, prior="standard"),
}
BITS, WIDTH, STEPS = 2, 4, 2
X = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
"""One sequence, (steps, 1, bits)."""
EVERY = torch.ones(STEPS, 1, dtype=torch.bool)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def interface(kind: str, latent: int = 1) -> Interface:
    return Interface(BITS, BITS, "bernoulli", tokens=False, kind=KINDS[kind](latent))


def model(kind: str, latent: int = 1, cell: str = "lstm") -> LatentModel:
    """A model in which z matters, whose q(z) is not its posterior, and wider than p(z): else the
    weights of draws have no variance."""
    made = LatentModel(ZOO[cell], interface(kind, latent), WIDTH, 1, 0.0)
    random = torch.Generator().manual_seed(3)
    made.reset_parameters(4.0, random)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):  # at 0 they would lie at the kinks of ReLUs
            torch.nn.init.uniform_(parameter, -1, 1, generator=random)
    made.get_parameter("posterior.weight").data /= 4
    made.get_parameter("posterior.bias").data[latent:] = 1.5
    if kind == "vrnn":
        made.get_parameter("prior.weight").data /= 4
    return made.eval()


def before(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def given(noise: Tensor) -> Noise:
    """The draws of one member, given."""
    return lambda _: [noise]


def drawn(n: int, seed: int = 0) -> Noise:
    return noise_of(generators([seed], torch.device("cpu")), torch.float64)


def likelihoods(made: LatentModel, kind: str, x: Tensor, noise: Tensor) -> Tensor:
    """p(x | z), (batch,), where z are what noise of N(0, 1), (steps, batch, 1), makes of p(z): step
    by step, from the papers' equations."""
    batch = noise.shape[1]
    part = {name: module for name, module in made.named_children()}
    total, y, state = torch.zeros(batch), torch.zeros(batch, WIDTH), None
    last = torch.zeros(batch, BITS)
    for t in range(len(x)):
        z, now = noise[t], x[t].expand(batch, -1)
        if kind == "storn":
            y, state = made.rnn.step(part["embedding"](last) + part["latent"](z), state, t)
            logits = part["head"](y)
        else:
            if kind == "vrnn":
                both = part["prior"](torch.relu(part["prior_hidden"](y)))
                z = both[:, :1] + (torch.log1p(both[:, 1:].exp()) + 1e-4) * z
            phi = torch.relu(part["latent"](z))
            logits = part["head"](torch.relu(part["decoder"](phi) + part["decoder_state"](y)))
            read = part["input"](torch.relu(part["embedding"](now)))
            y, state = made.rnn.step(read + part["input_latent"](phi), state, t)
        p = torch.sigmoid(logits)
        total = total + torch.where(now > 0, p, 1 - p).log().sum(1)
        last = now
    return total.exp()


@torch.no_grad()
def integrated(made: LatentModel, kind: str, x: Tensor) -> float:
    """p(x) by the trapezoidal rule over all steps: kinks of ReLUs do not suit Gauss's."""
    nodes = np.linspace(-8.0, 8.0, 401)
    each = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi) * (nodes[1] - nodes[0])
    grid = torch.tensor(list(product(nodes, repeat=len(x)))).T.unsqueeze(-1)
    share = functools.reduce(np.multiply.outer, [each] * len(x)).ravel()
    return float(likelihoods(made, kind, x, grid) @ torch.from_numpy(share))


@torch.no_grad()
def many(made: LatentModel, n: int) -> Terms:
    """The terms of so many draws, (steps, n)."""
    x = X.expand(-1, n, -1)
    return made.terms(before(x), x, drawn(n))


def mean(values: Tensor) -> tuple[float, float]:
    """The mean of independent values and its standard error."""
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_weigh_the_likelihood_as_an_integral_does(kind: str) -> None:
    """The mean of p(x, z) / q(z) is p(x), the bound is above -ln p(x), and that of many draws lies
    between and comes near."""
    made, n = model(kind), 65_536
    exact = integrated(made, kind, X)
    found = many(made, n)
    weights = log_weights(found, EVERY.expand(-1, n))
    value, error = mean(weights.exp())
    assert abs(value - exact) < DEVIATIONS * error
    assert error < 0.01 * exact
    loss = -float(np.log(exact))
    of_one, error = mean((found.loss + found.divergence).sum(0))
    assert of_one > loss + DEVIATIONS * error
    of_64, error_64 = mean(importance_weighted(weights.view(64, -1)))
    assert loss - DEVIATIONS * error_64 < of_64 < of_one - DEVIATIONS * (error + error_64)
    (of_all,) = importance_weighted(weights.unsqueeze(1)).tolist()
    assert abs(of_all - loss) < 0.1 * (of_one - loss)


@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_the_mean_of_the_ratio(kind: str) -> None:
    found = many(model(kind), 16_384)
    value, error = mean((found.divergence - found.ratio).sum(0))
    assert abs(value) < DEVIATIONS * error


def test_the_bound_of_several_draws_is_never_above_their_mean() -> None:
    """Of the same draws it holds without exception, as a logarithm is concave."""
    weights = log_weights(many(model("vrnn"), 4096), EVERY.expand(-1, 4096)).view(8, -1)
    assert (importance_weighted(weights) <= -weights.mean(0) + 1e-12).all()
    torch.testing.assert_close(importance_weighted(weights[:1]), -weights[0], **SAME_FORMULA)


def test_densities_and_divergences_are_those_of_torch() -> None:
    random = torch.Generator().manual_seed(0)
    mean, other, z = (torch.randn(5, 3, generator=random) for _ in range(3))
    scale, width = (torch.rand(5, 3, generator=random) + 0.1 for _ in range(2))
    one, two = Gaussian(mean, scale), Gaussian(other, width)
    theirs = Normal(mean, scale), Normal(other, width)
    expected = kl_divergence(*theirs).sum(-1)
    torch.testing.assert_close(divergence(one, two), expected, **EXACT_ALGEBRA)
    made = terms(torch.zeros(5), one, two, z)
    ratio = (theirs[0].log_prob(z) - theirs[1].log_prob(z)).sum(-1)
    torch.testing.assert_close(made.ratio, ratio, **EXACT_ALGEBRA)


def test_with_the_exact_posterior_every_draw_gives_what_a_kalman_filter_gives() -> None:
    """z_t = a z_{t-1} + N(0, q), x_t = z_t + N(0, r): q(z_t) given z_{t-1} and all of x."""
    a, q, r, n, random = 0.8, 0.5, 0.3, 6, np.random.default_rng(0)
    x = random.normal(size=n)
    loss, m, p = 0.0, 0.0, 0.0
    for value in x:  # the filter
        m, p = a * m, a * a * p + q
        loss += 0.5 * (np.log(2 * np.pi * (p + r)) + (value - m) ** 2 / (p + r))
        gain = p / (p + r)
        m, p = m + gain * (value - m), (1 - gain) * p
    exact, mean = np.zeros(n), np.zeros(n)  # information from the future, backward
    for t in reversed(range(n)):
        ahead = (exact[t + 1], mean[t + 1]) if t + 1 < n else (0.0, 0.0)
        through = a * a * ahead[0] / (1 + q * ahead[0])
        later = ahead[1] / a
        exact[t] = 1 / r + through
        mean[t] = (x[t] / r + through * later) / exact[t]
    z, parts = torch.zeros(4), []
    for t in range(n):
        prior = Gaussian(a * z[:, None], torch.full((4, 1), q**0.5))
        precision = exact[t] + 1 / q
        posterior = Gaussian(
            (exact[t] * mean[t] + prior.mean / q) / precision, torch.full((4, 1), precision**-0.5)
        )
        z = posterior.drawn(torch.from_numpy(random.normal(size=(4, 1))))[:, 0]
        emitted = -Normal(z, r**0.5).log_prob(torch.tensor(x[t]))
        parts.append(terms(emitted, posterior, prior, z[:, None]))
    found = Terms(*(torch.stack(one) for one in zip(*parts, strict=True)))
    weights = log_weights(found, torch.ones(n, 4, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full((4,), -loss), **EXACT_ALGEBRA)
    (tighter,) = importance_weighted(weights.unsqueeze(1)).tolist()
    assert tighter == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind: str) -> None:
    """In float64, along a random direction of all parameters, with the noise held fixed."""
    made, random = model(kind, latent=3), torch.Generator().manual_seed(1)
    x = torch.rand(5, 2, BITS, generator=random).round()
    noise, scored = torch.randn(5, 2, 3, generator=random), torch.ones(5, 2, dtype=torch.bool)
    scored[3:, 1] = False

    def loss() -> Tensor:
        return bound(made.terms(before(x), x, given(noise)), scored, weight=0.7)

    parameters = list(made.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    for place, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place))
        step, values = 1e-6, []
        with torch.no_grad():
            for sign in (1, -2, 1):
                parameter += sign * step * way
                values.append(float(loss()))
        slope = (values[0] - values[1]) / (2 * step)
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_sequence_does_not_matter(kind: str) -> None:
    made, random = model(kind), torch.Generator().manual_seed(2)
    noise = torch.randn(5, 1, 1, generator=random)
    padded = torch.cat([X, torch.ones(3, 1, BITS)])
    alone = made.terms(before(X), X, given(noise[:STEPS]))
    among = made.terms(before(padded), padded, given(noise))
    for one, other in zip(alone, among, strict=True):
        torch.testing.assert_close(one, other[:STEPS], **OTHER_KERNEL_64)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_as_likely_as_the_integral_says(kind: str) -> None:
    made, n = model(kind), 20_000
    found = made.samples(n, 1, seed=0)
    assert torch.equal(found, made.samples(n, 1, seed=0))
    assert not torch.equal(found, made.samples(n, 1, seed=1))
    for bits in product((0.0, 1.0), repeat=BITS):
        x = torch.tensor([[bits]])
        share = float((found == x).all(-1).double().mean())
        exact = integrated(made, kind, x)
        assert abs(share - exact) < DEVIATIONS * (exact * (1 - exact) / n) ** 0.5


def test_samples_go_on_from_what_was_drawn() -> None:
    """Both steps together are as likely as the integral says."""
    for kind in KINDS:
        made, n = model(kind), 20_000
        share = float((made.samples(n, STEPS, seed=0) == X).all(-1).all(0).double().mean())
        exact = integrated(made, kind, X)
        assert abs(share - exact) < DEVIATIONS * (exact * (1 - exact) / n) ** 0.5


def members(kind: str, n: int, cell: str = "lstm") -> LatentMembers:
    made = LatentMembers(ZOO[cell], interface(kind, 3), WIDTH, 1, [0.2, 0.0, 0.4][:n])
    made.reset_parameters([1.0, 2.0, 0.5][:n], [5, 6, 7][:n])
    return made


COMPARED = [
    pytest.param(name, marks=[] if name in ("lstm", "gru") else [pytest.mark.process])
    for name in ZOO
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMPARED)
def test_members_give_what_models_give(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell."""
    if name not in FEW:
        monkeypatch.setenv("NAS_BACKEND", "eager")
    stack, random = members(kind, 3, name).eval(), torch.Generator().manual_seed(4)
    x = torch.rand(4, 5, BITS, generator=random).round()
    noise = [torch.randn(4, 5, 3, generator=random) for _ in range(3)]
    found = stack._terms(before(x), x, lambda _: noise)
    for k in range(3):
        one = LatentModel(ZOO[name], interface(kind, 3), WIDTH, 1, 0.0).eval()
        one.load_state_dict(stack.member_state(k))
        for mine, theirs in zip(found[k], one.terms(before(x), x, given(noise[k])), strict=True):
            torch.testing.assert_close(mine, theirs, **OTHER_KERNEL_64)


LOOPS = [
    ("lstm", 1, "plain"),
    ("gru", 2, "residual_norm"),
    pytest.param("lstm_projected", 2, "plain", marks=pytest.mark.process),
    ("grid_lstm", 2, "plain"),
    *(pytest.param(name, 1, "plain", marks=pytest.mark.process) for name in ZOO),
]


@pytest.mark.parametrize(("name", "layers", "stacking"), LOOPS)
def test_the_loop_of_vrnn_is_its_equations_step_by_step(
    name: str, layers: int, stacking: Stacking
) -> None:
    """In a loop in Python over `RNN.step`; grid_lstm hands more than its output to the layer
    above."""
    made = LatentModel(ZOO[name], interface("vrnn", 3), WIDTH, layers, 0.0, stacking)
    random = torch.Generator().manual_seed(5)
    made.reset_parameters(2.0, random)
    part = {name: module for name, module in made.named_children()}
    x = torch.rand(4, 5, BITS, generator=random).round()
    noise = torch.randn(4, 5, 3, generator=random)
    y, state, expected = torch.zeros(5, made.rnn.output_size), None, []
    for t in range(len(x)):
        read = torch.relu(part["embedding"](x[t]))
        hidden = torch.relu(part["encoder"](read) + part["encoder_state"](y))
        posterior = gaussian(part["posterior"](hidden))
        phi = torch.relu(part["latent"](posterior.drawn(noise[t])))
        logits = part["head"](torch.relu(part["decoder"](phi) + part["decoder_state"](y)))
        prior = gaussian(part["prior"](torch.relu(part["prior_hidden"](y))))
        expected.append((bits_loss(logits, x[t]), divergence(posterior, prior)))
        y, state = made.rnn.step(part["input"](read) + part["input_latent"](phi), state, t)
    losses, divergences = (torch.stack(each) for each in zip(*expected, strict=True))
    found = made.terms(before(x), x, given(noise))
    torch.testing.assert_close(found.loss, losses, **OTHER_KERNEL_64)
    torch.testing.assert_close(found.divergence, divergences, **OTHER_KERNEL_64)
    parameters = list(made.parameters())
    mine = torch.autograd.grad((found.loss + found.divergence).sum(), parameters)
    theirs = torch.autograd.grad((losses + divergences).sum(), parameters)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, **OTHER_KERNEL_64)


def test_dropout_between_layers_is_drawn_for_each_step() -> None:
    """With all but nothing kept, the second layer reads zeros, and the first one cannot learn."""
    made = LatentMembers(ZOO["lstm"], interface("vrnn", 3), WIDTH, 2, [1 - 1e-12])
    made.train().losses(before(X), X, EVERY, 0).sum().backward()
    (first, second) = (layer.get_parameter("i_weight").grad for layer in made.rnn.layers)
    assert first is not None
    assert second is not None
    assert not first.any()


@pytest.mark.parametrize("kind", KINDS)
def test_weight_of_the_divergence_rises(kind: str) -> None:
    annealed = type(KINDS[kind](3))(3, annealing=4)
    ends = Interface(BITS, BITS, "bernoulli", tokens=False, kind=annealed)
    stack = LatentMembers(ZOO["lstm"], ends, WIDTH, 1, [0.0]).eval()
    losses = []
    for step in (0, 1, 3, 9):
        stack.reset_parameters([1.0], [0])  # and the noise anew
        losses.append(stack.losses(before(X), X, EVERY, step).item())
    part = losses[1] - losses[0]
    assert part > 0
    assert losses[2:] == pytest.approx([losses[0] + 3 * part] * 2, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["lstm", "lstm_peephole", "mut1", "rnn"])
def test_what_is_counted_is_what_the_model_learns(kind: str, name: str) -> None:
    for layers in (1, 2):
        made = LatentModel(ZOO[name], interface(kind, 3), 6, layers, 0.0)
        learned = sum(parameter.numel() for parameter in made.parameters())
        assert count_params(ZOO[name], interface(kind, 3), 6, layers) == learned


def test_a_model_without_a_next_step_says_so() -> None:
    with pytest.raises(UserError, match="gives no scores of a next step"):
        model("storn")(X)


def test_bits_lose_what_their_probability_says() -> None:
    logits, bits = torch.tensor([[0.3, -2.0]]), torch.tensor([[1.0, 0.0]])
    expected = -(torch.sigmoid(logits[0, 0]).log() + (1 - torch.sigmoid(logits[0, 1])).log())
    torch.testing.assert_close(bits_loss(logits, bits)[0], expected, **SAME_FORMULA)


GIVEN = {"name": "vrnn", "latent_size": 2, "annealing": 0, "prior": "standard"}


def test_a_description_of_a_kind_is_read_with_care() -> None:
    """Files of weights may come from anywhere."""
    ends = Interface(2, 2, "bernoulli", tokens=False, kind=VrnnKind(2, prior="standard"))
    assert described_interface(ends)["interface"]["kind"] == GIVEN
    assert _kind({"kind": GIVEN}) == ends.kind
    assert _kind({}) is None
    for wrong, message in (
        ({"name": ["vrnn"]}, "must be one of storn, vrnn"),
        ({"latent_size": "2"}, "latent_size must be of the type int"),
        ({"latent_size": True}, "latent_size must be of the type int"),
        ({"latent_size": 0}, "latent_size must be at least 1"),
        ({"prior": "none"}, "prior must be one of learned, standard"),
        ({"more": 1}, "has other fields"),
    ):
        with pytest.raises(UserError, match=message):
            _kind({"kind": {**GIVEN, **wrong}})
