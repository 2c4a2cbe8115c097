# %% [markdown]
# # Your own cell and a fair comparison
#
# A cell is its equations. This page writes one, looks at it, uses it as a PyTorch module, and
# compares it with the GRU and the LSTM: equal numbers of parameters, equal tuning, fresh seeds,
# test data, intervals.

# %%
import os
import tempfile

import torch

import nas

os.chdir(tempfile.mkdtemp())

# %%
mine = nas.cell('''
def mine(x, h):
    """A GRU without a reset gate whose update gate starts with a bias of 1."""
    z = sigmoid(linear(x, h, bias=1))
    return z * h + (1 - z) * tanh(linear(x, h))
''')
mine

# %% [markdown]
# It is a module at once. Shapes and states are those of `torch.nn.GRU`.

# %%
rnn = nas.RNN(mine, input_size=3, hidden_size=16, num_layers=2)
y, h = rnn(torch.randn(20, 8, 3))
y.shape, h.shape, mine.n_params(3, 16)

# %% [markdown]
# The comparison tunes each cell on the same settings, trains it with its best one on fresh
# seeds, and measures it once on test data. Here it is small: eight seeds and two settings. A
# real one has ten seeds or more.

# %%
result = nas.compare(
    [mine],
    tasks={
        "use": ["adding"],
        "adding": {"length": 20, "n_params": [2000], "epochs": 5, "batches_per_epoch": 60},
    },
    settings={
        "optimizer": "adamw",
        "init_scale": [1.0],
        "learning_rate": [0.003, 0.01],
        "clip_norm": [5.0],
        "num_layers": [1],
    },
    tuning=2,
    seeds=8,
    study="mine",
)
result

# %% [markdown]
# Every pair has a verdict, which may well be that there is no evidence of a difference.

# %%
for sentence in result.verdicts["verdict"]:
    print("-", sentence)

# %% [markdown]
# All single measurements are there too.

# %%
result.values.head()
