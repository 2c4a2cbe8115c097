"""What parsers and file systems refuse with errors of all sorts is one sentence, exit code 2."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from nas.command_line import yaml_loader
from nas.compare.command import main as compare
from nas.errors import UserError
from nas.export.command import main as export
from nas.nn.loading import load
from nas.protocol.measured import FILE, measured_in
from nas.replay.command import main as replay
from nas.report.command import main as report
from nas.search.search import main as search
from nas.show import main as show
from nas.status import main as status
from nas.study.command import main as study
from nas.study.location import config_of
from nas.study.moving import parsed
from nas.tasks import Module

DEEP, DIGITS, LONG = "[" * 100_000 + "]" * 100_000, "1" * 5000, "a" * 300
TEXTS = {"deep": DEEP, "digits": DIGITS}
REASON = {
    "deep": "recursion depth exceeded|at most 1,000 brackets",
    "digits": "for integer string conversion",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        Path(f"{name}.json").write_text(text)
        Path(f"{name}.yaml").write_text(f"seed: {text}")
        Path(f"{name}_space.yaml").write_text(f"kind: {text}")
        save_file({"w": torch.zeros(1)}, f"{name}.safetensors", {"nas": text})


class Loaders:
    """As a LightningDataModule, as far as its arguments are looked at."""

    setup = train_dataloader = val_dataloader = None


def refused(
    run: Callable[[Sequence[str]], int], given: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    assert run(given) == 2
    error: str = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize(
    ("run", "given"),
    [
        (search, ["{}.yaml"]),
        (search, ["--tasks.text.n_params", "{}"]),
        (search, ["--space", "{}_space.yaml", "--tracking-uri", "off"]),
        (search, ["--include", "{}.json", "--tracking-uri", "off"]),
        (show, ["{}.json"]),
        (export, ["{}.safetensors", "x.py"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.__module__,
)
def test_depth_and_digits(
    run: Callable[[Sequence[str]], int], given: list[str], kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    at = {"--tasks.text.n_params": TEXTS[kind]}.get(given[0], kind)
    error = refused(run, [part.format(at) for part in given], capsys)
    assert re.search(REASON[kind], error), error


@pytest.mark.parametrize("kind", TEXTS)
def test_depth_and_digits_elsewhere(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=REASON[kind]):
        load(f"{kind}.safetensors")
    with pytest.raises(UserError, match="f has no value in YAML: "):
        _ = Module(f"{__name__}:Loaders", (f"f={TEXTS[kind]}",)).data
    assert "a table begins with" in refused(replay, [f"{kind}.json"], capsys)
    Path(FILE).write_text(TEXTS[kind])
    assert measured_in(Path()) == []


@pytest.mark.parametrize("sign", ["- ", "? "])
def test_yaml_that_would_overflow_the_stack_of_libyaml_is_one_sentence(
    sign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nested.yaml").write_text(f"kind: mixed\nseed:\n  {sign * 100_000}\n")
    deep = "recursion depth exceeded"
    assert deep in refused(search, ["nested.yaml"], capsys)
    assert deep in refused(search, ["--space", "nested.yaml", "--tracking-uri", "off"], capsys)
    text = Path("nested.yaml").rename("config.yaml").read_text()
    assert config_of(Path()) == {}
    with pytest.raises(UserError, match=deep):
        parsed(text, "it")


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML has no libyaml here")
def test_libyaml_reads_what_it_can_and_pythons_loader_the_rest() -> None:
    assert yaml_loader("a: [1, 2]") is yaml_loader("- " * 100) is yaml.CSafeLoader
    for text in ("- " * 101, "a: [1,\nb: 2", "a: *nowhere", "a: @b"):
        assert yaml_loader(text) is yaml.SafeLoader
    for text in ("a: {b: [1, 0.5, x, null, true]}\nc: 2026-01-01\n", "- - - x\n", ""):
        assert yaml.load(text, yaml_loader(text)) == yaml.safe_load(text)
    with pytest.raises(
        UserError, match=r"\(line 1: found character '@' that cannot start any token\)"
    ):
        parsed("a: @b", "it")


@pytest.mark.parametrize(
    ("run", "given"),
    [
        (search, ["--study", LONG]),
        (search, ["--studies", LONG, "--tracking-uri", "off"]),
        (search, ["--tasks", "text", "--tasks.text.path", LONG]),
        (status, [LONG]),
        (report, [LONG]),
        (study, ["digest", LONG]),
        (study, ["unpack", f"{LONG}.zip"]),
        (compare, ["gru", "--study", LONG]),
        (compare, [LONG]),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else value.__module__,
)
def test_names_that_no_file_can_have(
    run: Callable[[Sequence[str]], int], given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert LONG in refused(run, given, capsys)


def test_numbers_that_no_float_can_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert "too large" in refused(search, ["--settings.learning_rate", "1" + "0" * 400], capsys)
