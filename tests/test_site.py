"""The site is built from what is in the repository, and nothing in it comes from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from nas.cell.latex import equations
from nas.cell.mathml import mathml
from nas.zoo import ZOO
from tests.processes import on_one_core
from tests.studies import ROOT

# Building the site runs the tutorials, some minutes of work.
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(
        build,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
        preexec_fn=on_one_core,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_each_tutorial_was_run(site: Path) -> None:
    names = [path.stem for path in (ROOT / "docs" / "tutorials").glob("*.py")]
    assert len(names) == 5
    for name in names:
        page = (site / "tutorials" / name / "index.html").read_text(encoding="utf-8")
        assert page.count("jp-OutputArea-output") >= 3, name


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]* src=[\"']?(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]*stylesheet[^>]* href=[\"']?(?:https?:)?//", text), page


class Links(HTMLParser):
    """The links of a page, and the places in it that a link can name."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page) for page in site.rglob("*.html")}
    broken = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            places = pages[target].places if target in pages else {parts.fragment}
            if not target.is_file() or unquote(parts.fragment) not in places:
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_pages_from_beside_the_code_are_there(site: Path) -> None:
    assert "search for recurrent cells" in (site / "index.html").read_text(encoding="utf-8")
    for folder in sorted((ROOT / "experiments").iterdir()):
        assert (site / "experiments" / folder.name / "index.html").is_file(), folder
        for picture in folder.glob("*.png"):
            page = (site / "experiments" / folder.name / "index.html").read_text(encoding="utf-8")
            if f'src="{picture.name}"' in page:
                assert (site / "experiments" / folder.name / picture.name).is_file(), picture
    assert (site / "nas/compile/index.html").is_file()


def test_the_gallery_has_equations_and_walks(site: Path) -> None:
    page = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    assert "```" not in page
    for name, cell in ZOO.items():
        assert f'href="../walk/{name}.html"' in page
        assert (site / "walk" / f"{name}.html").read_text(encoding="utf-8") == cell.walk()
    for line in equations(ZOO["gru"]):
        assert mathml(str(line)) in page
