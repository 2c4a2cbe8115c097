"""Tables for a paper: what LaTeX reads is what the table says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nas.report.document import Document, Section, Table
from nas.report.latex import SPECIAL, escaped, latex

BACK = {written: plain for plain, written in SPECIAL.items()}


def read(text: str) -> str:
    """The plain text of what was escaped, as LaTeX would print it."""
    longest_first = sorted(map(re.escape, BACK), key=len, reverse=True)
    plain = re.sub("|".join(longest_first), lambda found: BACK[found[0]], text)
    return re.sub("---?", lambda found: "\N{EN DASH}\N{EM DASH}"[len(found[0]) - 2], plain).replace(
        "-{}", "-"
    )


def test_every_text_is_read_back_and_no_special_character_is_left() -> None:
    hostile = r"a_b --at a---z & 5 % of #1 {x} \input{y} ~^ $1 <b> | [0.1, 0.2] ± 3"
    assert read(escaped(hostile)) == hostile
    bare = re.sub(r"-\{\}|\\[&%$#_{}]|\\text\w+\{\}|\$\\\w+\$|\\dots\{\}", "", escaped(hostile))
    assert not re.search(r"[&%#$_^~\\{}]", bare)


def test_tables_have_their_rows_columns_and_labels_of_their_own() -> None:
    table = Table("All cells, p_1.", ("cell", "score"), [("gru", "1.000"), ("a & b", "0.5")])
    bracket = Table("", ("of", "tau"), [("[0, 1]", "-")])
    empty = Table("No row.", ("a",), [])
    sections = [Section("Board", (table, empty, bracket)), Section("Other", (table,))]
    text = latex(Document("Study", "", sections))
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == ["tab:board", "tab:board-2", "tab:other"]
    first = text.split(r"\end{table}")[0]
    assert r"\begin{tabular}{lr}" in first
    assert r"\caption{All cells, p\_1.}" in first
    rows = [line for line in first.splitlines() if line.endswith(r"\\")]
    assert rows == [r"cell & score \\", r"gru & 1.000 \\", r"a \& b & 0.5 \\"]
    assert r"{}[0, 1] & - \\" in text  # else the bracket is an argument of the row before


def test_texts_are_broken_into_lines_where_the_page_is_too_narrow() -> None:
    long = "no, the random arm is missing: run one, and then name it"  # 56 letters
    head = ("rule", "found", "n")
    broken = Table("", head, [("a", long, "1"), (long[:28], "b", "2")])
    fits = Table("", head, [("a", long, "1"), ("b", "c", "2")])
    text = latex(Document("Study", "", [Section("Board", (broken, fits))]))
    # 72 letters less a number and 2 for each column leave 65, two thirds of them for the longer
    narrow, wide = (
        rf">{{\raggedright\arraybackslash}}p{{{share}\linewidth}}" for share in ("0.30", "0.60")
    )
    assert rf"\begin{{tabular}}{{{narrow}{wide}r}}" in text
    assert r"\begin{tabular}{llr}" in text


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_no_table_is_wider_than_the_page(tmp_path: Path) -> None:
    names = [f"column {place}" for place in range(14)]
    wide = Table("Many.", names, [[f"{place}.25 [{place}, 9]" for place in range(14)]])
    long = Table("Long.", ("rule", "found"), [("kept", "one word after the other, " * 9)])
    tables = latex(Document("Study", "", [Section("Board", (wide, long))]))
    head = r"\documentclass{article}\usepackage{array,booktabs,graphicx}\usepackage[utf8]{inputenc}"
    (tmp_path / "a.tex").write_text(
        f"{head}\\begin{{document}}\n{tables}\\end{{document}}", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
