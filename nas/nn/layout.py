"""Which parameters a model has around the layers of a cell, by the kind that its interface names.

Every stack of the cell reads what is as wide as a state, since inside a cell x may be joined with
states elementwise. A new kind is a row of `LAYOUTS`; this file does without torch, as the budget of
a candidate is solved where nothing is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from nas.tasks.base import Attention, Interface
from nas.tasks.kinds import AttentionForm, DrawKind, ModelKind, RegionsKind, StornKind, VrnnKind


class Map(NamedTuple):
    """A linear map."""

    inputs: int
    outputs: int
    bias: bool = False

    @property
    def n_params(self) -> int:
        return (self.inputs + self.bias) * self.outputs


@dataclass(frozen=True)
class Layout:
    """The parts of a model besides the layers of the cell, in the order of their drawing."""

    embedded: int
    """Symbols or features that the embedding reads; it gives what is as wide as a state."""
    head: Map
    """The output layer."""
    maps: dict[str, Map] = field(default_factory=dict)
    """Further linear maps by their names."""
    stacks: tuple[str, ...] = ("rnn",)
    """The stacks of the cell, each as deep as the settings say; "rnn" is among them."""
    times: int = 1
    """How often all of it is applied for one position of a window."""

    @property
    def n_params(self) -> int:
        """The learned values but those of the layers and the embedding."""
        return self.head.n_params + sum(one.n_params for one in self.maps.values())

    @property
    def products(self) -> int:
        """Multiplications for a position, but those of the layers and the embedding."""
        return sum(one.inputs * one.outputs for one in (self.head, *self.maps.values()))


def layout(interface: Interface, hidden: int, output: int) -> Layout:
    """Return the parts of a model whose states are `hidden` and whose cell's outputs are `output`
    wide."""
    if interface.attention is not None:
        return _attending(interface, interface.attention, hidden, output)
    if interface.kind is not None:
        return LAYOUTS[type(interface.kind)](interface, hidden, output)
    return Layout(interface.inputs, Map(output, interface.outputs, bias=True))


def _attending(ends: Interface, attention: Attention, hidden: int, output: int) -> Layout:
    """Two stacks read and one writes.

    Annotations are twice as wide as an output of the cell, since sources are read both ways; the
    vectors that energies are computed from are as wide as a state. The output layer reads an output
    with its context, or both combined.
    """
    maps, read = _attention(attention.form, 2 * output, hidden, output)
    head = Map(read, ends.outputs, bias=True)
    return Layout(ends.inputs, head, maps, ("rnn", "backward_rnn", "decoder"))


def _attention(
    form: AttentionForm, annotation: int, hidden: int, output: int
) -> tuple[dict[str, Map], int]:
    """Return the matrices of attention to annotations, and how wide what the head reads is."""
    if form == "general":
        maps = {
            "score": Map(annotation, output),
            "combined": Map(output + annotation, hidden),
        }
        return maps, hidden
    maps = {
        "query": Map(output, hidden),
        "key": Map(annotation, hidden),
        "score": Map(hidden, 1),
        "context": Map(annotation, hidden),
    }
    return maps, output + annotation


def _regions(ends: Interface, hidden: int, output: int) -> Layout:
    """The annotation of a region is its embedding; the mean of all goes through a matrix of its
    own."""
    kind = ends.kind
    assert isinstance(kind, RegionsKind)
    maps, read = _attention(kind.form, hidden, hidden, output)
    if kind.start == "mean":
        maps["start"] = Map(hidden, hidden)
    return Layout(ends.inputs, Map(read, ends.outputs, bias=True), maps)


def _storn(ends: Interface, hidden: int, output: int) -> Layout:
    kind = ends.kind
    assert isinstance(kind, StornKind)
    maps = {
        "recognised": Map(ends.outputs, hidden),
        "posterior": Map(output, 2 * kind.latent_size, bias=True),
        "latent": Map(kind.latent_size, hidden),
    }
    head = Map(output, ends.outputs, bias=True)
    return Layout(ends.inputs, head, maps, ("rnn", "recognition"))


def _vrnn(ends: Interface, hidden: int, output: int) -> Layout:
    kind = ends.kind
    assert isinstance(kind, VrnnKind)
    twice = 2 * kind.latent_size
    maps = {
        "input": Map(hidden, hidden),
        "encoder": Map(hidden, hidden, bias=True),
        "encoder_state": Map(output, hidden),
        "posterior": Map(hidden, twice, bias=True),
        "latent": Map(kind.latent_size, hidden, bias=True),
        "input_latent": Map(hidden, hidden),
        "decoder": Map(hidden, hidden, bias=True),
        "decoder_state": Map(output, hidden),
    }
    if kind.prior == "learned":
        maps |= {
            "prior_hidden": Map(output, hidden, bias=True),
            "prior": Map(hidden, twice, bias=True),
        }
    return Layout(ends.outputs, Map(hidden, ends.outputs, bias=True), maps)


def _draw(ends: Interface, hidden: int, output: int) -> Layout:
    """One stack encodes and one, "rnn", decodes."""
    kind = ends.kind
    assert isinstance(kind, DrawKind)
    pixels = kind.side**2
    maps = {
        "decoded": Map(output, hidden),
        "posterior": Map(output, 2 * kind.latent_size, bias=True),
        "latent": Map(kind.latent_size, hidden),
    }
    windows = {"read_window": kind.read, "write_window": kind.write}
    maps |= {name: Map(output, 5, bias=True) for name, n in windows.items() if n}
    if kind.canvas == "learned":
        maps["canvas"] = Map(1, pixels)
    embedded = 2 * (kind.read**2 or pixels)
    head = Map(output, kind.write**2 or pixels, bias=True)
    return Layout(embedded, head, maps, ("rnn", "encoder"), times=kind.glimpses)


LAYOUTS: dict[type[ModelKind], Callable[[Interface, int, int], Layout]] = {
    StornKind: _storn,
    VrnnKind: _vrnn,
    DrawKind: _draw,
    RegionsKind: _regions,
}
