"""Members that attend, against models of one's own; the budget, and what is refused."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nas.compile.backend import Backend
from nas.errors import UserError
from nas.nn.attention import AttentionModel
from nas.nn.attention_members import AttentionMembers
from nas.nn.budget import count_params, solve_width
from nas.nn.settings import Settings
from nas.tasks.base import AttentionForm
from nas.zoo import ZOO
from tests.known import FEW, compiled
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_32
from tests.training.attending import (
    CLOCKED,
    FORMS,
    SCALES,
    SEEDS,
    WIDTH,
    close,
    interface,
    joined,
    model,
    window,
)


def stacked(
    name: str,
    form: AttentionForm,
    layers: int = 2,
    backend: Backend = "auto",
    dropouts: Sequence[float] = (0.0, 0.0, 0.0),
) -> AttentionMembers:
    cell = CLOCKED if name == "clocked" else ZOO[name]
    members = AttentionMembers(cell, interface(form), WIDTH, layers, dropouts, backend=backend)
    members.reset_parameters(SCALES, SEEDS)
    return members


def gradients(scores: Sequence[Tensor], of: nn.Module) -> list[Tensor]:
    """Of a sum in which no two scores of a member count alike."""
    parts = [(one.tanh() * torch.linspace(-1, 1, one.numel()).view_as(one)).sum() for one in scores]
    parameters = list(of.parameters())
    return list(torch.autograd.grad(torch.stack(parts).sum(), parameters))


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
@pytest.mark.parametrize("name", compiled([*ZOO, "clocked"], FEW))
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
    plain |= {label: f"{label}.weight" for label in members.layout.maps}
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

    def built() -> AttentionMembers:
        made = AttentionMembers(ZOO["lstm"], interface(form), width, 2, dropouts)
        made.reset_parameters([1.4] * 20, range(20))
        return made

    def results(members: AttentionMembers) -> list[Tensor]:
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
    monkeypatch.setattr(AttentionMembers, "parts", lambda _, tensor: tensor)
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
