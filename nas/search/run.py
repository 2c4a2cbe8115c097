"""One search, from a checked configuration to the last line that is printed."""

from nas.command_line import EXIT_INTERRUPTED
from nas.errors import counted
from nas.session.conclude import command, conclude, interrupted, recording
from nas.session.few_examples import warnings
from nas.session.limits import told
from nas.session.manner import COMMAND, Manner
from nas.session.plan import plan
from nas.session.session import Session, open_session
from nas.session.winner import WeightStore
from nas.study.config import SearchConfig
from nas.study.leaderboard import leaderboard


def search(config: SearchConfig, manner: Manner = COMMAND) -> int:
    """Run or resume the search that `config` describes; return the exit code.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
        SearchError: if the reference learns too little to judge candidates by.
    """
    if config.protocol.kind == "replay":
        from nas.replay.command import replay

        return replay(config)
    made = plan(config)
    if config.confirm:
        from nas.compare import confirm

        comparison = confirm.confirming(config)  # a wrong field is an error before the search
    warned = list(warnings(made.protocol))  # before the time budget begins
    with open_session(made, manner) as session:
        session.say(description(session))
        for warning in (*told(made), *warned):
            session.say(warning)
        try:
            _carry_out(session)
        except KeyboardInterrupt:
            session.say(interrupted(session))
            return EXIT_INTERRUPTED
        rows = leaderboard(session.study.finished(), made.baselines)
    if not config.confirm:
        return 0
    best = confirm.best_cells(rows, config.confirm)
    if not best:
        session.say("No cell was scored, so there is none to confirm.")
        return 0
    session.say("")
    return confirm.confirm(comparison, best, command(config), manner)


def description(session: Session[SearchConfig]) -> str:
    """One line that says what is searched."""
    plan, config = session.plan, session.plan.config
    assert plan.space is not None, "a search has a space"
    size = plan.space.size()
    points = f"{size:,} points" if size else "unbounded"
    done = len(session.study.finished())
    return (
        f"study {config.study}: space {plan.space.name} ({points}), sampler {config.sampler}, "
        f"tasks {', '.join(config.tasks.use)}, {counted(config.n_candidates, 'candidate')}, "
        f"seed {config.seed}" + (f"; going on after {done} judged cells" if done else "")
    )


def _carry_out(session: Session[SearchConfig]) -> None:
    """Judge all candidates, or those that the budgets allow, and conclude."""
    weights = WeightStore(session.study, session.plan.baselines)
    with recording(session) as recorder:
        coordinator = session.run([weights, recorder] if recorder else [weights])
        conclude(session, weights, recorder, coordinator.used_up)
