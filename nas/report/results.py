"""Sections on what was found: the leaderboard, its cells, the race against cost, the trade-offs."""

from collections.abc import Iterator

from nas.cell.reader import loads
from nas.errors import counted
from nas.report import figures
from nas.report.document import Card, Items, Part, Section, Table, Text
from nas.report.facts import Facts, joined, number
from nas.report.front import front, measured, step_ms
from nas.report.race import AXES, Arm, arm_of, differences, ties
from nas.study.leaderboard import BASELINES, Row, verdict
from nas.tasks.levels import BLIND

MOST_ROWS = 30
"""Of the leaderboard, baselines and included cells aside."""
MOST_CELLS = 8
"""Best candidates that are shown with picture and equations."""
NO_CLAIM = (
    "All numbers are of one seed and of the validation split that cells were chosen by; none of "
    "them claims that one cell is better than another."
)


def standing(facts: Facts, against: Facts | None) -> Section:
    """The verdict and the size of the study."""
    judged = [visit for visit in facts.drawn if visit.judgement]
    scored = sum(row.kind == "candidate" and not row.rejected for row in facts.rows)
    n_cells = len({visit.key for visit in facts.drawn})
    n_epochs = sum(run.n_epochs for run in facts.runs)
    seconds = sum(run.outcome.cost.wall_s for run in facts.runs)
    flops = sum(run.outcome.cost.flops for run in facts.runs)
    spent = float(facts.seen.study.attrs.get("spent_s", 0.0))
    items = [
        f"{counted(len(facts.drawn), 'visit')} of {counted(n_cells, 'candidate')}, "
        f"{len(judged):,} judged; {counted(scored, 'candidate')} with a score",
        f"{counted(len(facts.runs), 'training run')}, {counted(n_epochs, 'epoch')}, "
        f"{flops:.3g} FLOPs, {seconds / 3600:.2f} hours in training, {spent / 3600:.2f} in all",
        "a score is a cell's smallest ratio to the GRU's best metric over the tasks, at the same "
        "parameter budget and on as many settings; above 1 is better than the GRU on each task",
    ]
    if facts.seen.running:
        items.insert(0, "the search is running: this is what was there when the report was made")
    said = verdict(facts.rows, facts.n_settings)
    return Section("Where it stands", (Text(said), Text(NO_CLAIM), Items(tuple(items))))


def board(facts: Facts, against: Facts | None) -> Section:
    """The leaderboard as a table, and its best cells."""
    tasks = [task.name for task in facts.protocol.tasks]
    shown = _shown(facts)
    rows = [_board_row(facts, rank, row, tasks) for rank, row in shown]
    n = len(facts.rows)
    simple = list(_simple_rows(facts, n_columns=9 + len(tasks)))
    table = Table(
        f"{len(shown):,} of {counted(n, 'judged cell')}; task columns are ratios to the GRU, n = 1 "
        "seed; of each task, the best of all settings that were tried counts, whose largest number "
        "is given; ms are of training a minibatch with the best settings, on a machine that did "
        "other work too.",
        (
            "",
            "cell",
            "kind",
            "score",
            *tasks,
            "settings",
            "parameters",
            "ms",
            "training s",
            "ended at",
        ),
        (*rows, *simple),
        frozenset(
            i for i in range(len(rows) + len(simple)) if i >= len(rows) or _is_given(shown[i][1])
        ),
    )
    return Section("Leaderboard", (table, _reached(facts)))


def _is_given(row: Row) -> bool:
    return row.kind != "candidate"


def _simple_rows(facts: Facts, n_columns: int) -> Iterator[tuple[str, ...]]:
    """What needs no network, as ratios to the GRU like all others."""
    for name, score, ratios in without_network(facts):
        known = [number(ratios.get(task.name)) for task in facts.protocol.tasks]
        row = ("", name, "no network", number(score), *known)
        yield (*row, *[""] * (n_columns - len(row)))


def without_network(facts: Facts) -> list[tuple[str, float, dict[str, float]]]:
    """The simple predictors and blind guessing: name, score, and ratio to the GRU by task.

    A task's first simple predictor counts. Empty where a task has no levels or the GRU no metric.
    """
    found: dict[str, dict[str, float]] = {"simple predictor": {}, BLIND: {}}
    reference = facts.row_of(facts.baselines[0])
    for task in facts.protocol.tasks:
        of_gru, shown = facts.reached(reference, task), facts.levels[task.name].shown
        if of_gru is None or not shown:
            return []
        for ratios, level in zip(found.values(), (shown[0], shown[-1]), strict=True):
            ratios[task.name] = task.metric.ratio(level.value, of_gru)
    return [(name, min(ratios.values()), ratios) for name, ratios in found.items()]


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
        simple = ", ".join(f"{one.name} {one.value:.4g}" for one in levels.shown)
        reached = (number(facts.reached(row, task), ".4g") for row in columns)
        metric = f"{task.metric.name}, {task.metric.unit}, {better} is better"
        rows.append((task.name, metric, *reached, simple or f"not computed: {levels.why}"))
    return Table(
        "What the ratios are of, on the validation split, n = 1 seed; a simple predictor is fitted "
        "on the training split.",
        ("task", "metric", *names, "without a network"),
        tuple(rows),
    )


def most_settings(facts: Facts, key: str) -> int:
    """Different settings that a cell was tried on, on the task of the score that had most."""
    tasks = facts.protocol.tasks
    return max(len({run.settings for run in facts.of_cell(key, task.name)}) for task in tasks)


def _shown(facts: Facts) -> list[tuple[int, Row]]:
    ranked = list(enumerate(facts.rows, start=1))
    candidates = [rank for rank, row in ranked if row.kind == "candidate"][:MOST_ROWS]
    return [(rank, row) for rank, row in ranked if rank in candidates or row.kind != "candidate"]


def _board_row(facts: Facts, rank: int, row: Row, tasks: list[str]) -> tuple[str, ...]:
    return (
        str(rank),
        row.name,
        row.kind,
        number(row.score),
        *(number(row.ratios.get(task)) for task in tasks),
        str(most_settings(facts, row.key)),
        f"{row.n_params:,}",
        number(step_ms(facts, row.key), ".2f"),
        f"{row.seconds:.0f}",
        row.stage,
    )


def cells(facts: Facts, against: Facts | None) -> Section:
    """Pictures and equations of the best candidates and of all given cells."""
    best = [row for row in facts.rows if row.kind == "candidate" and not row.rejected][:MOST_CELLS]
    given = [row for row in facts.rows if row.kind != "candidate"]
    cards = [_card(facts, row, is_open=rank < 2) for rank, row in enumerate(best)]
    cards += [_card(facts, row, is_open=False) for row in given]
    about = Text(
        f"The best {len(best)} candidates and {counted(len(given), 'given cell')}. States run from "
        "left to right, the input comes from below; boxes are learned, circles are elementwise."
    )
    return Section("Cells", (about, *cards))


def _card(facts: Facts, row: Row, *, is_open: bool) -> Card:
    cell = loads(row.visit.cell)
    standing = "no score" if row.score is None else f"score {row.score:.3f}"
    ratios = ", ".join(f"{task} {ratio:.3f}" for task, ratio in row.ratios.items())
    lines = (
        f"{standing} ({ratios or 'no ratio'}), n = 1 seed, "
        f"{most_settings(facts, row.key)} settings a task; {row.kind}, trial "
        f"{row.visit.number}, key {row.key}",
    )
    name = f"cell_{row.key[:12]}"
    return Card(row.name, lines, row.visit.cell, name, cell.svg(), is_open)


def race(facts: Facts, against: Facts | None) -> Section:
    """The best score so far against cost, the random arm beside it."""
    arms = [arm_of(one) for one in (facts, against) if one]
    lines = {
        row.name: row.score
        for row in facts.rows
        if row.kind == "baseline" and row.score is not None
    }
    counts = "; ".join(f"{arm.label}: n = {len(arm.moments):,} candidates" for arm in arms)
    caption = (
        f"The best score of a candidate so far, 1 seed an arm ({counts}). Dashed: the baselines, "
        "which each arm trains first and whose cost is counted. A line falls where the best cell "
        f"was tried on further settings and the GRU, on as many, gained more.{_scores_below(facts)}"
    )
    parts: list[Part] = [figures.race(arms, lines, caption), *_ties(arms)]
    parts += [Text(said) for said in _about_arms(facts, against)]
    return Section("Best so far against cost", tuple(parts))


def _scores_below(facts: Facts) -> str:
    """What is far below a scale on which cells differ."""
    simple = [f"{name} {score:.3f}" for name, score, _ in without_network(facts)]
    return f" Without a network, and not drawn: {joined(simple)}." if simple else ""


def _ties(arms: list[Arm]) -> Iterator[Table]:
    if len(arms) > 1:
        yield Table(
            "The best scores where both arms had spent as much; n = 1 search an arm; "
            '"-": no candidate had a score by then.',
            ("cost", "spent", *(arm.label for arm in arms)),
            tuple(
                (AXES[tie.axis], f"{tie.budget:.4g}", *(number(best) for best in tie.best))
                for tie in ties(arms)
            ),
        )


def _about_arms(facts: Facts, against: Facts | None) -> Iterator[str]:
    if facts.config.sampler == "random":
        yield "This study draws its candidates at random: it is the random arm of others."
    elif against is None or against.config.sampler != "random":
        yield (
            "The random arm is missing: nothing here says whether the sampler found more than "
            "random draws would have. Run the same configuration with --sampler random under "
            "another --study name, and give that study as --against. Whether the best cell is "
            f"better than the GRU is another question, which {facts.comparison} answers on fresh "
            "seeds."
        )
    if against is not None and (differs := differences(facts, against)):
        yield f"The arms are not the same experiment: they differ in {', '.join(differs)}."
    if against is not None:
        yield "One search an arm shows no difference between samplers: searches vary by chance."


def trade_offs(facts: Facts, against: Facts | None) -> Section:
    """Scores against parameters and time per step."""
    cells = measured(facts)
    n = len(cells)
    caption = (
        f"n = {counted(n, 'scored cell')}, 1 seed. Parameter budgets are equal in a search, so "
        "parameters differ by what widths allow. Time is that of training, on the machine of the "
        "search, while its workers shared the cores. The line is the Pareto front: no cell on it "
        f"costs more and scores less than another.{_scores_below(facts)}"
    )
    timed = [one for one in cells if one.step_ms is not None]
    place = front([(one.step_ms or 0.0, one.score) for one in timed])
    rows = tuple(
        (
            timed[i].name,
            timed[i].kind,
            number(timed[i].score),
            f"{timed[i].n_params:,}",
            number(timed[i].step_ms, ".2f"),
        )
        for i in place
    )
    head = ("cell", "kind", "score", "parameters", "ms a minibatch")
    table = Table(f"The Pareto front of score and time: {len(place)} of {n:,} cells.", head, rows)
    return Section("Score against size and time", (figures.trade_off(cells, caption), table))
