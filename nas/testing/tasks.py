"""A conformance suite for tasks, in NumPy alone: `check_task(MyTask())` in a test of yours."""

import dataclasses
import itertools
import pickle
from collections.abc import Callable, Hashable, Set
from typing import get_args

import numpy as np

from nas.tasks.base import Split, Task, Window

SEED, OTHER_SEED = 0, 1
N_GUESSES = 400_000
"""Blind guesses, at least, that `chance()` is measured by: at 1/27 a deviation of 0.0003."""
DEVIATIONS = 5.0
"""A right chance level is rejected once in two million checks."""

Examples = Callable[[list[Window]], Set[Hashable]]


def columns(windows: list[Window]) -> set[bytes]:
    """Each stream from one fresh start to the next, up to its last scored step, as one example."""
    found: set[bytes] = set()
    runs: list[list[Window]] = []
    for window in windows:
        if window.fresh:
            runs.append([])
        runs[-1].append(window)
    for run in runs:
        inputs = np.concatenate([window.inputs for window in run])
        targets = np.concatenate([window.targets for window in run])
        scored = np.concatenate([window.scored for window in run])
        for i in np.flatnonzero(scored.any(0)).tolist():
            end = int(np.flatnonzero(scored[:, i])[-1]) + 1
            found.add(inputs[:end, i].tobytes() + targets[:end, i].tobytes())
    return found


def steps(windows: list[Window]) -> set[bytes]:
    """Each scored step as one example: for data of which no two steps are equal, such as
    measurements, so that splits by time are seen to share none."""
    found: set[bytes] = set()
    for window in windows:
        pairs = zip(window.inputs[window.scored], window.targets[window.scored], strict=True)
        found |= {one.tobytes() + other.tobytes() for one, other in pairs}
    return found


def texts(windows: list[Window], symbols: str) -> list[str]:
    """The text of each parallel stream, whose tokens are places in `symbols`."""
    tokens = [windows[0].inputs[:1], *(window.targets for window in windows)]
    return ["".join(symbols[i] for i in stream) for stream in np.concatenate(tokens).T.tolist()]


def pieces(windows: list[Window], symbols: str, end: str) -> set[str]:
    """The examples of streams whose every example ends with `end`, without what is cut off."""
    return {piece for text in texts(windows, symbols) for piece in text.split(end)[:-1]}


def check_task(task: Task, examples: Examples = columns) -> None:
    """Raise AssertionError, with the rule and the value, if `task` breaks the contract of `Task`.

    `examples` reads the independent examples back from the windows of an epoch, to see that no two
    splits share one. The default compares whole streams between two fresh starts: right for tasks
    whose window is one minibatch of whole examples; for streams of many examples give your own,
    such as `lambda windows: pieces(windows, symbols, end="\\n")`, and for measurements `steps`.
    """
    task.check()
    for split in get_args(Split):
        _check_windows(task, split)
    _check_identity(task)
    _check_seeds(task)
    _check_splits(task, examples)
    _check_levels(task)


def _require(task: Task, holds: bool, message: str) -> None:
    """Not an `assert`, which `python -O` leaves out."""
    if not holds:
        raise AssertionError(f"{task.name}: {message}")


def _epoch(task: Task, split: Split, seed: int = SEED, epoch: int = 0) -> list[Window]:
    return list(task.windows(split, seed, epoch))


def _same(one: list[Window], other: list[Window]) -> bool:
    return len(one) == len(other) and all(
        a.fresh == b.fresh
        and np.array_equal(a.inputs, b.inputs)
        and np.array_equal(a.targets, b.targets)
        and np.array_equal(a.scored, b.scored)
        and a.marks.keys() == b.marks.keys()
        and all(np.array_equal(a.marks[name], b.marks[name]) for name in a.marks)
        for a, b in zip(one, other, strict=True)
    )


def _check_windows(task: Task, split: Split) -> None:
    windows = _epoch(task, split)
    if split == "train":
        rule, holds = "exactly batches_per_epoch", len(windows) == task.batches_per_epoch
    else:
        rule, holds = "1 to validation_batches", 1 <= len(windows) <= task.validation_batches
    _require(task, holds, f"the {split} split must have {rule} windows, got {len(windows)}.")
    _require(task, windows[0].fresh, f"the first {split} window must be fresh.")
    for i, window in enumerate(windows):
        _check_arrays(task, window, f"{split} window {i}", split)
        _check_sources(task, window, f"{split} window {i}")
    for i, (window, after) in enumerate(itertools.pairwise(windows)):
        last = window.scored[-1]
        _require(
            task,
            after.fresh
            or not task.forced
            or np.array_equal(after.inputs[0][last], window.targets[-1][last]),
            f"{split} window {i + 1} carries the state over and must begin with the scored last "
            f"targets of window {i}.",
        )
    n_scored = sum(int(window.scored.sum()) for window in windows)
    _require(task, n_scored > 0, f"no position of the {split} split is scored.")


def _check_sources(task: Task, window: Window, where: str) -> None:
    if (attention := task.interface.attention) is None:
        return
    divider = int((window.inputs[:, 0] == attention.divider).argmax())
    source, rest = window.inputs[:divider], window.inputs[divider:]
    read = source != attention.padding
    holds = bool(read[-1:].all() and divider and (np.diff(read, axis=0) <= read[1:]).all())
    holds &= bool((rest[0] == attention.divider).all() and (source != attention.divider).all())
    rule = "be fresh, with sources padded at their start alone, then a divider at one step, and"
    holds &= window.fresh and not window.scored[:divider].any()
    _require(task, holds, f"{where}: with attention, windows must {rule} nothing before it scored.")


def _check_arrays(task: Task, window: Window, where: str, split: Split) -> None:
    ends, shape = task.interface, window.scored.shape
    n_streams = shape[1] if len(shape) == 2 else 0
    # Only whole sequences may be fewer, in the last batches of what is held out.
    fits = n_streams == task.batch_size or (split != "train" and window.fresh and n_streams)
    _require(
        task,
        len(shape) == 2 and shape[0] >= 1 and bool(fits),
        f"{where}: scored must have the shape (time, batch_size = {task.batch_size}), got {shape}.",
    )
    is_class = ends.head == "categorical"
    kinds: dict[str, tuple[type, tuple[int, ...]]] = {
        "inputs": (np.int64, shape) if ends.tokens else (np.float32, (*shape, ends.inputs)),
        "targets": (np.int64, shape) if is_class else (np.float32, (*shape, ends.outputs)),
        "scored": (np.bool_, shape),
        **{f'mark "{name}"': (np.bool_, shape) for name in window.marks},
    }
    arrays = {"inputs": window.inputs, "targets": window.targets, "scored": window.scored}
    arrays |= {f'mark "{name}"': mark for name, mark in window.marks.items()}
    for name, array in arrays.items():
        kind, wanted = kinds[name]
        _require(
            task,
            array.shape == wanted,
            f"{where}: {name} must have the shape {wanted}, got {array.shape}.",
        )
        _require(
            task,
            array.dtype == kind,
            f"{where}: {name} must have the dtype {kind.__name__}, got {array.dtype}.",
        )
    _check_values(task, window, where)


def _check_values(task: Task, window: Window, where: str) -> None:
    ends = task.interface
    sizes = {"inputs": ends.inputs} if ends.tokens else {}
    sizes |= {"targets": ends.outputs} if ends.head == "categorical" else {}
    for name in ("inputs", "targets"):
        array = getattr(window, name)
        size = sizes.get(name)
        if size is None:
            _require(
                task, bool(np.isfinite(array).all()), f"{where}: {name} must be finite numbers."
            )
            continue
        _require(
            task,
            0 <= array.min() and array.max() < size,
            f"{where}: {name} must lie in [0, {size}), got {array.min()} to {array.max()}.",
        )
    if ends.head == "bernoulli":
        _require(
            task, bool(np.isin(window.targets, (0, 1)).all()), f"{where}: targets must be 0 or 1."
        )
    if task.forced:
        wrong = int((window.targets[:-1] != window.inputs[1:])[window.scored[:-1]].sum())
        _require(
            task,
            wrong == 0,
            f"{where}: a scored target must be the next input (teacher forcing); {wrong} are not.",
        )


def _check_identity(task: Task) -> None:
    copy = pickle.loads(pickle.dumps(task))
    _require(task, copy == task, "a pickled copy must equal the task.")
    _require(task, hash(copy) == hash(task), "a pickled copy must have the task's hash.")
    _require(
        task,
        copy.version == task.version,
        f"version must depend on the fields and the data alone, got {task.version} and then "
        f"{copy.version}.",
    )
    other = dataclasses.replace(task, epochs=task.epochs + 1)
    _require(
        task,
        other.version != task.version,
        f"version must change with every field, got {task.version} for two values of epochs.",
    )


def _check_seeds(task: Task) -> None:
    for split in get_args(Split):
        _require(
            task,
            _same(_epoch(task, split), _epoch(task, split)),
            f"the same seed and epoch must give the same {split} data.",
        )
    train = _epoch(task, "train")
    _require(
        task,
        not _same(train, _epoch(task, "train", OTHER_SEED)),
        f"seeds {SEED} and {OTHER_SEED} must give different train data.",
    )
    _require(
        task,
        not _same(train, _epoch(task, "train", epoch=1)),
        "epochs 0 and 1 must give different train data.",
    )
    held_out: tuple[Split, ...] = ("validation", "test")
    for split in held_out:
        _require(
            task,
            _same(_epoch(task, split), _epoch(task, split, epoch=1)),
            f"the {split} split must not depend on the epoch.",
        )


def _check_splits(task: Task, examples: Examples) -> None:
    """All splits against each other, over two seeds, since any two runs must be comparable."""
    found: dict[str, set[Hashable]] = {}
    for split in get_args(Split):
        found[split] = set()
        for seed in (SEED, OTHER_SEED):
            for epoch in (0, 1) if split == "train" else (0,):
                found[split] |= examples(_epoch(task, split, seed, epoch))
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = found[one] & found[other]
        _require(
            task,
            not shared,
            f"no example may be in two splits, {len(shared)} of {len(found[other])} are in "
            f"{one} and {other}, such as {next(iter(shared), None)!r}.",
        )


def _check_levels(task: Task) -> None:
    chance = task.chance()
    measured, deviation = _blind(task)
    _require(
        task,
        abs(chance - measured) <= DEVIATIONS * deviation + 1e-9,
        f"chance() must be the {task.metric.name} of blind guesses, which is {measured:.4f} "
        f"+- {deviation:.4f} on validation, got {chance:.4f}.",
    )
    baseline = task.baseline(SEED)
    _require(
        task,
        not task.metric.better(chance, than=baseline.value),
        f'the baseline "{baseline.name}" must not be worse than chance, got {task.metric.name} '
        f"{baseline.value:.4f} against {chance:.4f}.",
    )


def _blind(task: Task) -> tuple[float, float]:
    """The metric of a predictor that is uniform over classes or bits, or gives the number 0, and
    its standard deviation."""
    ends, random = task.interface, np.random.default_rng(SEED)
    windows = _epoch(task, "validation")
    counts = [
        window.scored & (window.marks[task.metric.mark] if task.metric.mark else True)
        for window in windows
    ]
    pairs = zip(windows, counts, strict=True)
    targets = np.concatenate([window.targets[scored] for window, scored in pairs])
    if ends.head == "gaussian":
        return float(np.mean(np.square(targets, dtype=np.float64))), 0.0
    n = ends.outputs
    if task.metric.name == "loss":
        return float(np.log(n) if ends.head == "categorical" else n * np.log(2)), 0.0
    shape = (-(-N_GUESSES // len(targets)), *targets.shape)
    if ends.head == "categorical":
        hits = random.integers(n, size=shape) == targets
    else:
        hits = (random.integers(2, size=shape) == targets).all(-1)
    return float(hits.mean()), float(np.sqrt(hits.mean() * (1 - hits.mean()) / hits.size))
