"""Any cell of a study has a name that every command takes; kept weights come back by it."""

import zipfile
from pathlib import Path

import pytest
import torch

import nas
from nas.bench.config import BenchConfig
from nas.compare.config import cell_of
from nas.curves.command import cells_of
from nas.errors import UserError
from nas.export.command import main as export
from nas.nn.loading import read
from nas.nn.trained import TrainedModel
from nas.session.plan import plan
from nas.show import main as show
from nas.study.config import SearchConfig
from nas.study.location import find_study
from nas.zoo import ZOO

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study that earlier code made."""
    with zipfile.ZipFile(DATA / "studies.zip") as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drawn() -> str:
    """The name of a cell that a search drew and no zoo has."""
    visits = find_study("small").study.visits
    return next(v.name for v in visits if v and v.name not in ZOO)


def test_every_door_takes_the_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = drawn()
    visit = next(v for v in find_study("small").study.visits if v and v.name == name)
    for source in (
        *(f"studies/small/{name}", f"small/{name}", f"{folder}/studies/small/{name}"),
        *(f"studies/small/{visit.key}", f"studies/small/{name}/"),
    ):
        assert nas.cell(source).key == visit.key
    source = f"studies/small/{name}"
    assert cell_of(source).key == visit.key
    assert visit.key in {cell.key for cell in cells_of((source,))}
    assert visit.key in {cell.key for cell in BenchConfig(cells=(source,)).look_up()}
    assert visit.key in {cell.key for cell in plan(SearchConfig(include=(source,))).cells}
    assert nas.RNN(source, 4, 4).cell.key == visit.key
    assert show([source]) == 0
    assert visit.key in capsys.readouterr().out
    assert export([source, "plain.py"]) == 0
    assert visit.key in Path("plain.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("get", [nas.cell, nas.load])
def test_a_name_that_is_not_there_is_one_sentence(folder: Path, get: object) -> None:
    for source, said in (
        ("studies/small/rnnn", r'study small: no cell "rnnn"\. Did you mean "rnn"'),
        ("studies/smal/rnn", "studies/smal/rnn"),
    ):
        with pytest.raises(UserError, match=said):
            get(source)  # type: ignore[operator]


def test_kept_weights_come_back_and_others_are_said_to_be_gone(folder: Path) -> None:
    winner = nas.load("studies/small/winner", task="xml")
    assert isinstance(winner, TrainedModel)
    weights = read("studies/small/winner", "xml")
    visits = [v for v in find_study("small").study.visits if v and v.key == winner.cell.key]
    best = visits[0].judgement.best["xml"]  # type: ignore[union-attr]
    digest = next(
        digest
        for digest, evaluated in visits[0].evaluated.items()
        if evaluated.task == "xml" and any(o.best == best for o in evaluated.outcomes)
    )
    kept = Path("studies/small/weights")
    kept.mkdir(exist_ok=True)
    (kept / f"{digest}.safetensors").write_bytes(
        Path("studies/small/winner/xml.safetensors").read_bytes()
    )
    for name, wanted in read(f"studies/small/{visits[0].name}", "xml").module.state_dict().items():
        assert torch.equal(weights.module.state_dict()[name], wanted)
    assert export([f"small/{visits[0].name}", "plain.py", "--task", "xml"]) == 0
    assert Path("plain.safetensors").is_file()
    with pytest.raises(UserError, match=r"weights of studies/small/gru of the task xml were not k"):
        nas.load("studies/small/gru", task="xml")
