"""`nas.cell(...)` finds a cell by whatever names it, and says what is wrong with the name."""

import json
from pathlib import Path

import pytest

import nas
from nas.cell import loads, to_json
from nas.errors import CellError

GRU = nas.zoo["gru"]
TEXT = str(GRU)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_cell_is_itself():
    assert nas.cell(GRU) is GRU


@pytest.mark.parametrize("name", nas.zoo)
def test_a_name_of_the_zoo(name):
    assert nas.cell(name) is nas.zoo[name]


@pytest.mark.parametrize("text", [TEXT, "\n    " + TEXT.replace("\n", "\n    "), " " + TEXT])
def test_equations(text):
    if text.startswith(" "):
        text = text.replace("\n", "\n ")
    assert nas.cell(text) == GRU


def test_equations_on_one_line():
    assert nas.cell("def f(x, h): return tanh(h)") == nas.cell("def f(x, h):\n    return tanh(h)\n")


def test_a_cell_file(tmp_path):
    path = written(tmp_path / "mine.cell", TEXT)
    assert nas.cell(path) == nas.cell(str(path)) == GRU


def test_a_json_file(tmp_path):
    path = written(tmp_path / "mine.json", json.dumps(to_json(GRU)))
    assert nas.cell(path) == GRU


def test_a_file_with_another_ending_holds_equations(tmp_path):
    assert nas.cell(written(tmp_path / "mine.txt", TEXT)) == GRU


@pytest.mark.parametrize("name", ["mine.cell", "mine.json", "mine.txt", "enas.json", "enas.txt"])
def test_a_byte_order_mark_is_ignored(name, tmp_path):
    """Some editors begin files with one; in a text that was read as UTF-8 it is a character."""
    text = {"mine.json": json.dumps(to_json(GRU)), "enas.json": '{"enas": [0, 0, 0]}',
            "enas.txt": "enas: 0 0 0"}.get(name, TEXT)  # fmt: skip
    path = tmp_path / name
    path.write_text(text, encoding="utf-8-sig")
    assert nas.cell(path) == nas.cell("\ufeff" + text) == nas.cell(text)
    if text == TEXT:
        assert loads("\ufeff" + text) == GRU


def test_a_folder_stands_for_its_cell(tmp_path):
    written(tmp_path / "winner" / "cell.cell", TEXT)
    assert nas.cell(tmp_path / "winner") == GRU


def test_a_name_of_the_zoo_is_not_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(Path("gru"), str(nas.zoo["lstm"]))
    assert nas.cell("gru") == GRU
    assert nas.cell("./gru") == nas.zoo["lstm"]


WRONG_NAMES = {
    "near": ("gruu", 'no cell "gruu". Did you mean "gru"'),
    "far": ("zzzzzzzz", r'no cell "zzzzzzzz"\. Known: .*gru.* A file ends in \.cell or \.json'),
    "empty": ("", 'no cell ""'),
    "long": ("a" * 5000, "no cell"),
    "NUL": ("a\0b", "no cell"),
    "missing file": ("nowhere.cell", "cell file nowhere.cell: No such file or directory"),
    "NUL in a file": ("a\0b.cell", "cell file"),
}


@pytest.mark.parametrize(("name", "message"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_a_wrong_name_is_an_error_that_says_so(name, message):
    with pytest.raises(CellError, match=message):
        nas.cell(name)


WRONG_FILES = {
    "empty": ("mine.cell", b"", "mine.cell: cell text: write one function"),
    "wrong line": ("mine.cell", b"def f(x, h):\n    return g", 'mine.cell: .* undefined name "g"'),
    "bytes": ("mine.cell", b"\xff\xfe\x00", "mine.cell: not UTF-8 text"),
    "no JSON": ("mine.json", b"{", "mine.json: not JSON"),
    "deep JSON": ("mine.json", b"[" * 100_000, "mine.json: not JSON"),
    "other JSON": ("mine.json", b"[]", 'mine.json: a cell in JSON has "format"'),
}


@pytest.mark.parametrize(("name", "content", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CellError, match=message):
        nas.cell(tmp_path / name)


def test_a_folder_called_like_a_file_is_named(tmp_path):
    (tmp_path / "mine.cell").mkdir()
    with pytest.raises(CellError, match=r"mine.cell: Is a directory"):
        nas.cell(tmp_path / "mine.cell")
