"""A study whose every number is known: what it holds is written here and nowhere else."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.cell.cell import Cell, renamed
from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome, Status
from nas.protocol.judgement import Judgement
from nas.report.facts import Facts, read_facts
from nas.samplers.point import PointSampler
from nas.study.location import find_study
from nas.study.study import Study, open_study
from nas.study.visit import Visit
from nas.tasks import Memorization, Text, Xml
from nas.zoo import ZOO

CONFIG = """\
study: {name}
sampler: {sampler}
n_candidates: 9
tasks: {{use: [xml, text]}}
settings: {{init_scale: [1.0], clip_norm: [1.0, 5.0], num_layers: [1], learning_rate: [0.1, 0.2]}}
"""
TASKS = {"memorization": Memorization(), "xml": Xml(), "text": Text()}
GRID = (
    Settings(learning_rate=0.1, clip_norm=1.0),
    Settings(learning_rate=0.2, clip_norm=1.0),
    Settings(learning_rate=0.1, clip_norm=5.0),
)
HOSTILE = "</pre><script>alert('x')</script> | `code` & https://example.com/a.png"
"""A docstring; as text it is harmless."""
BROKEN = "<img src=x onerror=alert(1)> | `y"
"""A message of a run."""
DEFINITION = {"tasks.use": ["xml", "text"]}
PROVENANCE = {"python": "3.11", "torch": "2", "numpy": "2", "revision": "abc"}


def outcome(
    best: float | None, status: Status = "ok", wall_s: float = 2.0, message: str = ""
) -> Outcome:
    """A run of 3 epochs, 100 minibatches and 1e9 FLOPs."""
    curve = () if best is None else (Epoch(1.0, 1.0, 0.5, 0.5),) * 3
    cost = Cost(100, 7000, 1e9, wall_s)
    return Outcome(status, best, None, curve, 24_500, 60, cost, message)


def visit(
    study: Study,
    cell: Cell,
    runs: Mapping[str, Sequence[Outcome]],
    judgement: Judgement | None,
    kind: str = "drawn",
    parent: int | None = None,
) -> Visit:
    """The next trial; its runs are on the first settings of the grid."""
    sampler = PointSampler({})
    made = study.ask(len(study.visits), sampler, lambda _: cell, kind)  # type: ignore[arg-type]
    if parent is not None:
        study._set_attr(made, "parent", parent)
    for task, outcomes in runs.items():
        about = (made.cell, made.key, TASKS[task], GRID[: len(outcomes)], 0)
        study.store(made, Evaluation(*about), tuple(outcomes))
    if judgement is not None:
        study.judge(made, judgement)
    return made


def scored(xml: float, text: float) -> Judgement:
    """Of a cell with these ratios to a GRU that has accuracy 0.5 and loss 2."""
    ratios = {"xml": xml, "text": text}
    best: dict[str, float | None] = {"memorization": 1.0, "xml": 0.5 * xml, "text": 2 / text}
    return Judgement("scored", best, ratios, min(xml, text), min(xml, text))


def passed(xml: float, text: float, wall_s: float = 2.0) -> dict[str, list[Outcome]]:
    """Runs in which the second setting of each task is the best."""
    better, worse = 0.5 * xml, 2 / text
    return {
        "memorization": [outcome(1.0)],
        "xml": [outcome(better / 2), outcome(better, wall_s=wall_s)],
        "text": [outcome(worse * 2), outcome(worse, wall_s=wall_s), outcome(None, "diverged")],
    }


def make(root: Path, name: str = "known", sampler: str = "jozefowicz") -> Path:
    """GRU, LSTM, a winner with two ancestors, rejected, known and unfinished candidates."""
    folder = root / "studies" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(name=name, sampler=sampler))
    study = open_study(name, folder, "", DEFINITION)
    study.set_attr("provenance", PROVENANCE)
    visit(study, ZOO["gru"], passed(1, 1), scored(1, 1), "given")
    visit(study, ZOO["lstm"], passed(0.9, 1.1), scored(0.9, 1.1), "given")
    visit(study, ZOO["mgu"], passed(0.95, 0.98, 1.0), scored(0.95, 0.98), parent=0)
    low = {"memorization": [outcome(0.4)]}
    visit(study, ZOO["rnn"], low, Judgement("memorization", {"memorization": 0.4}, value=0.1))
    hostile = renamed(ZOO["mut1"], "hostile", HOSTILE)
    visit(study, hostile, passed(1.2, 1.1, 0.5), scored(1.2, 1.1), parent=2)
    failed = {"memorization": [outcome(None, "failed", message=BROKEN)]}
    visit(study, ZOO["mut2"], failed, Judgement("memorization", {"memorization": None}))
    behind = {"memorization": [outcome(1.0)], "xml": [outcome(0.1, "cut"), outcome(None, "vetoed")]}
    cut = Judgement("xml", {"memorization": 1.0, "xml": 0.1}, {"xml": 0.2}, None, 0.3, cut=True)
    visit(study, ZOO["mut3"], behind, cut)
    visit(study, ZOO["mgu"], {}, scored(0.95, 0.98))
    visit(study, ZOO["lstm_b"], {}, None)
    return folder


def reopened(folder: Path) -> Study:
    """To write more into it."""
    return open_study(folder.name, folder, "", DEFINITION)


def facts(folder: Path) -> Facts:
    return read_facts(find_study(str(folder)))
