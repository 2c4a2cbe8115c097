"""Names that C takes."""

import re

KEYWORDS = (
    *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
    *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
    *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef"),
    *("union", "unsigned", "void", "volatile", "while", "main", "asm", "NULL", "INT_MAX"),
    *("int8_t", "int16_t", "int32_t", "int64_t", "uint32_t"),
)
"""Words that name something else in a file of C."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def is_identifier(name: str) -> bool:
    """Whether C takes a name for a function of one's own."""
    return bool(NAME.fullmatch(name)) and name not in KEYWORDS


def identifier(name: str) -> str:
    """A name of a cell, which Python takes, as one that C takes."""
    text = "".join(c if c.isascii() else f"u{ord(c):x}" for c in name)
    return text if text and (text[0].isalpha() or text[0] == "_") else f"v{text}"
