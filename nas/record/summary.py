"""What the record says of a whole study: one run beside those of its cells, updated in place."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.record.entry import Entry, legal
from nas.record.files import as_csv
from nas.study.leaderboard import Row, leaderboard, verdict, winner
from nas.study.visit import Visit

SUMMARY = "summary"
"""Its key and kind, as of no cell."""
MOST_ROWS = 15
"""Of the leaderboard in the note; all of it is in leaderboard.csv."""


def summary(
    study: str,
    visits: Sequence[Visit],
    attrs: Mapping[str, Any],
    tasks: Sequence[str],
    baselines: Sequence[str],
    n_settings: int,
    files: Mapping[str, str | bytes],
) -> Entry:
    """Describe a study; `attrs` are its own, `tasks` those of the score, `baselines` keys.

    `n_settings` is how many settings a task the best cell was tried on; `files` are kept with it.
    """
    rows = leaderboard(visits, baselines)
    best = winner(rows)
    judged = [visit for visit in visits if visit.judgement]
    runs = [one for visit in visits for one in visit.all_summaries()]
    metrics: dict[str, float | None] = {
        "best_score": best.score if best else None,
        "n_candidates": len({visit.key for visit in judged if visit.kind == "drawn"}),
        "n_judged": sum(visit.kind == "drawn" for visit in judged),
        "n_scored": sum(row.kind == "candidate" and not row.rejected for row in rows),
        "n_runs": sum(one.n_runs for one in runs),
        "flops": sum(one.flops for one in runs),
        "seconds": round(sum(one.wall_s for one in runs), 3),
        **{
            f"best.ratio.{legal(task)}": ratio
            for task, ratio in (best.ratios if best else {}).items()
        },
    }
    said = verdict(rows, n_settings)
    definition = attrs.get("definition", {})
    params = {
        name: str(definition[name]) for name in ("space", "sampler", "seed") if name in definition
    }
    tags = {
        "nas.key": SUMMARY,
        "nas.kind": SUMMARY,
        "nas.study": study,
        "nas.session.winner": f"{best.name} (trial {best.visit.number}, key {best.key})"
        if best
        else "",
        "nas.revision": str(attrs.get("provenance", {}).get("revision", "")),
    }
    known = {
        name: value for name, value in metrics.items() if value is not None and math.isfinite(value)
    }
    return Entry(
        SUMMARY,
        study,
        SUMMARY,
        "FINISHED",
        float(metrics["seconds"] or 0),
        tags,
        {name: float(value) for name, value in known.items()},
        {**params, "tasks": ", ".join(tasks)},
        (),
        _note(said, rows, tasks),
        {
            "leaderboard.csv": as_csv([_csv_row(r, i, tasks) for i, r in enumerate(rows, 1)]),
            **files,
        },
        (),
        len(judged),
    )


def _csv_row(row: Row, rank: int, tasks: Sequence[str]) -> dict[str, Any]:
    ratios = {f"ratio {task}": row.ratios.get(task) for task in tasks}
    return {
        "rank": rank,
        "cell": row.name,
        "kind": row.kind,
        "score": row.score,
        **ratios,
        "stage": row.stage,
        "n_params": row.n_params,
        "seconds": round(row.seconds, 3),
        "trial": row.visit.number,
        "key": row.key,
    }


def _note(said: str, rows: Sequence[Row], tasks: Sequence[str]) -> str:
    lines = [
        said,
        "",
        f"| | cell | kind | score | {' | '.join(tasks)} | parameters |",
        f"| {' | '.join(['---'] * (5 + len(tasks)))} |",
    ]
    for rank, row in enumerate(rows[:MOST_ROWS], start=1):
        score = "-" if row.score is None else f"{row.score:.3f}"
        ratios = (f"{row.ratios[task]:.3f}" if task in row.ratios else "-" for task in tasks)
        cells = (str(rank), row.name, row.kind, score, *ratios, f"{row.n_params:,}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Ratios to the GRU, above 1 is better. All cells: leaderboard.csv; more of the "
              "study: report/report.html, under Artifacts."]  # fmt: skip
    return "\n".join(lines)
