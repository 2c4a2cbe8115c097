"""Sections on how it was found: settings, stages, shortcuts, ancestry, endings, fairness."""

import math
from collections.abc import Iterator

from nas.errors import counted, hidden
from nas.report import figures
from nas.report.ancestry import Ancestor, ancestry, how
from nas.report.checklist import checklist
from nas.report.document import Card, Code, Items, Part, Section, Table, Text
from nas.report.endings import MEANINGS, cached, funnel, messages, set_aside, statuses
from nas.report.facts import Facts, number
from nas.report.hyperparameters import FEWEST, N_TREES, Effects, effects
from nas.report.results import most_settings
from nas.study import shortcuts as saved
from nas.study.leaderboard import reasons
from nas.tasks.levels import Levels

MOST_MESSAGES = 20


def stages(facts: Facts, against: Facts | None) -> Section:
    """The funnel."""
    found = funnel(facts)
    n = found[0].reached
    caption = (
        f"How far candidates came, at their first visits (n = {n:,} judged): grey ended at the "
        "stage."
    )
    rows = tuple(
        (one.name, f"{one.reached:,}", f"{one.rejected:,}", f"{one.cut:,}", f"{one.aside:,}")
        for one in found
    )
    head = ("stage", "reached", "rejected", "of these at a first look", "set aside")
    table = Table(f"The same in numbers, n = {n:,}.", head, rows)
    return Section("Stages", (figures.stages(found, caption), table))


def settings(facts: Facts, against: Facts | None) -> Section:
    """Importances of hyperparameters, and the metric at each of their values."""
    found = [one for one in effects(facts) if one.marginals]
    if not found:
        return Section("Settings", (Text("No setting has more than one value in this study."),))
    caption = (
        "The metric of all runs of a task by the value of each hyperparameter, as in Greff et al. "
        "2015: quartiles, median, whiskers to the extremes; n is the number of runs with a metric. "
        "Runs of all cells are in it, so the spread is that of cells too. In brackets: importance. "
        "Dashed, or an arrow where it is off the scale: what needs no network."
    )
    names = list(dict.fromkeys(name for one in found for name in one.marginals))
    shares = Table(
        f"Importance: the share of the variance explained by settings that each explains alone "
        f"(functional ANOVA of Optuna, {N_TREES} trees, seed 0), with at least {FEWEST} runs; "
        "and the share of all variance that lies between cells rather than between settings.",
        ("task", "n", "left out (ended early)", *names, "between cells"),
        tuple(_shares(one, names) for one in found),
    )
    values = Table(
        "The same in numbers.",
        ("task", "hyperparameter", "value", "n", "no metric", "lower quartile", "median",
         "upper quartile"),
        tuple(row for one in found for row in _values(one, facts.levels[one.task.name])),
    )  # fmt: skip
    note = Text(
        "Importances tell where the grid matters, not which value is best; with settings that all "
        "cells share, a value is confounded with the others of its setting if few were drawn."
    )
    return Section(
        "Settings", (figures.marginals(found, facts.levels, caption), shares, note, values)
    )


def _shares(one: Effects, names: list[str]) -> tuple[str, ...]:
    shares = (one.importances.get(name) for name in names)
    between = "-" if math.isnan(one.between_cells) else f"{one.between_cells:.0%}"
    return (
        one.task.name,
        f"{one.n:,}",
        f"{one.n_early:,}",
        *("-" if share is None else f"{share:.0%}" for share in shares),
        between,
    )


def _values(one: Effects, levels: Levels) -> Iterator[tuple[str, ...]]:
    for simple in levels.shown:
        blank = ("-", "-", "-", "-")
        yield (one.task.name, f"no network: {simple.name}", *blank, f"{simple.value:.4f}", "-")
    for name, marginals in one.marginals.items():
        for m in marginals:
            quartiles = ("-" if math.isnan(q) else f"{q:.4f}" for q in m.quartiles)
            yield (one.task.name, name, f"{m.value:g}", f"{m.n:,}", f"{m.n_without:,}", *quartiles)


def shortcuts(facts: Facts, against: Facts | None) -> Section:
    """What first looks and vetoes saved, and whether they can be trusted."""
    lines = saved.lines(facts.protocol, list(facts.visits))
    if not lines:
        return Section("Shortcuts", (Text("No run was ended early: the study has no shortcuts."),))
    looks = saved.looks(facts.protocol, facts.visits)
    head = ("task", "cut", "trained to the end", "rank correlation", "audited", "doubted",
            "of these passed")  # fmt: skip
    rows = tuple(
        (one.task, f"{one.n_cut:,}", f"{one.n_whole:,}", number(one.rank_correlation, ".2f"),
         f"{one.n_audited:,}", f"{one.n_doubted:,}", f"{one.n_wrong:,}")
        for one in looks
    )  # fmt: skip
    table = Table(
        "First looks, by task: candidates that were cut there and others, Spearman's correlation "
        "of the metric at the look and at the end over those trained to the end (the better ones, "
        "so it says less than the audited, which are a fair sample).",
        head,
        rows,
    )
    return Section("Shortcuts", (Items(tuple(lines)), *([table] if rows else [])))


def descent(facts: Facts, against: Facts | None) -> Section:
    """The ancestors of the winner."""
    best = facts.winner
    if best is None:
        return Section("Ancestry", (Text("No candidate has a score, so there is no winner."),))
    line = ancestry(facts, best)
    if len(line) == 1:
        said = f"{best.name} has no parent in the study: {how(line[0])}."
        return Section("Ancestry", (Text(said),))
    caption = (
        f"The line of {best.name}, n = {len(line)} cells, 1 seed: the score of each at its last "
        "visit and its gain on its parent, which may have been tried on other settings. A line is "
        "chosen by where it ends, so its gains are flattered."
    )
    cards = [_ancestor(facts, one) for one in line]
    return Section("Ancestry", (figures.line_of_descent(line, caption), *cards))


def _ancestor(facts: Facts, one: Ancestor) -> Part:
    said = "no score" if one.row.score is None else f"score {one.row.score:.3f}"
    if one.row.rejected:
        said += f", rejected at {one.row.stage}"
    gain = "" if one.gain is None else f", gain {one.gain:+.3f}"
    title = f"{one.visit.name}, trial {one.visit.number}: {said}{gain}"
    tried = f"n = 1 seed, {most_settings(facts, one.row.key)} settings a task"
    return Card(title, (how(one), tried), "\n".join(one.change) or one.visit.cell)


def endings(facts: Facts, against: Facts | None) -> Section:
    """What was cached, failed, pruned, and why."""
    known = cached(facts)
    items = (
        f"candidates: {counted(known.n_visits, 'visit')} of "
        f"{counted(known.n_cells, 'different cell')}",
        f"known before: {counted(known.n_redrawn, 'draw')} of the sampler gave a known cell and "
        f"were drawn again, {counted(known.n_answered, 'visit')} of a known cell were answered "
        "from stored outcomes, without training",
        f"further settings: {counted(known.n_again, 'visit')} tried a known cell again; outcomes "
        "that were known were not trained a second time",
    )
    parts: list[Part] = [Items(items), _runs(facts)]
    rejected = reasons([v for v in facts.drawn if v.judgement and not v.judgement.set_aside])
    if rejected:
        n = sum(count for count, _ in rejected)
        rows = tuple((f"{count:,}", reason) for count, reason in rejected)
        parts.append(Table(f"Why {n:,} visits were rejected.", ("visits", "reason"), rows))
    if aside := set_aside(facts.drawn):
        parts.append(Items(tuple(aside)))
    if told := messages(facts):
        shown = tuple((s, f"{n:,}", name, text) for s, text, n, name in told[:MOST_MESSAGES])
        caption = f"What runs that did not end well said: {len(shown)} of {len(told)} messages."
        parts.append(Table(caption, ("status", "runs", "such as", "message"), shown))
    return Section("Cached, failed, pruned", tuple(parts))


def _runs(facts: Facts) -> Table:
    counts = statuses(facts)
    names = [name for name in MEANINGS if any(one[name] for one in counts.values())]
    rows = [
        (name, *(f"{counts[task][name]:,}" for task in counts), MEANINGS[name]) for name in names
    ]
    caption = f"How training runs ended, n = {len(facts.runs):,}, those of given cells included."
    return Table(caption, ("status", *counts, "which is"), tuple(rows))


def fairness(facts: Facts, against: Facts | None) -> Section:
    """The checklist, filled in from the study."""
    found = checklist(facts, against)
    rows = tuple((one.rule, one.answer, one.found) for one in found)
    kept = sum(one.answer == "yes" for one in found)
    caption = f"{kept} of {len(found)} rules are kept; each answer is computed from the study."
    return Section("Fairness checklist", (Table(caption, ("rule", "kept", "found"), rows),))


def origin(facts: Facts, against: Facts | None) -> Section:
    """The configuration, what it came from, and how to run it again."""
    kept = facts.seen.study.attrs.get("provenance", {})
    path = facts.seen.folder / "config.yaml"
    rows = tuple((name, str(value)) for name, value in kept.items())
    text = hidden(path.read_text(encoding="utf-8"))
    return Section(
        "How it was made",
        (
            Table("Versions of what decides a result.", ("of", "version"), rows),
            Text(f"The same command resumes the study, or repeats it elsewhere: python -m "
                 f"nas.search {path.name}, with this file:"),
            Code(text),
        ),
    )  # fmt: skip
