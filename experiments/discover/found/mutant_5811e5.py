"""Mutant5811e5: a recurrent module in the shape of torch.nn.GRU; needs torch.

From mutant_98219b: replace_by_ancestor, replace_by_ancestor, insert_complement.

    def mutant_5811e5(x, h):
        z = sigmoid(linear(x))
        return tanh((x + linear(h)) * (1 - tanh(x))) * z + h * (1 - z)

x is the input, h is the state after the step before; the new values are returned in their order.
Every linear(…) has a matrix for each argument and one bias of its own.

Written by nas 0.1.0, for the cell 5811e55bed9c1c62:
    python -m nas.export mutant_5811e5.cell mutant_5811e5.py
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence


class Mutant5811e5Layer(nn.Module):
    """One layer of mutant_5811e5 in one direction."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.z_weight = nn.Parameter(torch.empty(hidden_size, input_size))
        self.z_bias = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.y_weight = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.y_bias = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: weights from U[-s, s], s = 1 / sqrt(hidden_size); biases zero."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.endswith("_bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """One step: x (batch, input) and h (batch, width)."""
        z = torch.sigmoid(F.linear(x, self.z_weight, self.z_bias))
        v1 = torch.tanh((x + F.linear(h, self.y_weight, self.y_bias)) * (1 - torch.tanh(x)))
        return v1 * z + h * (1 - z)

    def forward(
        self, steps: Sequence[Tensor], state: Tensor, reverse: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """All steps, each (batch, input), the last first if reverse; state is (batch, width).

        In a packed batch, whose steps hold fewer and fewer sequences, those that are over keep
        their states.
        """
        outputs = []
        for x in reversed(steps) if reverse else steps:
            n = len(x)
            new = self.step(x, state[:n])
            outputs.append(new)
            state = torch.cat([new, state[n:]])
        if reverse:
            outputs.reverse()
        return outputs, state


class Mutant5811e5(nn.Module):
    """Layers of mutant_5811e5; drop-in for torch.nn.GRU.

    With L layers, D directions, time T, batch B, input size I and hidden size H: the input is (T,
    B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence; the output (T, B, D *
    H) likewise. The state h is (L * D, B, H) and starts at 0 unless given.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if input_size != hidden_size:
            rule = "mutant_5811e5 joins its input with hidden values"
            raise ValueError(f"{rule}: {input_size=} must equal {hidden_size=}.")
        if num_layers > 1 and bidirectional:
            raise ValueError("mutant_5811e5 has one layer in both directions.")
        self.mode = "MUTANT_5811E5"
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.proj_size = 0
        self.directions = directions = 2 if bidirectional else 1
        sizes = [input_size] + [directions * hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            Mutant5811e5Layer(size, hidden_size, bias) for size in sizes for _ in range(directions)
        )
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new parameters in all layers."""
        for layer in self.layers:
            assert isinstance(layer, Mutant5811e5Layer)
            layer.reset_parameters()

    def flatten_parameters(self) -> None:
        """Do nothing: code written for torch.nn.LSTM calls it."""

    def forward(
        self, x: Tensor | PackedSequence, state: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, state)
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(1)
            state = None if state is None else state.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        outputs, final = self._run(list(x.unbind()), state)
        y = torch.stack(outputs)
        if not batched:
            return y.squeeze(1), final.squeeze(1)
        return (y.transpose(0, 1) if self.batch_first else y), final

    def _forward_packed(
        self, x: PackedSequence, state: Tensor | None
    ) -> tuple[PackedSequence, Tensor]:
        if state is not None and x.sorted_indices is not None:
            state = state.index_select(1, x.sorted_indices)
        outputs, final = self._run(list(torch.split(x.data, x.batch_sizes.tolist())), state)
        if x.unsorted_indices is not None:
            final = final.index_select(1, x.unsorted_indices)
        y = torch.cat(outputs)
        return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), final

    def _run(self, steps: list[Tensor], state: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """All layers over all steps, each (batch, input)."""
        shape = (len(self.layers), len(steps[0]), self.hidden_size)
        if state is None:
            state = steps[0].new_zeros(shape)
        if state.shape != shape:
            raise ValueError(f"state must be {shape}, got {tuple(state.shape)}.")
        finals = []
        for k in range(0, len(self.layers), self.directions):
            if k and self.dropout:
                steps = [F.dropout(x, self.dropout, self.training) for x in steps]
            outputs = []
            for d in range(self.directions):
                y, final = self.layers[k + d](steps, state[k + d], reverse=d == 1)
                outputs.append(y)
                finals.append(final)
            steps = [torch.cat(both, dim=-1) for both in zip(*outputs, strict=True)]
        return steps, torch.stack(finals)


def self_test() -> None:
    """Raise AssertionError unless all that a recurrent module promises holds."""
    torch.manual_seed(0)
    rnn = Mutant5811e5(3, 3, num_layers=2, dtype=torch.float64)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    y, state = rnn(x)
    assert y.shape == (6, 2, 3), y.shape

    # The second half of a sequence goes on from the state of the first.
    first, middle = rnn(x[:3])
    second, last = rnn(x[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), y)
    torch.testing.assert_close(last, state)

    # Gradients are those of finite differences, away from 0, where relu has none.
    names = [name for name, _ in rnn.named_parameters()]

    def run(x: Tensor, state: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(names, parameters, strict=True))
        y, final = torch.func.functional_call(rnn, named, (x, state))
        return y, final

    inputs = [x[:3], state, *rnn.parameters()]
    leaves = [(t.detach() + 0.1 * torch.rand_like(t)).requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)

    # A packed batch gives what its sequences give alone, in both directions.
    rnn = Mutant5811e5(3, 3, num_layers=1, bidirectional=True, dtype=torch.float64)
    sequences = [x[:4, 0], x[:, 1], x[:2, 0]]
    packed, finals = rnn(pack_sequence(sequences, enforce_sorted=False))
    for k, part in enumerate(unpack_sequence(packed)):
        y, final = rnn(sequences[k])
        torch.testing.assert_close(part, y)
        torch.testing.assert_close(finals[:, k], final)


if __name__ == "__main__":
    self_test()
    print("Mutant5811e5: shapes, carried states, gradients, packed sequences are right.")
