"""The leaderboard of a study and its cells, beside what needs no network."""

from collections.abc import Iterator

from nas.cell.cell import renamed
from nas.cell.reader import loads
from nas.errors import CellError, counted, joined
from nas.protocol.judgement import score_of
from nas.protocol.measured import Measured, measured_in
from nas.report import repeating
from nas.report.document import Card, Items, Part, Section, Table, Text, Thumbnail
from nas.report.facts import Facts, number
from nas.report.reliability import beside_leaderboard, parts
from nas.study.leaderboard import BASELINES, Row, shown_ratio
from nas.tasks.levels import BLIND, below
from nas.tasks.resolution import ENOUGH

MOST_ROWS = 30
"""Rows of the leaderboard, baselines and included cells aside."""
MOST_CELLS = 8
"""Best candidates that are shown with picture and equations."""
NO_CLAIM = (
    "All numbers are of the seeds and the validation split that cells were chosen by; none of "
    "them claims that one cell is better than another."
)


def standing(facts: Facts, against: Facts | None) -> Section:
    """The verdict and the size of the study."""
    judged = [visit for visit in facts.drawn if visit.judgement]
    n_cells = len({visit.key for visit in facts.drawn})
    n_epochs = sum(run.n_epochs for run in facts.runs)
    seconds = sum(run.outcome.cost.wall_s for run in facts.runs)
    flops = sum(run.outcome.cost.flops for run in facts.runs)
    spent = float(facts.seen.study.attrs.get("spent_s", 0.0))
    items = [
        f"{counted(len(facts.drawn), 'visit')} of {counted(n_cells, 'candidate')}, "
        f"{len(judged):,} judged; {counted(facts.n_scored, 'candidate')} with a score",
        f"{counted(len(facts.runs), 'training run')}, {counted(n_epochs, 'epoch')}, "
        f"{flops:.3g} FLOPs",
        f"training time {time_in_words(seconds)}, summed over workers; wall time of the search "
        f"{time_in_words(spent)}",
        f"{_score_in_words(facts)}; what is compared is {facts.protocol.statistic.said}",
    ]
    if facts.seen.running:
        items.insert(0, "the search is running: this is what was there when the report was made")
    standing = Text(facts.verdict)
    told = [Text(f"Of the winner: {one.sentences}") for one in _measured(facts)]
    parts: list[Part] = [standing, *_too_little(facts), *told, Text(NO_CLAIM), Items(items)]
    return Section("Where it stands", parts)


def time_in_words(seconds: float) -> str:
    """A time in its best unit."""
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} s"


def _score_in_words(facts: Facts) -> str:
    is_smallest = facts.config.protocol.score == "smallest"
    what = "a cell's smallest ratio" if is_smallest else "the geometric mean of a cell's ratios"
    where = "each task" if is_smallest else "the whole"
    return (
        f"a score is {what} to the GRU over the tasks, at the same parameter budget and on as many "
        f"settings; above 1 is better than the GRU on {where}"
    )


def _measured(facts: Facts) -> list[Measured]:
    """What the winner's folder says of its weights, if they are those of the best cell."""
    folder, best = facts.seen.folder / "winner", facts.winner
    try:
        text = (folder / "cell.cell").read_text(encoding="utf-8")
        is_best = best is not None and loads(text).key == best.key
    except (OSError, CellError):
        return []
    return measured_in(folder) if is_best else []


def _too_little(facts: Facts) -> Iterator[Text]:
    """A sentence for each task on which a cell is worse than a predictor without a network."""
    shown = [row for row in (facts.winner, *map(facts.row_of, facts.baselines)) if row]
    for task in facts.protocol.tasks:
        values = {row.name: facts.reached(row, task) for row in shown}
        known = {name: value for name, value in values.items() if value is not None}
        if sentence := below(task, known, facts.levels[task.name]):
            yield Text(sentence)


def board(facts: Facts, against: Facts | None) -> Section:
    """The leaderboard as a table, and the metrics behind its ratios."""
    tasks = [task.name for task in facts.protocol.tasks]
    ranked = list(zip(facts.ranks, facts.rows, strict=True))
    best = [row.key for row in facts.rows if row.kind == "candidate"][:MOST_ROWS]
    shown = [(rank, row) for rank, row in ranked if row.kind != "candidate" or row.key in best]
    caption = (
        f"{len(shown):,} of {counted(len(ranked), 'judged cell')}; task columns are ratios to the "
        f"GRU, n = {facts.seeds}, of {facts.protocol.statistic.said}; the largest "
        "number of settings is given; brackets say so where a cell and the GRU are apart by fewer "
        f"than {ENOUGH} examples, which is no evidence, and = stands at tied ranks; ms are of "
        "training a minibatch with the best settings, on a machine that did other work too; "
        "a picture opens the equations of its cell."
    )
    if facts.reliability.noise is not None:
        caption += " Brackets at a rank are its 95 % interval, given the noise of a score."
    head = ("", "cell", "kind", "score", *tasks, "settings", "parameters", "ms", "training s",
            "ended at")  # fmt: skip
    rows = [_board_row(facts, rank, row, tasks) for rank, row in shown]
    for name, score, ratios in without_network(facts):
        known = [number(value) for value in (score, *map(ratios.get, tasks))]
        rows.append(("", name, "no network", *known, *[""] * (len(head) - 3 - len(known))))
    marked = {i for i, row in enumerate(rows) if row[2] != "candidate"}
    beside = Text(beside_leaderboard(facts.reliability, facts.rows))
    cells = [_thumbnail(row) for _, row in shown] + [None] * (len(rows) - len(shown))
    table = Table(caption, head, rows, frozenset(marked), cells=cells)
    return Section("Leaderboard", (beside, table, _reached(facts)))


def _thumbnail(row: Row) -> Thumbnail:
    cell = loads(row.visit.cell)
    return Thumbnail(cell.svg(), str(renamed(cell, cell.name, "")))


def reliability(facts: Facts, against: Facts | None) -> Section:
    """How well the score ranks."""
    by_statistic = repeating.table(facts)
    shown = [*parts(facts.reliability), *([by_statistic] if by_statistic else [])]
    return Section("How well the score ranks", shown)


def _board_row(facts: Facts, rank: str, row: Row, tasks: list[str]) -> tuple[str, ...]:
    return (
        rank,
        row.name,
        row.kind,
        number(row.score),
        *(shown_ratio(row, task, facts.resolutions) or number(None) for task in tasks),
        str(facts.most_settings(row.key)),
        f"{row.n_params:,}",
        number(facts.step_ms(row.key), ".2f"),
        f"{row.seconds:.0f}",
        row.stage,
    )


def without_network(facts: Facts) -> list[tuple[str, float, dict[str, float]]]:
    """The simple predictors and blind guessing: name, score, and ratio to the GRU for each task.

    A task's first simple predictor counts. Empty where a task has no levels, the GRU no metric, or
    times to learn are compared.
    """
    scores: dict[str, dict[str, float]] = {"simple predictor": {}, BLIND: {}}
    reference = facts.row_of(facts.baselines[0])
    if not facts.protocol.statistic.is_metric:
        return []
    for task in facts.protocol.tasks:
        of_gru, levels = facts.compared(reference, task), facts.levels[task.name]
        if of_gru is None or levels.baseline is None or levels.chance is None:
            return []
        values = (levels.baseline.value, levels.chance)
        for ratios, value in zip(scores.values(), values, strict=True):
            ratios[task.name] = facts.protocol.relative(task, value, of_gru)
    score = facts.config.protocol.score
    return [(name, score_of(ratios, score), ratios) for name, ratios in scores.items()]


def _reached(facts: Facts) -> Table:
    """The numbers behind the ratios."""
    best = facts.winner
    given = [facts.row_of(key) for key in facts.baselines]
    columns = [*([best] if best else []), *given]
    names = [*([best.name] if best else []), *BASELINES]
    rows = []
    for task in facts.tasks:
        better = "more" if task.metric.higher_is_better else "less"
        levels = facts.levels[task.name]
        simple = ", ".join(f"{level.name} {level.value:.4g}" for level in levels.shown)
        reached = (number(facts.reached(row, task), ".4g") for row in columns)
        metric = f"{task.metric.name}, {task.metric.unit}, {better} is better"
        resolution = facts.resolutions.get(task.name)
        examples = resolution.described if resolution else ""
        simple = simple or f"not computed: {levels.why}"
        rows.append((task.name, metric, examples, *reached, simple))
    return Table(
        f"What the ratios are of, on the validation split, n = {facts.seeds}; a simple predictor "
        "is fitted on the training split, and what is best possible is shown where that is known.",
        ("task", "metric", "examples", *names, "without a network"),
        tuple(rows),
    )


def cells(facts: Facts, against: Facts | None) -> Section:
    """Pictures and equations of the best candidates and of all given cells."""
    best = [row for row in facts.rows if row.kind == "candidate" and not row.rejected][:MOST_CELLS]
    given = [row for row in facts.rows if row.kind != "candidate"]
    cards = [_card(facts, row, is_open=rank < 2) for rank, row in enumerate(best)]
    cards += [_card(facts, row, is_open=False) for row in given]
    about = Text(
        f"{_how_many(len(best))}{counted(len(given), 'given cell')}. States run from "
        "left to right, the input comes from below; boxes are learned, circles are elementwise."
    )
    return Section("Cells", (about, *cards))


def _how_many(n_best: int) -> str:
    """The beginning of a sentence on the candidates that are shown."""
    if n_best == 0:
        return "No candidate has a score; here are "
    return f"The best {f'{n_best} candidates' if n_best > 1 else 'candidate'} and "


def _card(facts: Facts, row: Row, *, is_open: bool) -> Card:
    cell = loads(row.visit.cell)
    standing = "no score" if row.score is None else f"score {row.score:.3f}"
    ratios = ", ".join(f"{task} {ratio:.3f}" for task, ratio in row.ratios.items())
    lines = (
        f"{standing} ({ratios or 'no ratio'}), n = {facts.seeds}, "
        f"{facts.most_settings(row.key)} settings a task; {row.kind}, trial "
        f"{row.visit.number}, key {row.key}",
    )
    name = f"cell_{row.key[:12]}"
    return Card(row.name, lines, row.visit.cell, name, cell.svg(), is_open)


def scores_without_network(facts: Facts) -> str:
    """A sentence on scores that are far below a scale on which cells differ."""
    simple = [f"{name} {score:.3f}" for name, score, _ in without_network(facts)]
    return f" Without a network, and not drawn: {joined(simple)}." if simple else ""
