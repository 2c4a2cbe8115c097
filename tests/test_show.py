"""`python -m nas.show`: what it says is right, what it writes is there, errors are one sentence."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from nas.cell import Cell, loads
from nas.cell.count import formula
from nas.cell.mutation.draft import n_operations
from nas.show import GALLERY_HEAD, gallery_section, main
from nas.zoo import ZOO
from tests.cell.test_draw import STRANGE
from tests.shares import every_eighth
from tests.studies import ROOT

PAGE = ROOT / "docs" / "gallery.md"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_what_it_says_of_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "mut3", "--input-size", "32") == [
        f"mut3 (key {ZOO['mut3'].key})",
        "MUT3 of Jozefowicz et al. 2015: the update gate reads tanh(h).",
        "",
        "def mut3(x, h):",
        "    z = sigmoid(linear(x, tanh(h)))",
        "    r = sigmoid(linear(x, h))",
        "    return tanh(linear(r * h, x)) * z + h * (1 - z)",
        "",
        "states: 1 (h)",
        "in code: y, h = rnn(x), as torch.nn.GRU: its state h is a tensor",
        "parameters: 3 D H + 3 H² + 3 H = 18,624 for D = 32 and H = 64",
        "a step: 39,744 FLOPs, 2 stages of matrix products, one after the other",
        "known: it is mut3; the nearest other is gru_chung: update gate reads tanh(h)",
        "--out FOLDER writes its picture and its equations as LaTeX.",
    ]


def test_the_stages_of_known_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("products wait for no other" in line for line in said(capsys, "lstm"))
    assert any("no matrix product reads a state" in line for line in said(capsys, "mingru"))


def test_files_are_written_for_a_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    winner = tmp_path / "winner"
    winner.mkdir()
    (winner / "cell.cell").write_text(str(ZOO["gru"]).replace("def gru", "def mine"))
    out = tmp_path / "shown" / "here"
    lines = said(capsys, str(winner), "--out", str(out))
    assert lines[0].startswith("mine (key ")
    assert any(line.startswith("known: it is gru; the nearest other is") for line in lines)
    assert lines[-1] == f"written: {out / 'cell.svg'}, {out / 'cell.tex'}, {out / 'cell.png'}"
    assert ET.parse(out / "cell.svg").getroot()[0].text == "mine"
    assert (out / "cell.tex").read_text() == ZOO["gru"].latex()
    assert (out / "cell.png").read_bytes().startswith(b"\x89PNG")


def test_a_walk_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pages" / "walk.html"
    assert said(capsys, "gru", "--walk", str(out)) == [f"written: {out}"]
    assert out.read_text(encoding="utf-8") == ZOO["gru"].walk()


def test_a_walk_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "gru", "--walk") == ["written: gru_walk.html"]
    assert (tmp_path / "gru_walk.html").is_file()


def test_the_speed_is_against_torch(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--hidden-size", "8", "--input-size", "8")
    lines = said(capsys, "gru_v1", "--speed", *sizes)
    [line] = [line for line in lines if line.startswith("speed: ")]
    number = r"[\d.]+"
    for module in ("nn.GRU", "nn.LSTM"):
        assert re.search(rf"{number} times {module}'s \({number} to {number}\)", line)
    assert "width 8" in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lstn"], 'no cell "lstn". Did you mean "lstm"?'),
        (["mut1", "--input-size", "3"], "input_size must equal hidden_size, got 3 and 64"),
        (["gru", "--hidden-size", "0"], "hidden_size must be a positive whole number, got 0."),
        (["gru", "--out", "{file}"], "cannot be written: File exists."),
        (["gru", "--walk", "{file}/b/a.html"], "a.html cannot be written: Not a directory."),
        (["--gallery", "{file}/folder"], "cannot be written: Not a directory."),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert main([one.format(file=file) for one in arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.startswith("nas.show: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["gru", "--gallery", "there"]])
def test_it_takes_a_cell_or_writes_the_gallery(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "give either a CELL or --gallery FOLDER" in capsys.readouterr().err


# --- the formula ---


def value(text: str, d: int, h: int) -> float:
    products = (term.replace("²", "**2").split(" ") for term in text.split(" + "))
    terms = ["*".join(f"({factor})" for factor in product) for product in products]
    return float(eval(" + ".join(terms), {"D": d, "H": h}))


@pytest.mark.parametrize("cell", [*ZOO.values(), loads(STRANGE)], ids=lambda cell: cell.name)
def test_the_formula_counts_parameters(cell: Cell) -> None:
    for d, h in ((4, 4), (20, 8), (12, 100), (64, 64)):
        if cell.needs_equal_widths:
            d = h
        assert value(formula(cell), d, h) == cell.n_params(d, h)


def test_a_formula_of_every_power() -> None:
    text = "def one(x, h):\n    u = linear(linear(x, width=input), width=input)\n"
    text += (
        "    return linear(u, h, masked(h, blocks=2)) + scalar() * block_diagonal(h, blocks=3)\n"
    )
    found = formula(loads(text))
    assert found == "2 D² + D H + 37/12 H² + 2 D + H + 1"
    assert value(found, 5, 12) == loads(text).n_params(5, 12)


# --- the gallery ---


def test_the_gallery_has_a_picture_of_each_cell() -> None:
    assert {path.stem for path in PAGE.with_suffix("").iterdir()} == set(ZOO)


@pytest.mark.parametrize("name", every_eighth(ZOO))
def test_the_pictures_of_the_gallery_are_up_to_date(name: str) -> None:
    """If not: python -m nas.show --gallery docs/gallery"""
    path = PAGE.with_suffix("") / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == ZOO[name].svg()
    assert path.stat().st_size < 2_000 + 1_000 * n_operations(ZOO[name])


@pytest.mark.parametrize("name", every_eighth(ZOO))
def test_the_page_of_the_gallery_is_up_to_date(name: str) -> None:
    """If not: python -m nas.show --gallery docs/gallery"""
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(GALLERY_HEAD)
    assert "".join(f"\n{part}\n" for part in gallery_section(name, "gallery")) in text


def test_the_page_of_the_gallery_shows_every_cell() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "operatorname" not in text, "GitHub does not draw it"
    assert text.count("```math\n\\begin{aligned}\n") == len(ZOO)
    assert r"f_t &= \sigma(W_{xf} x_t + W_{hf} h_{t-1} + b_f) \\" in text
    for name, cell in ZOO.items():
        assert f"\n## {name}\n" in text
        assert (PAGE.parent / f"gallery/{name}.svg").is_file()
        assert f"![{name}](gallery/{name}.svg)" in text
        assert f"| {formula(cell)} | {cell.flops(64, 64):,.0f} |" in text
