"""How MLflow's page lists a study's cells: best first, with the columns that people compare.

MLflow itself begins with the runs that were written last and shows no metric. It keeps a view as
JSON in a tag of the experiment, as its own "Share" button does, and opens it by an address.
"""

import json
from collections.abc import Sequence

from nas.record.entry import legal

VIEW = "cells-by-score"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"


def view(tasks: Sequence[str]) -> str:
    """The value of `VIEW_TAG`; `tasks` are those of the score."""
    names = ["score", *(legal(f"ratio.{task}") for task in tasks), "n_params"]
    columns = [f"metrics.`{name}`" for name in names]
    columns += [f"tags.`nas.{name}`" for name in ("family", "stage")]
    return json.dumps(
        {
            "orderByKey": columns[0],
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": columns,
        }
    )


def link(experiment_id: str) -> str:
    """The address of the view, in Markdown."""
    # MLflow 3.17 begins with the side of its page that is for language models' traces.
    address = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"[Its cells by score]({address}&viewStateShareKey={VIEW})"
