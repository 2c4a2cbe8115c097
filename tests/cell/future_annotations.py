"""A cell in a module whose annotations are strings, for test_trace."""

from __future__ import annotations

from nas.cell import Value


def f(x: Value, h: Value, past: "input", s: 1 = 0.5) -> tuple[Value, Value, Value]:  # noqa: UP037
    return h, x, s
