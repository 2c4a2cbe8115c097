"""The end of a search: winner, report and leaderboard from the open study, and how to go on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from nas.cell.reader import loads
from nas.errors import HIDDEN, UserError, hidden
from nas.protocol.measured import measured_in
from nas.record.recorder import Recorder, described
from nas.report import recording as report_recording
from nas.report.facts import facts_of
from nas.report.reliability import Reliability, beside_leaderboard, open_places, reliability_of
from nas.report.write import files_in, report
from nas.session.few_examples import resolutions
from nas.session.progress import counts, table_of, wide
from nas.session.session import Session
from nas.session.winner import WeightStore, write_winner
from nas.study.config import SearchConfig
from nas.study.front import sentence
from nas.study.leaderboard import Row, leaderboard, verdict, winner
from nas.study.location import OpenedStudy
from nas.study.rejections import set_aside, standings
from nas.study.visit import n_runs
from nas.tasks.base import Task
from nas.tasks.levels import below, levels_of
from nas.tasks.resolution import resolution_of
from nas.zoo.usage import call_of, twin_of

COMPLETE_RECORDS_S = 60.0
"""Seconds to wait for MLflow after a complete search."""
INTERRUPTED_RECORDS_S = 2.0
"""Seconds to wait for MLflow after a search that was interrupted or failed."""


@contextmanager
def recording(session: Session[SearchConfig]) -> Iterator[Recorder | None]:
    """Record every judged cell in MLflow, beside the search; None where MLflow is off."""
    plan = session.plan
    if plan.config.tracking_uri == "off":
        yield None
        return
    recorder = Recorder(
        plan.config.tracking_uri,
        plan.config.study,
        described(
            plan.space.name if plan.space else "", [task.name for task in plan.protocol.tasks]
        ),
        plan.protocol.tasks,
        plan.protocol.filter,
        plan.baselines,
        objectives=plan.objectives,
    )
    recorder.sync(session.study.finished())
    wait_s = INTERRUPTED_RECORDS_S
    try:
        yield recorder
        wait_s = COMPLETE_RECORDS_S
    finally:
        if lagging := recorder.close(wait_s):
            session.say(
                f"{lagging} runs are not recorded in MLflow yet; the same command catches up."
            )


def conclude(
    session: Session[SearchConfig], weights: WeightStore, recorder: Recorder | None, used_up: str
) -> None:
    """Write the winner and, where cells are recorded, the report; print the leaderboard.

    `used_up` is what ended the search, "time", "runs" or "stopped"; empty if it is complete.
    """
    study, plan = session.study, session.plan
    best = write_winner(study, plan.protocol, weights, session.workers)
    rows = leaderboard(study.finished(), plan.baselines)
    page = _report(session, recorder) if recorder and rows else None
    if rows:
        trust = reliability_of(plan.protocol, rows, study.finished())
        known, open_to = resolutions(plan.protocol), open_places(trust, rows)
        tasks = [task.name for task in plan.protocol.tasks]
        objectives = plan.objectives
        table = table_of(rows, tasks, resolutions=known, places=open_to, objectives=objectives)
        wide(session.console).print(table)
        session.say(f"Every command takes each of these cells as {study.folder}/NAME.")
        for line in _lines(session, rows, trust):
            session.say(line)
    else:
        session.say("No cell is judged yet; what was trained is kept.")
    for line in _used_up_lines(session, used_up):
        session.say(line)
    if best is not None:
        folder = study.folder / "winner"
        cell = loads(best.visit.cell)
        session.say(f"Winner: {folder}; in place of {twin_of(cell)}:")
        session.say(
            f'    import nas; rnn = nas.RNN("{folder}", input_size, hidden_size); {call_of(cell)}'
        )
        session.say("With its weights, a whole model that reads the data as they are:")
        session.say(f'    model = nas.load("{folder}", task="{plan.protocol.tasks[0].name}")')
        for measured in measured_in(folder):
            session.say(measured.sentences)
    if page is not None:
        session.say(f"Report: {page}")
    if busy := session.progress.utilisation():
        session.say(f"{busy[0].upper()}{busy[1:]}.")
    for line in recorder.where_to_look() if recorder else []:
        session.say(line)


def _report(session: Session[SearchConfig], recorder: Recorder) -> Path | None:
    """Write the report, keep it in MLflow with the summary, and return the path of its page."""
    study, plan = session.study, session.plan
    opened = OpenedStudy(study.name, study.folder, study, running=False, config=asdict(plan.config))
    try:
        facts = facts_of(opened, plan.config, plan.protocol)
        page = report(facts)[0]
        report_recording.conclude(recorder, facts, files_in(page.parent))
    except UserError as error:  # the search is complete without it
        session.say(f"The report is not written: {error}")
        return None
    return page


def _lines(
    session: Session[SearchConfig], rows: Sequence[Row], trust: Reliability
) -> Iterator[str]:
    """What a search found."""
    study, plan, best = session.study, session.plan, winner(rows)
    drawn = [visit for visit in study.finished() if visit.kind == "drawn"]
    yield f"{counts(drawn)}: {standings(drawn)}."
    tried = plan.protocol.tried(best.visit.turn if best else 0)
    yield verdict(rows, tried, resolutions(plan.protocol), trust.noise)
    if front := sentence(rows, plan.objectives):
        yield front
    yield beside_leaderboard(trust, rows)
    for task in plan.protocol.tasks:
        yield levels(task, rows, plan.config.seed)
        if warning := below(task, _reached(task, rows), levels_of(task, plan.config.seed)):
            yield f"Warning: {warning}"
    yield from set_aside(study.visits)


def _used_up_lines(session: Session[SearchConfig], used_up: str) -> Iterator[str]:
    """The budget that ended a search, if one did, and how to go on."""
    study, plan = session.study, session.plan
    if used_up == "runs":
        budget = plan.config.run_budget
        yield _used_up(
            f"The run budget of {budget:,} is used up ({n_runs(study.visits):,} runs)",
            f"{command(plan.config)} --run-budget {2 * budget}",
        )
    elif used_up == "stopped":
        yield f"A callback stopped it; {session.manner.again.lower()} goes on from here."
    elif used_up:
        yield _used_up(
            f"The time budget of {plan.config.time_budget} is used up",
            f"{command(plan.config)} --time-budget TIME",
        )


def _used_up(what: str, how: str) -> str:
    return f"{what}; with a larger one the search goes on: {how}"


def levels(task: Task, rows: Sequence[Row], seed: int) -> str:
    """What the best cell, GRU and LSTM reached on a task, beside what needs no network."""
    simple, examples = levels_of(task, seed), resolution_of(task, seed)
    reached = _reached(task, rows) | {level.name: level.value for level in simple.shown}
    better = "more" if task.metric.higher_is_better else "less"
    numbers = ", ".join(f"{name} {task.metric.shown(value)}" for name, value in reached.items())
    why = f"; simple predictors are not computed: {simple.why}" if simple.why else ""
    few = f"; {examples.described}" if examples and examples.is_coarse else ""
    metric = task.metric
    return f"{task.name}, {metric.name} ({metric.unit}, {better} is better): {numbers}{why}{few}."


def _reached(task: Task, rows: Sequence[Row]) -> dict[str, float]:
    """The metrics of the best cell and of the baselines on a task, by their names."""
    scored = [row for row in rows if not row.rejected]
    best = next((row for row in scored if row.may_win), None)
    reached = {
        row.name: row.visit.judgement.best.get(task.name)
        for row in scored
        if (row.kind == "baseline" or row is best) and row.visit.judgement
    }
    return {name: value for name, value in reached.items() if value is not None}


def interrupted(session: Session[SearchConfig]) -> str:
    """What an interrupted search keeps, and how to go on."""
    study, plan = session.study, session.plan
    given = {visit.key for visit in study.visits if visit and visit.kind == "given"}
    total = plan.n_candidates + len(given | {cell.key for cell in plan.cells})
    return (
        f"Interrupted: {len(study.finished())} of {total} cells are judged and kept in "
        f"{study.folder}. {session.manner.again} goes on from here, as does: "
        f"{command(plan.config)}"
    )


def command(config: SearchConfig) -> str:
    """The command that goes on with a study, a storage's password left out."""
    storage = " --storage URL" if HIDDEN in hidden(config.storage) else ""
    return f"python -m nas.search {config.folder / 'config.yaml'}{storage}"
