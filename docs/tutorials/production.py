# %% [markdown]
# # Take a winner to production
#
# A winner leaves the project in three ways: as one plain PyTorch file, as an ONNX graph, and as
# a model in MLflow's registry. All of them give the same answers. This page trains a small
# winner first.

# %%
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import nas

os.chdir(tempfile.mkdtemp())
result = nas.search(
    "quickstart",
    study="sums",
    n_candidates=1,
    include=["mut3"],
    tasks={
        "use": ["arithmetic"],
        "arithmetic": {"max_digits": 1, "max_distractors": 0, "epochs": 4, "batches_per_epoch": 50},
    },
)
winner = result.folder / "winner"
model = nas.load(winner, task="arithmetic")
model.predict("7-9="), model.probabilities("7-9=").round(3)


def nas_export(*arguments):
    """What the command `nas export ...` does in a shell."""
    subprocess.run([sys.executable, "-m", "nas.export", str(winner), *arguments], check=True)


# %% [markdown]
# ## One plain file
#
# The file needs torch and safetensors and nothing of `nas`. It reads as if a person wrote it:
# equations and paper on top, then a line of torch for each.

# %%
nas_export("sums.py", "--task", "arithmetic")
print("\n".join(Path("sums.py").read_text().splitlines()[:30]))

# %%
sys.path.insert(0, ".")
import sums

sums.load().predict("7-9=")

# %% [markdown]
# ## ONNX
#
# The graph maps symbols to probabilities, at any length and batch size. Before it is written it
# is compared with torch by onnxruntime.

# %%
nas_export("--task", "arithmetic", "--onnx", "sums.onnx")

# %% [markdown]
# ## MLflow's registry
#
# A registered model has a signature and the alias `champion`, and holds tensors and JSON, no
# code. `mlflow models serve -m models:/sums@champion` serves it.

# %%
nas_export("--task", "arithmetic", "--register", "sums")

# %%
import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.pyfunc.load_model("models:/sums@champion").predict([{"text": "7-9="}])

# %% [markdown]
# ## Inside a model of your own
#
# `model.rnn` holds the layers, with their weights, in place of a `torch.nn.LSTM`. Step by step,
# the state goes from call to call.

# %%
rnn = model.rnn
x = torch.randn(6, 1, rnn.input_size)
whole, _ = rnn(x)
state = None
steps = []
for x_t in x:
    y_t, state = rnn.step(x_t, state)
    steps.append(y_t)
torch.testing.assert_close(torch.stack(steps), whole)
