"""The files of a report: whole, self-contained, harmless, and the same each time."""

import gc
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nas.report.command import main
from nas.report.document import Document, Items, Section, Text
from nas.report.html import html
from nas.study.study import open_study
from tests.report.made_up import BROKEN, HOSTILE, make

VOID = {"meta", "img", "br", "hr", "path", "use", "rect", "circle", "image", "wbr"}


class Page(HTMLParser):
    """What a browser would see: text, tags and attributes; every tag must be closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make(folder)
    make(folder, "chance", "random")
    gc.collect()  # a study that is still open keeps a file in which SQLite notes its readers
    assert main([str(folder / "studies" / "known"), "--tracking-uri", "off"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    made = Page()
    made.feed(written(root, "report.html"))
    return made


def written(root: Path, name: str) -> str:
    return (root / "studies" / "known" / "report" / name).read_text(encoding="utf-8")


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids), "pictures do not meet each other's names"
    linked = {v[1:] for name, v in page.attributes if name == "href" and v.startswith("#")}
    assert linked <= set(ids)


def test_the_page_needs_nothing_else(root: Path, page: Page) -> None:
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    sources = [v for n, v in page.attributes if n in ("src", "href", "srcset", "data", "action")]
    assert all(value.startswith(("#", "data:image/svg+xml;base64,")) for value in sources)
    text = written(root, "report.html").replace("https://example.com/a.png", "")
    assert not re.search(r"https?:|//\w+\.\w|@import|url\((?!#)", text)


def test_what_a_study_holds_is_text(root: Path, page: Page) -> None:
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    everything = "".join(page.text)
    assert HOSTILE in everything
    assert BROKEN in everything
    lines = written(root, "report.md").splitlines()
    fenced, loose = False, []
    for line in lines:
        if re.match("`{3,}", line):
            fenced = not fenced
        elif not fenced:
            loose.append(line)
    assert not fenced
    assert not re.search(r"<(script|img|/pre)", "\n".join(loose))
    rows = [line for line in loose if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    separators = [i for i, row in enumerate(rows) if set(row) <= set("|-: ")]
    for first, last in zip(separators, [*separators[1:], len(rows) + 1], strict=True):
        assert set(widths[first - 1 : last - 1]) == {widths[first]}, rows[first - 1]


def test_text_in_drawings_stays_text(page: Page) -> None:
    assert {"best score so far", "parameters of the largest model"} <= set(page.text)


def test_flags_in_sentences_are_not_broken_behind_a_hyphen() -> None:
    text = Text("Longer (--tasks.text.epochs 24), under a --study <name>.")
    page = html(Document("A", "b", (Section("C", (text, Items((text.text,)))),)))
    flag = '<span class="flag">{}</span>'.format
    said = f"Longer ({flag('--tasks.text.epochs')} 24), under a {flag('--study')} &lt;name&gt;."
    assert page.count(said) == 2


def test_every_picture_is_there(root: Path) -> None:
    named = set(re.findall(r"!\[\w+\]\(([^)]+)\)", written(root, "report.md")))
    folder = root / "studies" / "known" / "report"
    files = {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    drawn = {name.removesuffix(".png") for name in named if name.endswith(".png")}
    assert files == named | {f"{name}.{kind}" for name in drawn for kind in ("svg", "pdf")}
    for name in drawn:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        ElementTree.parse(folder / f"{name}.svg")
    assert "figures/best_so_far.png" in named


def test_the_same_study_gives_the_same_bytes_and_is_not_touched(root: Path) -> None:
    study = root / "studies" / "known"
    files = sorted(path for path in study.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    stale = study / "report" / "figures" / "cell_stale.svg"
    stale.write_text("<svg/>")
    assert main([str(study), "--tracking-uri", "off"]) == 0
    assert not stale.exists()
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.usefixtures("undrawn")
def test_the_random_arm_is_drawn_or_missed(root: Path, tmp_path: Path) -> None:
    assert "The random arm is missing" in written(root, "report.html")
    study, other = (str(root / "studies" / name) for name in ("known", "chance"))
    out = str(tmp_path / "out")
    assert main([study, "--against", other, "--out", out, "--tracking-uri", "off"]) == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The random arm is missing" not in text
    assert "chance (random)" in text
    assert "One search an arm shows no difference between samplers" in text


def test_nothing_claims_more_than_a_search_can(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert "A search result is not yet a comparison" in text
    assert "none of them claims that one cell is better than another" in text
    assert "significant" not in text


@pytest.mark.usefixtures("undrawn")
def test_a_study_without_a_winner_has_a_report(tmp_path: Path) -> None:
    from nas.protocol.judgement import Judgement
    from nas.zoo import ZOO
    from tests.report.made_up import CONFIG, outcome, visit

    folder = tmp_path / "poor"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG.format(name="poor", sampler="tpe"))
    study = open_study("poor", folder, "", {})
    low = {"memorization": [outcome(0.4)]}
    visit(study, ZOO["rnn"], low, Judgement("memorization", {"memorization": 0.4}))
    assert main([str(folder), "--tracking-uri", "off"]) == 0
    text = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "No candidate was scored, so none beat the GRU" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["knwn"], 'no study "knwn". Did you mean "known"?'),
        (["known", "--against", "chnce"], 'no study "chnce". Did you mean "chance"?'),
        (["empty"], "study empty has no judged cell yet, so there is nothing to report."),
        (["known", "--tracking-uri", "sqlite://x"], "tracking_uri is sqlite:///PATH"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_one_sentence(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(root)
    folder = root / "studies" / "empty"
    if not folder.exists():
        folder.mkdir()
        (folder / "config.yaml").write_text("study: empty\n")
        open_study("empty", folder, "", {})
    (root / "file").touch()
    extra = [] if "--tracking-uri" in arguments else ["--tracking-uri", "off"]
    assert main([*arguments, *extra]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_is_drawn_for_a_folder_that_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr("nas.report.write.document", lambda *_: pytest.fail("it was made"))
    (root / "file").touch()
    assert main(["known", "--out", "file", "--tracking-uri", "off"]) == 2
    error = capsys.readouterr().err
    assert error == "nas.report: report file cannot be written: Not a directory.\n"
