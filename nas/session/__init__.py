"""The loop: from a plan through candidates and evaluations to the leaderboard.

    nas.search        parses arguments and a YAML file into a SearchConfig and checks it
    plan.py           plan(config) -> Plan(config, cells, protocol, definition, space, sampler):
                      everything is loaded once, and whatever does not fit is an error here
    session.py        open_session(plan) -> Session: takes the lock, opens the study, starts the
                      workers, makes SIGTERM an interrupt; and closes all of it, whatever happens
    coordinator.py    Coordinator(plan, study, workers, observers, deadline).run(): asks the sampler
                      for visits, hands evaluations to workers, stores results, judges, tells
    judging.py        the protocol's generator for a visit, from what the study holds
    spending.py       the runs that count against a budget before a candidate is begun
    now.py            what is trained now, with its epoch beside the GRU's at that point
    pace.py           how long it will take, from what was measured
    progress.py       observers that print what happens and note the time spent
    winner.py         an observer that keeps the weights of the best cells; the winner's folder
    calls.py          arguments of calls from Python as flags of the command
    manner.py         what a run prints to and who watches it: a command, or a call from Python
    callbacks.py      the callbacks of such a call
    result.py         what a call returns: leaderboard, best cell, weights, report, Optuna's study
    conclude.py       conclude(session, ...): winner, report and leaderboard from the open study

`nas.compare` and `nas.curves` make plans of given cells, with protocols of their own, for the same
coordinator; the curves' file of lines is a `Ledger` in place of a study.
"""
