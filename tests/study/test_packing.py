"""A study in one file is the same study where it is opened; a file that was changed is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.replay.command import main as replay
from nas.report.command import main as report
from nas.study.command import main
from nas.study.packing import MANIFEST
from tests.moved import contents
from tests.moved import folder as folder
from tests.moved import searched as searched
from tests.report.made_up import make
from tests.studies import essences, stored
from tests.study.test_storage import study as study

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def packed(searched: Path) -> Path:
    """One file of it."""
    file = searched / "small.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(searched)
        assert main(["pack", "small", str(file)]) == 0
    return file


def test_an_unpacked_study_has_the_same_outcomes_report_and_table(
    packed: Path, folder: Path, searched: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert report(["small"]) == 0
    assert replay(["write", "small", "table.jsonl.gz"]) == 0
    page = (folder / "studies" / "small" / "report" / "report.md").read_text()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert main(["unpack", str(packed)]) == 0
    assert essences(stored(elsewhere)) == essences(stored(searched))
    assert report(["small"]) == 0
    assert (elsewhere / "studies" / "small" / "report" / "report.md").read_text() == page
    assert replay(["write", "small", "table.jsonl.gz"]) == 0
    assert Path("table.jsonl.gz").read_bytes() == (folder / "table.jsonl.gz").read_bytes()
    winner = "studies/small/winner"
    assert contents(elsewhere / winner) == contents(searched / winner)


def test_a_pack_says_what_it_is(packed: Path, folder: Path) -> None:
    again = folder / "again.zip"
    assert main(["pack", "small", str(again)]) == 0
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        note = archive.read("LICENCES.md").decode()
        config = archive.read("config.yaml").decode()
        assert archive.testzip() is None
    assert manifest["study"] == "small"
    assert manifest["begun with"]["optuna"] == manifest["packed with"]["optuna"]
    assert set(manifest["members"]) >= {"study.db", "config.yaml", "winner/cell.cell"}
    assert "MIT" in note
    assert "arithmetic, xml" in note
    assert "storage: ''" in config
    with zipfile.ZipFile(again) as archive:
        assert json.loads(archive.read(MANIFEST))["digest"] == manifest["digest"]


def rewritten(file: Path, to: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same archive with other members, in their order; a name may be there twice."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(to, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.rstrip("*"), data)
    return to


def listed(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    """A member more, which the manifest lists as it is."""
    import hashlib

    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        about = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        manifest["members"][name] = about
        members[MANIFEST] = json.dumps(manifest).encode()
        members[name] = data

    return change


def noted(**values: object) -> Callable[[dict[str, bytes]], None]:
    """Other values in the manifest."""

    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **values}).encode()

    return change


def sized(count: float) -> Callable[[dict[str, bytes]], None]:
    """A member that is said to have so many bytes."""

    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        manifest["members"]["config.yaml"]["bytes"] = count
        members[MANIFEST] = json.dumps(manifest).encode()

    return change


def changed_outcome(members: dict[str, bytes]) -> None:
    """A score in the database, with a manifest that fits the bytes."""
    import hashlib

    old = members["study.db"]
    new = old.replace(b'"stage": "scored"', b'"stage": "scorxd"')
    assert new != old
    members["study.db"] = new
    manifest = json.loads(members[MANIFEST])
    manifest["members"]["study.db"]["sha256"] = hashlib.sha256(new).hexdigest()
    members[MANIFEST] = json.dumps(manifest).encode()


BAD: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a member leads out": (listed("../evil"), '"../evil" is no name of a member'),
    "a member leads out from inside": (listed("winner/../../evil"), "is no name of a member"),
    "a member is absolute": (listed("/evil"), "is no name of a member"),
    "a member with a backslash": (listed("winner\\..\\evil"), "is no name of a member"),
    "a member is hidden": (listed("winner/.evil"), "is no name of a member"),
    "a member is not listed": (
        lambda members: members.update({"winner/more": b"x"}),
        "its members are not those it lists",
    ),
    "a listed member is not there": (
        lambda members: members.pop("config.yaml") and None,
        "its members are not those it lists",
    ),
    "a member is there twice": (
        lambda members: members.update({"config.yaml*": b"study: evil"}),
        "its members are not those it lists",
    ),
    "a member was changed": (
        lambda members: members.update({"config.yaml": members["config.yaml"] + b" "}),
        "config.yaml is not what it was",
    ),
    "a member is longer than it says": (
        lambda members: members.update({"config.yaml": b"a" * 10_000_000}),
        "config.yaml is not what it was",
    ),
    "an outcome was changed": (changed_outcome, "has the digest "),
    "there is no manifest": (lambda members: members.pop(MANIFEST) and None, "has no manifest"),
    "the manifest is a list": (
        lambda members: members.update({MANIFEST: b"[]"}),
        "its manifest.json cannot be read",
    ),
    "the manifest is too deep": (
        lambda members: members.update({MANIFEST: b"[" * 100_000}),
        "its manifest.json cannot be read",
    ),
    "a member has less than nothing": (sized(-2), "its manifest.json cannot be read"),
    "a member has no end": (sized(float("inf")), "its manifest.json cannot be read"),
    "the configuration is no YAML": (listed("config.yaml", b"a: ["), "is no configuration"),
    "the configuration is no text": (listed("config.yaml", b"\xff"), "is no configuration"),
    "another format": (noted(format="nas study 9"), 'in the format "nas study 9", not'),
    "a name that leads out": (noted(study="../evil"), "study is a folder name of letters, "),
}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", BAD)
def test_a_file_that_was_changed_is_refused_and_nothing_is_written(
    packed: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change, sentence = BAD[name]
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    bad = rewritten(packed, inside / "bad.zip", change)
    assert main(["unpack", str(bad)]) == 2
    error = capsys.readouterr().err
    assert sentence in error, error
    assert error.count("\n") == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [bad]


@pytest.mark.parametrize("kind", ["encrypted", "LZMA"])
def test_members_that_pack_does_not_write_are_refused(
    packed: Path, folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's reader raises errors of all sorts for them."""
    if kind == "LZMA":
        with zipfile.ZipFile(packed) as archive, zipfile.ZipFile("bad.zip", "w") as to:
            for name in archive.namelist():
                to.writestr(name, archive.read(name), zipfile.ZIP_LZMA)
    else:
        data = bytearray(packed.read_bytes())
        data[data.rindex(b"PK\1\2") + 8] |= 1  # the flags of the last member
        Path("bad.zip").write_bytes(data)
    assert main(["unpack", "bad.zip", "copied"]) == 2
    error = capsys.readouterr().err
    assert "bad.zip is no packed study: its members are encrypted or in a way that" in error
    assert not Path("studies", "copied").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["copied", "--study", "other"], "--study other does not go with copied, which names"),
        (["--study", "../other"], 'study is a folder name of letters, digits, ".", "_" and "-"'),
    ],
    ids=str,
)
def test_a_name_for_an_unpacked_study_is_checked(
    packed: Path, folder: Path, arguments: list[str], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = contents(folder)
    assert main(["unpack", str(packed), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("member", ["study.db", "config.yaml", MANIFEST])
def test_a_damaged_file_is_refused(
    packed: Path, tmp_path: Path, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged in what a member holds; the rest of a zip file has bytes that mean nothing."""
    monkeypatch.chdir(tmp_path)
    data = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        found = archive.getinfo(member)
    begin = found.header_offset + 30  # of the local header, whose name and extra field follow
    begin += sum(int.from_bytes(data[begin - at : begin - at + 2], "little") for at in (4, 2))
    place = begin + found.compress_size // 2
    data[place] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(data)
    assert main(["unpack", "bad.zip"]) == 2
    (tmp_path / "bad.zip").write_bytes(data[:place])
    assert main(["unpack", "bad.zip"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_a_study_of_before_is_packed_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps no configuration in its storage."""
    make(folder)
    assert main(["pack", "known", "known.zip"]) == 0
    assert main(["unpack", "known.zip", "again"]) == 0
    assert report(["again"]) == 0
