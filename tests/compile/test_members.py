"""Members, threads and passes without a gradient give what one member gives on one thread."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.compile import call, loop
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell
from nas.zoo import ZOO
from tests.compile.backends import Problem, assert_exact, run
from tests.compile.test_loop import COUNTS, TRAITS, shape, trait
from tests.compile.test_reference import EVERYTHING
from tests.known import FEW, compiled
from tests.tensors import seeded

CELLS = {**ZOO, "everything": EVERYTHING, **{name: trait(text) for name, text in TRAITS.items()}}
K = 20


def place_of(name: str) -> int:
    """What sizes, counts and directions are chosen by; a new cell of the zoo changes no other's."""
    others = [one for one in CELLS if one not in ZOO]
    return list(ZOO).index(name) if name in ZOO else 1 + others.index(name)


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads for calls of any size, even of one sequence each."""
    monkeypatch.setattr(call, "MULTIPLIED", 0)
    monkeypatch.setattr(call, "ROWS_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def problem_of(name: str, shift: int) -> Problem:
    """Of the sizes whose loop tests/compile/test_loop.py compiles too: in double precision with a
    shift of 0, in single precision with one of 3."""
    place = place_of(name)
    hidden = 36 if name == "everything" else shape(place + shift)[0]
    return Problem(CELLS[name], hidden, list(COUNTS.values())[place % 6], place % 2 > 0)


def members_of(problem: Problem, count: int) -> StackedCell:
    torch.manual_seed(0)
    layer = StackedCell(problem.cell, problem.input_width, problem.hidden, count)
    layer.reset_parameters([1.0] * count, [seeded(k) for k in range(count)])
    return layer


def results(
    layer: StackedCell, which: list[int], counts: tuple[int, ...], reverse: bool, tokens: bool
) -> list[Tensor]:
    """Outputs and gradients of some members of a layer, each (members, …)."""
    rows, hidden, generator = Rows(counts), layer.hidden_size, seeded(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(layer.members, *shape, generator=generator)[which].requires_grad_()

    values = drawn(5 if tokens else rows.total, layer.sizes[0])
    x: Tensor | Tokens = values
    if tokens:
        x = Tokens(values, torch.randint(5, (rows.total,), generator=generator))
    states = [drawn(rows.batch, layer.sizes[1 + k]) for k in range(len(layer.cell.states))]
    verticals = [drawn(rows.total, hidden) for _ in layer.cell.verticals]
    some = StackedCell(layer.cell, layer.sizes[0], hidden, len(which))
    some.load_state_dict({name: value[which] for name, value in layer.state_dict().items()})
    y, finals, above = loop.run_layer(some, x, rows, states, verticals, reverse)
    outputs = [y, *finals, *above]
    loss = sum(
        (out * torch.linspace(-1, 1, out[0].numel()).view(out[0].shape)).sum() for out in outputs
    )
    assert isinstance(loss, Tensor)
    leaves = [values, *states, *verticals, *some.parameters()]
    if not loss.requires_grad:
        return outputs
    return outputs + list(torch.autograd.grad(loss, leaves, materialize_grads=True))


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@pytest.mark.parametrize("name", compiled(CELLS, FEW))
def test_a_member_gives_bit_for_bit_what_it_gives_alone(name: str) -> None:
    problem = problem_of(name, 3)
    layer = members_of(problem, 3)
    for tokens in (False, True):
        whole = results(layer, [0, 1, 2], problem.counts, problem.reverse, tokens)
        for k in range(3):
            alone = results(layer, [k], problem.counts, problem.reverse, tokens)
            assert_same([tensor[k : k + 1] for tensor in whole], alone)


@pytest.mark.parametrize("hidden", [1, 32, 33])
def test_twenty_members_give_bit_for_bit_what_each_gives_alone(hidden: int) -> None:
    layer = members_of(Problem(ZOO["mut1"], hidden, ()), K)
    whole = results(layer, list(range(K)), (20,) * 5, False, tokens=True)
    for k in range(K):
        alone = results(layer, [k], (20,) * 5, False, tokens=True)
        assert_same([tensor[k : k + 1] for tensor in whole], alone)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("name", compiled(CELLS, FEW))
def test_threads_give_what_the_reference_gives(name: str) -> None:
    problem = problem_of(name, 0)
    assert_exact(problem)
    assert_exact(replace(problem, counts=COUNTS["packed"], reverse=not problem.reverse))


@pytest.mark.usefixtures("three_threads")
def test_threads_share_members() -> None:
    layer = members_of(Problem(ZOO["lstm_peephole"], 7, ()), 5)
    threaded = results(layer, [0, 1, 2, 3, 4], COUNTS["packed"], False, tokens=True)
    torch.set_num_threads(1)
    assert_same(threaded, results(layer, [0, 1, 2, 3, 4], COUNTS["packed"], False, tokens=True))


@pytest.mark.usefixtures("three_threads")
def test_a_call_asks_for_the_threads_that_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = call.Loop.threads

    def threads(*given):
        seen.append(real(*given))
        return seen[-1]

    monkeypatch.setattr(call.Loop, "threads", threads)
    run(Problem(ZOO["lstm"], 7, (20, 20)), "c", torch.float32)
    run(Problem(ZOO["lstm"], 7, (2, 1)), "c", torch.float32)
    assert seen == [3, 2], "a layout is made once for the forward and the backward pass"


@pytest.mark.parametrize("name", compiled(CELLS, FEW))
def test_a_pass_without_a_gradient_gives_the_same(name: str) -> None:
    given = problem_of(name, 3)
    for counts, reverse in ((COUNTS["packed"], given.reverse), ((2,) * 3, not given.reverse)):
        problem = replace(given, counts=counts, reverse=reverse)
        kept = run(problem, "c", torch.float32)
        layer = problem.layer(torch.float32)
        values = problem.values(layer, torch.float32)
        n_states = len(problem.cell.states)
        x, states, verticals = values[0], values[1 : 1 + n_states], values[1 + n_states :]
        with torch.no_grad():
            y, finals, above = loop.run_layer(layer, x, Rows(counts), states, verticals, reverse)
        assert_same([y, *finals, *above], list(kept.values())[: 1 + len(finals) + len(above)])


def test_a_pass_without_a_gradient_takes_memory_for_a_step() -> None:
    layer, rows = Problem(ZOO["lstm"], 32, (20,) * 500).layer(torch.float32), Rows((20,) * 500)
    compiled = loop.compiled(layer.cell, 35, 32, torch.float32)
    sizes = {
        keep: compiled.layout(rows, torch.empty(0), (), rows.total, reverse=False, keep=keep).size
        for keep in (True, False)
    }
    assert sizes[False] < sizes[True] / 20
