"""A conformance suite for tasks, in NumPy alone: `check_task(MyTask())` in a test of yours."""

import dataclasses
import itertools
import pickle
from collections.abc import Callable, Hashable, Iterator, Set
from typing import get_args

import numpy as np

from nas.tasks.base import Split, Task, Window
from nas.tasks.kinds import LatentKind, RegionsKind

SEED, OTHER_SEED = 0, 1
N_GUESSES = 400_000
"""Fewest blind guesses that measure `chance()`: at 1/27 a deviation of 0.0003."""
DEVIATIONS = 5.0
"""Standard deviations that are allowed: a right chance is refused once in two million checks."""

Examples = Callable[[list[Window]], Set[Hashable]]


def columns(windows: list[Window]) -> set[bytes]:
    """Each stream from one fresh start to the next, up to its last scored step, as one example."""
    examples: set[bytes] = set()
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
            examples.add(inputs[:end, i].tobytes() + targets[:end, i].tobytes())
    return examples


def steps(windows: list[Window]) -> set[bytes]:
    """Each scored step as one example, for data without two equal steps, such as measurements."""
    examples: set[bytes] = set()
    for window in windows:
        pairs = zip(window.inputs[window.scored], window.targets[window.scored], strict=True)
        examples |= {inputs.tobytes() + target.tobytes() for inputs, target in pairs}
    return examples


def texts(windows: list[Window], symbols: str) -> list[str]:
    """The text of each parallel stream, whose tokens are places in `symbols`."""
    tokens = [windows[0].inputs[:1], *(window.targets for window in windows)]
    return ["".join(symbols[i] for i in stream) for stream in np.concatenate(tokens).T.tolist()]


def pieces(windows: list[Window], symbols: str, end: str) -> set[str]:
    """The whole examples of streams in which each example ends with `end`."""
    return {piece for text in texts(windows, symbols) for piece in text.split(end)[:-1]}


def check_task(task: Task, examples: Examples = columns) -> None:
    """Raise AssertionError, with the rule and the value, if `task` breaks the contract of `Task`.

    `examples` reads the independent examples back from the windows of an epoch, to see that no two
    splits share one. The default compares whole streams between two fresh starts: right for tasks
    whose window is one minibatch of whole examples; for streams of many examples give your own,
    such as `lambda windows: pieces(windows, symbols, end="\\n")`, and for measurements `steps`.
    """
    task.check()
    for message in broken_rules(task, examples):
        raise AssertionError(f"{task.name}: {message}")


def broken_rules(task: Task, examples: Examples) -> Iterator[str]:
    """Yield a sentence for each rule that a task breaks."""
    for split in get_args(Split):
        yield from _in_windows(task, split)
    yield from _in_identity(task)
    yield from _in_seeds(task)
    yield from _in_splits(task, examples)
    yield from _in_levels(task)


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


def _in_windows(task: Task, split: Split) -> Iterator[str]:
    windows = _epoch(task, split)
    if split == "train":
        rule, holds = "exactly batches_per_epoch", len(windows) == task.batches_per_epoch
    else:
        rule, holds = "1 to validation_batches", 1 <= len(windows) <= task.validation_batches
    if not holds:
        yield f"the {split} split must have {rule} windows, got {len(windows)}."
    if not windows[0].fresh:
        yield f"the first {split} window must be fresh."
    for i, window in enumerate(windows):
        for message in itertools.chain(_in_arrays(task, window, split), _in_sources(task, window)):
            yield f"{split} window {i}: {message}"
    for i, (window, after) in enumerate(itertools.pairwise(windows)):
        if after.fresh or not task.forced:
            continue
        last = window.scored[-1]
        if not np.array_equal(after.inputs[0][last], window.targets[-1][last]):
            yield (
                f"{split} window {i + 1} carries the state over and must begin with the scored "
                f"last targets of window {i}."
            )
    if not any(window.scored.any() for window in windows):
        yield f"no position of the {split} split is scored."


def _in_sources(task: Task, window: Window) -> Iterator[str]:
    if isinstance(task.interface.kind, RegionsKind):
        yield from _in_regions(task.interface.kind, window)
    if isinstance(task.interface.kind, LatentKind) and not window.fresh:
        yield "a model with latent variables reads whole examples: windows must be fresh."
    if (attention := task.interface.attention) is None:
        return
    divider = int((window.inputs[:, 0] == attention.divider).argmax())
    source, rest = window.inputs[:divider], window.inputs[divider:]
    read = source != attention.padding
    holds = bool(read[-1:].all() and divider and (np.diff(read, axis=0) <= read[1:]).all())
    holds &= bool((rest[0] == attention.divider).all() and (source != attention.divider).all())
    if not holds or not window.fresh or window.scored[:divider].any():
        yield (
            "with attention, windows must be fresh, with sources padded at their start alone, then "
            "a divider at one step, and nothing before it scored."
        )


def _in_regions(regions: RegionsKind, window: Window) -> Iterator[str]:
    n, symbols = regions.regions, window.inputs[..., : regions.symbols]
    before, read = symbols[n:], np.asarray(symbols[n:].any(-1))
    holds = bool(window.fresh and not symbols[:n].any() and not window.scored[:n].any())
    holds &= bool(np.isin(before, (0, 1)).all() and (before.sum(-1) == read).all())
    if not holds or not np.array_equal(window.scored[n:], read):
        yield (
            "with regions, windows must be fresh, with features of symbols that are 0 at the "
            "regions, where nothing is scored, and one-hot at the steps after them that are scored."
        )


def _in_arrays(task: Task, window: Window, split: Split) -> Iterator[str]:
    ends, shape = task.interface, window.scored.shape
    n_streams = shape[1] if len(shape) == 2 else 0
    # Only whole sequences may be fewer, in the last batches of held-out splits.
    fits = n_streams == task.batch_size or (split != "train" and window.fresh and n_streams)
    if len(shape) != 2 or shape[0] < 1 or not fits:
        yield f"scored must have the shape (time, batch_size = {task.batch_size}), got {shape}."
    is_class = ends.head == "categorical"
    marks = {f'mark "{name}"': mark for name, mark in window.marks.items()}
    arrays = {"inputs": window.inputs, "targets": window.targets, "scored": window.scored, **marks}
    expected: dict[str, tuple[type, tuple[int, ...]]] = {
        "inputs": (np.int64, shape) if ends.tokens else (np.float32, (*shape, ends.inputs)),
        "targets": (np.int64, shape) if is_class else (np.float32, (*shape, ends.outputs)),
        "scored": (np.bool_, shape),
        **{name: (np.bool_, shape) for name in marks},
    }
    for name, array in arrays.items():
        dtype, array_shape = expected[name]
        if array.shape != array_shape:
            yield f"{name} must have the shape {array_shape}, got {array.shape}."
        if array.dtype != dtype:
            yield f"{name} must have the dtype {dtype.__name__}, got {array.dtype}."
    yield from _in_values(task, window)


def _in_values(task: Task, window: Window) -> Iterator[str]:
    ends = task.interface
    sizes = {"inputs": ends.inputs} if ends.tokens else {}
    sizes |= {"targets": ends.outputs} if ends.head == "categorical" else {}
    for name in ("inputs", "targets"):
        array = getattr(window, name)
        if name not in sizes:
            if not np.isfinite(array).all():
                yield f"{name} must be finite numbers."
        elif not (0 <= array.min() and array.max() < sizes[name]):
            found = f"{array.min()} to {array.max()}"
            yield f"{name} must lie in [0, {sizes[name]}), got {found}."
    if ends.head == "bernoulli" and not np.isin(window.targets, (0, 1)).all():
        yield "targets must be 0 or 1."
    if task.forced:
        wrong = int((window.targets[:-1] != window.inputs[1:])[window.scored[:-1]].sum())
        if wrong:
            yield f"a scored target must be the next input (teacher forcing); {wrong} are not."


def _in_identity(task: Task) -> Iterator[str]:
    copy = pickle.loads(pickle.dumps(task))
    if copy != task:
        yield "a pickled copy must equal the task."
    if hash(copy) != hash(task):
        yield "a pickled copy must have the task's hash."
    if copy.version != task.version:
        yield (
            f"version must depend on the fields and the data alone, got {task.version} and then "
            f"{copy.version}."
        )
    if dataclasses.replace(task, epochs=task.epochs + 1).version == task.version:
        yield f"version must change with every field, got {task.version} for two values of epochs."


def _in_seeds(task: Task) -> Iterator[str]:
    for split in get_args(Split):
        if not _same(_epoch(task, split), _epoch(task, split)):
            yield f"the same seed and epoch must give the same {split} data."
    train = _epoch(task, "train")
    if _same(train, _epoch(task, "train", OTHER_SEED)):
        yield f"seeds {SEED} and {OTHER_SEED} must give different train data."
    if _same(train, _epoch(task, "train", epoch=1)):
        yield "epochs 0 and 1 must give different train data."
    held_out: tuple[Split, ...] = ("validation", "test")
    for split in held_out:
        if not _same(_epoch(task, split), _epoch(task, split, epoch=1)):
            yield f"the {split} split must not depend on the epoch."


def _in_splits(task: Task, examples: Examples) -> Iterator[str]:
    """Compare all splits over two seeds, since any two runs must be comparable."""
    of_split: dict[str, set[Hashable]] = {}
    for split in get_args(Split):
        of_split[split] = set()
        for seed in (SEED, OTHER_SEED):
            for epoch in (0, 1) if split == "train" else (0,):
                of_split[split] |= examples(_epoch(task, split, seed, epoch))
    for one, other in itertools.combinations(of_split, 2):
        if shared := of_split[one] & of_split[other]:
            first = next(iter(shared))
            such = "" if isinstance(first, bytes) else f", such as {first!r}"  # bytes say nothing
            yield (
                f"no example may be in two splits, {len(shared)} of {len(of_split[other])} are in "
                f"{one} and {other}{such}."
            )


def _in_levels(task: Task) -> Iterator[str]:
    chance = task.chance()
    # Only a metric of the user's own says what it is of blind guesses.
    measured, deviation = (chance, 0.0) if task.metric.is_own else _blind(task)
    if not abs(chance - measured) <= DEVIATIONS * deviation + 1e-9:
        yield (
            f"chance() must be the {task.metric.name} of blind guesses, which is {measured:.4f} "
            f"+- {deviation:.4f} on validation, got {chance:.4f}."
        )
    baseline = task.baseline(SEED)
    if task.metric.better(chance, than=baseline.value):
        yield (
            f'the baseline "{baseline.name}" must not be worse than chance, got '
            f"{task.metric.name} {baseline.value:.4f} against {chance:.4f}."
        )


def _blind(task: Task) -> tuple[float, float]:
    """The metric of blind guesses and its standard deviation.

    A guess is uniform over classes or bits, or the number 0.
    """
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
