"""Files as a user has them, small, for the tasks that read them."""

import csv
from pathlib import Path

import numpy as np

from nas.tasks import TASKS, Arrays, Csv, Module, Task, Words

NOT_EMBEDDED = ("csv", "arrays", "module", "music", "storn", "vrnn", "penn_treebank")
EMBEDDED = [name for name in TASKS if name not in NOT_EMBEDDED]
"""Tasks that have data by themselves; the others are checked with files of their own tests."""
SMALL = {"batches_per_epoch": 5, "validation_batches": 5, "batch_size": 8}


def waves(path: Path, n: int = 600) -> None:
    """Two noisy sines, a column of dates and one of machines, three of them in turn."""
    random, t = np.random.default_rng(0), np.arange(n)
    columns = np.sin(t / 7), 3 * np.cos(t / 11) + 5
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["when", "machine", "load", "heat", "state"])
        for k in range(n):
            load, heat = (column[k] + 0.1 * random.normal() for column in columns)
            date = np.datetime64("2024-05-01T00:00") + np.timedelta64(k, "h")
            state = "high" if load > 0 else "low"
            writer.writerow([str(date), f"m{k % 3}", f"{load:.6f}", f"{heat:.6f}", state])


def ramps(path: Path, n: int = 60) -> None:
    """Sequences of 5 to 12 rows that rise or fall, as their label says."""
    random = np.random.default_rng(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "value", "kind"])
        for k in range(n):
            slope = (1, -1)[k % 2]
            for step in range(random.integers(5, 13)):
                value = f"{slope * step / 5 + random.normal():.6f}"
                writer.writerow([k, value, ("up", "down")[k % 2]])


def write(folder: Path) -> None:
    """All files of `TASKS_OF_FILES`."""
    waves(folder / "waves.csv")
    ramps(folder / "ramps.csv")
    random = np.random.default_rng(2)
    x = random.normal(size=(80, 9, 2))
    lengths = random.integers(4, 10, size=80)
    np.savez(folder / "labels.npz", x=x, y=(x[:, 0, 0] > 0).astype(int), lengths=lengths)
    np.savez(folder / "numbers.npz", x=x, y=x[:, :, 0].sum(1), lengths=lengths)
    np.savez(folder / "keys.npz", x=(random.random((60, 9, 5)) < 0.3).astype(float))
    np.savez(
        folder / "tokens.npz", x=random.integers(0, 5, (80, 9)), y=random.integers(0, 3, (80, 9))
    )
    (folder / "my_data.py").write_text(DATA_MODULE, encoding="utf-8")
    words = random.choice("one two three four five six seven eight , .".split(), size=9000)
    (folder / "my.txt").write_text(" ".join(words), encoding="utf-8")


DATA_MODULE = '''
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class MyData(pl.LightningDataModule):
    """Whether the first number of a sequence is positive."""

    def __init__(self, n=90, seed=0, drop=False):
        super().__init__()
        self.n, self.seed, self.drop = n, seed, drop

    def setup(self, stage=None):
        seed = torch.Generator().manual_seed(self.seed)
        x = torch.randn(self.n, 7, 2, generator=seed)
        y = (x[:, 0, 0] > 0).long()
        at = (0, self.n - 40, self.n - 20, self.n)
        self.parts = [TensorDataset(x[i:j], y[i:j]) for i, j in zip(at, at[1:])]

    def train_dataloader(self):
        return DataLoader(self.parts[0], 7, shuffle=True, drop_last=self.drop)

    def val_dataloader(self):
        return DataLoader(self.parts[1], 7)

    def test_dataloader(self):
        return DataLoader(self.parts[2], 7)


class NoTest(pl.LightningDataModule):
    """MyData without the last method."""

    def setup(self, stage=None):
        self.data = MyData()
        self.data.setup(stage)

    def train_dataloader(self):
        return self.data.train_dataloader()

    def val_dataloader(self):
        return self.data.val_dataloader()


class Flat(MyData):
    """One number a sequence."""

    def setup(self, stage=None):
        super().setup(stage)
        x = torch.ones(self.n)
        self.parts = [TensorDataset(x, x)] * 3
'''

TASKS_OF_FILES: dict[str, Task] = {
    "forecast": Csv("waves.csv", columns=("load", "heat"), target=("heat",), **SMALL, window=9),
    "forecast far, warm": Csv(
        "waves.csv",
        columns=("load", "heat"),
        target=("load", "heat"),
        time="when",
        horizon=3,
        warmup=4,
        **SMALL,
        window=9,
    ),
    "forecast of machines": Csv(
        "waves.csv",
        columns=("load",),
        target=("heat",),
        group="machine",
        normalise=False,
        **SMALL,
        window=9,
    ),
    "state of each row": Csv(
        "waves.csv",
        goal="classify",
        columns=("heat", "load"),
        label="state",
        label_of="row",
        metric_name="loss",
        **SMALL,
        window=9,
    ),
    "kind of sequences": Csv("ramps.csv", goal="classify", label="kind", group="id", **SMALL),
    "labels": Arrays("labels.npz", **SMALL),
    "numbers": Arrays("numbers.npz", head="gaussian", **SMALL),
    "forecast of arrays": Arrays("labels.npz", head="gaussian", horizon=2, **SMALL),
    "keys": Arrays("keys.npz", head="bernoulli", horizon=1, **SMALL),
    "keys right": Arrays("keys.npz", head="bernoulli", horizon=1, metric_name="accuracy", **SMALL),
    "tags": Arrays("tokens.npz", head="categorical", **SMALL),
    "next token": Arrays("tokens.npz", head="categorical", horizon=1, **SMALL),
    "module": Module("my_data:MyData", ("n=100",), **SMALL),
    "words": Words("my.txt", window=9, **SMALL),
}
