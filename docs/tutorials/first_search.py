# %% [markdown]
# # A first search
#
# This page searches for a gated cell on two small tasks, looks at what was found, and goes on
# with the same search. It takes a minute or two; the same code with more candidates is a
# real search.
# It works in a fresh folder, since a search writes `studies/` and `mlflow.db` where it runs.

# %%
import os
import tempfile

import nas

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# `nas.search` takes the name of an experiment and any field of the configuration. `python -m
# nas.search quickstart --n-candidates 4 ...` is the same in a shell. `settings` are the
# hyperparameters that each cell is tried on.

# %%
small = {"epochs": 4, "batches_per_epoch": 50}
options = {
    "study": "first",
    "tasks": {
        "use": ["selective_copying", "arithmetic"],
        "selective_copying": {"length": 8, "n_symbols": 3, **small},
        "arithmetic": {"max_digits": 1, "max_distractors": 0, **small},
    },
}
result = nas.search("quickstart", n_candidates=4, **options)
result

# %% [markdown]
# The leaderboard is a pandas DataFrame. A ratio above 1 is better than the GRU on that task,
# and the score is the smallest of them.

# %%
result.leaderboard[["rank", "cell", "kind", "score", "n_params", "seconds"]]

# %% [markdown]
# The best cell is a value: text, picture, LaTeX and key.

# %%
print(result.best)

# %%
result.best

# %% [markdown]
# The winner comes with its weights. Raw data go in, and answers come out; a model that was
# trained for some seconds has not learned to add.

# %%
model = result.load("arithmetic")
model.predict("7-9="), model.probabilities("7-9=").max()

# %% [markdown]
# A larger number of candidates goes on with the same study: nothing that was trained is trained
# again. The same holds after Ctrl-C, a crash, or a restart of the machine.

# %%
result = nas.search("quickstart", n_candidates=6, **options)
len(result.leaderboard)

# %% [markdown]
# `result.study` is Optuna's own study, with all of its tools. `result.report()` writes one HTML
# file with all tables and pictures, and returns its path. In a shell, `mlflow ui
# --backend-store-uri sqlite:///mlflow.db` shows a page for each cell.

# %%
result.study.trials_dataframe(attrs=("number", "value", "state")).tail(3)

# %%
result.report().name

# %% [markdown]
# A score is the best of several runs on validation data, so it is no evidence that the cell is
# better. [The third tutorial](../your_cell/) compares cells fairly.
