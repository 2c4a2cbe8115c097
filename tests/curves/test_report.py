"""The table, the numbers and the pictures say what the outcomes are."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from nas.curves.picture import GREY, figure_of
from nas.curves.report import HEADINGS, NOTE, OnTask, cells_of, lines, markdown, write
from nas.curves.result import Row, Run, by_task, goal
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.tasks import Adding, Music, Parity, Words
from nas.tasks.base import Baseline, Task
from nas.tasks.levels import Levels
from tests.curves.made_up import outcome_of


def row(task: Task, name: str, *runs: tuple[Outcome, int | None], backend: str = "c") -> Row:
    settings = Settings(optimizer="adamw", learning_rate=0.003)
    shown = tuple(Run(seed, settings, *of_seed) for seed, of_seed in enumerate(runs))
    return Row(name, task, shown, (), backend, 12.4)


def on_task(task: Task, *rows: Row, levels: Levels | None = None) -> OnTask:
    simple = levels or Levels(0.5, Baseline("last symbol", 0.52), best=task.best_possible)
    return OnTask(task, rows, simple, goal(task, 0.99))


def cells(on: OnTask, place: int = 0) -> dict[str, str]:
    return dict(zip(HEADINGS, cells_of(on, on.rows[place]), strict=True))


def test_a_row_says_what_the_outcome_is() -> None:
    task = Parity()
    outcome = outcome_of(task, (0.5, 0.6, 0.9979), test=0.75)
    on = on_task(task, row(task, "lstm", (outcome, 3)))
    assert cells(on) == {
        "cell": "lstm",
        "task": "parity",
        "metric": "share of scored symbols, higher is better",
        "validation": "0.9979",
        "test": "0.75",
        "blind guess": "0.5",
        "simple baseline": "last symbol 0.52",
        "best possible": "1",
        "solved after": "3 epochs",
        "minibatches": "300",
        "parameters": "900",
        "width": "12",
        "loop": "compiled",
        "s": "12",
        "setting": "adamw 0.003, scale 1",
    }
    assert task.batches_per_epoch == 100


def test_seeds_are_told_with_their_standard_deviation() -> None:
    task = Parity()
    runs = [(outcome_of(task, (value,)), solved) for value, solved in ((0.6, None), (1.0, 1))]
    found = cells(on_task(task, row(task, "lstm", *runs)))
    assert found["validation"] == f"0.8 ± {math.sqrt(0.08):.2g}"
    assert found["solved after"] == "1 of 2 seeds"
    assert found["minibatches"] == "-"


def test_words_are_told_with_their_perplexity() -> None:
    task = Words()
    found = cells(
        on_task(
            task,
            row(task, "lstm", (outcome_of(task, (math.log(120),), test=math.log(115)), None)),
            levels=Levels(
                math.log(1e4), Baseline("3-gram", 5.0), others=(Baseline("1-gram", 6.5),)
            ),
        )
    )
    assert found["validation"] == "4.787 (perplexity 120)"
    assert found["test"] == "4.745 (perplexity 115)"
    assert found["blind guess"] == "9.21 (perplexity 1e+04)"
    assert found["simple baseline"] == "3-gram 5 (perplexity 148.4); 1-gram 6.5 (perplexity 665.1)"
    assert found["best possible"] == "-"
    assert found["solved after"] == "no perfect score"


def test_a_cell_without_a_metric_says_why() -> None:
    task = Parity()
    broken = Row("odd", task, (), ("diverged, the loss was not finite",) * 2, "eager", 1.0)
    found = cells(on_task(task, broken))
    assert found["setting"] == "diverged, the loss was not finite"
    assert [found[name] for name in ("validation", "test", "parameters", "width")] == ["-"] * 4
    assert (found["loop"], found["solved after"]) == ("eager", "not solved")
    assert cells(on_task(task, replace(broken, backend="")))["loop"] == "-"


def test_a_sentence_counts_who_solved_and_who_passed_the_baseline() -> None:
    task = Adding()
    rows = [
        row(task, "gru", (outcome_of(task, (0.1, 0.001)), 2)),
        row(task, "lstm", (outcome_of(task, (0.05,)), None)),
        row(task, "rnn", (outcome_of(task, (0.16,)), None)),
    ]
    levels = Levels(1 / 6, Baseline("last marked number", 0.08))
    (said,) = [one for one in lines([on_task(task, *rows, levels=levels)]) if "adding:" in one]
    bound = f"{goal(task, 0.99):.4g}"
    assert said == (
        f"adding: 1 of 3 cells solved it (loss at most {bound} on validation), gru first, after "
        "800 minibatches; 2 of 3 cells passed the simple baseline (last marked number, 0.08)."
    )


def test_levels_that_are_not_here_are_told_so() -> None:
    task = Music()
    on = on_task(
        task,
        row(task, "lstm", (outcome_of(task, (8.5,)), None)),
        levels=Levels(None, None, "JSB_Chorales.mat is not here"),
    )
    found = cells(on)
    assert (found["blind guess"], found["simple baseline"]) == ("-", "-")
    said = lines([on])[-1]
    assert said == ("music: simple predictors are not computed: JSB_Chorales.mat is not here.")
    assert [line.get_label() for line in axes(on).lines] == ["lstm"]


def axes(on: OnTask) -> Axes:
    (found,) = figure_of(on).axes
    return found


def test_the_picture_shows_the_curves_and_the_levels() -> None:
    task = Parity()
    rows = [
        row(task, "gru", (outcome_of(task, (0.5, 1.0)), 2), (outcome_of(task, (0.7, 0.9)), None)),
        row(task, "lstm", (outcome_of(task, (0.5, 0.4, 0.6)), None)),
    ]
    drawn = axes(on_task(task, *rows))
    curves = [np.asarray(line.get_ydata()).tolist() for line in drawn.lines[:3]]
    assert curves == [[0.5, 1.0], [0.7, 0.9], [0.5, 0.4, 0.6]]
    epochs = [np.asarray(line.get_xdata()).tolist() for line in drawn.lines[:3]]
    assert epochs == [[1, 2], [1, 2], [1, 2, 3]]
    labels = [str(line.get_label()) for line in drawn.lines]
    assert labels == [
        "gru",
        "_",
        "lstm",
        "solved: 0.995",
        "last symbol: 0.52",
        "blind guess: 0.5",
    ]
    heights = [float(np.asarray(line.get_ydata())[0]) for line in drawn.lines[3:]]
    assert heights == pytest.approx([0.995, 0.52, 0.5])
    colours = [line.get_color() for line in drawn.lines[:3]]
    assert colours[0] == colours[1] != colours[2]
    assert drawn.get_xlabel() == "epoch of 100 minibatches of 128"
    assert "higher is better" in drawn.get_ylabel()
    assert drawn.get_yscale() == "linear"
    assert (
        axes(
            on_task(Adding(), row(Adding(), "gru", (outcome_of(Adding(), (0.1,)), None)))
        ).get_yscale()
        == "log"
    )


def test_blind_guessing_that_is_far_off_does_not_flatten_the_curves() -> None:
    task = Music()
    shown = row(task, "lstm", (outcome_of(task, (12.0, 8.5)), None))
    for chance, far in ((61.0, True), (13.0, False)):
        levels = Levels(chance, Baseline("share of each bit", 11.0))
        drawn = axes(on_task(task, shown, levels=levels))
        label = f"blind guess: {chance:g}" + (", far off" if far else "")
        (line,) = [line for line in drawn.lines if line.get_label() == label]
        assert len(line.get_ydata()) == (0 if far else 2)  # type: ignore[arg-type]
        assert drawn.get_ylim()[1] < 14
    solved = row(Parity(), "lstm", (outcome_of(Parity(), (1.0,)), 1))
    labels = [str(line.get_label()) for line in axes(on_task(Parity(), solved)).lines]
    assert "blind guess: 0.5" in labels, "an accuracy is never far off"


def test_of_many_cells_the_best_and_the_baselines_have_colours() -> None:
    task = Parity()
    names = [f"cell{place}" for place in range(20)] + ["lstm", "gru", "rnn"]
    rows = [row(task, name, (outcome_of(task, (0.5, 0.6)), None)) for name in names]
    drawn = axes(on_task(task, *rows))
    coloured = [str(line.get_label()) for line in drawn.lines if line.get_color() != GREY]
    assert coloured[:7] == ["cell0", "cell1", "cell2", "cell3", "lstm", "gru", "rnn"]
    assert any(line.get_label() == "16 other cells" for line in drawn.lines)
    legend = [str(line.get_label()) for line in drawn.lines if line.get_label() != "_"]
    assert len(legend) == 7 + 1 + 3


def test_files_say_the_same(tmp_path: Path) -> None:
    task = Parity()
    outcome = outcome_of(task, (0.5, 0.6, 1.0), test=0.75)
    tasks = [on_task(task, row(task, "lstm", (outcome, 3)))]
    paths = write(tasks, tmp_path)
    assert [path.name for path in paths] == ["curves.md", "curves.json", "parity.png"]
    page = paths[0].read_text(encoding="utf-8")
    assert page == markdown(tasks)
    (line,) = re.findall(r"^\| lstm .*$", page, re.MULTILINE)
    assert line == f"| {' | '.join(cells_of(tasks[0], tasks[0].rows[0]))} |"
    assert "![parity](parity.png)" in page
    assert NOTE in page
    found = json.loads(paths[1].read_text(encoding="utf-8"))["parity"]
    assert found["cells"]["lstm"]["seeds"]["0"]["curve"] == [0.5, 0.6, 1.0]
    assert found["cells"]["lstm"]["epochs_to_solve"] == 3
    assert (found["blind_guess"], found["simple_baselines"]) == (0.5, {"last symbol": 0.52})
    assert found["best_possible"] == 1.0
    assert found["version"] == task.version
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_levels_are_the_tasks_own() -> None:
    task = Parity(epochs=2, validation_batches=3)
    (on,) = by_task([row(task, "lstm", (outcome_of(task, (0.5,)), None))], 0.99, seed=0)
    assert on.levels.chance == task.chance()
    assert on.levels.baseline == task.baseline(0)
    assert on.goal == 0.995
