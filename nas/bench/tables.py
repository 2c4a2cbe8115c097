"""A report as a document of tables, for the terminal and as Markdown."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.bench import goals
from nas.bench.report import Report, Row
from nas.bench.timing import Ratio, Times, compare, median_s
from nas.report.document import Code, Document, Section, Table, Text

if TYPE_CHECKING:
    from nas.bench.mutants import MutantRow


def document(report: Report) -> Document:
    """The command, the machine, a section for each part that was measured, and the notes."""
    machine, versions = report.machine, report.versions
    about = f"{machine['processor']}, {machine['processors']} processors, {machine['compiler']}"
    minutes = ", ".join(f"{name} {s / 60:.1f}" for name, s in report.part_s.items())
    run = (
        Code(report.command, "console"),
        Text(f"{about}, torch {versions.get('torch', '?')}."),
        Text(f"It took {report.wall_s / 60:.1f} minutes ({minutes})."),
    )
    notes = Section("", [Text(f"Note: {note}") for note in report.notes])
    return Document("", "", [Section("", run), *sections(report), notes])


def sections(report: Report) -> Iterator[Section]:
    """One with a table for each part that was measured."""
    for results, section in (
        (report.rows, _rows),
        (any(row.goals for row in report.rows), _goals),
        (report.compile_times, _compile_times),
        (report.training, _training),
        (report.members, _members),
        (report.mutants, _mutants),
        (report.memory, _memory),
        (report.workers, _workers),
        (report.exported, _exported),
        (report.winners, _winners),
        (report.search, _search),
    ):
        if results:
            yield section(report)


def _section(title: str, columns: str, rows: Sequence[Sequence[object]], note: str = "") -> Section:
    shown = [[str(value) for value in row] for row in rows]
    return Section(title, [Table("", columns.split(", "), shown, note=note)])


def _rows(report: Report) -> Section:
    rows = []
    for row in report.rows:
        shape = row.shape
        eager = ["", "", ""]
        if row.ours != "eager" and "eager" in row.times_s:
            ratio = f"{row.ratios['eager'].ratio:.2f}"
            eager = [_ms(row.times_s["eager"]), ratio, _goal(row, "eager")]
        about = [row.cell, shape.hidden, shape.batch, shape.steps, row.threads, row.input, row.mode]
        ours = [row.ours, _ms(row.times_s[row.ours])]
        torch = [row.torch if row.same_cell else f"({row.torch})", _ms(row.times_s[row.torch])]
        torch += [*_ratio(row.ratios[row.torch]), _goal(row, row.torch)]
        speed = [f"{row.gflops:.1f}", f"{100 * report.share_of_peak(row):.0f}"]
        rows.append([*about, *ours, *torch, *eager, *speed])
    columns = "cell, H, B, T, threads, input, mode, ours, ms, against, ms, ratio, quartiles, goal, "
    columns += "eager ms, ratio, goal, GFLOP/s, % of peak"
    peaks = ", ".join(f"{peak:.0f} ({n} threads)" for n, peak in report.peak_gflops.items())
    note = f"Peak of torch.mm, float32, GFLOP/s: {peaks.replace('1 threads', '1 thread')}. "
    note += "GFLOP/s in the table are those of the matrix products that ours executes."
    return _section("Median milliseconds; ratio: baseline / ours", columns, rows, note)


def _ratio(ratio: Ratio) -> list[str]:
    return [f"{ratio.ratio:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}"]


def _goal(row: Row, arm: str) -> str:
    return f"{row.goals[arm]:g}" if arm in row.goals else ""


def _ms(times: Times) -> str:
    return f"{1000 * median_s(times):.3g}"


def _goals(report: Report) -> Section:
    """The ratios of each comparison with a goal, by width."""
    widths = sorted({row.shape.hidden for row in report.rows})
    comparisons: dict[tuple[object, ...], dict[int, list[str]]] = {}
    n_met = n_goals = 0
    for row in report.rows:
        for arm, goal in row.goals.items():
            ratio = row.ratios[arm].ratio
            n_met, n_goals = n_met + (ratio >= goal), n_goals + 1
            sizes = (row.shape.batch, row.shape.steps, row.threads)
            by_width = comparisons.setdefault((row.cell, arm, row.input, row.mode, *sizes), {})
            below = "" if ratio >= goal else " below"
            by_width.setdefault(row.shape.hidden, []).append(f"{ratio:.2f}{below} ({goal:g})")
    rows = [
        (*about, *(" ".join(by_width.get(width, [])) for width in widths))
        for about, by_width in comparisons.items()
    ]
    columns = ", ".join(["cell, against, input, mode, B, T, threads", *map(str, widths)])
    note = f"{n_met} of {n_goals} goals are met."
    return _section("Ratios and their goals, by width", columns, rows, note)


def _compile_times(report: Report) -> Section:
    rows = [
        (t.cell, t.hidden, f"{1000 * t.cold_s:.0f}", f"{1000 * median_s(t.cached_s):.1f}")
        for t in report.compile_times
    ]
    note = ""
    if ahead := report.ahead:
        each_ms = 1000 / ahead.loops
        jobs = ", ".join(
            f"{each_ms * s:.0f} ms with {n} compiler{'s' if n > 1 else ''} at once"
            for n, s in ahead.ahead_s.items()
        )
        note = (
            f"{ahead.loops} random mutants, H {ahead.hidden}: {each_ms * ahead.alone_s:.0f} ms a "
        )
        note += f"loop one by one; compiled ahead {jobs}."
    return _section("Milliseconds from a cell to a loop", "cell, H, cold, cached", rows, note)


def _training(report: Report) -> Section:
    training = report.training
    assert training
    sizes = f"H {training.hidden}, B {training.batch}, T {training.window}"
    rows = [(arm, f"{speed:.0f}") for arm, speed in training.steps_per_s.items()]
    note = f"The same steps by hand do not take {training.overhead:.0%} of nas.train's time."
    return _section(f"Training steps a second: text, LSTM, {sizes}", "mode, steps/s", rows, note)


def _members(report: Report) -> Section:
    rows = []
    for part in report.members:
        gain = compare(part.times_s["in turn"], part.times_s["together"])
        speeds = [f"{part.steps_per_s[arm]:.0f}" for arm in ("together", "in turn")]
        rows.append((part.cell, part.hidden, part.members, *speeds, *_ratio(gain)))
    columns = "cell, H, members, together, in turn, ratio, quartiles"
    return _section("Training steps a second, summed over members", columns, rows)


def _mutants(report: Report) -> Section:
    by_width: dict[int, list[MutantRow]] = {}
    for mutant in report.mutants:
        by_width.setdefault(mutant.shape.hidden, []).append(mutant)
    rows = []
    for width, mutants in by_width.items():
        shares = [mutant.share for mutant in mutants]
        quantiles = [f"{q:.2f}" for q in np.quantile(shares, [0, 0.1, 0.25, 0.5, 0.75, 1])]
        goal = ["", ""]
        if wanted := goals.MUTANTS.get(width):
            goal = [f"{wanted:g}", f"{np.mean(np.array(shares) >= wanted):.0%}"]
        worst = min(mutants, key=lambda mutant: mutant.share)
        rows.append([width, len(mutants), *quantiles, *goal, worst.name])
    columns = "H, mutants, worst, 10 %, 25 %, median, 75 %, best, goal, at the goal, worst mutant"
    note = "fwd+bwd, data, one thread; all operations of the plan count, elementwise ones too."
    return _section("GFLOP/s of random mutants in those of the LSTM", columns, rows, note)


def _memory(report: Report) -> Section:
    rows = []
    for part in report.memory:
        ours, theirs = part.peak_bytes["c"], part.peak_bytes[part.torch]
        peaks = (f"{ours / 2**20:.1f}", part.torch, f"{theirs / 2**20:.1f}")
        sizes = (part.hidden, part.batch, part.steps)
        rows.append((part.cell, *sizes, *peaks, f"{ours / theirs:.2f}"))
    columns = "cell, H, B, T, ours MiB, against, MiB, ours / theirs"
    note = "Peak of resident memory in a process of its own, less what imports take."
    return _section("Peak memory of training", columns, rows, note)


def _workers(report: Report) -> Section:
    rows = []
    for part in report.workers:
        speeds = [f"{speed:.1f}" for speed in part.per_minute.values()]
        goal = goals.WORKERS.get(part.workers, "")
        sizes = (f"{part.n_params:,}", part.workers)
        rows.append((part.cell, *sizes, *speeds, f"{part.gain:.2f}", goal))
    columns = "cell, parameters, workers, one alone, all, ratio, goal"
    return _section("Evaluations a minute, each worker on one thread", columns, rows)


def _exported(report: Report) -> Section:
    rows = []
    for part in report.exported:
        others = ["onnxruntime", "onnxruntime's LSTM", part.torch, "nas.RNN.step", "nas.RNN.stream"]
        speeds = [f"{1e6 * part.median_s[f'C {kind}']:.2f}" for kind in part.ram_bytes]
        ratios = [f"{part.ratios[arm].ratio:.1f}" for arm in others]
        flash = " / ".join(f"{n:,}" for n in part.flash_bytes.values())
        ram = " / ".join(f"{n:,}" for n in part.ram_bytes.values())
        against = [ratios[0], ratios[1], f"{ratios[2]} ({part.torch})", *ratios[3:]]
        rows.append([part.cell, part.hidden, *speeds, *against, flash, ram])
    columns = "cell, H, float32 µs, int8 µs, int16x8 µs, onnxruntime, its LSTM, torch, "
    columns += "nas.RNN.step, its stream"
    note = (
        "One sequence, one step, called from Python; ratios are another's time over that of C in "
        "float32. Bytes are those of float32 / int8 / int16x8: code and constants at -Os, state "
        "and stack."
    )
    return _section("A step in C", f"{columns}, flash, RAM", rows, note)


def _winners(report: Report) -> Section:
    rows = []
    for part in report.winners:
        micros = {arm: f"{1e6 * s:.2f}" for arm, s in part.median_s.items()}
        ratios = {arm: f"{ratio.ratio:.1f}" for arm, ratio in part.ratios.items()}
        speeds = [micros[f"C {kind}"] for kind in part.ram_bytes]
        against = [ratios["onnxruntime"], f"{ratios[part.torch]} ({part.torch})", ratios["nas"]]
        rows.append([part.cell, part.hidden, *speeds, *against])
    columns = "winner, H, float32 µs, int8 µs, int16x8 µs, onnxruntime, torch, nas"
    note = (
        "One sequence, one step, called from Python: raw data in, units or probabilities out. "
        "Ratios are another's time over that of C in float32; torch is a model of the same sizes "
        "with its own layers, nas the winner as nas.load gives it."
    )
    return _section("A step of a winner", columns, rows, note)


def _search(report: Report) -> Section:
    rows = [
        (r.backend, r.workers, r.judged, r.loops, f"{r.wall_s:.0f}", f"{r.per_minute:.1f}")
        for r in report.search
    ]
    per_minute = {run.backend: run.per_minute for run in report.search}
    note = "Random candidates, the same for both; an empty cache of compiled loops."
    if len(per_minute) == 2:
        note += f" Ratio: {per_minute['c'] / per_minute['eager']:.2f}."
    columns = "backend, workers, cells, loops, s, cells/minute"
    return _section("The quickstart's search", columns, rows, note)
