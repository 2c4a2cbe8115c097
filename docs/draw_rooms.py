"""Draw docs/rooms.svg, the picture of docs/architecture.md: `python docs/draw_rooms.py`.

A new room is one entry of SHELVES; a new way for data is one row of FLOW. The picture and the code
are compared by tests/test_architecture.py.
"""

from html import escape
from pathlib import Path

SHELVES: tuple[tuple[str, dict[str, float]], ...] = (
    (
        "commands",
        {
            "search": 0,
            "compare": 1,
            "curves": 2,
            "replay": 3,
            "status": 4,
            "show": 5,
            "bench": 6,
        },
    ),
    ("the loop, files", {"session": 3, "export": 7}),
    ("results", {"study": 4.8, "record": 5.9, "report": 7}),
    (
        "drawing, judging, running",
        {"samplers": 0, "spaces": 1.7, "protocol": 2.9, "workers": 4.1, "training": 6.2},
    ),
    ("models", {"compile": 4.1, "nn": 5.6}),
    ("data", {"cell": 1.7, "zoo": 2.9, "tasks": 7}),
    ("base", {"errors": 0, "resources": 1.7, "command_line": 2.9}),
)
"""Rooms with their columns, from the top shelf to the bottom one; imports run downward or within a
shelf."""

ASIDE = ("serving", "testing", "doctor")
"""Rooms beside the way of the data: MLflow's loader, checks for extensions and of the machine."""

FLOW: tuple[tuple[str, str, str], ...] = (
    ("search", "session", "Plan"),
    ("session", "samplers", "trial n"),
    ("samplers", "spaces", "suggestions"),
    ("spaces", "cell", "Cell"),
    ("session", "protocol", "outcomes → Evaluation"),
    ("session", "workers", "Evaluation"),
    ("workers", "training", "Evaluation → outcomes"),
    ("training", "nn", "model"),
    ("nn", "compile", "layer"),
    ("compile", "cell", "graph"),
    ("training", "tasks", "windows"),
    ("session", "study", "outcomes, score"),
    ("session", "record", "judged cells"),
    ("session", "report", "facts"),
)
"""Data that go from one room to another; `a → b` is what goes and what comes back."""

WIDTH, LEFT, COLUMN, SHELF, BOX = 1140, 170, 119, 104, (104, 34)


def centres() -> dict[str, tuple[float, float]]:
    """The middle of each room's box."""
    places = {}
    for row, (_, rooms) in enumerate(SHELVES):
        for room, column in rooms.items():
            places[room] = (LEFT + COLUMN * (column + 0.5), 50 + SHELF * row)
    return places


def drawing() -> str:
    """The picture as SVG."""
    places = centres()
    height = SHELF * len(SHELVES)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#36c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for row, (name, _) in enumerate(SHELVES):
        y = 50 + SHELF * row
        parts.append(
            f'<rect x="8" y="{y - 32}" width="{WIDTH - 16}" height="64" rx="6" fill="#f4f4f0"/>'
        )
        parts.append(f'<text x="18" y="{y + 4}" fill="#666">{escape(name)}</text>')
    parts += [arrow(places[a], places[b], label) for a, b, label in FLOW]
    for room, (x, y) in places.items():
        parts.append(
            f'<rect x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" '
            f'height="{BOX[1]}" rx="4" fill="white" stroke="#333"/>'
        )
        parts.append(f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{room}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def arrow(start: tuple[float, float], end: tuple[float, float], label: str) -> str:
    """A line between two boxes, from edge to edge, with its label."""
    (x1, y1), (x2, y2) = start, end
    half = BOX[1] / 2
    if y1 == y2:
        side = 1 if x2 > x1 else -1
        x1, x2 = x1 + side * BOX[0] / 2, x2 - side * BOX[0] / 2
    else:
        down = 1 if y2 > y1 else -1
        y1, y2 = y1 + down * half, y2 - down * half
    bend = (y2 - y1) / 2
    path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    x, y = (x1 + x2) / 2, y1 - 6
    if y1 != y2:  # the point of the curve at 0.7, where arrows from one box are apart
        x, y = x1 + 0.784 * (x2 - x1), y1 + 0.658 * (y2 - y1)
    return (
        f'<path d="{path}" fill="none" stroke="#36c" marker-end="url(#tip)"/>'
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="11" fill="#247" text-anchor="middle" '
        f'paint-order="stroke" stroke="white" stroke-width="3">{escape(label)}</text>'
    )


if __name__ == "__main__":
    Path(__file__).with_name("rooms.svg").write_text(drawing(), encoding="utf-8")
