"""The winner's folder: the best cell, its weights, and the line that reuses it."""

import contextlib
import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.judgement import Reference, best_outcome
from nas.protocol.measured import FILE, Measured
from nas.protocol.objectives import SCORE
from nas.protocol.staged import Staged
from nas.report.own_data import pictures
from nas.session.coordinator import Observer
from nas.session.few_examples import resolutions
from nas.session.judging import evaluations_of, judging_of
from nas.study.cells import weights_file
from nas.study.front import front_of, short, shown, sizes
from nas.study.leaderboard import Resolutions, Row, leaderboard, shown_ratio, winner
from nas.study.study import Study
from nas.study.visit import Visit
from nas.tasks.base import Task
from nas.tasks.kinds import LatentKind
from nas.tasks.sequences import SequenceTask
from nas.workers.local import Workers
from nas.zoo.usage import call_of, twin_of

VECTORS = {"svg", "pdf"}
"""The forms of a picture that are in the report alone."""
FRONT = "front"
"""The folder of the cells of the front, in that of the winner."""
KEPT = 3
"""How many of the best cells keep their weights during a search, so that the disk stays small."""


class WeightStore(Observer):
    """Keeps the weights of the leading cells, one file an evaluation, in the study's folder."""

    def __init__(self, study: Study, baselines: tuple[str, ...]) -> None:
        self.study = study
        self.folder = study.folder / "weights"
        self.baselines = baselines
        self._leading: list[str] | None = None

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        kept = visit.key not in self.baselines and not evaluation.repeat
        if result.weights is not None and kept:
            self.folder.mkdir(exist_ok=True)
            path = self.path(evaluation.digest())
            fresh = path.with_suffix(".part")
            fresh.write_bytes(result.weights)
            fresh.replace(path)

    def judged(self, visit: Visit) -> None:
        # A cell that is rejected at once leads nothing; of 10,000 cells a ranking takes 90 ms.
        if self._leading is None or visit.turn or (visit.judgement and visit.judgement.score):
            rows = leaderboard(self.study.finished(), self.baselines)
            best = (row.key for row in rows if row.may_win)
            self._leading = list(islice(best, KEPT))
        leading = self._leading
        visits = [v for v in self.study.visits if v and (v.key in leading or not v.judgement)]
        wanted = {digest for v in visits for digest in v.evaluated}
        for path in self.folder.glob("*.safetensors"):
            if path.stem not in wanted:
                path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        return weights_file(self.study.folder, digest)


def write_winner(
    study: Study, protocol: Staged, store: WeightStore, workers: Workers
) -> Row | None:
    """Write `winner/` for the best cell that is no baseline, and return its row.

    Weights that a crash lost are trained again: the same evaluation gives the same weights.
    """
    rows = leaderboard(study.finished(), store.baselines)
    best = winner(rows)
    if best is None:
        return None
    asked = _asked(best, protocol, store)
    weights = {
        task.name: _weights(task, [e for e in asked if e.task == task], store, workers)
        for task in protocol.tasks
    }
    folder, fresh = study.folder / "winner", study.folder / "winner.part"
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(fresh)
    fresh.mkdir()
    cell = loads(best.visit.cell)
    (fresh / "cell.cell").write_text(str(cell), encoding="utf-8")
    (fresh / "cell.json").write_text(json.dumps(to_json(cell), indent=1) + "\n", encoding="utf-8")
    for task, data in weights.items():
        if data is not None:
            (fresh / f"{task}.safetensors").write_bytes(data)
    trained = [task for task in protocol.tasks if weights[task.name] is not None]
    known = resolutions(protocol)
    measured = _measured(fresh, trained)
    text = _readme(best, study, folder, trained, known, measured)
    text += write_pictures(fresh, trained, best.name)
    text += _write_front(fresh, folder, rows, study)
    (fresh / "README.md").write_text(text, encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    fresh.replace(folder)
    return best


def write_pictures(fresh: Path, tasks: Sequence[Task], name: str) -> str:
    """Write what models with more around the cell look at and make up, and MIDI files of music,
    into a fresh folder of the winner, and return what its README says of them."""
    lines = []
    for drawn in pictures(fresh, tasks, name):
        (fresh / f"{drawn.name}.png").write_bytes(drawn.png)
        lines += ["", f"![{drawn.name}]({drawn.name}.png)", "", drawn.caption]
        for suffix in sorted(drawn.files.keys() - VECTORS):
            (fresh / f"{drawn.name}.{suffix}").write_bytes(drawn.files[suffix])
            lines += ["", f"[{drawn.name}.{suffix}]({drawn.name}.{suffix})"]
    return "\n".join(["", "## What it looks at and makes up", *lines, ""]) if lines else ""


def _write_front(fresh: Path, folder: Path, rows: Sequence[Row], study: Study) -> str:
    """Write the cells of the front, each as equations and as a plain file, below a fresh folder of
    the winner, and return what its README says of them; nothing with one objective."""
    names = study.objectives
    found = front_of(rows, names)
    if not found:
        return ""
    from nas.export.plain import plain_file  # torch, which other searches do not need

    heads = [SCORE, *map(short, sizes(found[0], names))]
    lines = ["", "## The front", "", f"The cells that no other beats in all of {', '.join(names)}.",
             "", f"| cell | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]  # fmt: skip
    (fresh / FRONT).mkdir()
    for row in found:
        cell = loads(row.visit.cell)
        path = f"{folder / FRONT / row.name}.cell"
        (fresh / FRONT / f"{row.name}.cell").write_text(str(cell), encoding="utf-8")
        text = plain_file(cell, f"python -m nas.export {path} {row.name}.py")
        (fresh / FRONT / f"{row.name}.py").write_text(text, encoding="utf-8")
        values = [f"{row.score:.3f}", *(shown(*size) for size in sizes(row, names).items())]
        lines.append(f"| [{row.name}]({FRONT}/{row.name}.cell) | {' | '.join(values)} |")
    lines += ["", f'`nas.RNN("{folder / FRONT}/NAME.cell", …)` reads each of them; the .py files '
              "need torch alone."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _asked(row: Row, protocol: Staged, store: WeightStore) -> list[Evaluation]:
    """The cell's own evaluations in the judgement of its last visit."""
    study, key = store.study, store.baselines[0]
    first = next(v for v in study.visits if v and v.key == key and v.judgement)
    assert first.judgement is not None
    reference = Reference.of(first.judgement)
    assert reference is not None, "a study without a reference has no scores"
    judging = judging_of(row.visit, study.visits, protocol, key)
    asked = evaluations_of(judging, study.cache, reference)
    return [e for e in asked if e.key == row.key and not e.repeat]


def _weights(
    task: Task, evaluations: Sequence[Evaluation], store: WeightStore, workers: Workers
) -> bytes | None:
    known = [(e, store.study.cache[e.digest()].outcomes) for e in evaluations]
    best = best_outcome(task, [outcome for _, outcomes in known for outcome in outcomes])
    if best is None:
        return None
    evaluation = next(e for e, outcomes in known if best in outcomes)
    path = store.path(evaluation.digest())
    return path.read_bytes() if path.is_file() else workers.submit(evaluation).result().weights


def _measured(folder: Path, tasks: Sequence[Task]) -> list[Measured]:
    """Measure the weights of sequences beside the metric, note it with them and in a file."""
    asked = [task for task in tasks if isinstance(task, SequenceTask)]
    if not asked:
        return []
    from nas.training.measured import measure_winner  # torch, which other searches do not need

    measured = []
    for task in asked:
        # Of several folds there are several models; the weights are those of one.
        is_number = task.interface.head == "gaussian" and len(task.in_folds()) == 1
        if is_number or task.data.edges is not None:
            measured.append(measure_winner(folder / f"{task.name}.safetensors", task))
    described = [one.described() for one in measured]
    if measured:
        (folder / FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return measured


def _loading(folder: Path, task: Task) -> str:
    line = f'model = nas.load("{folder}", task="{task.name}")'
    if isinstance(task.interface.kind, LatentKind):
        line += "  # model.sample(n) and model.bound(data) in place of predict"
    elif task.interface.kind is not None or task.interface.attention is not None:
        line += "  # model(inputs) of a window of the task, in place of predict"
    return line


def _readme(
    row: Row, study: Study, folder: Path, trained: Sequence[Task], known: Resolutions,
    measured: Sequence[Measured],
) -> str:  # fmt: skip
    ratios = "\n".join(f"| {task} | {shown_ratio(row, task, known)} |" for task in row.ratios)
    cell = loads(row.visit.cell)
    told = "".join(f"\n{one.sentences}\n" for one in measured)
    loads_each = "\n".join(_loading(folder, task) for task in trained)
    return f"""# {row.name}

The best cell of study {study.name}, GRU and LSTM aside: score {row.score:.3f}, of its ratios
to the GRU over the tasks (above 1 is better), at {row.n_params:,} parameters.

| task | ratio to the GRU |
| --- | --- |
{ratios}
{told}
```python
{row.visit.cell.rstrip()}
```

## Reuse it

```python
import torch

import nas

# Fresh weights, in place of {twin_of(cell)}:
rnn = nas.RNN("{folder}", input_size=32, hidden_size=64)
{call_of(cell, "torch.zeros(35, 8, 32)")}  # x is (time, batch, input_size)
# The models found by the search; model.predict(data) takes the data as they are and answers in
# their names and units, model.rnn are the layers:
{loads_each}
```

A search result is not yet a comparison: the score was maximised on the validation split of one
seed.
"""
