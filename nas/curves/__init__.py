"""Learning curves: cells x tasks, each trained with a few settings, as pictures and one table.

    cells and tasks (command.py, config.py)
      -> an evaluation for each cell, task and seed, all settings in one (run.py)
      -> worker processes; what is finished is a line of curves.jsonl at once (store.py)
      -> the setting that is shown, when it solved the task, means over seeds (result.py)
      -> curves.md, curves.json (report.py) and a picture a task (picture.py)

One seed is enough for a curve, but not to claim a difference between cells, as `nas.compare` does.
"""

from nas.session.calls import make_callable

make_callable(__name__, "nas.curves.call:curves")
