# %% [markdown]
# # Read the paper's table again
#
# Table 1 of Jozefowicz, Zaremba & Sutskever (2015) has one number for each cell and task, and
# no error bars. The experiment `table1` measured its cells anew at 25,000 parameters, with ten
# fresh seeds each. This page reads
# the recorded measurements, and asks which differences are more than noise.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from nas.report.statistics.intervals import differences, interval
from nas.resources import folder

runs = pd.read_csv(folder("experiments") / "table1" / "comparison.csv")
runs.head(3)

# %% [markdown]
# The means over ten seeds, on test data. Arithmetic and XML are accuracies; of text and music,
# less is better.

# %%
runs.pivot_table(index="cell", columns="task", values="test").round(3)

# %% [markdown]
# A mean alone says little. These are the 95 % bootstrap intervals on arithmetic.

# %%
arithmetic = {
    cell: rows["test"].tolist() for cell, rows in runs[runs.task == "arithmetic"].groupby("cell")
}
fig, axis = plt.subplots(figsize=(7, 3))
for place, values in enumerate(arithmetic.values()):
    found = interval(values)
    axis.plot([found.low, found.high], [place, place], color="tab:blue")
    axis.plot(found.mean, place, "o", color="tab:blue")
axis.set_yticks(range(len(arithmetic)), list(arithmetic))
axis.set_xlabel("accuracy on arithmetic, ten seeds")
fig.tight_layout()

# %% [markdown]
# Seeds are paired: every cell was trained on the same ten. So differences to the GRU have
# intervals of their own, and rank tests that are corrected for the number of cells (Holm).

# %%
gains = {
    cell: [ours - gru for ours, gru in zip(values, arithmetic["gru"], strict=True)]
    for cell, values in arithmetic.items()
    if cell != "gru"
}
for cell, found in differences(gains, "gru").items():
    gain = found.gain
    print(
        f"{cell:8} {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]  p = {found.corrected:.2f}"
    )

# %% [markdown]
# The paper's MUT1 is ahead of the GRU, and its interval is above zero; after the correction for
# six cells there is still no evidence at 5 %. [The experiment's
# page](../../experiments/table1/) has all four tasks and the verdict.
#
# `python -m nas.compare --config table1` measures all of it again, in an hour or two.
