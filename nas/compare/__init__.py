"""Chosen cells compared fairly: equal budgets, equal tuning, fresh seeds, the test split.

    cells and configuration (config.py, command.py)
      -> tuning: every cell on the same settings a task, one seed, measured on validation
      -> fresh seeds: its best setting, trained anew with seeds by which nothing was chosen; the
         epoch is chosen on validation, and its weights are measured once on test (protocol.py)
      -> a study like a search's: Optuna storage, lock, cache, the same coordinator and workers, a
         trial a cell; so a comparison that was stopped goes on (run.py)
      -> values by task, cell and seed; differences paired by seed, interval, rank test, Holm's
         correction over the cells, a verdict a pair (result.py, nas/report/statistics/intervals.py)
      -> table, comparison.json, .csv, .md, .tex, .png, .svg, .pdf (report.py, picture.py), MLflow
         (record.py)

With a `best_share` there are no fresh seeds: every cell is trained on the same random settings
(drawn.py), and the best of them on validation are compared by Welch's test. The test split decides
nothing: neither the epoch nor the setting. `nas.search --confirm N` compares its best cells so
(confirm.py).
"""

from nas.session.calls import make_callable

make_callable(__name__, "nas.compare.call:compare")
