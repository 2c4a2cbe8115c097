"""The tables of a document in LaTeX, for a paper: booktabs, a caption and a label each."""

import re
from collections import Counter
from collections.abc import Sequence

from nas.report.document import Document, Table

HEAD = "% Needs \\usepackage{booktabs} and \\usepackage[utf8]{inputenc}."
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
    columns = "".join("r" if numeric else "l" for numeric in table.is_numeric)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row(table.head),
            r"\midrule",
            *map(_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _row(texts: Sequence[str]) -> str:
    # A bracket behind the end of a row would be an argument of the end.
    first = "{}" if texts and texts[0].startswith("[") else ""
    return f"{first}{' & '.join(map(escaped, texts))} \\\\"


def escaped(text: str) -> str:
    """The text on one line, without any meaning to LaTeX."""
    pattern = "|".join(map(re.escape, SPECIAL))
    return re.sub(pattern, lambda found: SPECIAL[found[0]], " ".join(text.split()))
