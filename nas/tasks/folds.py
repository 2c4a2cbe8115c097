"""Cross-validation of a user's sequences: which of them each fold is validated on.

A task with `folds` stands for as many tasks (`Task.in_folds`), of which each is validated on
another part of the sequences that are not of test and trained on the rest. Its metric is that of
all of these examples together: the mean over the folds, weighted by their scored steps.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.tasks.base import Split, Task

Places = NDArray[np.int64]


def check_folds(task: Task, folds: int, fold: int) -> None:
    """Raise UserError unless the numbers of a task's folds go together."""
    if folds == 1:
        raise task.refused("folds", "0, for one validation split, or at least 2", folds)
    if fold > folds:
        raise task.refused("fold", f"0 to the number of folds, {folds}", fold)


def folded(
    task: Task, dealt: dict[Split, Places], labels: NDArray[Any] | None, *, shuffle: bool
) -> dict[Split, Places]:
    """Deal the sequences of training and validation anew, for the fold that a task validates on.

    `labels` are those of all sequences, if they have one each: then each fold has about the same
    shares of them. A task that stands for all folds has the data of the first one.

    Raises:
        UserError: if there are fewer sequences than folds.
    """
    folds, fold = getattr(task, "folds", 0), getattr(task, "fold", 0)
    if not folds:
        return dealt
    from sklearn.model_selection import KFold, StratifiedKFold

    places = np.sort(np.concatenate([dealt["train"], dealt["validation"]]))
    if len(places) < folds:
        rule = f"at most the number of sequences that are not of test, {len(places)}"
        raise task.refused("folds", rule, folds)
    codes = None if labels is None else np.unique(labels[places], return_inverse=True)[1]
    stratified = codes is not None and np.bincount(codes).max() >= folds
    kind = StratifiedKFold if stratified else KFold
    with warnings.catch_warnings():  # of labels that are rarer than folds
        warnings.simplefilter("ignore", UserWarning)
        dealer = kind(folds, shuffle=shuffle, random_state=0 if shuffle else None)
        train, held = list(dealer.split(places, codes))[max(fold, 1) - 1]
    return {**dealt, "train": places[train], "validation": places[held]}
