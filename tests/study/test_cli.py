"""The command line: what flags and files mean, and that --help answers at once."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from nas.command_line import guarded
from nas.command_line.fields import _sentences_of, sentences_of
from nas.command_line.reading import _reader_of
from nas.errors import SearchError, UserError
from nas.resources import names, searches
from nas.spaces import load_space
from nas.study.config import SearchConfig, seconds
from nas.study.parse import parse
from nas.tasks import TASKS

ROOT = Path(__file__).parents[2]
SLOW = {"torch", "optuna", "mlflow", "pytorch_lightning", "lightning_fabric", "sqlalchemy"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "mine.yaml") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


# --- flags ---


@pytest.mark.parametrize(
    "flags",
    [
        ["--tasks", "xml", "text"],
        ["--tasks", "xml,text"],
        ["--tasks=xml,text"],
        ["--tasks", "[xml, text]"],
        ["--tasks.use", "xml", "text"],
        ["--tasks.use", '["xml", "text"]'],
        ["--tasks", "xml", "text", "--seed", "0"],
    ],
    ids=" ".join,
)
def test_lists_can_be_written_in_several_ways(flags: list[str]) -> None:
    assert parse(flags).tasks.use == ("xml", "text")


@pytest.mark.parametrize(
    ("flags", "include"),
    [
        (["--include", "mut1"], ("mut1",)),
        (["--include", "mut1", "a.cell,lstm_b"], ("mut1", "a.cell", "lstm_b")),
        (["--include", "3"], ("3",)),
        (["--include", "yes"], ("yes",)),
        (["--include", "[]"], ()),
    ],
)
def test_cells_are_names_whatever_they_look_like(flags: list[str], include: object) -> None:
    assert parse(flags).include == include


def test_lists_of_numbers_need_no_brackets() -> None:
    config = parse(["--settings.learning_rate", "0.1", "2", "--tasks.xml.n_params=1000,2000"])
    assert config.settings.learning_rate == (0.1, 2.0)
    assert config.tasks.xml.n_params == (1000, 2000)


def test_dashes_and_underscores_are_one() -> None:
    dashed = parse(["--n-candidates", "7", "--time-budget", "5m", "--tracking-uri=off"])
    assert dashed == parse(["--n_candidates=7", "--time_budget=5m", "--tracking_uri", "off"])
    assert (dashed.n_candidates, dashed.time_budget, dashed.tracking_uri) == (7, "5m", "off")
    nested = parse(["--tasks.xml.batches-per-epoch", "3"])
    assert nested.tasks.xml.batches_per_epoch == 3


def test_values_may_hold_equal_signs_and_colons() -> None:
    url = "postgresql://me@host/db?connect_timeout=3"
    assert parse(["--storage", url]).storage == url
    assert parse([f"--storage={url}"]).storage == url


# --- files ---

MINE = """
seed: 5
n_candidates: 3
tasks:
  use: [xml]
  xml: {epochs: 4, window: 11}
settings: {learning_rate: [0.25]}
"""


def test_the_file_sets_and_flags_override() -> None:
    config = parse([written(MINE)])
    assert (config.seed, config.n_candidates, config.tasks.use) == (5, 3, ("xml",))
    assert (config.tasks.xml.epochs, config.tasks.xml.window) == (4, 11)
    assert config.settings.learning_rate == (0.25,)
    changed = parse(["mine.yaml", "--seed", "6", "--tasks.xml.window", "12"])
    xml = dataclasses.replace(config.tasks.xml, window=12)
    tasks = dataclasses.replace(config.tasks, xml=xml)
    assert changed == dataclasses.replace(config, seed=6, tasks=tasks)


def test_the_protocol_is_a_word() -> None:
    config = parse(["overnight", "--protocol", "flat"])
    assert config.protocol.kind == "flat"
    assert config.protocol.filter
    assert not config.protocol.filters, "there is no filter in flat"
    assert parse(["overnight"]).protocol.kind == "staged"
    assert parse([written("protocol: {kind: flat}\n")]).protocol.kind == "flat"


def test_what_is_not_written_has_its_default() -> None:
    config = parse([written("seed: 5\n")])
    assert config == SearchConfig(study="mine", seed=5)


def test_the_flag_config_is_the_file_as_a_flag() -> None:
    written(MINE)
    assert parse(["--config", "mine.yaml"]).tasks.xml.window == 11
    assert parse(["--config=mine.yaml", "--seed", "6"]).seed == 6


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("mine.yaml", "mine"),
        ("sub/folder/config.yaml", "folder"),
        ("sub/folder", "folder"),
        ("a b+c.yml", "a_b_c"),
    ],
)
def test_a_study_is_called_after_its_file(place: str, name: str) -> None:
    written("seed: 1\n", place if "." in place else f"{place}/config.yaml")
    assert parse([place]).study == name
    assert parse([place, "--study", "other"]).study == "other"


def test_a_config_yaml_in_the_working_directory_is_called_after_that() -> None:
    written("seed: 1\n", "here/config.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("here")
        assert parse(["config.yaml"]).study == "here"


def test_without_a_configuration_it_is_the_quickstart() -> None:
    assert parse([]) == parse(["quickstart"])
    assert parse([]).study == "quickstart"


@pytest.mark.parametrize(
    "flags",
    [["quickstart"], ["--tasks", "xml", "--settings.dropout", "0,0.5", "--time-budget", "90s"]],
    ids=["quickstart", "flags"],
)
def test_the_printed_configuration_reads_back(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse([*flags, "--print-config"])
    assert stop.value.code == 0
    written(capsys.readouterr().out, "quickstart.yaml")
    assert parse(["quickstart.yaml"]) == parse(flags)


def test_the_configuration_that_a_study_keeps_reads_back() -> None:
    config = parse(["--tasks", "xml", "--include", "mut1", "--study", "kept"])
    kept = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
    assert parse([written(kept, "studies/kept/config.yaml")]) == config
    assert parse(["studies/kept"]) == config


@pytest.mark.parametrize("name", searches())
def test_every_experiment_parses(name: str) -> None:
    config = parse([name])
    assert config.study == name
    load_space(config.space)


@pytest.mark.parametrize("name", names("search_spaces"))
def test_every_space_loads(name: str) -> None:
    assert load_space(name).size() != 0


# --- --help ---


@pytest.fixture(scope="module")
def help_run() -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nas.search", "--help", "all"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def documented(owner: type) -> Iterator[tuple[str, str]]:
    """Fields with the string under each, from the source of the bases and, over them, the class."""
    for base in reversed(owner.__mro__[:-1]):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(inspect.getsource(base))
        body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
        for field, under in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and "ClassVar" not in ast.unparse(field.annotation)
                and isinstance(under, ast.Expr)
                and isinstance(under.value, ast.Constant)
            ):
                yield field.target.id, str(under.value.value)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.process
def test_help_lists_every_field_with_its_sentence(
    help_run: "subprocess.CompletedProcess[str]",
) -> None:
    assert help_run.returncode == 0
    text = help_run.stdout
    groups = {
        "": SearchConfig,
        "protocol.": type(SearchConfig().protocol),
        "settings.": type(SearchConfig().settings),
        **{f"tasks.{name}.": task for name, task in TASKS.items()},
    }
    for prefix, owner in groups.items():
        fields = [field.name for field in dataclasses.fields(owner)]  # type: ignore[arg-type]
        for name in fields:
            if name not in ("tasks", "protocol", "settings", "evolution", "cluster", "ladder"):
                flag = re.escape(f"{prefix}{name}".replace("_", "-"))
                assert re.search(rf"^  --{flag}\b", text, re.M), prefix + name
        sentences = dict(documented(owner))
        assert len(sentences) >= len(fields) // 2, "the source was read"
        for name, sentence in sentences.items():
            assert squeezed(sentence) in squeezed(text), prefix + name
    assert "quickstart" in text


@pytest.mark.process
def test_help_imports_nothing_slow(help_run: "subprocess.CompletedProcess[str]") -> None:
    imported = set(re.findall(r"\|\s+([\w.]+)$", help_run.stderr, re.M))
    assert "nas.study.parse" in imported
    assert {module.partition(".")[0] for module in imported} & SLOW == set()


def test_arguments_are_read_without_the_sentences_of_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are read from the source of each class, which takes long, and only --help needs it."""

    def read(*arguments: object) -> str:
        raise AssertionError("source was read")

    monkeypatch.setattr(inspect, "getsource", read)
    _reader_of.cache_clear()
    _sentences_of.cache_clear()
    sentences_of.cache_clear()
    assert parse(["--tasks", "xml"]).tasks.use == ("xml",)
    with pytest.raises(AssertionError, match="source was read"):
        parse(["--help"])


# --- exit codes ---


def failing(error: Exception) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_errors_become_a_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded("nas.x", lambda: 0) == 0
    assert guarded("nas.x", failing(UserError("What was given is wrong."))) == 2
    assert guarded("nas.x", failing(SearchError("It cannot go on."))) == 1
    assert capsys.readouterr().err == "nas.x: What was given is wrong.\nnas.x: It cannot go on.\n"
    with pytest.raises(ZeroDivisionError, match="a bug"):
        guarded("nas.x", failing(ZeroDivisionError("a bug")))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1.5h", 5400),
        ("2d", 172800),
        (" 3 m ", 180),
        ("2h16m", 8160),
        ("2h16", 8160),
        ("1d 2h 3m 4s", 93784),
        ("5m30", 330),
        ("0h 90", 5400),
    ],
)
def test_durations_are_in_seconds(text: str, value: float | None) -> None:
    assert seconds("time_budget", text) == value
