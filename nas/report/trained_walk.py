"""The walk of a trained winner goes on with data of one's own: its gates at every step, and how far
back it remembers."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.cell.cell import Cell
from nas.cell.walk.names import named
from nas.cell.walk.page import prose, walk
from nas.cell.walk.steps import steps_of
from nas.cell.walk.words import Words
from nas.errors import UserError
from nas.report.figures import BLUE, GREEN, ORANGE, figure
from nas.report.heat import heat_map, series, shown
from nas.zoo import ZOO, studied

if TYPE_CHECKING:  # torch takes seconds
    from matplotlib.figure import Figure as Canvas

    from nas.nn.loading import Loaded
    from nas.nn.model import SequenceModel
    from nas.nn.trained import TrainedModel

Array = NDArray[np.float64]
LONGEST = 400
"""Steps that are shown."""
FEW = 0.98
"""Share of the values of a state that its colours tell apart; a few large ones would fade all."""
REMEMBERED = 150
"""Steps over which gradients are computed."""
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")
COLOURS = (BLUE, ORANGE, GREEN)


def trained_walk(source: str, task: str, on: str) -> tuple[Cell, str]:
    """Return the cell of a trained model, and the page of its walk on a text or a series.

    `source` and `task` are those of `nas.load`. `on` is a text, whole numbers, or the path of a
    text or of a table; what is read of it is what `model.predict` would read.

    Raises:
        UserError: if there is no such model, or it cannot read this.
    """
    from nas.nn.loading import read, whole
    from nas.nn.trained import TrainedModel

    loaded = read(source, task)
    model = whole(loaded, source)
    if not isinstance(model, TrainedModel):
        raise UserError(f"{source} holds layers without a task: --on needs a model with one.")
    seen = _seen(model, on)
    sections = [_gates(model, seen), _memory(source, loaded, model, seen)]
    return model.cell, walk(model.cell, sections)


@dataclass(frozen=True)
class Seen:
    """What a model reads of the data that were given."""

    values: NDArray[Any]
    """Tokens, (steps,), or features, (steps, features), as `asked` reads them."""
    symbols: list[str]
    """What stands above each step; empty for features."""
    cut: str
    """A sentence on what was left out; empty if nothing was."""


def _seen(model: "TrainedModel", on: str) -> Seen:
    from nas.nn.asking import asked

    read = asked(_data(model, on), model.meaning)
    values, known = read.sequences[0], model.meaning.symbols
    cut = []
    if len(read.sequences) > 1:
        cut.append(f"Of {len(read.sequences)} sequences the first is shown.")
    if len(values) > LONGEST:
        cut.append(f"Of {len(values):,} steps the first {LONGEST} are shown.")
    values = values[:LONGEST]
    tokens = values.tolist() if model.meaning.interface.tokens else []
    symbols = shown([known[token] if known else str(token) for token in tokens])
    return Seen(values, symbols, " ".join(cut))


def _data(model: "TrainedModel", on: str) -> Any:
    """What was given, as `predict` takes it."""
    path = Path(on)
    is_table = on.lower().endswith(TABLES)
    if is_table:
        return _table(on)
    text = _text(path) if _is_file(path) else on
    if model.meaning.symbols:
        return text
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if not numbers or (model.meaning.interface.inputs > 1 and not model.meaning.interface.tokens):
        wanted = "whole numbers" if model.meaning.interface.tokens else f"a table, {TABLES[0]}"
        raise UserError(f"--on: this model reads {wanted}, got {on[:60]!r}.")
    return numbers


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no path: too long, or with a NUL in it
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"--on {path}: {reason}.") from None


def _table(path: str) -> Any:
    import pandas

    from nas.tasks.dialect import Dialect
    from nas.tasks.table import table

    return pandas.DataFrame(dict(table("--on", path, Dialect()).columns))


# --- values ---


def _gates(model: "TrainedModel", seen: Seen) -> str:
    """The section of the gates and the states."""
    from nas.nn.watched import inputs_of, watch

    cell, n_layers = model.cell, model.rnn.num_layers
    _, layers = watch(model.rnn, inputs_of(model, seen.values))
    steps = steps_of(cell)
    words = Words(named(cell, steps), steps)
    parts = list(_about(model, seen))
    for place, values in enumerate(layers):
        if n_layers > 1:
            parts.append(f"<h3>Layer {place + 1} of {n_layers}</h3>")
        for step in steps:
            found = values[step.root]
            if words.is_gate(step) and found.shape[1] > 0:
                parts += _map(prose(words.title(step)), found, seen, None)
        gates = {step.root for step in steps if words.is_gate(step)}
        for k, new in enumerate(cell.new_states):
            if new in gates:
                continue
            most = float(np.quantile(np.abs(values[new]), FEW)) or 1.0
            if np.isfinite(most):
                parts += _map(prose(f"The state {words.state(k)}"), values[new], seen, most)
    return "\n".join(parts)


def _about(model: "TrainedModel", seen: Seen) -> Iterator[str]:
    known, rnn = model.meaning, model.rnn
    yield "<h2>At every step of your data</h2>"
    size = f"{rnn.num_layers} layer{'s' if rnn.num_layers > 1 else ''} of width {rnn.hidden_size}"
    yield (
        f"<p>The weights are those of a model that was trained on the task {escape(known.task)}: "
        f"{size}. Each row is a unit, the one with the largest mean on top; each column is a step. "
        "Below is the mean over units, with the band in which four of five of them lie. "
        f"{escape(seen.cut)}</p>"
    )
    if not known.interface.tokens:
        count = known.interface.inputs
        names = known.recipe.features if known.recipe else list(known.columns)
        names = names if len(names) == count else [f"column {k}" for k in range(count)]
        yield f'<div class="scroll heat">{series(seen.values, names)}</div>'


def _map(title: str, values: Array, seen: Seen, most: float | None) -> Iterator[str]:
    yield f'<h3 class="heat">{title}</h3>'
    mean = values.mean(1)
    if most is None:
        open_at, closed_at = int(mean.argmax()), int(mean.argmin())
        said = (
            f"Open on average {mean.mean():.2f} (white 0, blue 1), most at step "
            f"{_at(open_at, seen)} with {mean[open_at]:.2f}, least at {_at(closed_at, seen)} with "
            f"{mean[closed_at]:.2f}."
        )
    else:
        said = f"Blue is −{most:.3g} or less, white 0, red {most:.3g} or more."
    label = f"Heat map: {said}"
    yield f'<p class="meta">{escape(said)}</p>'
    yield f'<div class="scroll heat">{heat_map(values, seen.symbols, label, most)}</div>'


def _at(step: int, seen: Seen) -> str:
    return f"{step + 1}, {seen.symbols[step]}," if seen.symbols else str(step + 1)


# --- memory ---


@dataclass(frozen=True)
class Remembering:
    """How far back the layers of one cell reach."""

    name: str
    weights: str
    """Where the trained weights are from; empty if there are none."""
    start: Array
    """By gap, with fresh weights."""
    end: Array | None
    """By gap, with trained weights."""


def _memory(source: str, loaded: "Loaded", model: "TrainedModel", seen: Seen) -> str:
    """The section of how far back the model reaches, beside GRU and LSTM."""
    from nas.nn.watched import normalised

    inputs = normalised(model, seen.values[:REMEMBERED])
    network: Any = model.network
    rows = [_remembering(model.cell, network, loaded.described, inputs, "these")]
    for name in ("gru", "lstm"):
        if ZOO[name].key != model.cell.key:
            rows.append(_known(source, loaded, network, inputs, name))
    drawn = figure("memory", "", (8.2, 3.6), lambda canvas: _draw(canvas, rows))
    seeded = "weight_seed" in loaded.described
    began = (
        "the weights with which its training began"
        if seeded
        else "fresh weights, as the file does not have the seed of those with which training began"
    )
    return "\n".join(
        [
            "<h2>How far back it remembers</h2>",
            "<p>How strongly the output at the last steps depends on the input so many steps "
            "before: the norm of the gradient of a unit of the output by what the first layer "
            "reads, as the root mean square over units and the mean over the last four steps. "
            f"Dashed: at the start, with {began}. Solid: after training.</p>",
            f'<div class="drawn">{drawn.svg}</div>',
            *_rows(rows),
        ]
    )


def _known(
    source: str, loaded: "Loaded", network: "SequenceModel", inputs: Any, name: str
) -> Remembering:
    """GRU or LSTM: as the study trained it where it kept the weights, else fresh."""
    from nas.nn.loading import read
    from nas.nn.rnn import RNN
    from nas.nn.watched import fresh

    task = str(loaded.described.get("task", ""))
    try:
        kept = read(studied.weights_of(f"{_study_of(source)}/{name}", task))
    except UserError:
        untrained = fresh(ZOO[name], network, loaded.described)
        return _remembering(ZOO[name], untrained, None, inputs, "")
    assert not isinstance(kept.module, RNN)
    other: Any = kept.module
    return _remembering(ZOO[name], other, kept.described, inputs, "of the study")


def _study_of(source: str) -> str:
    """The folder of the study that a model is from, as far as its name tells."""
    path = Path(source)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        return str(folder.absolute().parent)
    return source.rstrip("/").rpartition("/")[0]


def _remembering(
    cell: Cell,
    network: "SequenceModel",
    described: dict[str, Any] | None,
    inputs: Any,
    weights: str,
) -> Remembering:
    from nas.nn.watched import embedded, fresh, memory

    if described is None:
        return Remembering(cell.name, "", memory(network.rnn, embedded(network, inputs)), None)
    began = fresh(cell, network, described)
    start, end = (memory(one.rnn, embedded(one, inputs)) for one in (began, network))
    return Remembering(cell.name, weights, start, end)


def _draw(canvas: "Canvas", rows: list[Remembering]) -> None:
    panel = canvas.subplots()
    least = 1e-12
    for row, colour in zip(rows, COLOURS, strict=False):
        panel.plot(np.maximum(row.start, least), color=colour, linestyle="--", linewidth=1.2)
        label = row.name if row.end is not None else f"{row.name} (fresh)"
        if row.end is not None:
            panel.plot(np.maximum(row.end, least), color=colour, linewidth=1.8)
        panel.plot([], [], color=colour, label=label)
    panel.set(xlabel="steps before", ylabel="norm of the gradient", yscale="log")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.legend(frameon=False)


def _rows(rows: list[Remembering]) -> Iterator[str]:
    """A table of how many steps back the gradient is still a tenth of that of the last step."""
    yield '<div class="scroll"><table><thead><tr><th>cell</th><th>weights</th>'
    yield "<th>a tenth is left after, at the start</th><th>after training</th></tr></thead><tbody>"
    for row in rows:
        weights = f"trained, {row.weights}" if row.weights else "fresh: the study has none of it"
        after = "" if row.end is None else tenth(row.end)
        yield f"<tr><td>{escape(row.name)}</td><td>{weights}</td>"
        yield f"<td>{tenth(row.start)}</td><td>{after}</td></tr>"
    yield "</tbody></table></div>"


def tenth(norms: Array) -> str:
    """The first gap from which on the norm is below a tenth of that at gap 0, in words."""
    above = np.flatnonzero(norms >= norms[0] / 10)
    last = int(above[-1]) if len(above) else 0
    if last + 1 == len(norms):
        return f"more than {last} steps"
    return f"{last + 1} step{'s' if last else ''}"
