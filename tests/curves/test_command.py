"""The arguments of `python -m nas.curves`: what they mean, and what is wrong with them."""

from pathlib import Path

import pytest

from nas.curves.command import OWN_DATA, cells_of, main, parse
from nas.errors import UserError
from nas.resources import curves, is_comparison, is_curves
from nas.study.parse import parse as parse_search
from nas.tasks import TASKS
from nas.zoo import ZOO
from tests.refusals import assert_refused
from tests.test_experiments import assert_explained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells", "lstn"], 'no cell "lstn". Did you mean "lstm"?'),
        (["lstm"], '"lstm" must be a flag, --FIELD VALUE: --help all lists all fields.'),
        (["--tasks", "nope"], 'no task "nope".'),
        (["--seeds", "0"], "seeds must be at least 1, got 0."),
        (["--epochs", "-1"], "epochs must be at least 0, got -1."),
        (["--solved", "0"], "solved must be in (0, 1], got 0.0."),
        (["--solved", "1.5"], "solved must be in (0, 1], got 1.5."),
        (["--out", ""], "out must name a folder, got nothing."),
        (["--sedes", "3"], 'no field "sedes" in the configuration. Did you mean "seeds"?'),
        (["--time-budget", "soon"], "time_budget must be a positive time"),
        (["--evaluation_memory_limit_gb", "-1"], "evaluation_memory_limit_gb must be in [0, 1"),
        (["--config"], "--config needs a value, got none."),
        (["--config", "nope"], 'no experiment "nope".'),
        (["--config", "table1"], "draws no learning curves: a file of this command has the fields"),
        (
            ["--tasks", "xml", "--settings.learning_rate", *map(str, range(1, 23))],
            "settings x tasks.xml.n_params must be at most 20 settings",
        ),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(main, arguments, "nas.curves", message, capsys)
    assert not list(tmp_path.iterdir())


def test_zoo_is_all_known_cells_once() -> None:
    cells = cells_of(["lstm", "zoo", "lstm"])
    assert cells[0].name == "lstm"
    assert {cell.key for cell in cells} == {cell.key for cell in ZOO.values()}
    assert len(cells) == len({cell.key for cell in cells})
    assert [cell.name for cell in cells_of(["gru", "rnn"])] == ["gru", "rnn"]


def test_all_tasks_are_those_whose_data_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*arguments: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", unreachable)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    for kind in ("music._data", "penn_treebank._corpus"):
        module, name = kind.split(".")
        getattr(__import__(f"nas.tasks.{module}", fromlist=[name]), name).cache_clear()
    use = parse(["--tasks", "all"]).tasks.use
    assert set(use) == set(TASKS) - {*OWN_DATA, "music", "storn", "vrnn", "penn_treebank"}
    told = capsys.readouterr().out
    words, rolls = told.splitlines()
    assert words.startswith("left out: tasks.penn_treebank")
    assert rolls.startswith("left out: tasks.music.path")
    assert rolls.endswith(". So are storn and vrnn.")  # for want of the same file


def test_epochs_are_for_all_tasks_or_their_own() -> None:
    assert [task.epochs for task in parse(["--tasks", "parity", "xml"]).drawn] == [30, 10]
    given = parse(["--tasks", "parity", "xml", "--epochs", "3"])
    assert [task.epochs for task in given.drawn] == [3, 3]


def test_a_file_is_what_flags_are_laid_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("cells: [gru, rnn]\nout: there\nseeds: 2\ntasks: {use: [xml]}\n")
    config = parse(["--seeds", "3", "--config", str(path), "--tasks", "text"])
    assert (config.cells, config.out, config.seeds) == (("gru", "rnn"), "there", 3)
    assert config.tasks.use == ("text",)
    assert config == parse([f"--config={path}", "--seeds=3", "--tasks=text"])


def test_the_defaults_are_three_rates_of_one_optimizer() -> None:
    settings = parse([]).settings.points((25_000,))
    assert [one.learning_rate for one in settings] == [0.001, 0.003, 0.01]
    assert {one.optimizer for one in settings} == {"adamw"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_curves_is_neither_a_search_nor_a_comparison(
    encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("cells: [gru]\nout: there\n", encoding=encoding)
    assert is_curves(path)
    assert not is_comparison(path)
    with pytest.raises(UserError, match=r"draws learning curves .* nas\.curves --config"):
        parse_search([str(path)])


def test_help_names_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help", "all"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for field in ("--cells", "--seeds", "--solved", "--tasks.xml.n-params", "--settings.optimizer"):
        assert field in told


@pytest.mark.parametrize("name", curves())
def test_an_experiment_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its data may have to be fetched, which is not what is tested here.
    monkeypatch.setattr("nas.tasks.config.TasksConfig.check", lambda self: None)
    config = parse(["--config", name])
    assert Path(config.out).name == name
    assert cells_of(config.cells)
    assert_explained(name)
