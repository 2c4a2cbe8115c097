# %% [markdown]
# # Your own series, labels and text
#
# A search needs no code for your data: a table, an array file or a text is named, and `nas`
# splits it by time or by sequence, normalises it by the training part, and answers in the units
# of your data.
# This page makes three small data sets, searches on each for some seconds, and uses the winners.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import nas

os.chdir(tempfile.mkdtemp())
generator = np.random.default_rng(0)
short = {"epochs": 3, "batches_per_epoch": 20}

# %% [markdown]
# ## A series: forecast a column of a table
#
# The room's temperature follows a heater. `horizon` is how many rows ahead the forecast looks.

# %%
heater = (np.sin(np.arange(2000) / 40) > 0).astype(float)
room = 15.0 + np.zeros(2000)
for t in range(1, 2000):
    room[t] = (
        room[t - 1] + 0.1 * (25 * heater[t - 1] - (room[t - 1] - 10)) + generator.normal(0, 0.1)
    )
table = pd.DataFrame({"minute": np.arange(2000), "heater": heater, "room": room.round(2)})
table.to_csv("sensor.csv", index=False)

result = nas.search(
    "own_data",
    study="sensor",
    n_candidates=2,
    tasks={
        "use": ["csv"],
        "csv": {
            "path": "sensor.csv",
            "time": "minute",
            "columns": ["heater", "room"],
            "target": ["room"],
            "horizon": 5,
            **short,
        },
    },
)
result.leaderboard[["rank", "cell", "kind", "score"]]

# %% [markdown]
# The winner reads rows as they stand in the table, and answers in degrees: the forecast for
# five rows after each row.

# %%
model = result.load("csv")
forecast = model.predict(table.tail(100))
forecast.tail(3)

# %% [markdown]
# ## Labels: which kind is a sequence?
#
# `x` has the sequences (how many, steps, features) and `y` their labels.

# %%
labels = generator.integers(0, 2, 400)
x = generator.normal(0, 1, (400, 20, 2)).astype(np.float32)
x[labels == 1, :, 0] += np.linspace(0, 1.5, 20)
np.savez("mine.npz", x=x, y=labels)

result = nas.search(
    "own_data",
    study="labels",
    n_candidates=2,
    tasks={"use": ["arrays"], "arrays": {"path": "mine.npz", "head": "class", **short}},
)
result.leaderboard[["rank", "cell", "kind", "score"]]

# %%
model = result.load("arrays")
model.predict(x[:8]), labels[:8]

# %% [markdown]
# ## Text: predict the next character
#
# Any text file will do.

# %%
words = ["to be", "or not to be", "that is the question", "to sleep", "perchance to dream"]
Path("my.txt").write_text(", ".join(words[k] for k in generator.integers(0, len(words), 4000)))
result = nas.search(
    "own_data",
    study="text",
    n_candidates=2,
    tasks={"use": ["text"], "text": {"path": "my.txt", "n_params": [6000], **short}},
)
model = result.load("text")
model.generate("to be", 20)

# %% [markdown]
# [Tasks and your own data](../../tasks/) says how tables are read, split and measured, and what
# is refused.
