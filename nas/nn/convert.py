"""Copying weights of torch's own recurrent modules into `nas.RNN`."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nas.compile.reference import EagerCell
from nas.errors import CellError

# torch's row blocks of weight_ih and weight_hh, by the line of the cell's text that they belong to.
LSTM_ROWS = ("i", "f", "g", "o")
GRU_ROWS = ("r", "z", "n")


def copy_weights(module: nn.RNNBase, layers: Iterable[nn.Module]) -> None:
    """Copy the weights of each layer and direction of `module` into those of the same network."""
    name = cell_name(module)
    for k, layer in enumerate(layers):
        assert isinstance(layer, EagerCell)
        _copy(module, _suffix(module, k), name, layer)


def cell_name(module: nn.RNNBase) -> str:
    """Return the name of the known cell that computes what `module` does.

    Raises:
        CellError: for other modules, and for an nn.LSTM with a projection.
    """
    if isinstance(module, nn.LSTM) and module.proj_size == 0:
        return "lstm"
    if isinstance(module, nn.GRU):
        return "gru_v1"
    if isinstance(module, nn.RNN):
        return "rnn" if module.nonlinearity == "tanh" else "irnn"
    what = "nn.LSTM with proj_size" if isinstance(module, nn.LSTM) else type(module).__name__
    raise CellError(f"from_torch takes nn.RNN, nn.GRU and nn.LSTM without projection, got {what}.")


def _suffix(module: nn.RNNBase, k: int) -> str:
    layer, direction = divmod(k, 2 if module.bidirectional else 1)
    return f"l{layer}{'_reverse' if direction else ''}"


@torch.no_grad()
def _copy(module: nn.RNNBase, suffix: str, name: str, layer: EagerCell) -> None:
    def get(kind: str) -> Tensor:
        tensor = getattr(module, f"{kind}_{suffix}")
        assert isinstance(tensor, Tensor)
        return tensor

    def put(target: str, *values: Tensor) -> None:
        layer.get_parameter(target).copy_(torch.cat(values, -1))

    w_ih, w_hh = get("weight_ih"), get("weight_hh")
    rows = {"lstm": LSTM_ROWS, "gru_v1": GRU_ROWS}.get(name, ("y",))
    blocks = zip(rows, w_ih.chunk(len(rows)), w_hh.chunk(len(rows)), strict=True)
    separate = {"n"} if name == "gru_v1" else {"y"} if name == "irnn" else set()
    for row, input_block, hidden_block in blocks:
        if row in separate:
            put(f"{row}_weight", input_block)
            put(f"{row}_2_weight", hidden_block)
        else:
            put(f"{row}_weight", input_block, hidden_block)
    if not module.bias:
        return
    b_ih, b_hh = get("bias_ih").chunk(len(rows)), get("bias_hh").chunk(len(rows))
    for row, input_bias, hidden_bias in zip(rows, b_ih, b_hh, strict=True):
        if name == "gru_v1" and row == "n":
            put("n_bias", input_bias)
            put("n_2_bias", hidden_bias)
        else:
            put(f"{row}_bias", input_bias + hidden_bias)
