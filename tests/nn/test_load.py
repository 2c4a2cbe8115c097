"""Winners come back from their folder as they were trained; what was tampered with does not."""

import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import nas
import nas.nn.loading
from nas.cell import Cell
from nas.errors import UserError
from nas.nn.loading import load_model
from nas.nn.rnn import RNN
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.judgement import Judgement
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.session.winner import WeightStore, _loading, write_winner
from nas.study.study import Study
from nas.study.visit import Evaluated, Visit
from nas.tasks import Captions, CopyAttention, Draw, Memorization, Storn, Xml
from nas.tasks.base import Interface
from nas.training.train import run
from nas.workers.local import Workers
from nas.zoo import ZOO

SMALL: dict[str, Any] = {
    "n_params": (1500,),
    "epochs": 1,
    "batches_per_epoch": 3,
    "validation_batches": 2,
    "batch_size": 4,
    "window": 8,
}
TASKS = (Memorization(n_symbols=3, **SMALL), Xml(**SMALL))
GRID = SettingsGrid((1.0,), (1e-6, 1.0), (5.0,), (2,))  # the second is the better one
PROTOCOL = Staged(None, TASKS, ProtocolConfig(n_settings=2, settings_per_evaluation=1), GRID, 0)
CELL = ZOO["mut3"]


def results() -> dict[Evaluation, Result]:
    torch.set_num_threads(1)
    asked = [e for task in TASKS for e in PROTOCOL.given_evaluations(str(CELL), CELL.key, task)]
    return {evaluation: run(evaluation) for evaluation in asked}


@pytest.fixture(scope="module")
def known() -> dict[Evaluation, Result]:
    return results()


class NoWorkers:
    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        raise AssertionError("all weights are there")


class Again:
    """Trains again, as workers do; counts."""

    def __init__(self, known: dict[Evaluation, Result]) -> None:
        self.known, self.count = known, 0

    def submit(self, evaluation: Evaluation) -> "Future[Result]":
        self.count += 1
        future: Future[Result] = Future()
        future.set_result(self.known[evaluation])
        return future


def finished_study(folder: Path, known: dict[Evaluation, Result]) -> tuple[Study, WeightStore]:
    """A study of one candidate, and the store with its weights."""
    folder.mkdir(parents=True)
    evaluated = {
        e.digest(): Evaluated(
            e.task.name, e.task.version, e.settings, e.seed, e.fidelity, r.outcomes
        )
        for e, r in known.items()
    }
    judgement = Judgement("scored", {}, {"memorization": 1.2, "xml": 1.1}, 1.1, 1.1)
    visit = Visit(2, 2, "drawn", "mut3", str(CELL), CELL.key, {}, evaluated, judgement)
    gru = ZOO["gru"]
    reached = Judgement("scored", {"memorization": 0.01, "xml": 0.01})
    reference = Visit(0, 0, "given", "gru", str(gru), gru.key, judgement=reached)
    study = cast(
        Study,
        SimpleNamespace(
            name="tiny",
            folder=folder,
            cache=evaluated,
            visits=[reference, visit],
            finished=lambda: [visit],
            objectives=("score",),
        ),
    )
    store = WeightStore(study, (gru.key,))
    for evaluation, result in known.items():
        store.stored(visit, evaluation, result)
    return study, store


@pytest.fixture
def winner(
    tmp_path: Path, known: dict[Evaluation, Result], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """studies/tiny/winner of the working directory, as a search leaves it."""
    monkeypatch.chdir(tmp_path)
    study, store = finished_study(Path("studies/tiny"), known)
    row = write_winner(study, PROTOCOL, store, cast(Workers, NoWorkers()))
    assert row is not None
    assert row.name == "mut3"
    return Path("studies/tiny/winner")


def rerun(model: RNN, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return cast(Tensor, model(torch.rand(5, 2, model.input_size, generator=generator))[0])


# --- what a search leaves behind ---


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_the_winner_holds_the_weights_of_the_best_setting(
    winner: Path, known: dict[Evaluation, Result], task: str
) -> None:
    bests = {e: r.outcomes[0].best or 0.0 for e, r in known.items() if e.task.name == task}
    best = max(bests, key=lambda e: bests[e])
    assert known[best].weights == (winner / f"{task}.safetensors").read_bytes()


def test_the_lines_of_the_readme_work(winner: Path) -> None:
    text = (winner / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[-1].split("```")[0]
    names: dict[str, Any] = {}
    lines = [line for line in code.splitlines() if line and not line.startswith("#")]
    assert len(lines) == 6, code
    made = []
    for line in lines:
        exec(line, names)
        made += [names["model"].rnn] if "model = " in line else []
    fresh, (memorization, xml) = names["rnn"], made
    assert torch.equal(names["h"], fresh(torch.zeros(35, 8, 32))[1])
    assert (fresh.input_size, fresh.hidden_size, fresh.cell.key) == (32, 64, CELL.key)
    for rnn, task in ((memorization, "memorization"), (xml, "xml")):
        assert torch.equal(rerun(rnn), rerun(load_model(winner, task).rnn))
        assert not rnn.training
    assert "score 1.100" in text
    assert "| xml | 1.100 |" in text


def test_the_readme_says_how_models_that_predict_nothing_are_asked() -> None:
    folder = Path("studies/tiny/winner")
    for task in (Draw(), Storn()):
        assert "model.sample(n) and model.bound(data) in place of predict" in _loading(folder, task)
    for attending in (Captions(), CopyAttention()):
        assert "model(inputs) of a window of the task, in place of" in _loading(folder, attending)
    for usual in (Captions(attention="none"), Xml()):
        assert _loading(folder, usual).endswith(f'task="{usual.name}")')


def test_the_cell_is_there_as_text_and_as_json(winner: Path) -> None:
    for source in (winner, winner / "cell.cell", winner / "cell.json"):
        assert nas.cell(source).key == CELL.key
    assert nas.cell(winner) == CELL


def test_weights_that_are_lost_are_trained_again(
    tmp_path: Path, known: dict[Evaluation, Result]
) -> None:
    study, store = finished_study(tmp_path / "tiny", known)
    for path in store.folder.glob("*.safetensors"):
        path.unlink()
    again = Again(known)
    write_winner(study, PROTOCOL, store, cast(Workers, again))
    assert again.count == len(TASKS)
    assert isinstance(nas.load(tmp_path / "tiny" / "winner", task="xml").rnn, RNN)


def test_a_second_winner_replaces_the_first(winner: Path, known: dict[Evaluation, Result]) -> None:
    (winner / "leftover").touch()
    study, store = finished_study(Path("studies/other"), known)
    study.folder = winner.parent
    write_winner(study, PROTOCOL, store, cast(Workers, NoWorkers()))
    assert not (winner / "leftover").exists()
    assert not (winner.parent / "winner.part").exists()
    assert (winner / "cell.cell").is_file()


# --- what cannot be loaded ---


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"no trained winner in .*: give a folder such as stud"):
            nas.load(place)


def test_several_tasks_need_a_choice(winner: Path) -> None:
    with pytest.raises(UserError, match=r"several tasks; choose one with task=: memorization, xml"):
        nas.load(winner)
    with pytest.raises(UserError, match=r'no weights for task "text"\. Known: memorization, xml\.'):
        nas.load(winner, task="text")
    (winner / "memorization.safetensors").unlink()
    assert torch.equal(rerun(nas.load(winner).rnn), rerun(nas.load(winner / "xml.safetensors").rnn))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights .*x\.safetensors cannot be read: "):
        nas.load(path)


def rewritten(path: Path, metadata: dict[str, str] | None, **changed: Tensor) -> Path:
    """The weights under another description, or with other tensors."""
    with safe_open(path, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    target = path.with_name("changed.safetensors")
    save_file(tensors | changed, target, metadata)
    return target


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, r"were not written by a search: no description of a cell"),
        ({"nas": "[]"}, r"were not written by a search"),
        ({"nas": '{"key": "x"}'}, r"were not written by a search"),
        ({"nas": "{"}, r"cannot be read: .*"),
    ],
    ids=str,
)
def test_a_file_without_a_description_is_refused(
    winner: Path, metadata: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        nas.load(rewritten(winner / "xml.safetensors", metadata))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": 10**9}, r"the model needs [\d,]{20,} values, the file has 1,\d\d\d\."),
        ({"num_layers": 10**9}, r"the model needs [\d,]{10,} values"),
        ({"vocabulary_size": 10**12}, r"the model needs [\d,]{10,} values"),
        ({"hidden_size": -4}, r"hidden_size must be a positive whole number, got -4"),
        ({"hidden_size": True}, r"hidden_size must be a positive whole number, got True"),
        ({"num_layers": None}, r"num_layers must be a positive whole number, got None"),
        ({"vocabulary_size": "30"}, r"vocabulary_size must be a positive whole number, got '30'"),
        ({"hidden_size": 2}, r"size mismatch"),
        ({"cell": str(ZOO["rnn"])}, r"Unexpected key"),
        ({"cell": "import os"}, r"cell text: write one function"),
        ({"cell": 3}, r"cell text: write one function"),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused_before_it_takes_memory(
    winner: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], message: str
) -> None:
    path = winner / "xml.safetensors"
    with safe_open(path, "pt") as stored:
        described = json.loads(stored.metadata()["nas"])
    asked: list[tuple[int, ...]] = []
    original = nas.nn.loading.network_of

    def watched(cell: Cell, ends: Interface, *sizes: int, **options: Any) -> Any:
        asked.append((ends.inputs, ends.outputs, *sizes))
        return original(ends)(cell, ends, *sizes, **options)

    monkeypatch.setattr(nas.nn.loading, "network_of", lambda _: watched)
    target = rewritten(path, {"nas": json.dumps(described | changed)})
    with pytest.raises(UserError, match=rf"changed\.safetensors do not fit .*{message}"):
        nas.load(target)
    assert all(max(sizes) <= described["vocabulary_size"] for sizes in asked)


def test_tensors_that_are_missing_or_new_are_refused(winner: Path) -> None:
    path = winner / "xml.safetensors"
    with safe_open(path, "pt") as stored:
        metadata = stored.metadata()
    with pytest.raises(UserError, match=r"Unexpected key\(s\) in state_dict: \"extra\""):
        nas.load(rewritten(path, metadata, extra=torch.zeros(3)))
    wrong = {"head.bias": torch.zeros(70)}
    with pytest.raises(UserError, match=r"size mismatch for head\.bias"):
        nas.load(rewritten(path, metadata, **wrong))
    same = nas.load(rewritten(path, metadata))
    assert torch.equal(rerun(same.rnn), rerun(nas.load(path).rnn))
