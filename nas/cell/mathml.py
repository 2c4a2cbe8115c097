"""Equations as MathML, which browsers draw by themselves: no script, no font, no network."""

import re
from collections.abc import Iterator

WIDE = 24
"""Signs of an equation beyond which it may be broken at a plus or a minus."""
COMMAND = re.compile(r"\\[A-Za-z]+|[{}_^\s&]")


def mathml(equation: str) -> str:
    """One equation in LaTeX as HTML: pieces of MathML, between which a narrow page may break it."""
    from latex2mathml.converter import convert

    pieces = list(_pieces(equation.replace("&", "")))
    # An empty group in front makes a sign stand between two terms, not before one.
    shown = [convert(piece if not k else "{}" + piece) for k, piece in enumerate(pieces)]
    return f'<span class="equation">{" ".join(shown)}</span>'


def mathml_lines(latex: str) -> str:
    """An `align` or `aligned` environment as HTML, a line for each of its lines."""
    lines = re.sub(r"\\(begin|end)\{align(ed)?\}", "", latex).split(r" \\")
    return "\n".join(f"<div>{mathml(line.strip())}</div>" for line in lines)


def _pieces(equation: str) -> Iterator[str]:
    """An equation, broken where a sign stands outside of braces, in pieces that are not short."""
    piece, depth = "", 0
    for token in re.split(r"(\\left.|\\right.|\\frac|[{}]| [+-] )", equation):
        depth += {"{": 1, "}": -1}.get(token, 0) + token.startswith(r"\left")
        depth -= token.startswith(r"\right")
        if token in (" + ", " - ") and not depth and len(COMMAND.sub("", piece)) > WIDE:
            yield piece
            piece = ""
        piece += token
    yield piece
