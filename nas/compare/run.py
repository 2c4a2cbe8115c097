"""One comparison, from its plan to the last line that is printed."""

from collections.abc import Iterator, Sequence

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED
from nas.compare.config import CompareConfig, cell_of
from nas.compare.protocol import BestShare, FreshSeeds, protocol_of
from nas.compare.record import entries, view
from nas.compare.report import lines, write
from nas.compare.result import Comparison, compared, too_few_seeds
from nas.errors import SearchError
from nas.record.comparison import record
from nas.session.manner import COMMAND, Manner
from nas.session.plan import Plan, check_machine, check_widths
from nas.session.session import Session, open_session
from nas.study.study import Study


def plan(config: CompareConfig, cells: Sequence[Cell]) -> Plan[CompareConfig]:
    """The plan of a comparison of cells, GRU and LSTM first.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
    """
    check_machine(config)
    made = Plan(config, tuple(cells), protocol_of(config), config.definition())
    check_widths(made.cells, made.protocol)
    return made


def run(plan: Plan[CompareConfig], command: str, manner: Manner = COMMAND) -> int:
    """Run or resume a comparison; return the exit code.

    `command` says how to go on with it. What another command began in the same study is finished
    and shown as well: to leave a cell out does not undo that it was tried.

    Raises:
        UserError: if another process holds the study, or it was begun with another definition.
        SearchError: if the GRU has no metric on some task.
    """
    with open_session(plan, manner) as session:
        for line in _description(session):
            session.say(line)
        try:
            coordinator = session.run()
        except KeyboardInterrupt:
            kept = _kept(session)
            session.say(f"Interrupted: {kept} {manner.again} goes on from here, as does: {command}")
            return EXIT_INTERRUPTED
        if coordinator.used_up == "stopped":
            session.say(f"A callback stopped it: {_kept(session)} {manner.again} goes on.")
        elif coordinator.used_up:
            session.say(
                f"The time budget of {plan.config.time_budget} is used up: {_kept(session)} With a "
                f"larger one it goes on: {command} --time-budget TIME"
            )
        else:
            _conclude(session)
    return 0


def _description(session: Session[CompareConfig]) -> Iterator[str]:
    """The cells and the method, and the limits of what they can show."""
    study, plan, config = session.study, session.plan, session.plan.config
    keys = {v.key for v in study.visits if v} | {cell.key for cell in plan.cells}
    n_cells, done = len(keys), len(study.finished())
    after = f"; going on after {done} finished cells" if done else ""
    about = (
        f"comparison {config.study}: {n_cells} cells with GRU and LSTM, tasks "
        f"{', '.join(config.tasks.use)}, {config.tuning}"
    )
    if isinstance(plan.protocol, BestShare):
        n_runs = n_cells * len(plan.protocol.tasks) * config.tuning
        yield (
            f"{about} random settings each, of which the best {config.n_best} on validation are "
            f"compared on test, seed {config.seed}: {n_runs:,} training runs{after}"
        )
        return
    tried = {task.name: len(plan.protocol.settings_of(task)) for task in plan.protocol.tasks}
    n_runs = n_cells * (sum(tried.values()) + len(tried) * config.seeds)
    yield (
        f"{about} settings each on validation, then {config.seeds} fresh seeds on test, seed "
        f"{config.seed}: {n_runs:,} training runs{after}"
    )
    for task, n_tried in tried.items():
        if n_tried < config.tuning:
            yield (
                f"There are only {n_tried} settings for {task}, and all are tried: for more, "
                "give further values with --settings.learning-rate and the like."
            )
    if warning := too_few_seeds(config.seeds, n_cells - 1):
        yield warning


def _kept(session: Session[CompareConfig]) -> str:
    visits = [visit for visit in session.study.visits if visit]
    n_runs = sum(summary.n_runs for visit in visits for summary in visit.summaries())
    return f"{n_runs:,} training runs are finished and kept in {session.study.folder}."


def comparison_of(study: Study, plan: Plan[CompareConfig]) -> Comparison:
    """The results of a comparison whose visits are finished."""
    config = plan.config
    assert isinstance(plan.protocol, BestShare | FreshSeeds)
    uri = "" if config.tracking_uri == "off" else config.tracking_uri
    first = cell_of(config.cells[0], uri).key if config.best_share else ""
    visits = [visit for visit in study.visits if visit]
    return compared(config.study, visits, plan.protocol, first, config.published)


def _conclude(session: Session[CompareConfig]) -> None:
    """Print and write the results, and record them in MLflow."""
    study, plan, config = session.study, session.plan, session.plan.config
    comparison = comparison_of(study, plan)
    session.say("\n" + "\n".join(lines(comparison)))
    paths = write(comparison, study.folder)
    session.say("Written: " + ", ".join(str(path) for path in paths))
    if config.tracking_uri != "off":
        try:
            made = entries(comparison, study.folder)
            for line in record(config.tracking_uri, config.study, made, view(comparison)):
                session.say(line)
        except SearchError as error:  # the study holds everything
            session.say(str(error))
