"""The storage against Optuna's own: the same trials, whatever is in them, without the outcomes."""

import dataclasses
import itertools
import json
import math
import random
import sqlite3
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.errors import UserError
from nas.study.opening import load, load_or_create, open_storage
from nas.study.storage import StudyStorage, storage_of
from nas.study.visit import (
    EVALUATION,
    RECENT,
    SUMMARY,
    Archive,
    Evaluated,
    Shelf,
    Summary,
    joined,
    stored_as,
)
from tests.record.visits import evaluated, outcome


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def test_optuna_tells_a_caller_as_much_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        load_or_create("study", url(tmp_path))
        load("study", url(tmp_path))
        assert capsys.readouterr().err == ""
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(before)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Trials of every kind: running, complete, failed, with infinite and with no values."""
    load_or_create("another", url(tmp_path)).ask().suggest_float("x", 0, 1)
    made = load_or_create("study", url(tmp_path))
    for value in (0.5, math.inf, -math.inf, None):
        trial = made.ask()
        trial.suggest_categorical("choice", ["a", None, 3, True])
        trial.suggest_int("whole", 1, 1000, log=True)
        trial.suggest_float("real", -1, 1, step=0.25)
        trial.set_user_attr("zeta", {"nested": [1, None, "ü"]})
        trial.set_user_attr("alpha", value != value)
        trial.set_user_attr(EVALUATION + "d1", {"outcomes": [1, 2]})
        made._storage.set_trial_system_attr(trial._trial_id, "system", 7)
        if value is not None:
            made.tell(trial, value)
    made.tell(made.ask(), state=TrialState.FAIL)
    made.ask()
    return made


def without_outcomes(trial: FrozenTrial) -> FrozenTrial:
    attrs = trial.user_attrs
    trial.user_attrs = {n: v for n, v in attrs.items() if not n.startswith(EVALUATION)}
    return trial


@pytest.mark.parametrize("states", [None, (TrialState.COMPLETE,), (TrialState.RUNNING,)], ids=str)
def test_trials_are_those_of_optuna(study: optuna.Study, tmp_path: Path, states: Any) -> None:
    theirs = RDBStorage(url(tmp_path)).get_all_trials(study._study_id, states=states)
    ours = open_storage(url(tmp_path)).get_all_trials(study._study_id, states=states)
    assert len(ours) >= 2
    assert ours == [without_outcomes(trial) for trial in theirs]
    for one, same in zip(ours, theirs, strict=True):
        assert list(one.params) == list(same.params), "the order of suggestions"


def test_changed_trials_are_those_that_optuna_reads(study: optuna.Study, tmp_path: Path) -> None:
    """The storage keeps trials in memory, and writes each change."""
    kept = storage_of(study).get_all_trials(study._study_id)
    assert kept == open_storage(url(tmp_path)).get_all_trials(study._study_id)
    theirs = RDBStorage(url(tmp_path)).get_all_trials(study._study_id)
    assert kept == [without_outcomes(trial) for trial in theirs]
    one = RDBStorage(url(tmp_path)).get_trial(4)
    assert storage_of(study).get_trial(4) == without_outcomes(one)
    with pytest.raises(KeyError, match="a trial with the id 99"):
        storage_of(study).get_trial(99)


def test_a_trial_that_a_sampler_holds_is_not_changed(study: optuna.Study) -> None:
    storage = storage_of(study)
    held = storage.get_all_trials(study._study_id, deepcopy=False)[-1]
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, held.number)
    storage.set_trial_user_attr(trial_id, "a", 1)
    storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert (held.user_attrs, held.state, held.values) == ({}, TrialState.RUNNING, None)
    assert storage.get_trial(trial_id).user_attrs == {"a": 1}
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, "a", 2)


def test_outcomes_are_read_one_by_one(study: optuna.Study) -> None:
    storage = storage_of(study)
    found = storage.evaluations(study._study_id)
    assert [digest for _, digest in found] == ["d1"] * 4
    assert all(storage.evaluation(*one) == {"outcomes": [1, 2]} for one in found)


def test_what_is_written_together_is_there_or_not_at_all(tmp_path: Path) -> None:
    study = load_or_create("study", url(tmp_path))
    storage = storage_of(study)

    def begin(trial: optuna.Trial, stop: bool) -> None:
        with storage.together() as noted:
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("a", [1])
            trial.set_user_attr("a", [2])
            assert noted[trial._trial_id, "a"] == [2]
            if stop:
                raise RuntimeError

    trial = study.ask()
    with pytest.raises(RuntimeError):
        begin(trial, stop=True)
    [stored] = RDBStorage(url(tmp_path)).get_all_trials(study._study_id)
    assert (stored.params, stored.user_attrs) == ({}, {})
    again = optuna.Trial(study, trial._trial_id)
    begin(again, stop=False)
    begin(optuna.Trial(study, trial._trial_id), stop=False)  # what is there is written over
    [stored] = RDBStorage(url(tmp_path)).get_all_trials(study._study_id)
    assert stored.params == again.params
    assert stored.user_attrs == {"a": [2]}
    again.set_user_attr("a", [3])  # outside of the block, at once
    assert RDBStorage(url(tmp_path)).get_trial(trial._trial_id).user_attrs == {"a": [3]}


def test_commits_do_not_wait_for_the_disk_and_readers_not_for_commits(tmp_path: Path) -> None:
    storage: StudyStorage = open_storage(url(tmp_path))
    with storage.engine.connect() as first, storage.engine.connect() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def verified(database: Path) -> list[str]:
    """What is wrong with a database by SQLite's full check; nothing if it is sound."""
    connection = sqlite3.connect(database)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    finally:
        connection.close()
    return [] if found == ["ok"] else found


def damaged(sound: bytes, seed: int) -> bytes:
    """Some bytes within a page are others, or a page is another's or empty."""
    generator, page = random.Random(seed), 4096
    data, at = bytearray(sound), page * generator.randrange(len(sound) // page)
    match seed % 3:
        case 0:
            first = at + generator.randrange(page - 64)
            data[first : first + 64] = generator.randbytes(64)
        case 1:
            other = page * generator.randrange(len(sound) // page)
            data[at : at + page] = sound[other : other + page]
        case 2:
            data[at : at + page] = bytes(page)
    return bytes(data)


def test_a_storage_is_refused_exactly_where_it_is_damaged(
    study: optuna.Study, tmp_path: Path
) -> None:
    connection = sqlite3.connect(tmp_path / "study.db")
    connection.execute("VACUUM INTO ?", (str(tmp_path / "whole.db"),))  # all of it in one file
    connection.close()
    sound = (tmp_path / "whole.db").read_bytes()
    verdicts = Counter[bool]()
    for seed in range(24):
        copy = tmp_path / f"{seed}.db"
        copy.write_bytes(given := damaged(sound, seed) if seed else sound)
        wrong = verified(copy)
        assert copy.read_bytes() == given
        with pytest.raises(UserError, match="is damaged") if wrong else nullcontext():
            open_storage(f"sqlite:///{copy}").engine.dispose()
        if wrong:
            assert copy.read_bytes() == given, "a damaged file was written"
        verdicts[bool(wrong)] += 1
    assert min(verdicts.values()) >= 5, "both kinds were met"


def test_outcomes_that_are_written_read_back(tmp_path: Path) -> None:
    study = load_or_create("study", url(tmp_path))
    storage, trial = storage_of(study), study.ask()
    one = evaluated("xml", [outcome(0.5), outcome(None, "failed")])
    with storage.together():
        for name, value in stored_as("d", one).items():
            trial.set_user_attr(name, value)
    read = storage.evaluation(trial._trial_id, "d")
    assert Evaluated.from_json(read) == one
    assert read == json.loads(json.dumps(dataclasses.asdict(one))), "as the first studies had it"
    summary = storage.get_trial(trial._trial_id).user_attrs[SUMMARY + "d"]
    assert Summary(**summary) == Summary.of(one)


def test_an_archive_reads_what_it_does_not_hold() -> None:
    stored = {f"d{n}": evaluated("xml", [outcome(n / 100)]) for n in range(3 * RECENT)}
    reads: list[tuple[int, str]] = []

    def read(trial_id: int, digest: str) -> dict[str, Any]:
        reads.append((trial_id, digest))
        return dict(json.loads(json.dumps(dataclasses.asdict(stored[digest]))))

    archive = Archive(read)
    shelves = [Shelf(archive), Shelf(archive)]
    for (digest, one), shelf in zip(stored.items(), itertools.cycle(shelves), strict=False):
        archive.place(digest, len(archive))
        shelf.summaries[digest] = Summary.of(one)
    assert dict(archive) == stored
    assert reads == [(n, f"d{n}") for n in range(3 * RECENT)]
    both = joined(shelves)
    assert len(both) == len(stored)
    assert len(reads) == 3 * RECENT, "nothing is read to join them"
    archive["d0"]
    assert archive["d0"] == both["d0"] == stored["d0"]
    assert len(reads) == 3 * RECENT + 1
    with pytest.raises(KeyError):
        shelves[0]["d1"]


def test_a_summary_is_of_all_outcomes() -> None:
    outcomes = [outcome(0.5), outcome(None, "diverged"), outcome(0.6)]
    one: Evaluated = evaluated("xml", outcomes)
    found = Summary.of(one)
    assert (found.n_runs, found.n_params, found.wall_s) == (3, 24_900, 7.5)
    assert (found.flops, found.statuses) == (3e9, {"ok": 2, "diverged": 1})
