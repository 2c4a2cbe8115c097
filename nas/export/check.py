"""The self-test of a plain file, with sizes that the cell can have."""

from collections.abc import Iterator

from nas.cell.cell import Cell
from nas.cell.count import check_sizes, size
from nas.errors import CellError
from nas.export.stack import is_single

LARGEST = 64
"""Features of the test's tensors at most."""


def small_sizes(cell: Cell) -> tuple[int, int]:
    """Small sizes of the input and the hidden values that the cell can have.

    Raises:
        CellError: if there are none.
    """
    for hidden in range(3, LARGEST + 1):
        for n_inputs in (hidden,) if cell.needs_equal_widths else (hidden - 1, *range(1, LARGEST)):
            try:
                check_sizes(cell, n_inputs, hidden)
            except CellError:
                continue
            return n_inputs, hidden
    raise CellError(f"cell {cell.name}: no widths up to {LARGEST} fit its blocks.")


def fits(cell: Cell, sizes: tuple[int, int], num_layers: int, directions: int) -> bool:
    """Whether a stack can have these sizes."""
    widths = [sizes[0]]
    for _ in range(num_layers - 1):
        widths.append(directions * size(cell.widths[cell.y], widths[-1], sizes[1]))
    states = {tuple(size(s.width, width, sizes[1]) for s in cell.states) for width in widths}
    try:
        for width in widths:
            check_sizes(cell, width, sizes[1])
    except CellError:
        return False
    return len(states) == 1


def self_test(cell: Cell, name: str) -> str:
    """The code of the test that `python out.py` runs."""
    n_inputs, hidden = sizes = small_sizes(cell)
    layers = 2 if fits(cell, sizes, 2, 1) else 1
    both = 2 if fits(cell, sizes, 2, 2) else 1
    y = size(cell.widths[cell.y], n_inputs, hidden)
    one = is_single(cell)
    final = "finals[:, k]" if one else "tuple(s[:, k] for s in finals)"
    return f'''\
def self_test() -> None:
    """Raise AssertionError unless all that a recurrent module promises holds."""
    torch.manual_seed(0)
    rnn = {name}({n_inputs}, {hidden}, num_layers={layers}, dtype=torch.float64)
    x = torch.randn(6, 2, {n_inputs}, dtype=torch.float64)
    y, state = rnn(x)
    assert y.shape == (6, 2, {y}), y.shape
{"" if _counts_steps(cell) else _HALVES}
    # Gradients are those of finite differences, away from 0, where relu has none.
    names = [name for name, _ in rnn.named_parameters()]

{_RUN_OF_ONE if one else _RUN_OF_SEVERAL.format(n=len(cell.states))}
    inputs = [x[:3], {"state" if one else "*state"}, *rnn.parameters()]
    leaves = [(t.detach() + 0.1 * torch.rand_like(t)).requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)

    # A packed batch gives what its sequences give alone, in both directions.
    rnn = {name}({n_inputs}, {hidden}, num_layers={both}, bidirectional=True, dtype=torch.float64)
    sequences = [x[:4, 0], x[:, 1], x[:2, 0]]
    packed, finals = rnn(pack_sequence(sequences, enforce_sorted=False))
    for k, part in enumerate(unpack_sequence(packed)):
        y, final = rnn(sequences[k])
        torch.testing.assert_close(part, y)
        torch.testing.assert_close({final}, final)
'''


def _counts_steps(cell: Cell) -> bool:
    return any(cell.nodes[i].op == "step" for i in cell.live)


_HALVES = """
    # The second half of a sequence goes on from the state of the first.
    first, middle = rnn(x[:3])
    second, last = rnn(x[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), y)
    torch.testing.assert_close(last, state)
"""

_RUN_OF_ONE = """\
    def run(x: Tensor, state: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(names, parameters, strict=True))
        y, final = torch.func.functional_call(rnn, named, (x, state))
        return y, final
"""

_RUN_OF_SEVERAL = """\
    def run(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(names, tensors[{n}:], strict=True))
        y, final = torch.func.functional_call(rnn, named, (x, tensors[:{n}]))
        return y, *final
"""


def main_block(name: str, *, trained: bool) -> Iterator[str]:
    """Lines that run the test."""
    yield 'if __name__ == "__main__":'
    yield "    self_test()"
    if trained:
        yield "    check_weights()"
    what = "shapes, carried states, gradients, packed sequences"
    yield f'    print("{name}: {what}{" and weights" if trained else ""} are right.")'
