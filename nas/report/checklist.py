"""Whether a study keeps the rules of fair experiments, answered from the study alone.

After Lindauer & Hutter 2020 (JMLR 21(243)), Li & Talwalkar 2019, Sciuto et al. 2020 and Melis et
al. 2018. An answer is "yes", "no" or "in part", with its reason.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nas.errors import counted, hidden, joined
from nas.report.cost import differences
from nas.report.document import Code, Section, Table, Text
from nas.report.facts import Facts
from nas.study.leaderboard import BASELINES

Answer = Literal["yes", "no", "in part"]
NEEDED = ("python", "torch", "numpy", "revision")
"""Versions without which a result cannot be traced to its code."""
EQUAL_SHARE = 0.9
"""Share of a study's runs with which the random arm has the same budget: the last candidates of two
searches with equal budgets do not end on the same run."""
FRESH_SEEDS = 5
"""The fewest seeds of final numbers."""


@dataclass(frozen=True)
class Check:
    """A rule and how the study keeps it."""

    rule: str
    answer: Answer
    reason: str


def checklist(facts: Facts, against: Facts | None) -> list[Check]:
    """All rules, in order."""
    return [check(facts, against) for check in CHECKS]


def _recorded(facts: Facts, _: Facts | None) -> Check:
    rule = "Configuration, versions, code revision and data are recorded; one command reruns it"
    attrs = facts.seen.study.attrs
    kept = attrs.get("provenance", {})
    missing = [name for name in NEEDED if not kept.get(name)]
    missing += [] if attrs.get("definition") else ["definition"]
    versions = sorted({run.task_version for run in facts.runs})
    revision = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", r"\1", kept.get("revision", "unknown"))
    reason = f"data: {', '.join(versions)}; revision {revision}"
    if missing:
        return Check(rule, "in part", f"not recorded: {', '.join(missing)}; {reason}")
    return Check(rule, "yes", reason)


def _test_split(facts: Facts, _: Facts | None) -> Check:
    rule = "The search never sees the test split; the cost of choosing is counted"
    seen = sum(run.outcome.test is not None for run in facts.runs)
    spent = sum(run.outcome.cost.flops for run in facts.runs)
    cost = f"choosing took {counted(len(facts.runs), 'training run')} and {spent:.2g} FLOPs"
    if seen:
        return Check(rule, "no", f"{counted(seen, 'run')} measured the test split; {cost}")
    return Check(rule, "yes", f"no run measured the test split; {cost}")


def _random_arm(facts: Facts, against: Facts | None) -> Check:
    rule = "Random search at the same budget, by the same criterion, is one of the arms"
    if facts.config.sampler == "random":
        return Check(rule, "yes", "this study is the random arm")
    if against is None:
        missing = "the random arm is missing: run one and give it as --against"
        return Check(rule, "no", f"{missing}; whether a cell beats the GRU says {facts.comparison}")
    sampler = against.config.sampler
    if sampler != "random":
        return Check(rule, "no", f"the other arm, {against.name}, draws with {sampler}")
    if differs := differences(facts, against):
        return Check(rule, "in part", f"{against.name} differs in {', '.join(differs)}")
    if len(against.runs) < EQUAL_SHARE * len(facts.runs):
        spent = f"{len(against.runs):,} of {len(facts.runs):,} runs"
        return Check(rule, "in part", f"{against.name} has spent {spent}; nothing is known beyond")
    runs = [counted(len(arm.runs), "run") for arm in (facts, against)]
    return Check(
        rule, "yes", f"{against.name}: {runs[1]} beside {runs[0]}, compared at equal cost above"
    )


def _parameters(facts: Facts, _: Facts | None) -> Check:
    rule = "Equal parameter budgets"
    parts, worst = [], 0.0
    for task in facts.protocol.tasks:
        runs = [r for r in facts.runs_of(task.name) if r.outcome.n_params]
        shares = [run.outcome.n_params / run.settings.n_params for run in runs]
        if shares:
            parts.append(f"{task.name} {min(shares):.1%} to {max(shares):.1%} (n = {len(shares)})")
            worst = max(worst, 1 - min(shares), max(shares) - 1)
    reason = f"models have of their budget, on {'; '.join(parts) or 'no task yet'}"
    return Check(rule, "yes" if parts and worst <= 0.05 else "in part", reason)


def _tuning(facts: Facts, _: Facts | None) -> Check:
    rule = "Equal tuning budgets; GRU and LSTM are tuned in the study"
    best, parts, fair, lacks = facts.winner, [], True, False
    keys = dict(zip(BASELINES, facts.baselines, strict=True))
    for task in facts.protocol.tasks:
        tried = {name: facts.count_settings(key, task.name) for name, key in keys.items()}
        own = facts.count_settings(best.key, task.name) if best else 0
        fair = fair and tried[BASELINES[0]] >= max(1, own) and min(tried.values()) > 0
        lacks = lacks or tried["lstm"] < own
        counts = [f"{name} {count}" for name, count in tried.items()]
        counts += [f"{best.name} {own}"] if best else []
        parts.append(f"{task.name}: {', '.join(counts)}")
    more = " (the LSTM has had fewer than the best cell)" if lacks else ""
    answer: Answer = "no" if not fair else "in part" if lacks else "yes"
    return Check(rule, answer, f"settings tried on {'; '.join(parts)}{more}")


def _seeds(facts: Facts, _: Facts | None) -> Check:
    rule = "Paired seeds: every cell has the same data and the same seeds"
    seeds = sorted({run.seed for run in facts.first_runs})
    count = f"{counted(len(seeds), 'seed')}, {joined([str(seed) for seed in seeds] or ['none'])}"
    draws = facts.config.protocol.draws
    if draws != "shared":
        return Check(rule, "in part", f"{count}; settings are {draws}, so cells have their own")
    return Check(rule, "yes", f"{count}; all cells share their settings")


def _fresh(facts: Facts, _: Facts | None) -> Check:
    rule = f"Final numbers have at least {FRESH_SEEDS} fresh seeds, with intervals"
    n = len({run.seed for run in facts.first_runs})
    reason = (
        f"n = {n} seed, the one that was chosen by; a search is no comparison, so no number here "
        f"is one: {facts.comparison} trains the best cell, the GRU and the LSTM on fresh seeds"
    )
    return Check(rule, "no", reason)


def _no_sharing(facts: Facts, _: Facts | None) -> Check:
    rule = "Each run has weights of its own; early rejection is checked against full training"
    n_cut = sum(run.outcome.status in ("cut", "vetoed") for run in facts.runs)
    audit = facts.config.protocol.audit
    if not n_cut:
        return Check(rule, "yes", "all weights are trained from scratch; no run was ended early")
    reason = f"all weights are trained from scratch; {counted(n_cut, 'run')} ended early"
    if not audit:
        return Check(rule, "in part", f"{reason}, and no candidate is audited")
    return Check(rule, "yes", f"{reason}; {audit:.0%} of the candidates are audited, see Shortcuts")


CHECKS: tuple[Callable[[Facts, Facts | None], Check], ...] = (
    _recorded,
    _test_split,
    _random_arm,
    _parameters,
    _tuning,
    _seeds,
    _fresh,
    _no_sharing,
)


def fairness(facts: Facts, against: Facts | None) -> Section:
    """The checklist as a table."""
    checks = checklist(facts, against)
    kept = sum(check.answer == "yes" for check in checks)
    caption = f"{kept} of {len(checks)} rules are kept; each answer is computed from the study."
    rows = [(check.rule, check.answer, check.reason) for check in checks]
    return Section("Fairness checklist", (Table(caption, ("rule", "kept", "found"), rows),))


def origin(facts: Facts, against: Facts | None) -> Section:
    """The configuration, the versions, and how to run it again."""
    kept = facts.seen.study.attrs.get("provenance", {})
    path = facts.seen.folder / "config.yaml"
    rows = [(name, str(value)) for name, value in kept.items()]
    again = (
        "The same command resumes the study, or repeats it elsewhere: python -m nas.search "
        f"{path.name}, with this file."
    )
    versions = Table("Versions of what decides a result.", ("of", "version"), rows)
    config = Code(hidden(path.read_text(encoding="utf-8")), "yaml", path.name)
    return Section("How it was made", (versions, Text(again), config))
