"""Packages that have a cell of the zoo right compute what it computes, with our parameters.

Each function takes the parameters of a zoo cell by name and gives the package's outputs (time,
batch, H) for an input. What torchrecurrent 0.2.5 has otherwise than the papers is left out.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import nas
from nas.compile.eager import run_layer
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64

torchrecurrent = pytest.importorskip("torchrecurrent")

T, B, D, H = 6, 3, 4, 8
Weights = dict[str, Tensor]
Run = Callable[[Weights, Tensor], Tensor]


class Parts:
    """Our weights, by the name of a map and what it reads first (x) or after that (h)."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def x(self, *names: str) -> Tensor:
        return torch.cat([self.weights[f"{name}_weight"][:, :D] for name in names])

    def h(self, *names: str) -> Tensor:
        return torch.cat([self.weights[f"{name}_weight"][:, D:] for name in names])

    def whole(self, *names: str) -> Tensor:
        return torch.cat([self.weights[f"{name}_weight"] for name in names])

    def bias(self, *names: str) -> Tensor:
        return torch.cat([self.weights[f"{name}_bias"] for name in names])


def filled(theirs: nn.Module, given: dict[str, Tensor]) -> nn.Module:
    """Their module with these parameters; all others are second biases, and zero."""
    theirs.to(next(iter(given.values())).dtype)
    for name, parameter in theirs.named_parameters():
        assert name in given or "bias" in name, name
        nn.init.zeros_(parameter)
        if name in given:
            with torch.no_grad():
                parameter.copy_(given[name])
    return theirs


def steps(theirs: nn.Module, x: Tensor, n_states: int = 1) -> Tensor:
    """A cell of torchrecurrent, from zeros."""
    states = tuple(x.new_zeros(B, H) for _ in range(n_states))
    outputs = []
    for step in x:
        found = theirs(step, states[0] if n_states == 1 else states)
        states = (found,) if n_states == 1 else found
        outputs.append(states[0])
    return torch.stack(outputs)


def antisymmetric(weights: Weights, x: Tensor) -> Tensor:
    p, theirs = Parts(weights), torchrecurrent.AntisymmetricRNNCell(D, H, epsilon=0.1, gamma=0.01)
    given = {"weight_ih": p.x("y"), "weight_hh": p.whole("y_2"), "bias_ih": p.bias("y")}
    return steps(filled(theirs, given), x)


def gated_antisymmetric(weights: Weights, x: Tensor) -> Tensor:
    p = Parts(weights)
    theirs = torchrecurrent.GatedAntisymmetricRNNCell(D, H, epsilon=0.1, gamma=0.01)
    given = {"weight_ih": p.x("z", "y"), "weight_hh": p.whole("flow"), "bias_ih": p.bias("z", "y")}
    return steps(filled(theirs, given), x)


def cornn(weights: Weights, x: Tensor) -> Tensor:
    p, theirs = Parts(weights), torchrecurrent.coRNNCell(D, H, dt=0.042, gamma=2.7, epsilon=4.7)
    of_h, of_z = p.h("z_new").split(H, 1)
    given = {"weight_ih": p.x("z_new"), "weight_hh": of_h, "weight_ch": of_z}
    return steps(filled(theirs, given | {"bias_ih": p.bias("z_new")}), x, 2)


def unicornn(weights: Weights, x: Tensor) -> Tensor:
    p, theirs = Parts(weights), torchrecurrent.UnICORNNCell(D, H, dt=0.1, alpha=5.0)
    given = {"weight_ih": p.x("z_new"), "bias_ih": p.bias("z_new")}
    given |= {"weight_hh": p.whole("z_new_2"), "weight_ch": p.whole("pace")}
    return steps(filled(theirs, given), x, 2)


def minimal(weights: Weights, x: Tensor) -> Tensor:
    p, theirs = Parts(weights), torchrecurrent.MinimalRNNCell(D, H)
    of_h, of_z = p.whole("u").split(H, 1)
    given = {"weight_ih": p.x("z"), "bias_ih": p.bias("z"), "weight_hh": of_h}
    return steps(filled(theirs, given | {"weight_mm": of_z, "bias_hh": p.bias("u")}), x)


def of_gates(cell: str, *gates: str) -> Run:
    """A cell of torchrecurrent whose maps all read x and one other value."""

    def run(weights: Weights, x: Tensor) -> Tensor:
        p, theirs = Parts(weights), getattr(torchrecurrent, cell)(D, H)
        given = {"weight_ih": p.x(*gates), "weight_hh": p.h(*gates), "bias_ih": p.bias(*gates)}
        return steps(filled(theirs, given), x)

    return run


def tau_gru(weights: Weights, x: Tensor) -> Tensor:
    p, gates = Parts(weights), ("u", "z", "g", "a")
    theirs = torchrecurrent.tauGRU(D, H, delay=4)
    given = {"weight_ih": p.x(*gates), "weight_hh": p.h(*gates), "bias_ih": p.bias(*gates)}
    return filled(theirs, {f"cells.0.{name}": value for name, value in given.items()})(x)[0]


def cfc(mode: str) -> Run:
    def run(weights: Weights, x: Tensor) -> Tensor:
        from ncps.torch import CfCCell

        p = Parts(weights)
        theirs = CfCCell(D, H, mode, backbone_units=H, backbone_layers=1).to(x.dtype)
        maps = {"backbone.0": "z", "ff1": "start", "ff2": "end", "time_b": "late"}
        if mode == "pure":
            maps = {"backbone.0": "z", "ff1": "f"}
        given = {f"{a}.weight": p.whole(b) for a, b in maps.items()}
        given |= {f"{a}.bias": p.bias(b) for a, b in maps.items()}
        if mode == "pure":
            given |= {"w_tau": p.whole("y")[None], "A": p.whole("limit")[None]}
        else:  # with equal times, one map for two
            given |= {"time_a.weight": x.new_zeros(H, H), "time_a.bias": x.new_zeros(H)}
        theirs = filled(theirs, given)
        h, outputs = x.new_zeros(B, H), []
        for step in x:
            h, _ = theirs(step, h, 1.0)
            outputs.append(h)
        return torch.stack(outputs)

    return run


def minlstm(weights: Weights, x: Tensor) -> Tensor:
    """In parallel, in log space, without biases; D features in, of which it is told a factor."""
    from minGRU_pytorch.minLSTM import minLSTM

    assert not any(weights[f"{name}_bias"].any() for name in ("v1", "f", "i"))
    theirs = minLSTM(D, expansion_factor=H / D, proj_out=False)
    given = {"to_hidden_and_f_i_gate.weight": Parts(weights).x("v1", "f", "i")}
    return filled(theirs, given)(x.transpose(0, 1)).transpose(0, 1)


def slstm(weights: Weights, x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that there is no GPU
        flashrnn = pytest.importorskip("flashrnn.flashrnn.vanilla")
    p, gates, heads = Parts(weights), ("i", "log_f", "z", "o"), 4
    of_x = torch.stack([step @ p.x(*gates).T for step in x]).view(T, B, 4, heads, H // heads)
    of_h = torch.stack([weights[f"{gate}_2_weight"] for gate in gates])  # gate, head, D, P
    bias = p.bias(*gates).view(4, heads, H // heads)
    y, _ = [
        *flashrnn.flashrnn_forward(
            of_x,
            x.new_zeros(1, B, 4, heads, H // heads),
            of_h.permute(1, 3, 0, 2),  # head, P, gate, D
            bias,
            flashrnn.flashrnn_pointwise_function_registry["slstm"],
        )
    ]
    return y[:, :, 0].reshape(T, B, H)


PACKAGES: dict[str, Run] = {
    "antisymmetric_rnn": antisymmetric,
    "gated_antisymmetric_rnn": gated_antisymmetric,
    "cornn": cornn,
    "unicornn": unicornn,
    "minimal_rnn": minimal,
    "miru_1": of_gates("MiRU1Cell", "r", "y"),
    "miru_2": of_gates("MiRU2Cell", "y"),
    "tau_gru": tau_gru,
    "cfc": cfc("default"),
    "cfc_no_gate": cfc("no_gate"),
    "cfc_pure": cfc("pure"),
    "minlstm": minlstm,
    "slstm": slstm,
}
WITHOUT_BIASES = ("minlstm",)


def both(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Our outputs and the package's."""
    layer = EagerCell(nas.zoo[name], D, H, dtype=dtype)
    generator = seeded(1)
    for label, parameter in layer.named_parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
        if name in WITHOUT_BIASES and label.endswith("bias"):
            nn.init.zeros_(parameter)
    x = torch.randn(T, B, D, generator=seeded(2), dtype=dtype)
    sizes = zip(layer.cell.states, layer.sizes[1:], strict=False)
    starts = [x.new_full((B, size), state.initial) for state, size in sizes]
    ours = run_layer(layer, x.flatten(0, 1), Rows((B,) * T), starts, [], False)[0].view(T, B, H)
    return ours, PACKAGES[name]({k: v.detach() for k, v in layer.named_parameters()}, x)


def difference(name: str, dtype: torch.dtype) -> float:
    """The largest."""
    ours, theirs = both(name, dtype)
    return float((ours - theirs).detach().abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_agrees(name: str, dtype: torch.dtype) -> None:
    allowed = OTHER_KERNEL_32 if dtype == torch.float32 else OTHER_KERNEL_64
    torch.testing.assert_close(*both(name, dtype), **allowed)
