"""Tables for a paper: what LaTeX reads is what the table says."""

import re

from nas.report.document import Document, Section, Table
from nas.report.latex import SPECIAL, escaped, latex

BACK = {written: plain for plain, written in SPECIAL.items()}


def read(text: str) -> str:
    """The plain text of what was escaped, as LaTeX would print it."""
    longest_first = sorted(map(re.escape, BACK), key=len, reverse=True)
    return re.sub("|".join(longest_first), lambda found: BACK[found[0]], text)


def test_every_text_is_read_back_and_no_special_character_is_left() -> None:
    hostile = r"a_b & 5 % of #1 {x} \input{y} ~^ $1 <b> | [0.1, 0.2] ± 3"
    assert read(escaped(hostile)) == hostile
    bare = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$\\\w+\$|\\dots\{\}", "", escaped(hostile))
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
