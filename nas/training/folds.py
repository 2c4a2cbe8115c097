"""The outcome of a cross-validated setting, from the outcomes of its folds."""

from collections.abc import Callable, Sequence

from nas.protocol.evaluation import Cost, Epoch, Outcome


def pooled(folds: Sequence[Outcome], weights: Sequence[int]) -> Outcome:
    """Return one outcome for a setting that was trained on each of several folds.

    `weights` are the scored steps that each fold is validated on, so that an accuracy is the share
    of right ones among all. The metric is the mean of the folds' best ones; there is none if a
    fold has none. In the curve a fold that ended early keeps its last epoch. The status is that of
    the first fold that did not end well, if there is one.
    """
    if len(folds) == 1:
        return folds[0]
    total = sum(weights)

    def mean(values: Sequence[float]) -> float:
        return sum(w * value for w, value in zip(weights, values, strict=True)) / total

    best = [fold.best for fold in folds if fold.best is not None]
    tests = [fold.test for fold in folds if fold.test is not None]
    ended = next((fold for fold in folds if fold.status != "ok"), folds[0])
    place = f"fold {folds.index(ended) + 1}: {ended.message}" if ended.message else ""
    return Outcome(
        ended.status,
        mean(best) if len(best) == len(folds) else None,
        max((fold.best_epoch for fold in folds if fold.best_epoch is not None), default=None),
        _curve(folds, mean),
        folds[0].n_params,
        folds[0].hidden_size,
        _cost([fold.cost for fold in folds]),
        place,
        next((fold.doubt for fold in folds if fold.doubt), ""),
        sum(tests) / len(tests) if len(tests) == len(folds) else None,
    )


def _curve(folds: Sequence[Outcome], mean: Callable[[Sequence[float]], float]) -> tuple[Epoch, ...]:
    if not all(fold.curve for fold in folds):
        return ()
    n_epochs = max(len(fold.curve) for fold in folds)
    epochs = []
    for place in range(n_epochs):
        at = [fold.curve[min(place, len(fold.curve) - 1)] for fold in folds]
        epochs.append(
            Epoch(
                mean([epoch.train_loss for epoch in at]),
                mean([epoch.loss for epoch in at]),
                mean([epoch.accuracy for epoch in at]),
                at[0].learning_rate,
                {mark: mean([epoch.marks[mark] for epoch in at]) for mark in at[0].marks},
            )
        )
    return tuple(epochs)


def _cost(costs: Sequence[Cost]) -> Cost:
    return Cost(
        sum(cost.steps for cost in costs),
        sum(cost.tokens for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.wall_s for cost in costs),
        sum(cost.saved_flops for cost in costs),
    )
