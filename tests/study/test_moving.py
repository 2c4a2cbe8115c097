"""A study that is copied is the same study: by its digest, its outcomes, its report."""

import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from nas.report.command import main as report
from nas.status import status
from nas.study.command import main
from nas.study.lock import lock
from nas.study.opening import load, open_storage
from nas.study.storage import storage_of
from nas.study.tables import StudyTables
from tests.inline import finished_here
from tests.moved import FAKE, contents, url
from tests.moved import folder as folder
from tests.moved import searched as searched
from tests.studies import essences, finished, stored, write_config
from tests.study.test_storage import study as study

pytestmark = pytest.mark.usefixtures("undrawn")

# --- rows ---


def test_all_rows_are_copied_and_have_one_digest(study: optuna.Study, tmp_path: Path) -> None:
    """Trials of every kind, from beside another study to where ids are others."""
    study.set_user_attr("ü", [1, None])
    study.trials  # noqa: B018
    source, target = storage_of(study).tables, open_storage(url(tmp_path, "copy.db"))
    optuna.create_study(storage=target, study_name="first").ask()
    new_id = source.copy(study._study_id, target.tables, "copied")
    assert target.tables.study_id("copied") == new_id
    theirs = optuna.load_study(study_name="copied", storage=url(tmp_path, "copy.db"))
    originals = optuna.load_study(study_name="study", storage=url(tmp_path))
    for one, other in zip(theirs.trials, originals.trials, strict=True):
        one._trial_id = other._trial_id
        assert one == other
    assert theirs.user_attrs == originals.user_attrs
    assert theirs.directions == originals.directions
    assert target.tables.digest(new_id) == source.digest(study._study_id)


def test_a_digest_is_the_one_that_packs_have_noted(tmp_path: Path) -> None:
    """Of trials of every kind; computed before the tables were read from the database itself."""
    study = optuna.create_study(storage=url(tmp_path), study_name="study", direction="maximize")
    study.set_user_attr("ü", [1, None])
    for value in (0.5, math.inf, None):
        fixed = {"choice": None, "whole": 7, "real": 0.25}
        study.enqueue_trial(fixed, user_attrs={"zeta": {"nested": [1, None, "ü"]}})
        trial = study.ask()
        trial.suggest_categorical("choice", ["a", None, 3, True])
        trial.suggest_int("whole", 1, 1000, log=True)
        trial.suggest_float("real", -1, 1, step=0.25)
        if value is not None:
            study.tell(trial, value)
    study.tell(study.ask(), state=TrialState.FAIL)
    storage = open_storage(url(tmp_path))
    with storage.engine.begin() as connection:
        for column in ("datetime_start", "datetime_complete"):
            update = f"UPDATE trials SET {column} = '2026-01-02 03:04:05.678901'"
            connection.execute(sqlalchemy.text(f"{update} WHERE {column} IS NOT NULL"))
    assert storage.tables.digest(1) == KNOWN_DIGEST


KNOWN_DIGEST = "4031b01b5d6c5b6d0aa820746cdb9ef2f3a6c1265b609733f0909a72e6c97501"
CHANGES = [
    "UPDATE trial_user_attributes SET value_json = '8' WHERE key = 'zeta'",
    "UPDATE trial_system_attributes SET value_json = '8'",
    "UPDATE trial_params SET param_value = param_value + 1e-15 WHERE param_name = 'real'",
    "UPDATE trial_values SET value = 0.5000000000000001 WHERE value = 0.5",
    "UPDATE trials SET state = 'FAIL' WHERE number = 0 AND study_id = 2",
    "UPDATE trials SET datetime_start = '2020-01-01 00:00:00.000001' WHERE study_id = 2",
    "UPDATE study_directions SET direction = 'MINIMIZE' WHERE study_id = 2",
    "DELETE FROM trial_params WHERE param_name = 'whole'",
    "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (2, 'a', '1')",
    "INSERT INTO trials (study_id, number, state) VALUES (2, 6, 'RUNNING')",
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_the_digest_is_another(
    study: optuna.Study, change: str, tmp_path: Path
) -> None:
    storage = storage_of(study)
    before = storage.tables.digest(study._study_id)
    with storage.engine.begin() as connection:
        assert connection.execute(sqlalchemy.text(change)).rowcount > 0
    assert storage.tables.digest(study._study_id) != before
    other = storage.tables.study_id("another")
    assert other is not None
    assert storage.tables.digest(other) not in (before, "")


def test_what_another_study_has_does_not_count(study: optuna.Study) -> None:
    storage = storage_of(study)
    before = storage.tables.digest(study._study_id)
    optuna.load_study(study_name="another", storage=storage).ask().suggest_float("x", 0, 1)
    assert storage.tables.digest(study._study_id) == before


# --- copies ---


def test_a_copy_is_the_same_study_and_goes_on_as_it_would(
    folder: Path, searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", "small", "copied"]) == 0
    said = capsys.readouterr().out
    assert main(["digest", "small"]) == main(["digest", "copied"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.split()[0] in said
    assert essences(stored(folder, "copied")) == essences(stored(searched))
    for name in ("winner", "weights"):
        there = folder / "studies" / "copied" / name
        assert contents(there) == contents(folder / "studies" / "small" / name)
    config = str(folder / "studies" / "copied" / "config.yaml")
    more = [sys.executable, "-m", FAKE, config, "--tracking-uri", "off", "--n-candidates", "7"]
    done = finished_here(more, folder)
    assert done.returncode == 0, done.stderr
    assert "study copied: " in done.stdout
    assert essences(stored(folder, "copied"))[:8] == essences(stored(searched))


def test_a_copy_from_a_storage_alone_has_its_configuration(folder: Path) -> None:
    """As on another machine, which has nothing but the URL."""
    database = folder / "elsewhere.db"
    assert main(["copy", "small", url(folder, "elsewhere.db")]) == 0
    shutil.rmtree(folder / "studies")
    assert main(["copy", f"sqlite:///{database}", "again"]) == 0
    assert report(["again"]) == 0
    text = (folder / "studies" / "again" / "config.yaml").read_text()
    assert "study: again" in text.splitlines()
    assert "storage: ''" in text.splitlines()


def test_a_comparison_from_a_storage_alone_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(folder)
    module, off = "tests.fake_comparing", ("--tracking-uri", "off")
    few = ("--config", "small.yaml", "--tasks", "xml", "--seeds", "2", "--tuning", "2")
    begun = [sys.executable, "-m", module, "mut1", *few, "--study", "pair", *off]
    assert (done := finished_here(begun, folder)).returncode == 0, done.stderr
    found = (folder / "studies" / "pair" / "comparison.json").read_text()
    there = url(folder, "elsewhere.db")
    assert main(["copy", "pair", there]) == 0
    said = capsys.readouterr().out
    assert f"python -m nas.compare --config studies/pair/config.yaml --storage {there}" in said
    shutil.rmtree(folder / "studies")
    assert main(["copy", there, "studies/pair"]) == 0
    assert status("pair") == 0
    assert "python -m nas.compare --config studies/pair/config.yaml" in capsys.readouterr().out
    again = [sys.executable, "-m", module, "--config", "studies/pair/config.yaml"]
    done = finished_here(again, folder, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    assert "going on after 3 finished cells" in done.stdout
    assert not (folder / "log").exists(), "nothing is trained again"
    assert (folder / "studies" / "pair" / "comparison.json").read_text() == found


def test_a_copy_that_is_not_the_same_is_taken_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, copy = StudyTables._chunks, StudyTables.copy

    def lossy(self: StudyTables, connection: Any, name: str, study_id: int) -> Iterator[Any]:
        for rows in whole(self, connection, name, study_id):
            yield rows[:-1] if name == "trial_params" else rows

    def copy_lossily(self: StudyTables, *given: Any) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(StudyTables, "_chunks", lossy)
            return copy(self, *given)

    monkeypatch.setattr(StudyTables, "copy", copy_lossily)
    assert main(["copy", "small", "copied"]) == 1
    assert "the copy of study copied in " in capsys.readouterr().err
    assert not (folder / "studies" / "copied").exists()
    assert main(["copy", "small", url(folder, "elsewhere.db")]) == 1
    assert optuna.get_all_study_names(url(folder, "elsewhere.db")) == []
    assert [path.name for path in (folder / "studies").iterdir()] == ["small"]


def test_a_copy_that_ends_half_way_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    before = contents(folder / "studies")
    with monkeypatch.context() as patch:
        patch.setattr("nas.study.moving._write_configuration", killed)
        assert main(["copy", "small", "copied"]) == 130
    assert contents(folder / "studies").keys() - before.keys() <= {
        "small/study.db-wal",
        "small/study.db-shm",
    }
    assert main(["copy", "small", "copied"]) == 0


def test_a_study_that_is_being_run_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(folder / "studies" / "small", "small"):
        for arguments in (["copy", "small", "b"], ["pack", "small", "b.zip"], ["digest", "small"]):
            assert main(arguments) == 2
            assert "nas.study: study small is being run: " in capsys.readouterr().err


def test_a_study_that_is_run_from_elsewhere_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a file as its storage, by that file's URL."""
    there = url(folder, "elsewhere.db")
    assert main(["copy", "small", there]) == 0
    with lock(folder / "others" / "small", "small", there):
        assert main(["copy", there, "b"]) == 2
        assert "study small is being run: " in capsys.readouterr().err
    assert main(["copy", there, "b"]) == 0
    capsys.readouterr()
    monkeypatch.chdir("/")
    with lock(folder / "studies" / "small", "small"):
        assert main(["digest", url(folder / "studies" / "small")]) == 2
        assert "study small is being run: " in capsys.readouterr().err


def test_a_folder_with_the_name_of_another_study_is_not_mixed_in(folder: Path) -> None:
    there, own = url(folder, "elsewhere.db"), folder / "studies" / "small"
    assert main(["copy", "small", there]) == 0
    assert main(["copy", there, "same"]) == 0
    assert (folder / "studies" / "same" / "winner" / "cell.cell").is_file()
    text = (own / "config.yaml").read_text()
    (own / "config.yaml").write_text(text.replace("seed: 0", "seed: 7"))
    assert main(["copy", there, "other"]) == 0
    kept = (folder / "studies" / "other" / "config.yaml").read_text()
    assert "seed: 0" in kept.splitlines()
    assert not (folder / "studies" / "other" / "winner").exists()


def test_a_path_is_not_a_name(folder: Path) -> None:
    assert main(["copy", "small", "./copied"]) == 0
    assert (folder / "copied" / "study.db").is_file()


@pytest.mark.parametrize("data", [b"a: [", b"study: \xff", b"- 1"], ids=str)
def test_a_broken_configuration_is_one_sentence(
    folder: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "studies" / "small" / "config.yaml").write_bytes(data)
    for arguments in (["copy", "small", "b"], ["pack", "small", "b.zip"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "studies/small/config.yaml is no configuration" in error
        assert error.count("\n") == 1
    assert not (folder / "b.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["copy", "smal", "b"], 'no study "smal". Did you mean "small"?'),
        (["copy", "small", "small"], "studies/small is there already: choose another name."),
        (["copy", "small", "two words"], "study is a folder name of letters, "),
        (["copy", "small", "sqlite:///absent/a.db"], "absent/a.db does not answer: unable to open"),
        (["copy", "small", "postgresql://me:s3cret@host/db"], "postgresql://…@host/db has credent"),
        (["copy", "postgresql://me:s3cret@host/db", "b"], "postgresql://…@host/db has credentials"),
        (["copy", "sqlite:///many.db", "b"], "many.db holds 2 studies: say which with --study, o"),
        (["copy", "sqlite:///many.db", "b", "--study", "tow"], 'Did you mean "two"?'),
        (
            ["copy", "small", "sqlite:///many.db", "--study", "two"],
            "study two is in sqlite:///many",
        ),
        (["copy", "small", "b", "--study", "c"], "--study c does not go with b, which names"),
        (["digest", "small", "--study", "smal"], 'no study "smal". Did you mean "small"?'),
        (["pack", "small", "small.tar"], "a packed study is a .zip file, got small.tar"),
        (["pack", "small", "absent/a.zip"], "absent/a.zip cannot be written (No such file or"),
        (["pack", "small", "many.zip"], "many.zip is there already: choose another name."),
        (["unpack", "absent.zip"], "absent.zip cannot be read: No such file or directory."),
        (["unpack", "many.zip"], "many.zip is no packed study, or is damaged (File is not a zip"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_what_is_wrong_is_one_sentence(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        optuna.create_study(storage="sqlite:///many.db", study_name=name)
    Path("many.zip").write_text("this is no archive")
    before = set(contents(folder))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error, error
    assert error.startswith("nas.study: ")
    assert error.count("\n") == 1
    assert "s3cret" not in error
    beside = {"studies/small/study.db-wal", "studies/small/study.db-shm"}
    assert set(contents(folder)) - before <= beside


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in ("copy", "pack", "unpack", "digest", "PGPASSWORD"):
        assert name in shown


@pytest.mark.process
def test_the_module_is_a_command(folder: Path) -> None:
    done = finished([sys.executable, "-m", "nas.study", "digest", "small"], folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()[0]) == 64
    assert load("small", url(folder / "studies" / "small")).user_attrs["configuration"]
