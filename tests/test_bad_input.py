"""What a user gets wrong is one sentence and exit code 2: thing, rule, value, a way out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas.command_line import guarded
from nas.search.search import main
from tests import fake_training
from tests.inline import Inline
from tests.privileges import as_a_user, needs_modes
from tests.studies import finished

ROOT = Path(__file__).parent.parent
SECRET = "s3cret"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, and no search begins even if bad input is let through."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nas.search.run._carry_out", lambda session: None)
    monkeypatch.setattr(
        "nas.workers.local.LocalWorkers", lambda *_, **__: Inline(work=fake_training.run)
    )


def contents() -> dict[str, bytes]:
    paths = [path for path in Path().rglob("*") if path.is_file()]
    return {
        str(path): path.read_bytes()
        for path in paths
        if path.suffix != ".lock" and path.name != ".lock"
    }


def refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str, *, code: int = 2
) -> str:
    """Run the command, which must say `sentence` and write nothing; returns what it said."""
    before = contents()
    got = main([*arguments, "--tracking-uri", "off"])
    captured = capsys.readouterr()
    assert got == code
    assert captured.out == ""
    assert re.fullmatch(r"nas\.search: [^\n]+\.\n", captured.err), "one line, one full stop"
    assert re.search(sentence, captured.err), captured.err
    assert SECRET not in captured.err
    assert contents() == before
    return captured.err


def file(name: str, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    Path(name).write_bytes(data)


# --- names ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["quikstart"],
            r'no experiment "quikstart"\. Did you mean "quickstart"\? .* Or give the pa',
        ),
        (["absent.yaml"], r"experiment file absent\.yaml: no such file"),
        (["x" * 300], r"experiment x+ cannot be read: File name too long"),
        (["--config", "absent.yaml"], r"configuration absent\.yaml cannot be read: No such file"),
        (["--include", "grru"], r'no cell "grru"\. Did you mean "gru"\? Known: .*mut1.* ends in'),
        (["--space", "gate"], r'no space "gate"\. Did you mean "gates"\? .* path of a YAML file'),
        (["--space", "my.yaml"], r"space file my\.yaml: no such file"),
        (
            ["--tasks", "xml", "texxt"],
            r'no task "texxt"\. Did you mean "text"\? Known: a5, adding,',
        ),
        (["--tasks", "xml", "xml"], r"tasks names each task once, got xml, xml"),
        (["--tasks", "[]"], r"tasks needs at least one of a5, adding, .*, got none"),
        (
            ["--sampler", "tpee"],
            r'no sampler "tpee"\. Did you mean "tpe"\? .* module:Class of your',
        ),
        (["--sampler", "absent:X"], r'sampler "absent:X" cannot be imported: No module named'),
        (["--study", "../x"], r'study is a folder name of letters, .* got "\.\./x"'),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_unknown_names(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    refused(capsys, arguments, sentence)


# --- flags ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sede", "1"], r'no field "sede" in the configuration\. Did you mean "seed"\? --help'),
        (["--n_settings", "3"], r'no field "n_settings" .* Did you mean "protocol\.n_settings"\?'),
        (["--tasks.xml.widow", "3"], r'"tasks\.xml\.widow" .* Did you mean "tasks\.xml\.window"\?'),
        (["--protocol", "foo"], r"protocol\.kind must be one of .*, 'replay', got \"foo\""),
        (
            ["--tasks.xml", "foo"],
            r'tasks\.xml is a group of fields, such as tasks\.xml\.\w+, got "f',
        ),
        (["--workers"], r"--workers needs a value, got none"),
        (["--workers", "--seed", "1"], r"--workers needs a value, got none"),
        (["--tasks"], r"--tasks needs at least one value, got none"),
        (
            ["--seed", "1", "2"],
            r"--seed takes one value, got 2: 1 2; what has no flag, .* comes before",
        ),
        (["--seed", "x"], r'seed must be a whole number, got "x"'),
        (["--seed="], r'seed must be a whole number, got ""'),
        (["--seed", "-1"], r"seed must be in \[0, 9223372036854775807\], got -1"),
        (["--protocol.filter", "maybe"], r'protocol\.filter must be true or false, got "maybe"'),
        (["--tasks.xml.stop_at", "x"], r'tasks\.xml\.stop_at must be a number or null, got "x"'),
        (["--settings.optimizer", "adm"], r"optimizer must be one of 'sgd', 'adamw', got \"adm\""),
        (["quickstart", "more"], r'"more" must be a flag, --FIELD VALUE'),
        (["-x"], r'"-x" must be a flag'),
        (["--n-candidates", "-1"], r"n_candidates must be at least 0, got -1"),
        (["--workers", "-2"], r"workers must be at least 0, got -2"),
        (["--in-flight", "0"], r"in_flight must be at least 1, got 0"),
        (["--time-budget", "-5m"], r'time_budget must be a positive time such as .* got "-5m"'),
        (["--time-budget", "16m2h"], r'time_budget must be a positive time .* got "16m2h"'),
        (["--time-budget", "5s 3"], r'time_budget must be a positive time .* got "5s 3"'),
        (["--time-budget", "soon"], r'time_budget must be a positive time .* got "soon"'),
        (["--evaluation-time-limit", "0"], r'evaluation_time_limit must be a positive .* got "0"'),
        (["--evaluation-memory-limit-gb", "-1"], r"_gb must be in \[0, 1000000\], got -1\.0"),
        (["--evaluation-memory-limit-gb", "1e300"], r"limit_gb must be in \[0, 1000000\], got"),
        (["--evaluation-time-limit", "9999999999h"], r"time_limit must be at most 36500d, .* got"),
        (["--time-budget", "9" * 400], r"time_budget must be at most 36500d, a hundred years, got"),
        (["--tasks.arithmetic.n_params", "[]"], r"n_params needs at least one value, got none"),
        (["--tasks.arithmetic.n_params", "[100000000000]"], r"_params must be at most 1,000,000,0"),
        (["--tasks.arithmetic.stop_at", ".nan"], r"stop_at must be a finite number, got nan"),
        (["--protocol.pass_ratio", ".inf"], r"pass_ratio must be a finite number, got inf"),
        (["--tasks.arithmetic.batches_per_epoch", "9" * 20], r"epoch must be at most 1,000,000,"),
        (["--workers", "100000"], r"workers must be at most 4,096, got 100,000"),
        (["--study", "a" * 300], r"study is a name of at most 200 bytes, got aaa"),
        (["--tasks.arithmetic.epochs", "0"], r"arithmetic\.epochs must be at least 1, got 0"),
        (["--tasks.arithmetic.n_params", "-3"], r"arithmetic\.n_params must be at least 1, got -3"),
        (["--settings.learning_rate", "0"], r"learning_rate must be in \(0, inf\), got 0\.0"),
        (["--protocol.fidelity", "2"], r"protocol\.fidelity must be in \(0, 1\], got 2\.0"),
        (["--tasks.arithmetic.n_params", "100"], r"must be at least \d+ for cell gru.* got 100"),
        (["--tracking-uri", "gopher://host"], r"tracking_uri gopher://host is not a URI that MLf"),
        (["--tracking-uri", f"foo://{SECRET}@host"], r"tracking_uri foo://…@host has credentials"),
        (
            ["--tracking-uri", f"http://me:{SECRET}@host"],
            r"tracking_uri http://…@host has credentials in it, .* MLFLOW_TRACKING_USERNAME and",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_flags(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    if "--tracking-uri" in arguments:
        capsys.readouterr()
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert re.fullmatch(r"nas\.search: [^\n]+\.\n", captured.err)
        assert re.search(sentence, captured.err), captured.err
        assert SECRET not in captured.err
        assert contents() == {}
    else:
        refused(capsys, arguments, sentence)


# --- files of the configuration ---


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("spce: gates\n", r'configuration my\.yaml: no field "spce" .* Did you mean "space"\?'),
        ("tasks: {memorisation: {}}\n", r'"tasks\.memorisation" .* mean "tasks\.memorization"\?'),
        ("tasks: {xml: {epoch: 3}}\n", r'"tasks\.xml\.epoch" .* mean "tasks\.xml\.epochs"\?'),
        ("tasks: 3\n", r'tasks is a group of fields, such as tasks\.use, got "3"'),
        ("protocol: [filter]\n", r"protocol is a group of fields, such as protocol\.filter, got"),
        ("- a\n- b\n", r'my\.yaml must be lines "field: value", such as "seed: 1"'),
        ("just words\n", r'my\.yaml must be lines "field: value"'),
        ("", r'my\.yaml must be lines "field: value"'),
        ("a: [1\nb: 2\n", r"configuration my\.yaml is not YAML: line 2: "),
        ("seed: 1\n---\nseed: 2\n", r"my\.yaml is not YAML: line 2: .*another document"),
        ("seed: 1\nseed: 2\n", r"seed must be written once, got it twice"),
        (b"\xff\xfe\x00", r"configuration my\.yaml is not UTF-8 text"),
        (b"seed: \x00\n", r"configuration my\.yaml is not YAML: "),
        ("n_candidates: many\n", r'n_candidates must be a whole number, got "many"'),
        ("seed: 2024-13-45\n", r'seed must be a whole number, got "2024-13-45"'),
        ("settings: {clip_norm: 5}\n", r'settings\.clip_norm must be a list in brackets, got "5"'),
        ("settings: {clip_norm: [a]}\n", r'settings\.clip_norm must be a number, got "a"'),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, (str, bytes)) else "",
)
def test_configurations(
    capsys: pytest.CaptureFixture[str], content: str | bytes, sentence: str
) -> None:
    file("my.yaml", content)
    said = refused(capsys, ["my.yaml"], sentence)
    if "is not UTF-8" not in said:
        refused(capsys, ["--config", "my.yaml"], sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("states: [merged]\n", r'space file my\.yaml: the field "kind" is missing'),
        ("kind: gatess\n", r'no kind of space "gatess"\. Did you mean "gates"\?'),
        ("kind: gates\nstate: [merged]\n", r'no field "state"\. Did you mean "states"\?'),
        ("- a\n", r"space file my\.yaml: a space is written as lines"),
        (b"\xff", r"space file my\.yaml: not UTF-8 text"),
    ],
    ids=repr,
)
def test_spaces(capsys: pytest.CaptureFixture[str], content: str | bytes, sentence: str) -> None:
    file("my.yaml", content)
    refused(capsys, ["--space", "my.yaml"], sentence)


# --- cells ---

CYCLE = "def c(x, h):\n    a = tanh(linear(x, b))\n    b = tanh(linear(h, a))\n    return b\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "def c(x, h):\n    y = tanh(q)\n    return y\n",
            r'my\.cell: .* line 2: undefined name "q"',
        ),
        (CYCLE, r"my\.cell: cell c: line 2: a cycle, b <- a <- b: .* carry the value to the next"),
        ("import os\n", r"my\.cell: .*write one function and nothing else"),
        (b"\xff", r"cell file my\.cell: not UTF-8 text"),
        (None, r"cell file my\.cell: No such file or directory"),
    ],
    ids=repr,
)
def test_cells(
    capsys: pytest.CaptureFixture[str], content: str | bytes | None, sentence: str
) -> None:
    if content is not None:
        file("my.cell", content)
    refused(capsys, ["--include", "rnn", "my.cell"], sentence)


def test_a_cell_for_which_the_budget_is_too_small(capsys: pytest.CaptureFixture[str]) -> None:
    budget = ["--tasks", "xml", "--tasks.xml.n_params", "105", "--include", "lstm_fgr"]
    refused(capsys, budget, r"n_params must be at least \d+ for cell lstm_fgr, 1 layer and 30 symb")


@pytest.mark.parametrize("depths", [("1", "3"), ("3", "1")])
def test_a_depth_for_which_the_budget_is_too_small(
    depths: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    budget = ["--tasks", "xml", "--tasks.xml.n_params", "120", "--settings.num-layers", *depths]
    refused(capsys, budget, r"n_params must be at least \d+ for cell lstm, 3 layers and 30 symbols")


# --- texts ---


def text_flags() -> list[str]:
    # An absolute path, since a text is read once in a process.
    return ["--tasks", "text", "--tasks.text.path", str(Path("my.txt").resolve())]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r'tasks\.text\.path: there is no file ".*my\.txt": give the path of a UTF-8 file'),
        ("too short\n", r'my\.txt" has 10 characters, fewer than 100: give a longer text'),
        ("still too short\n" * 50, r"one window takes batch_size \* window \+ 1 .* longer text"),
        (b"K\xe4se " * 50, r'my\.txt" is not UTF-8 .*: convert it'),
    ],
    ids=["missing", "short", "window", "latin"],
)
def test_texts(
    capsys: pytest.CaptureFixture[str], content: str | bytes | None, sentence: str
) -> None:
    if content is not None:
        file("my.txt", content)
    refused(capsys, text_flags(), sentence)


def test_a_folder_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.txt").mkdir()
    refused(capsys, text_flags(), r'tasks\.text\.path must name a file, ".*my\.txt" is a folder')


@pytest.mark.process
@needs_modes
def test_a_text_that_may_not_be_read() -> None:
    file("my.txt", "abc" * 1000)
    Path("my.txt").chmod(0)
    command = [sys.executable, "-m", "nas.search", *text_flags(), "--tracking-uri", "off"]
    done = finished(command, Path(), before=as_a_user)
    assert done.returncode == 2, done.stdout
    sentence = r"nas\.search: tasks\.text\.path: [^\n]*my\.txt[^\n]*Permission denied[^\n]*\.\n"
    assert re.fullmatch(sentence, done.stderr)
    assert [path.name for path in Path().iterdir()] == ["my.txt"]


# --- where the study is kept ---


@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
def test_a_file_is_no_folder_of_studies(capsys: pytest.CaptureFixture[str], place: str) -> None:
    file("taken", "")
    sentence = rf"folder {place}/quickstart cannot be written \(Not a directory\): choose another"
    refused(capsys, ["--studies", place], sentence)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", r"storage nonsense does not answer: Could not parse"),
        (
            "sqlite:///taken.db",
            r"storage sqlite:///taken\.db is damaged \(file is not a database\): put back a",
        ),
        ("sqlite:///absent/a.db", r"absent/a\.db does not answer: unable to open database file"),
        ("foo://me@host/db", r"storage foo://…@host/db has credentials in it, which "),
        ("foo://host/db", r"storage foo://host/db does not answer: "),
        (
            f"postgresql://me:{SECRET}@host/db",
            r"storage postgresql://…@host/db has credentials in it, .* variable PGPASSWORD or the",
        ),
        (
            f"postgresql://me@host/db?password={SECRET}",
            r"storage postgresql://me@host/db\?password=… has credentials in it, ",
        ),
    ],
)
def test_storages(capsys: pytest.CaptureFixture[str], url: str, sentence: str) -> None:
    file("taken.db", "this is no database, whatever its name\n" * 100)
    refused(capsys, ["--storage", url], sentence)


def test_a_server_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://me@127.0.0.1:9/db"
    sentence = r"storage postgresql://me@127\.0\.0\.1:9/db does not answer: .*Connection refused"
    refused(capsys, ["--storage", url], sentence)


def test_a_database_driver_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sqlalchemy")
    sentence = r"storage mysql\+aiomysql://me@host/db does not answer: its database driver is not"
    refused(capsys, ["--storage", "mysql+aiomysql://me@host/db"], sentence)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--seed", "1"],
            r"begun with seed = 0, not 1: use another --study name, or the same conf",
        ),
        (["--sampler", "random"], r"begun with sampler = tpe, not random"),
        (["--tasks.arithmetic.epochs", "3"], r"begun with tasks\.arithmetic\.epochs = \d+, not 3"),
        (["--settings.clip_norm", "2"], r"begun with settings\.clip_norm = \[5\.0\], not \[2\.0\]"),
        (["--protocol.n_settings", "9"], r"begun with protocol\.n_settings = 2, not 9"),
    ],
)
def test_another_configuration_of_a_study_that_was_begun(
    capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    assert main(["--tracking-uri", "off"]) == 0
    kept = Path("studies/quickstart/config.yaml").read_bytes()
    capsys.readouterr()
    assert main([*flags, "--tracking-uri", "off"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"nas\.search: study quickstart was [^\n]+\.\n", captured.err)
    assert re.search(sentence, captured.err)
    assert Path("studies/quickstart/config.yaml").read_bytes() == kept
    assert main(["--tracking-uri", "off", "--n-candidates", "500"]) == 0, "more of the same is fine"


# --- as a command ---


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent.yaml"], "nas.search: experiment file absent.yaml: no such file.\n"),
        (["--seed", "x"], 'nas.search: seed must be a whole number, got "x".\n'),
        (["--include", "grru"], 'nas.search: no cell "grru". Did you mean "gru"?'),
    ],
)
def test_the_command_says_it_on_standard_error(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nas.search", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert contents() == {}


def test_memory_that_runs_out_in_a_command_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full() -> int:
        raise MemoryError

    assert guarded("nas.search", full) == 1
    assert capsys.readouterr().err == (
        "nas.search: memory ran out: free some; the same command goes on.\n"
    )
