"""The tables of a document in LaTeX, for a paper: booktabs, a caption and a label each.

Long texts are broken into lines, and a table that is still wider than the page is made smaller.
"""

import re
from collections import Counter
from collections.abc import Sequence

from nas.report.document import Document, Table

HEAD = "% Needs \\usepackage{array,booktabs,graphicx} and \\usepackage[utf8]{inputenc}."
PAGE = 72
"""Letters of a line of the page, about."""
SHORT = 12
"""Letters that are not broken into lines."""
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": r"$-$",
    "∞": r"$\infty$",
    "…": r"\dots{}",
}
"""What is not plain text in LaTeX."""


def latex(document: Document) -> str:
    """All tables of a document, in order; empty tables are left out. Labels are their sections."""
    written: list[str] = []
    counts: Counter[str] = Counter()
    for section in document.sections:
        for part in section.parts:
            if isinstance(part, Table) and part.rows:
                counts[section.anchor] += 1
                number = counts[section.anchor]
                label = f"tab:{section.anchor}{f'-{number}' if number > 1 else ''}"
                written.append(_table(part, part.caption or section.title, label))
    return "\n\n".join([HEAD, *written]) + "\n"


def _table(table: Table, caption: str, label: str) -> str:
    columns = "".join(_columns(table))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{{label}}}",
            FITTED,
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row(table.head),
            r"\midrule",
            *map(_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _columns(table: Table) -> list[str]:
    """How each column is set: numbers to the right; texts in lines, if the page is too narrow."""
    lengths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    columns = list(zip(lengths, table.is_numeric, strict=True))
    broken = [length for length, is_numeric in columns if length > SHORT and not is_numeric]
    room = PAGE - sum(lengths) - 2 * len(lengths)
    if room >= 0 or not broken:
        return ["r" if is_numeric else "l" for _, is_numeric in columns]
    share = max(room + sum(broken), SHORT * len(broken)) / sum(broken) / PAGE
    return [
        "r" if is_numeric else "l" if length <= SHORT else
        rf">{{\raggedright\arraybackslash}}p{{{length * share:.2f}\linewidth}}"
        for length, is_numeric in columns
    ]  # fmt: skip


def _row(texts: Sequence[str]) -> str:
    # A bracket behind the end of a row would be an argument of the end.
    first = "{}" if texts and texts[0].startswith("[") else ""
    return f"{first}{' & '.join(map(escaped, texts))} \\\\"


def escaped(text: str) -> str:
    """The text on one line, without any meaning to LaTeX."""
    pattern = "|".join(map(re.escape, SPECIAL))
    plain = re.sub(pattern, lambda found: SPECIAL[found[0]], " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", plain)  # two of them would be a dash
