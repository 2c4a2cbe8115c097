"""DRAW: an image that is looked at and drawn in several glimpses.

Gregor et al. 2015, arXiv:1502.04623, equations 1 to 8 for what is read, encoded, drawn from and
written, and section 3.2 for the windows. One stack of the cell encodes what is read and the output
of the other, which decodes z and writes. What the paper joins to one vector goes through two
matrices here, of which the sum is taken, so that inside a cell x stays as wide as a state. The
outputs before the first glimpse are zeros and the states the cell's own; the canvas is learned, as
in the paper, or zeros.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.nn import windows
from nas.nn.latent import (
    Draw,
    Gaussian,
    Noise,
    Parts,
    Side,
    Terms,
    bits_loss,
    halves,
    standard,
    terms,
)
from nas.nn.loop_cell import Loop, LoopCell
from nas.nn.looped import Stepping
from nas.nn.settings import Stacking
from nas.tasks.kinds import DrawKind

MOST = 10.0
"""The largest size of a logarithm. Outputs of a cell may be of any size, and the exponential of 100
has no square in float32; at 10 a stride is 22,000 times that which fits the image."""


class Window(NamedTuple):
    """Where a grid of n x n Gaussian filters lies in each image.

    Places are in pixels, of which the first is 1.
    """

    centre: Tensor
    """The column and the row of the centre, (images, 2)."""
    stride: Tensor
    """Pixels from one filter to the next, (images, 1)."""
    variance: Tensor
    """Of the Gaussians, in squared pixels, (images, 1)."""
    intensity: Tensor
    """What is read is multiplied by it, what is written divided, (images, 1)."""


class Glimpse(NamedTuple):
    """A step of all members; `posterior` and `read` are empty where no image is looked at."""

    canvas: Parts
    """The logits of the pixels after the step, (images, pixels)."""
    z: Parts
    """(images, latent)."""
    posterior: list[Gaussian]
    read: list[Window]
    """The windows that are read; empty without attention."""
    written: list[Window]
    """The windows that are written; empty without attention."""


def window(parameters: Tensor, n: int, side: int) -> Window:
    """Make windows of n x n filters from five numbers for each image, (images, 5).

    They are the column and the row of the centre, -1 to 1 from edge to edge, and the logarithms of
    the variance, of the stride, which is 1 where the filters reach over the image, and of the
    intensity.
    """
    centre, logarithms = parameters.split([2, 3], -1)
    variance, stride, intensity = exponential(logarithms).split(1, -1)
    widest = (side - 1) / max(n - 1, 1)
    return Window((side + 1) / 2 * (centre + 1), widest * stride, variance, intensity)


def exponential(logarithms: Tensor) -> Tensor:
    """Return e to the power of logarithms, which are held in [-MOST, MOST]."""
    return logarithms.clamp(-MOST, MOST).exp()


def filters(of: Window, n: int, side: int) -> Tensor:
    """Return n Gaussian filters along the columns and n along the rows, (images, 2, n, side).

    Each sums to 1, also one that lies outside of the image, whose nearest pixel it then is.
    """
    places = _from_one(n, of.centre) - n / 2 - 0.5
    means = of.centre[..., None] + (of.stride * places)[:, None]
    squares = (_from_one(side, of.centre) - means[..., None]).square()
    shares: Tensor = (squares / (-2 * of.variance[..., None, None])).softmax(-1)
    return shares


def _from_one(n: int, like: Tensor) -> Tensor:
    return torch.arange(1, n + 1, device=like.device, dtype=like.dtype)


def read(images: Tensor, of: Window, n: int, side: int) -> Tensor:
    """Return what windows show of images (images, channels, pixels), (images, channels * n * n)."""
    columns, rows = filters(of, n, side).unsqueeze(2).unbind(1)
    seen = torch.matmul(torch.matmul(rows, images.unflatten(-1, (side, side))), columns.mT)
    return seen.flatten(1) * of.intensity


def write(patch: Tensor, of: Window, n: int, side: int) -> Tensor:
    """Return images with patches, (images, n * n), at their windows: (images, pixels)."""
    columns, rows = filters(of, n, side).unbind(1)
    small = (patch / of.intensity).unflatten(-1, (n, n))
    return torch.matmul(torch.matmul(rows.mT, small), columns).flatten(1)


def glimpses(side: Side, images: Tensor | None, draws: Parts) -> list[Glimpse]:
    """Look at images, (images, pixels), and draw them; with None, draw what nothing was seen of.

    `draws` are the noise of z, (glimpses, images, latent) of each member; without images they are z
    itself, of its prior.
    """
    if images is None:
        return _made_up(side, draws)
    kind, seen = kind_of(side), _seen(side, images, draws)
    return [
        Glimpse(
            side.apart(canvas),
            [z[t] for z in seen.z],
            [Gaussian(q.mean[t], q.scale[t]) for q in seen.posteriors],
            [window(five, kind.read, kind.side) for of in reads for five in side.apart(of)],
            [window(five, kind.write, kind.side) for of in writes for five in side.apart(of)],
        )
        for t, (canvas, reads, writes) in enumerate(
            zip(seen.canvases, seen.reads, seen.writes, strict=True)
        )
    ]


def _made_up(side: Side, draws: Parts) -> list[Glimpse]:
    kind, steps = kind_of(side), list(zip(*(draw.unbind() for draw in draws), strict=True))
    canvas, found = _start(side, list(steps[0])), []
    y, state = side.started("rnn", list(steps[0]))
    for t, z in enumerate(map(list, steps)):
        y, state = side.stepped("rnn", side.mapped("latent", z), state, t)
        patch = side.mapped("head", side.thinned(y))
        five = side.mapped("write_window", y) if kind.write else []
        if kind.write:
            members = zip(canvas, patch, five, strict=True)
            canvas = [_with_patch(*member, kind) for member in members]
        else:
            canvas = [one + more for one, more in zip(canvas, patch, strict=True)]
        written = [window(one, kind.write, kind.side) for one in five]
        found.append(Glimpse(canvas, z, [], [], written))
    return found


class _Seen(NamedTuple):
    """What happened to images; tensors of members are `joined`, but those of lists of members."""

    canvases: list[Tensor]
    """After each glimpse, (images, pixels)."""
    reads: list[list[Tensor]]
    """The five numbers of the window that is read at each glimpse, if there is one, (images, 5)."""
    writes: list[list[Tensor]]
    """Of that which is written."""
    posteriors: list[Gaussian]
    """(glimpses, images, latent)."""
    z: Parts


def _seen(side: Side, images: Tensor, draws: Parts) -> _Seen:
    kind, rnn = kind_of(side), side.stack("rnn")
    like = [draw[0] for draw in draws]
    step = Stepping(side, _loop(rnn.cell, len(rnn.layers), rnn.stacking, kind), like)
    backend, canvas = rnn.backend, side.joined(_start(side, like))
    in_c = windows.runs_in_c(backend, canvas)
    y, _ = side.started("rnn", like)
    five = side.joined(side.mapped("read_window", y)) if kind.read else None
    found, encoded = _Seen([], [], [], [], []), []
    for noise in side.joined(draws).unbind(-3):
        found.reads.append([] if five is None else [five])
        patch = _looked(side, images, canvas, five, in_c=in_c)
        kept = side.joined(side.thinned([one.new_ones(one.shape) for one in y]))
        after = step({"patch": patch, "noise": noise, "kept": kept})
        encoded.append(after["encoder"])
        five, of_writing = after.get("read_window"), after.get("write_window")
        found.writes.append([] if of_writing is None else [of_writing])
        canvas = _written(side, canvas, after["written"], of_writing, in_c=in_c)
        found.canvases.append(canvas)
    outputs = side.apart(torch.stack(encoded, -3))
    posteriors = [_posterior(both) for both in side.mapped("posterior", outputs)]
    z = [q.drawn(noise) for q, noise in zip(posteriors, draws, strict=True)]
    return found._replace(posteriors=posteriors, z=z)


@lru_cache(maxsize=256)
def _loop(cell: Cell, num_layers: int, stacking: Stacking, kind: DrawKind) -> Loop:
    """From what is read to what is written: the patch, the noise of z and what dropout keeps go in,
    what is written and the numbers of both windows come out."""
    pixels, output = kind.side**2, cell.widths[cell.y]
    patch, written = 2 * (kind.read**2 or pixels), kind.write**2 or pixels
    filtered = {"read_window": kind.read, "write_window": kind.write}
    numbers = dict.fromkeys((name for name, n in filtered.items() if n), 5)
    widths = {"patch": patch, "noise": kind.latent_size, "kept": output, "written": written}
    stacks = ["encoder", "rnn"]
    loop = LoopCell(cell, num_layers, stacking, stacks, through={**widths, **numbers})
    both = loop.map("embedding", loop.through["patch"]), loop.map("decoded", loop.before("rnn"))
    seen = loop.run("encoder", loop.add("add", *both))
    mean, logarithm = (
        loop.map("posterior", seen, kind.latent_size, bias=True, part=part, parts=2)
        for part in range(2)
    )
    logarithm = loop.add("max", logarithm, loop.add("constant", value=-MOST))
    logarithm = loop.add("min", logarithm, loop.add("constant", value=MOST))
    drawn = loop.add("mul", loop.add("exp", logarithm), loop.through["noise"])
    y = loop.run("rnn", loop.map("latent", loop.add("add", mean, drawn)))
    kept = loop.add("mul", y, loop.through["kept"])
    loop.becomes("written", loop.map("head", kept, written, bias=True))
    for name in numbers:
        loop.becomes(name, loop.map(name, y, 5, bias=True))
    return loop.finished(y)


def _start(side: Side, like: Parts) -> Parts:
    """Return the canvases before the first glimpse, (images, pixels)."""
    kind = kind_of(side)
    if kind.canvas == "learned":
        return side.mapped("canvas", [one.new_ones(len(one), 1) for one in like])
    return [one.new_zeros(len(one), kind.side**2) for one in like]


def _posterior(both: Tensor) -> Gaussian:
    mean, logarithm = halves(both)
    return Gaussian(mean, exponential(logarithm))


def _looked(
    side: Side, images: Tensor, canvas: Tensor, five: Tensor | None, *, in_c: bool
) -> Tensor:
    """Return what is read of images and of what the canvas lacks, through windows if these are
    given by their five numbers: (images, read)."""
    kind = kind_of(side)
    if five is not None and in_c:
        return windows.look(images, canvas, five, kind.read, kind.side)
    patches = []
    fives = [None] * side.members if five is None else side.apart(five)
    for one, numbers in zip(side.apart(canvas), fives, strict=True):
        both = torch.stack([images, images - torch.sigmoid(one)], 1)
        if numbers is None:
            patches.append(both.flatten(1))
        else:
            of = window(numbers, kind.read, kind.side)
            patches.append(read(both, of, kind.read, kind.side))
    return side.joined(patches)


def _written(
    side: Side, canvas: Tensor, patch: Tensor, five: Tensor | None, *, in_c: bool
) -> Tensor:
    """Return the canvas with a patch, at its window if that is given by its five numbers."""
    kind = kind_of(side)
    if five is None:
        return canvas + patch
    if in_c:
        return windows.write_on(canvas, patch, five, kind.write, kind.side)
    members = zip(side.apart(canvas), side.apart(patch), side.apart(five), strict=True)
    return side.joined([_with_patch(*member, kind) for member in members])


def _with_patch(canvas: Tensor, patch: Tensor, five: Tensor, kind: DrawKind) -> Tensor:
    return canvas + write(patch, window(five, kind.write, kind.side), kind.write, kind.side)


def draw(side: Side, _: Tensor, targets: Tensor, noise: Noise) -> list[Terms]:
    """Return the terms of each member for one draw of z; each position of `targets`, (time, batch,
    pixels), is an image."""
    kind, images = kind_of(side), targets.flatten(0, 1)
    draws = noise((kind.glimpses, len(images), kind.latent_size))
    seen = _seen(side, images.to(draws[0]), draws)
    each = zip(side.apart(seen.canvases[-1]), seen.posteriors, seen.z, strict=True)
    return [_terms(bits_loss(canvas, images), q, one, targets.shape[:2]) for canvas, q, one in each]


def _terms(loss: Tensor, posterior: Gaussian, z: Tensor, shape: Sequence[int]) -> Terms:
    """Return the terms of positions of this shape, of which each is an image; z and its
    distribution are (glimpses, images, latent)."""
    of = terms(loss, posterior, standard(z), z)
    parts = (of.loss, of.divergence.sum(0), of.ratio.sum(0))
    return Terms(*(one.view(*shape) for one in parts))


def draw_samples(side: Side, first: Tensor, n_steps: int, noise: Noise, drawn: Draw) -> Parts:
    """Return images of each member, (n_steps, images, pixels), each position another one; `first`
    is like a step of them."""
    kind = kind_of(side)
    z = noise((kind.glimpses, n_steps * len(first), kind.latent_size))
    bits = drawn(glimpses(side, None, z)[-1].canvas)
    return [one.unflatten(0, (n_steps, -1)) for one in bits]


def kind_of(side: Side) -> DrawKind:
    """Return what the interface says of the glimpses."""
    assert isinstance(side.interface.kind, DrawKind), "models of other kinds do not draw"
    return side.interface.kind
