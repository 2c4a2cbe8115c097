"""The arguments of `python -m nas.compare`: what they mean, and what is wrong with them."""

from pathlib import Path

import pytest

from nas.compare.command import main, parse
from nas.tasks import Xml
from tests.compare.test_compare import CONFIG
from tests.refusals import assert_refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one cell to compare"),
        (["gruu"], 'no cell "gruu". Did you mean "gru"?'),
        (["mut1", "--seeds", "0"], "seeds must be at least 1, got 0."),
        (["mut1", "--tuning", "0"], "tuning must be at least 1, got 0."),
        (["mut1", "--seds", "3"], 'no field "seds" in the configuration. Did you mean "seeds"?'),
        (["mut1", "--config"], "--config needs a value"),
        (["mut1", "--config", "nope"], 'no experiment "nope".'),
        (["mut1", "--study", "a/b"], "study is a folder name of letters, digits"),
        (["mut1", "--tasks", "nope"], 'no task "nope".'),
        (
            ["mut1", "--tasks.text.n_params", "9000", "8000"],
            "tasks.text.n_params must be one parameter budget in a comparison",
        ),
        (["mut1", "--tasks", "xml", "--tasks.xml.n_params", "9"], "n_params must be at least"),
        (
            ["mut1", "--tasks", "text", "--tasks.text.test_share", "0"],
            "tasks.text has no test split, since test_share is 0",
        ),
        (["runs:/abc"], "cell runs:/abc: there is no MLflow database"),
        (["mut1", "--tracking-uri", "file:x"], "is a file store, which MLflow 3 no longer accepts"),
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
    assert_refused(main, arguments, "nas.compare", message, capsys)


def test_the_configuration_of_a_search_gives_tasks_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG + "evaluation_time_limit: 7m\nseed: 5\n", encoding="utf-8")
    config = parse(["mut1", "--config", str(path), "--settings.clip_norm", "3"])
    assert config.tasks.use == ("arithmetic", "xml")
    assert config.tasks.xml == Xml(epochs=2, batches_per_epoch=5, n_params=(4000,))
    assert config.settings.learning_rate == (0.1, 0.2, 0.5, 1.0)
    assert config.settings.clip_norm == (3.0,)
    assert (config.evaluation_time_limit, config.seed, config.seeds) == ("7m", 0, 10)
    assert config.study == "compare_mut1"


def test_help_names_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help", "all"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for field in ("--seeds", "--tuning", "--tasks.xml.n-params", "--settings.learning-rate"):
        assert field in told
