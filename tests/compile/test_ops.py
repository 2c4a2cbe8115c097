"""The table of ops: each derivative as written equals autograd, each function NumPy's."""

import ast
import operator
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.cell import OPS, Node, node
from nas.cell.ops import ACTIVATIONS, FIXED, INPUTS
from nas.compile.reference import FUNCTIONS
from tests.interpreter import MEANING
from tests.tolerances import SAME_FORMULA

COMPUTED = [name for name, op in OPS.items() if op.kind in ("elementwise", "row")]

# The small language of derivatives.
CALLS: dict[str, Callable[..., Tensor]] = {
    "mean": lambda a: a.mean(-1, keepdim=True),
    "total": lambda a: a.sum(-1, keepdim=True),
    "where": lambda condition, a, b: torch.where(condition, torch.as_tensor(a), torch.as_tensor(b)),
    **{f: getattr(torch, f) for f in ("sign", "abs", "square", "sqrt", "exp", "erf", "sin", "cos")},
}
OPERATORS: dict[type[ast.AST], Callable[..., Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.Eq: operator.eq,
}


def evaluate(formula: str, names: dict[str, Tensor | float]) -> Tensor:
    """The value of a derivative; anything outside the small language is a KeyError."""

    def value(place: ast.expr) -> Tensor:
        match place:
            case ast.Name(name):
                return names[name]
            case ast.Constant(number):
                return number
            case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
                return OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(op, operand):
                return OPERATORS[type(op)](value(operand))
            case ast.Call(ast.Name(name), args, []):
                return CALLS[name](*map(value, args))
        raise KeyError(ast.dump(place))

    return value(ast.parse(formula, mode="eval").body)


def arguments(op: str) -> list[Tensor]:
    """Rows of random values, of equal values, and of values on and beside the kinks."""
    rng = np.random.default_rng(3)
    a, b, c = (torch.tensor(rng.normal(size=(6, 5))) for _ in range(3))
    b[1] = a[1]  # ties
    a[2], a[3] = a[2].abs() + 10, -a[3].abs() - 10  # where activations are flat
    a[4] = torch.tensor([3.0, -3.0, 2.5, -2.5, 0.0])  # steps of floor, corners of hard_sigmoid
    if op in ("log", "sqrt"):
        a = a.abs() + 0.1
    return [a, b, c][: OPS[op].arity]


def attrs_of(op: str) -> list[dict[str, float]]:
    slopes = [0.01, 1 / 6, 0.2]
    return [{"slope": s} for s in slopes] if "slope" in OPS[op].attrs else [dict(node(op).attrs)]


@pytest.mark.parametrize("op", COMPUTED)
def test_the_derivative_as_written_is_autograds(op):
    for attrs in attrs_of(op):
        args = [a.requires_grad_() for a in arguments(op)]
        y = FUNCTIONS[op](*args, *attrs.values())
        g = torch.tensor(np.random.default_rng(4).normal(size=y.shape))
        expected = torch.autograd.grad(y, args, g)
        names = dict(zip("abc", [a.detach() for a in args], strict=False)) | attrs
        names |= {"y": y.detach(), "g": g}
        for formula, gradient in zip(OPS[op].vjp, expected, strict=True):
            torch.testing.assert_close(evaluate(formula, names), gradient, **SAME_FORMULA)


@pytest.mark.parametrize("op", COMPUTED)
def test_the_reference_means_what_numpy_means(op):
    for attrs in attrs_of(op):
        args = arguments(op)
        ours = FUNCTIONS[op](*args, *attrs.values())
        theirs = MEANING[op](*(a.numpy() for a in args), *attrs.values())
        np.testing.assert_allclose(ours.numpy(), theirs, **SAME_FORMULA)


@pytest.mark.parametrize(
    "op", ["gelu", "silu", "layer_norm", "rms_norm", "softmax", "blend", "div"]
)
def test_the_reference_has_the_derivative_of_finite_differences(op):
    args = [(a[:2] + 0.1).clone().requires_grad_() for a in arguments(op)]
    attrs = dict(node(op).attrs).values()
    assert torch.autograd.gradcheck(lambda *a: FUNCTIONS[op](*a, *attrs), args)


def test_every_op_is_handled():
    assert set(FUNCTIONS) == set(COMPUTED) == set(MEANING)
    others = {name for name in OPS if name not in COMPUTED}
    learned = {"vector", "scalar", "linear", "diagonal", "block_diagonal", "masked", "skew"}
    assert others == {*INPUTS, *learned, *FIXED, "constant", "step", "unit"}


@pytest.mark.parametrize("name", OPS)
def test_a_row_of_the_table_is_complete(name):
    op = OPS[name]
    assert op.meaning
    assert (op.flops > 0) == (name in COMPUTED)
    assert len(op.vjp) == (op.arity if name in COMPUTED else 0)
    assert op.arity is None or not op.commutative or op.arity == 2


@pytest.mark.parametrize("op", [name for name, op in OPS.items() if op.commutative and op.arity])
def test_commutative_ops_commute(op):
    a, b = arguments(op)
    torch.testing.assert_close(FUNCTIONS[op](a, b), FUNCTIONS[op](b, a), rtol=0, atol=0)


def test_activations_take_one_value_and_keep_its_shape():
    assert "tanh" in ACTIVATIONS
    assert "neg" not in ACTIVATIONS
    for op in ACTIVATIONS:
        assert FUNCTIONS[op](torch.ones(2, 3), *dict(node(op).attrs).values()).shape == (2, 3)


def test_a_node_has_all_attributes_in_the_order_of_the_table():
    assert node("linear", 0, eye=1).attrs == (("bias", 0.0), ("eye", 1.0), ("width", "hidden"))
    assert node("linear", 0, eye=1) == Node("linear", (0,), node("linear", 0, eye=1).attrs)
