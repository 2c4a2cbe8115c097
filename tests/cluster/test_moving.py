"""A study goes from a file to PostgreSQL and back, and is the same study."""

import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.report.command import main as report
from nas.study.command import main
from nas.study.opening import open_storage
from nas.study.postgres import AdvisoryLock
from nas.study.storage import storage_of
from tests.cluster.postgres import Postgres
from tests.report.made_up import make
from tests.studies import essences, stored
from tests.study.test_storage import study as study

pytestmark = [pytest.mark.cluster, pytest.mark.process]


def trials(url: str, name: str) -> list[Any]:
    """By Optuna alone, less ids."""
    found = optuna.load_study(study_name=name, storage=url).get_trials()
    for one in found:
        one._trial_id = 0
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_trials_of_every_kind_go_there_and_back(
    postgres: Postgres, study: optuna.Study, tmp_path: Path
) -> None:
    """Infinite and no values, times, attributes of all sorts, in a database with other ids."""
    url, here = postgres.fresh("everykind"), f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="first").ask()
    known = storage_of(study).tables.digest(study._study_id)
    assert main(["copy", here, url, "--study", "study"]) == 0
    there = open_storage(url).tables
    assert there.digest(there.study_id("study") or 0) == known
    assert trials(url, "study") == trials(here, "study")
    back = f"sqlite:///{tmp_path / 'back.db'}"
    assert main(["copy", url, back, "--study", "study"]) == 0
    again = open_storage(back).tables
    assert again.digest(again.study_id("study") or 0) == known
    assert trials(back, "study") == trials(here, "study")


def test_a_study_goes_on_a_server_and_comes_back_as_a_folder(
    postgres: Postgres, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.fresh("moved")
    assert main(["copy", "known", url]) == 0
    assert f"python -m nas.search studies/known/config.yaml --storage {url}" in (
        capsys.readouterr().out
    )
    assert main(["digest", "known"]) == main(["digest", url]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert main(["copy", "known", url]) == 2
    assert "study known is in postgresql://nas@" in capsys.readouterr().err
    assert main(["copy", url, "back"]) == 0
    assert essences(stored(folder, "back")) == essences(stored(folder, "known"))
    assert report(["back"]) == 0


def test_a_study_on_a_server_is_packed_and_opened_on_it(
    postgres: Postgres, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.fresh("packed")
    text = (folder / "studies" / "known" / "config.yaml").read_text()
    here = open_storage(f"sqlite:///{folder / 'studies' / 'known' / 'study.db'}")
    here.set_study_user_attr(here.tables.study_id("known") or 0, "configuration", text)
    assert main(["copy", "known", url]) == 0
    shutil.rmtree(folder / "studies")
    assert main(["pack", url, "known.zip"]) == 0
    assert main(["unpack", "known.zip", url, "--study", "other"]) == 0
    assert sorted(optuna.get_all_study_names(url)) == ["known", "other"]
    assert main(["unpack", "known.zip"]) == 0
    assert report(["known"]) == 0
    capsys.readouterr()
    assert main(["digest", url, "--study", "other"]) == main(["digest", "known"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_a_study_that_is_run_on_a_server_is_left_alone(
    postgres: Postgres, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.fresh("held")
    assert main(["copy", "known", url]) == 0
    held = AdvisoryLock(url, "known")
    held.take()
    assert main(["copy", url, "back"]) == 2
    assert "study known is being run: " in capsys.readouterr().err
    held.release()
    assert main(["copy", url, "back"]) == 0
