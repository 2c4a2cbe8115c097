"""What a person sees of a study in MLflow: its pages in a real browser, from a real server."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.cell.cell import renamed
from nas.record.view import address as address_of
from nas.report.recording import main as record
from nas.study.study import Study, open_study
from nas.zoo import ZOO
from tests.record.server import served
from tests.record.visits import SQLALCHEMY
from tests.report.made_up import CONFIG, DEFINITION, PROVENANCE, passed, scored, visit

pytestmark = [pytest.mark.process, pytest.mark.timeout(900), SQLALCHEMY]

N_CELLS = 32
BEST = "mut1"
BEST_SCORE = 1.375
WAIT_S = 120.0
"""For what a page fetches: seconds on an idle machine."""


def make(root: Path) -> Study:
    """A finished study in which one cell is ahead of the GRU and all others are behind."""
    folder = root / "studies" / "seen"
    folder.mkdir(parents=True)
    text = CONFIG.format(name="seen", sampler="jozefowicz")
    (folder / "config.yaml").write_text(text.replace("n_candidates: 9", f"n_candidates: {N_CELLS}"))
    study = open_study("seen", folder, "", DEFINITION)
    study.set_attr("provenance", PROVENANCE)
    first = {ZOO[name].key for name in ("gru", "lstm", BEST)}
    others = list({cell.key: name for name, cell in ZOO.items() if cell.key not in first}.values())
    for i, name in enumerate(["gru", "lstm", *others[: N_CELLS - 3], BEST]):
        ratios = {"gru": (1.0, 1.0), BEST: (1.5, BEST_SCORE)}.get(name, (0.99 - i / 100, 1.0))
        kind = "given" if name in ("gru", "lstm") else "drawn"
        visit(study, ZOO[name], passed(*ratios), scored(*ratios), kind)
    return study


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert record(["seen"]) == 0
    return folder


@pytest.fixture(scope="module")
def address(browser: Any, recorded: Path) -> Iterator[str]:
    with served(recorded) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window; its driver is given, so that nothing is fetched."""
    chromium = shutil.which("chromium")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--window-size=1600,1000"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for the administrator
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        opened.set_page_load_timeout(WAIT_S)
        opened.set_script_timeout(WAIT_S)
        yield opened
    finally:
        opened.quit()


def runs(folder: Path) -> tuple[str, dict[str, str]]:
    """The id of the experiment, and those of its runs by name."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    number = client.get_experiment_by_name("seen").experiment_id
    return number, {run.info.run_name: run.info.run_id for run in client.search_runs([number])}


def eventually(ask: Callable[[], Any]) -> Any:
    """The first answer that is not empty; the last one when time is over."""
    deadline = time.monotonic() + WAIT_S
    while not (found := ask()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_the_list_begins_with_the_best_cell_and_its_score(
    browser: Any, address: str, recorded: Path
) -> None:
    number, known = runs(recorded)
    assert len(known) == N_CELLS + 1, "and the study"
    browser.get(f"{address}/{address_of(number)}")
    cells = "return [...document.querySelectorAll('[row-index=\"0\"] [col-id]')]"
    first = ".map(e => [e.getAttribute('col-id'), e.innerText.trim()])"
    score = "metrics.`score`"
    rows = eventually(
        lambda: (row := dict(browser.execute_script(cells + first))).get(score) and row
    )
    assert rows, browser.find_element("tag name", "body").text
    assert float(rows[score]) == BEST_SCORE
    assert BEST in rows["attributes.`Run Name`"].split()
    assert float(rows["metrics.`ratio.xml`"]) == 1.5
    assert rows["tags.`nas.stage`"] == rows["tags.`nas.status`"] == "scored"


def test_the_charts_begin_with_scores_and_have_each_tasks_curves(
    browser: Any, address: str, recorded: Path
) -> None:
    number, _ = runs(recorded)
    browser.get(f"{address}/{address_of(number, charts=True)}")
    sections = r"Scores\s*\(5\)[\s\S]*ratio\.xml[\s\S]*\sxml\s*\(\d[\s\S]*\stext\s*\(\d"
    shown = "return document.body.innerText"
    found = eventually(lambda: re.search(sections, browser.execute_script(shown)))
    assert found, browser.execute_script(shown)


def test_the_page_of_a_cell_shows_its_equations_and_its_picture(
    browser: Any, address: str, recorded: Path
) -> None:
    number, known = runs(recorded)
    browser.get(f"{address}/#/experiments/{number}/runs/{known[BEST]}")
    widths = (
        "return [...document.querySelectorAll('img[src*=\"get-artifact\"]')]"
        ".filter(e => e.complete).map(e => e.naturalWidth)"
    )
    assert eventually(lambda: any(browser.execute_script(widths))), "the picture has loaded"
    code = browser.execute_script(
        "return [...document.querySelectorAll('code, pre')].map(e => e.textContent)"
    )
    equations = str(renamed(ZOO[BEST], BEST, "")).strip()
    assert any(equations in text for text in code)
    # MLflow folds a long note, so that not all of its text is seen at first.
    assert f"Score {BEST_SCORE:.3f}" in browser.execute_script("return document.body.textContent")
