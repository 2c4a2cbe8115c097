"""A packed study brings no code, and reaches nothing, that its user has not named."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from nas.report.command import main as report
from nas.search.search import main as search
from nas.status import main as status
from nas.study.command import main
from nas.study.moving import without_code
from tests import fake_training
from tests.inline import Inline
from tests.moved import folder as folder
from tests.moved import searched as searched
from tests.study.test_packing import listed, rewritten
from tests.study.test_storage import study as study

pytestmark = pytest.mark.usefixtures("undrawn")

EVIL = """
from pathlib import Path
Path("ran").write_text("code of a pack")
"""


@pytest.fixture
def packed(folder: Path) -> Path:
    """A pack of the study, in a folder that has a module of the user's own."""
    assert main(["pack", "small", "small.zip"]) == 0
    (folder / "mine.py").write_text(EVIL + "from optuna.samplers import RandomSampler as Mine\n")
    return folder / "small.zip"


def configured(file: Path, to: str, change: dict[str, object]) -> Path:
    """The pack with other fields in its configuration, by a maker who knows the format."""

    def write(members: dict[str, bytes]) -> None:
        fields = {**yaml.safe_load(members["config.yaml"]), **change}
        listed("config.yaml", yaml.safe_dump(fields).encode())(members)

    return rewritten(file, Path(to), write)


@pytest.mark.parametrize("name", ["inputs/evil.py", "inputs/evil.so", "winner/evil.pyc"])
def test_a_pack_holds_no_code(packed: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = rewritten(packed, Path("bad.zip"), listed(name, EVIL.encode()))
    assert main(["unpack", str(bad), "theirs"]) == 2
    assert f'"{name}" is no name of a member, which are data' in capsys.readouterr().err
    assert not Path("studies/theirs").exists()


def test_code_beside_the_winner_is_not_packed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("studies/small/winner/mine.py").write_text(EVIL)
    assert main(["pack", "small", "small.zip"]) == 2
    assert "winner/mine.py cannot be packed: files there are data" in capsys.readouterr().err


NAMED = {
    "a sampler": ({"sampler": "mine:Mine"}, "sampler"),
    "a sampler of a module of Python": ({"sampler": "antigravity:geohash"}, "sampler"),
    "a task": (
        {"tasks": {"use": ["module"], "module": {"path": "mine:Mine"}}},
        "tasks.module.path",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_code_that_a_pack_names_runs_only_if_the_user_names_it(
    packed: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to look at the study nor to go on with it as nas.status says."""
    change, field = NAMED[name]
    monkeypatch.syspath_prepend(".")
    monkeypatch.setattr("nas.search.run._carry_out", lambda session: None)
    assert main(["unpack", str(configured(packed, "bad.zip", change)), "theirs"]) == 0
    if field != "sampler":
        report(["theirs"])
    assert status(["theirs"]) == 0
    onward = capsys.readouterr().out.splitlines()[-1].removeprefix("To go on: ").split()
    assert search([*onward[3:], "--tracking-uri", "off"]) == 2
    error = capsys.readouterr().err
    assert f"{field} " in error
    assert "is code that a packed study names" in error
    assert "mine" not in sys.modules
    assert not Path("ran").exists()


def test_the_users_own_code_goes_on_where_the_user_names_it(
    packed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not with a study that was begun with another: it is refused before the code runs."""
    monkeypatch.syspath_prepend(".")
    monkeypatch.setattr("nas.search.run._carry_out", lambda session: None)
    inline = Inline(work=fake_training.run)
    monkeypatch.setattr("nas.workers.local.LocalWorkers", lambda *_, **__: inline)
    assert main(["unpack", str(packed), "theirs"]) == 0
    arguments = ["studies/theirs/config.yaml", "--tracking-uri", "off", "--sampler", "mine:Mine"]
    assert search(arguments) == 2
    error = capsys.readouterr().err
    assert "study theirs was begun with sampler = tpe, not mine:Mine: use another" in error
    assert not Path("ran").exists()
    assert search([*arguments, "--study", "new", "--n-candidates", "0"]) == 0
    assert Path("ran").exists()


def test_names_of_code_are_marked_however_they_are_written() -> None:
    flat = {"tasks.module.path": "mine:Mine", "tasks": {"module.path": "mine:Mine"}}
    marked = "unpacked mine:Mine"
    assert without_code(flat) == {"tasks.module.path": marked, "tasks": {"module.path": marked}}
    assert without_code(without_code(flat)) == without_code(flat)
    plain = {"sampler": "tpe", "tasks": {"text": {"path": "a:b"}}, "workers": 2}
    assert without_code(plain) == plain


def test_a_pack_names_no_place_that_is_reached(packed: Path) -> None:
    """A cluster would send objects that are unpickled, a tracking server would get the results."""
    change = {
        "workers": "ray://evil.example:10001",
        "tracking_uri": "http://evil.example",
        "storage": "postgresql://evil.example/x",
    }
    assert main(["unpack", str(configured(packed, "bad.zip", change)), "theirs"]) == 0
    fields = yaml.safe_load(Path("studies/theirs/config.yaml").read_text())
    assert (fields["workers"], fields["tracking_uri"], fields["storage"]) == (0, "", "")


def test_a_study_from_a_storage_names_no_code_either(packed: Path) -> None:
    """Through a storage, whose text of the configuration is the pack's."""
    assert main(["unpack", "small.zip", "sqlite:///shared.db"]) == 0
    import sqlite3

    with sqlite3.connect("shared.db") as database:
        rows = database.execute("SELECT study_user_attribute_id, key, value_json FROM"
                                " study_user_attributes").fetchall()  # fmt: skip
        place, text = next((k, json.loads(v)) for k, key, v in rows if key == "configuration")
        text = yaml.safe_dump({**yaml.safe_load(text), "sampler": "mine:Mine"})
        database.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE study_user_attribute_id = ?",
            (json.dumps(text), place),
        )
    assert main(["copy", "sqlite:///shared.db", "elsewhere/small"]) == 0
    fields = yaml.safe_load(Path("elsewhere/small/config.yaml").read_text())
    assert fields["sampler"] == "unpacked mine:Mine"
