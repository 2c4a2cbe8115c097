"""Pictures of what the winner looks at: attention beside the words it writes, and DRAW's canvas."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.report.document import Figure
from nas.report.figures import GREEN, GREY, ORANGE, figure
from nas.tasks.captions import END, Captions
from nas.tasks.draw import Draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from nas.training.looked import Box, Caption, Drawn

Numbers = NDArray[np.floating[Any]]
N_CAPTIONS = 6
"""Captions that are drawn, a row each."""
N_IMAGES, N_DRAWN, N_SAMPLES = 3, 3, 40
"""Images that are looked at, samples that are drawn step by step, and samples whose end is."""
MOST_COLUMNS = 10
"""Glimpses that are drawn, the first and the last among them."""
THUMBNAIL = 0.8
"""Inches along the height of an image."""


class Tiles:
    """Images of one size in rows and columns of one panel, with room between them."""

    def __init__(self, panel: "Axes", size: tuple[int, int], gaps: tuple[int, int]) -> None:
        """`size` and `gaps` are rows and columns of pixels."""
        self.panel, self.size, self.gaps = panel, size, gaps
        self.last = [0, 0]
        panel.set_axis_off()
        panel.grid(visible=False)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return the place of a tile's first pixel, (x, y)."""
        height, width = (one + gap for one, gap in zip(self.size, self.gaps, strict=True))
        return column * width, row * height

    def image(self, at: tuple[int, int], pixels: Numbers, title: str = "", **style: Any) -> None:
        """Draw an image, 0 to 1, at a row and column; `style` is that of its title."""
        from matplotlib.patches import Rectangle

        (x, y), (height, width) = self.corner(*at), self.size
        self.shade(at, pixels, cmap="gray_r", vmin=0, vmax=1)
        frame: dict[str, Any] = {"fill": False, "color": GREY, "linewidth": 0.5}
        self.panel.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, **frame))
        if title:
            middle = x + (width - 1) / 2
            self.panel.text(middle, y - 1, title, ha="center", va="bottom", **style)
        self.last = [max(self.last[0], x + width), max(self.last[1], y + height)]
        self.panel.set_xlim(-0.5 - self.gaps[1] / 2, self.last[0] - 0.5 + self.gaps[1] / 2)
        self.panel.set_ylim(self.last[1] - 0.5 + self.gaps[1] / 2, -0.5 - self.gaps[0])

    def shade(self, at: tuple[int, int], pixels: Numbers, **style: Any) -> None:
        """Draw pixels over a tile."""
        (x, y), (height, width) = self.corner(*at), self.size
        edges = (x - 0.5, x + width - 0.5, y + height - 0.5, y - 0.5)
        self.panel.imshow(pixels, extent=edges, **style)

    def box(self, at: tuple[int, int], of: "Box", colour: str) -> None:
        """Draw a window; where it leaves the image, beside the edge."""
        from matplotlib.patches import Rectangle

        (x, y), beyond = self.corner(*at), 0.3 * self.gaps[1]
        ends = np.array([[of.left, of.top], [of.left + of.edge, of.top + of.edge]])
        least, most = -0.5 - beyond, self.size[0] - 0.5 + beyond
        (left, top), (right, bottom) = np.clip(ends, least, most).tolist()
        style: dict[str, Any] = {"fill": False, "color": colour}
        style["linewidth"] = float(np.clip(1.2 * of.spread, 0.6, 3.0))
        corner = (x + left, y + top)
        self.panel.add_patch(Rectangle(corner, right - left, bottom - top, **style))


def captions(weights: Path, task: Captions, name: str) -> Figure:
    """What the winner writes of the first images, and where it looks for each word."""
    from nas.training.looked import captions_of  # torch

    every = captions_of(weights, task)
    shown = every[:N_CAPTIONS]
    share = float(np.mean([one.is_right for one in every]))
    caption = (
        f"{task.name}: what {name} writes of the first images of validation, each word with its "
        "weights over the regions: the bluer, the more it attends. Words in orange are wrong. Of "
        f"all {len(every):,} captions, written by the model alone, {share:.1%} are wholly right."
    )
    height, width = task.canvas
    gaps = max(4, height // 3), max(2, width // 6)
    n_columns = 1 + max(len(one.found) for one in shown)

    def draw(canvas: "Canvas") -> None:
        tiles = Tiles(canvas.subplots(), task.canvas, gaps)
        for row, one in enumerate(shown):
            _caption(tiles, row, task, one)

    inch = THUMBNAIL / height
    sizes = n_columns * (width + gaps[1]) * inch, len(shown) * (height + gaps[0]) * inch
    return figure(f"attention_{task.name}", caption, sizes, draw)


def _caption(tiles: Tiles, row: int, task: Captions, one: "Caption") -> None:
    """Draw one caption: the image, then the image with the weights of each word."""
    tiles.image((row, 0), one.canvas, "image", color=GREY, fontsize="small")
    for place, symbol in enumerate(one.found):
        word, wanted = _word(symbol), _word(one.true[place]) if place < len(one.true) else ""
        title = word if word == wanted or not wanted else f"{word}, not {wanted}"
        at = (row, place + 1)
        tiles.image(at, one.canvas, title, color=GREEN if word == wanted else ORANGE)
        shares = over_pixels(task, one.weights[place])
        tiles.shade(at, np.ones(shares.shape), cmap="Blues", vmin=0, vmax=1.4, alpha=0.75 * shares)


def _word(symbol: int) -> str:
    return "end" if symbol == END else str(symbol)


def over_pixels(task: Captions, weights: Numbers) -> Numbers:
    """Return the weight of the regions that each pixel lies in, as a share of the largest."""
    found = np.zeros(task.canvas)
    for place, weight in enumerate(weights):
        y, x = np.array(divmod(place, task.grid[1])) * task.stride
        found[y : y + task.patch, x : x + task.patch] += weight
    return np.asarray(found / found.max())


def drawing(weights: Path, task: Draw, name: str) -> Iterator[Figure]:
    """How the winner looks at images and draws them, and what it makes up."""
    from nas.training.looked import glimpses_of, samples_of  # torch

    yield _looking(task, name, glimpses_of(weights, task, N_IMAGES))
    yield _made_up(task, name, samples_of(weights, task, N_SAMPLES))


def _looking(task: Draw, name: str, images: Sequence["Drawn"]) -> Figure:
    shown = _columns(task.glimpses)
    caption = (
        f"{task.name}: {name} looks at images of the validation split and draws them, glimpse by "
        "glimpse. Above, the image with the window that is read (green); below, the probability of "
        "each pixel on the canvas, with the window that is written (orange). Wider filters have "
        "thicker lines; a line beside the edge stands for one that lies outside."
    )

    def draw(canvas: "Canvas") -> None:
        tiles = _drawn_tiles(canvas, task)
        for k, one in enumerate(images):
            assert one.image is not None, "it was looked at"
            for column, t in enumerate(shown):
                tiles.image((2 * k, column), one.image, "" if k else str(t + 1))
                _step(tiles, (2 * k + 1, column), one, t)
                for box in one.read[t : t + 1]:
                    tiles.box((2 * k, column), box, GREEN)

    return figure(f"glimpses_{task.name}", caption, _inches(task, 2 * len(images)), draw)


def _made_up(task: Draw, name: str, samples: Sequence["Drawn"]) -> Figure:
    shown = _columns(task.glimpses)
    caption = (
        f"{task.name}: what {name} makes up. The first {N_DRAWN} rows are samples, glimpse by "
        "glimpse, with the window that is written; those below are the ends of "
        f"{len(samples)} samples. Grey is the probability of a pixel."
    )

    def draw(canvas: "Canvas") -> None:
        tiles = _drawn_tiles(canvas, task)
        for k, one in enumerate(samples[:N_DRAWN]):
            for column, t in enumerate(shown):
                _step(tiles, (k, column), one, t, "" if k else str(t + 1))
        for k, one in enumerate(samples):
            row, column = divmod(k, MOST_COLUMNS)
            tiles.image((N_DRAWN + row, column), one.canvases[-1])

    n_rows = N_DRAWN + -(-len(samples) // MOST_COLUMNS)
    return figure(f"samples_{task.name}", caption, _inches(task, n_rows, MOST_COLUMNS), draw)


def _step(tiles: Tiles, at: tuple[int, int], one: "Drawn", t: int, title: str = "") -> None:
    """Draw the canvas after a glimpse."""
    tiles.image(at, one.canvases[t], title)
    for box in one.written[t : t + 1]:
        tiles.box(at, box, ORANGE)


def _drawn_tiles(canvas: "Canvas", task: Draw) -> Tiles:
    return Tiles(canvas.subplots(), (task.side, task.side), (_gap(task), _gap(task)))


def _gap(task: Draw) -> int:
    return max(2, task.side // 4)


def _inches(task: Draw, n_rows: int, n_columns: int = 0) -> tuple[float, float]:
    tile = THUMBNAIL * (task.side + _gap(task)) / task.side
    return tile * (n_columns or len(_columns(task.glimpses))), tile * n_rows


def _columns(n: int) -> list[int]:
    """Return the glimpses that are drawn, evenly spaced, the first and the last among them."""
    return [round(place) for place in np.linspace(0, n - 1, min(n, MOST_COLUMNS))]
