"""`nas.search(...)`: the study of the command, and a result that agrees with it."""

import base64
import dataclasses
import os
import re
import threading
from pathlib import Path
from typing import Any

import optuna
import pandas
import pytest

import nas
from nas.errors import UserError
from nas.report.facts import Facts
from nas.search.call import SearchFields, configured
from nas.session.result import SearchResult
from nas.study.config import SearchConfig
from nas.study.location import find_study
from nas.study.parse import parse
from tests.inline import Inline, run_here, workers_here
from tests.studies import write_config

N = 4


def study_of(folder: Path) -> list[tuple[Any, ...]]:
    """What is in the study: cells, scores and the digests of evaluations."""
    visits = find_study("small", studies=str(folder / "studies")).study.visits
    return [
        (v.name, v.key, v.told, sorted(v.evaluated), v.judgement and v.judgement.to_json())
        for v in visits
        if v
    ]


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the command has searched."""
    folder = tmp_path_factory.mktemp("commanded")
    write_config(folder, n_candidates=N)
    assert run_here("tests.fake_training", folder).returncode == 0
    return folder


class Found:
    """A call's folder, result, trials and workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trials = folder, list[tuple[int, float | None, str]]()
        with workers_here(folder) as self.workers:
            self.result = nas.search(
                write_config(folder, n_candidates=9),
                n_candidates=N,
                tracking_uri="off",
                callbacks=[self.note],
            )

    def note(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self.trials.append((trial.number, trial.value, trial.user_attrs["kind"]))
        assert study.trials[trial.number].state == optuna.trial.TrialState.COMPLETE


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("called"))


def n_submitted(workers: list[Inline]) -> int:
    return sum(len(each.submitted) for each in workers)


def test_a_call_makes_the_study_of_the_command(commanded: Path, called: Found) -> None:
    assert study_of(called.folder) == study_of(commanded)
    assert len(study_of(commanded)) == N + 3


def test_either_goes_on_with_the_other(commanded: Path, called: Found) -> None:
    before = len(study_of(called.folder))
    with workers_here(commanded) as workers:
        nas.search("small.yaml", tracking_uri="off")
    assert n_submitted(workers) == 0
    done = run_here("tests.fake_training", called.folder, "--n_candidates", str(N))
    assert f"going on after {before} judged cells" in done.stdout


def test_the_output_is_kept_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], commanded: Path
) -> None:
    path = write_config(tmp_path, n_candidates=0)
    with workers_here(tmp_path):
        quiet = nas.search(path, tracking_uri="off", study="quiet")
        shown = capsys.readouterr()
        nas.search(path, tracking_uri="off", study="loud", progress=True)
    assert (shown.out, shown.err) == ("", "")
    assert "Leaderboard" in quiet.output
    assert "Leaderboard" in capsys.readouterr().out


def test_callbacks_are_called_in_order_with_complete_trials(called: Found) -> None:
    kinds = ["given"] * 3 + ["drawn"] * N
    assert [(number, kind) for number, _, kind in called.trials] == list(enumerate(kinds))
    values = [trial.value for trial in called.result.study.trials]
    assert [value for _, value, _ in called.trials] == values


def test_a_callback_stops_the_search_and_the_same_call_goes_on(
    tmp_path: Path, commanded: Path
) -> None:
    path = write_config(tmp_path, n_candidates=N)

    def stop(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 1:
            study.stop()

    with workers_here(tmp_path):
        stopped = nas.search(path, tracking_uri="off", callbacks=[stop])
        assert len(stopped.leaderboard) < N + 3
        assert "A callback stopped it; the same call goes on" in stopped.output
        nas.search(path, tracking_uri="off", callbacks=[stop])
    assert study_of(tmp_path) == study_of(commanded)


def test_an_interrupt_keeps_what_is_finished_and_the_same_call_goes_on(
    tmp_path: Path, commanded: Path
) -> None:
    path = write_config(tmp_path, n_candidates=N)

    class Interrupt(nas.Callback):
        seen = 0

        def on_training_end(self, cell: str, task: str, outcomes: Any) -> None:
            self.seen += 1
            assert (cell, task, outcomes[0].status) in {
                ("gru", name, "ok") for name in ("memorization", "arithmetic", "xml")
            } or cell != "gru"
            if self.seen == 5:
                raise KeyboardInterrupt

    interrupt = Interrupt()
    with workers_here(tmp_path) as workers:
        with pytest.raises(KeyboardInterrupt, match=r"Interrupted: .* The same call goes on"):
            nas.search(path, tracking_uri="off", callbacks=[interrupt])
        assert interrupt.seen == 5
        nas.search(path, tracking_uri="off")
    assert study_of(tmp_path) == study_of(commanded)
    assert workers[0].closed


def test_a_callback_may_not_write(tmp_path: Path) -> None:
    path = write_config(tmp_path, n_candidates=0)
    with workers_here(tmp_path), pytest.raises(UserError, match="the search alone writes it"):
        nas.search(path, tracking_uri="off", callbacks=[lambda study, _: study.ask()])


def test_a_search_runs_in_another_thread(tmp_path: Path) -> None:
    """Where signals have no handlers."""
    path, found = write_config(tmp_path, n_candidates=1), list[SearchResult]()
    with workers_here(tmp_path):
        thread = threading.Thread(target=lambda: found.append(nas.search(path, tracking_uri="off")))
        thread.start()
        thread.join()
    assert len(found[0].leaderboard) == 4


# --- the result ---


def test_the_leaderboard_is_a_table_of_all_cells(called: Found) -> None:
    board = called.result.leaderboard
    assert isinstance(board, pandas.DataFrame)
    assert list(board["rank"]) == list(range(1, N + 4))
    scored = board[board.score.notna()]
    assert scored.score.is_monotonic_decreasing
    ratios = board.loc[board.cell == "gru", ["ratio arithmetic", "ratio xml"]]
    assert (ratios == 1).all().all()
    smallest = scored[["ratio arithmetic", "ratio xml"]].min(axis=1)
    assert list(smallest) == pytest.approx(list(scored.score))
    keys = {trial.number: trial.user_attrs["key"] for trial in called.result.study.trials}
    assert {**dict(zip(board.trial, board.key, strict=True))} == keys


def test_the_best_cell_is_the_winner(called: Found) -> None:
    winner = nas.cell(called.folder / "studies" / "small" / "winner")
    assert called.result.best.key == winner.key
    board = called.result.leaderboard
    best = board[board.kind != "baseline"].iloc[0]
    assert (best.cell, best.key) == (winner.name, winner.key)
    assert best.cell in repr(called.result)
    assert len(repr(called.result)) < 100


def test_the_weights_are_those_of_the_winner(
    called: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[Path, str]]()
    monkeypatch.setattr("nas.nn.loading.load", lambda *given: asked.append(given))
    called.result.load("xml")
    assert asked == [(called.folder / "studies" / "small" / "winner", "xml")]


def test_the_report_is_written_where_it_is_missing_or_old(
    called: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = called.result.folder / "report" / "report.html"

    def write(facts: Facts) -> list[Path]:
        page.parent.mkdir(exist_ok=True)
        page.write_text(facts.verdict, encoding="utf-8")
        return [page]

    monkeypatch.setattr("nas.session.result.report", write)
    assert called.result.report().read_text(encoding="utf-8") == called.result.verdict
    page.write_text("mine", encoding="utf-8")
    assert called.result.report().read_text(encoding="utf-8") == "mine"
    os.utime(page, (0, 0))
    assert called.result.report().read_text(encoding="utf-8") == called.result.verdict


def test_a_notebook_shows_leaderboard_and_pictures(called: Found) -> None:
    html = called.result._repr_html_()
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", html)
    assert base64.b64decode(pictures[0]).decode() == called.result.best.svg()
    assert "http" not in html
    assert all(name in html for name in ("gru", "lstm", called.result.best.name))


def test_the_result_of_a_study_that_is_there(
    called: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(called.folder)
    opened = nas.result("small")
    pandas.testing.assert_frame_equal(opened.leaderboard, called.result.leaderboard)
    with pytest.raises(UserError, match=r'no study "smal"\. Did you mean "small"'):
        nas.result("smal")


# --- arguments ---


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_config(tmp_path))


GIVEN: list[tuple[dict[str, Any], list[str]]] = [
    ({"n_candidates": 20, "tasks": ["text"]}, ["--n_candidates", "20", "--tasks", "text"]),
    ({"tasks": {"use": ["xml"], "xml": {"epochs": 3}}}, ["--tasks", "xml", "--tasks.xml.epochs=3"]),
    ({"protocol": "ladder"}, ["--protocol", "ladder"]),
    ({"protocol": {"kind": "flat", "n_settings": 3}},
     ["--protocol", "flat", "--protocol.n_settings", "3"]),
    ({"settings": {"learning_rate": 0.01}}, ["--settings.learning_rate", "0.01"]),
    ({"settings": {"learning_rate": (0.01, 1e-3)}}, ["--settings.learning_rate", "0.01", "1e-3"]),
    ({"settings.num_layers": [2]}, ["--settings.num_layers", "2"]),
    ({"space": Path("recipes"), "time_budget": "1h"}, ["--space", "recipes", "--time-budget=1h"]),
    ({"include": "mut1"}, ["--include", "mut1"]),
]  # fmt: skip


@pytest.mark.parametrize(("named", "flags"), GIVEN, ids=[" ".join(flags) for _, flags in GIVEN])
def test_an_argument_means_its_flag(base: str, named: Any, flags: list[str]) -> None:
    assert configured(base, named) == parse([base, *flags])


def test_a_cell_is_its_equations(base: str) -> None:
    made = configured(base, {"include": [nas.zoo["mut1"], "mut2"]})
    assert made.include == (str(nas.zoo["mut1"]), "mut2")


def test_a_configuration_object_is_taken_as_it_is(base: str) -> None:
    made = dataclasses.replace(parse([base, "--settings.momentum", "0.5"]), study="")
    assert configured(made, {}) == dataclasses.replace(made, study="search")
    changed = configured(made, {"study": "mine", "n_candidates": 3})
    assert changed == dataclasses.replace(made, study="mine", n_candidates=3)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n_candidate": 3}, r'no field "n_candidate" .* Did you mean "n_candidates"\? python -m'),
    ({"n_candidates": "many"}, 'n_candidates must be a whole number, got "many"'),
    ({"n_candidates": -1}, "n_candidates must be at least 0, got -1"),
    ({"n_candidates": None}, "n_candidates must be a whole number"),
    ({"n_candidates": object()}, "n_candidates must be text, a number, .*, got object"),
    ({"tasks": ["txt"]}, 'no task "txt". Did you mean "text"'),
    ({"tasks": [print]}, "tasks must be text, .*, got builtin_function_or_method"),
    ({"settings": 3}, 'settings is a group of fields, such as settings.*, got "3"'),
    ({"settings": {"rate": 3}}, 'no field "settings.rate" in the configuration'),
    ({"space": "gate"}, 'no space "gate"'),
    ({"study": "a/b"}, "study is a folder name"),
    ({"help": True}, 'no field "help"'),
    ({"config": 3}, "config must be an experiment's name, .*, got int"),
    ({"config": "quickstar"}, 'no experiment "quickstar"'),
    ({"callbacks": print}, "callbacks must be a list"),
    ({"callbacks": [3]}, r"callbacks must be functions of \(study, trial\) .*, got 3"),
    ({"callbacks": [nas.Callback]}, "got the class Callback"),
    ({"protocol": {"kind": "replay"}, "table": "t"}, "protocol must be staged, flat or ladder"),
    ({"storage": "postgresql://me:secret@host/db"}, "storage .* has credentials in it"),
]


@pytest.mark.parametrize(("named", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_argument_is_one_sentence(base: str, named: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        nas.search(**{"config": base, "tracking_uri": "off", **named})
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value) or "python -m" in str(raised.value)


def test_messages_name_arguments_and_no_flags(called: Found) -> None:
    with workers_here(called.folder), pytest.raises(UserError, match="use another study= name"):
        nas.search("small.yaml", tracking_uri="off", seed=1)


def test_callbacks_of_lightning_are_refused_with_the_reason(base: str) -> None:
    from pytorch_lightning import Callback

    with pytest.raises(UserError, match="is Lightning's, and trainings run in workers"):
        nas.search(base, callbacks=[Callback()])  # type: ignore[list-item]


def test_every_field_of_the_configuration_is_an_argument() -> None:
    fields = {field.name for field in dataclasses.fields(SearchConfig)}
    assert set(SearchFields.__annotations__) | set() == fields


def test_the_package_stays_the_package_of_the_command() -> None:
    import inspect

    import nas.search.run

    assert callable(nas.search)
    assert nas.search.run.__name__ == "nas.search.run"
    assert list(inspect.signature(nas.search).parameters)[:2] == ["config", "callbacks"]
