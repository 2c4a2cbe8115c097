"""Where MLflow keeps runs and registered models: tracking URIs, client, files by name."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock

from nas.errors import UserError, hidden

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.tracking import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check_tracking_uri(uri: str) -> None:
    """Refuse a tracking URI that MLflow cannot use, without importing it; empty is the default.

    Raises:
        UserError: with what to use instead.
    """
    if not uri:
        return
    scheme = re.match(r"([a-z0-9]+)(\+\w+)?://.", uri)
    if scheme and scheme[1] in ("http", "https", "databricks") and not scheme[2]:
        return
    if uri == "databricks" or (scheme and scheme[1] in DATABASES[1:]):
        return
    if scheme and scheme[1] == "sqlite" and re.match(r"[^:]+:///[^:?]", uri):
        return
    if scheme and scheme[1] == "sqlite":
        raise UserError(f'tracking_uri is sqlite:///PATH, got "{uri}".')
    if uri.startswith("file:") or ("://" not in uri and not re.fullmatch(r"\w+:.*", uri)):
        raise UserError(
            f"tracking_uri {hidden(uri)} is a file store, which MLflow 3 no longer accepts: use "
            f"{DEFAULT_URI}, or the URL of a server."
        )
    raise UserError(
        f"tracking_uri {hidden(uri)} is none that MLflow knows: use {DEFAULT_URI}, "
        "postgresql://…, mysql://…, mssql://…, http://…, https://… or databricks."
    )


@dataclass(frozen=True)
class Place:
    """Where a record is kept."""

    uri: str
    artifacts: str | None = None
    """Where artifacts go; None: where the server says."""
    database: Path | None = None
    """The SQLite file."""


def place(uri: str, directory: Path) -> Place:
    """Resolve a tracking URI, empty for the default; relative paths are inside `directory`.

    Artifacts of a database go to mlartifacts beside it. MLflow's own default, mlruns, would be
    taken for a file store if it ever held one.
    """
    uri = uri or DEFAULT_URI
    scheme = uri.split(":", 1)[0]
    root = directory.absolute()
    if scheme.split("+", 1)[0] not in DATABASES:
        return Place(uri)
    if not scheme.startswith("sqlite"):
        return Place(uri, (root / "mlartifacts").as_uri())
    path, mark, query = uri.split("///", 1)[1].partition("?")
    database = root / unquote(path)
    # SQLAlchemy unquotes the path, MLflow does not: quote only what must be.
    quoted = database.as_posix().replace("%", "%25").replace("?", "%3F")
    artifacts = (database.parent / "mlartifacts").as_uri()
    return Place(f"{scheme}:///{quoted}{mark}{query}", artifacts, database)


QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would try for minutes; the recorder itself tries again.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Environment variables of MLflow, set where the user has not."""


@contextmanager
def initialising(database: Path | None) -> Iterator[None]:
    """Hold a fresh SQLite database while its tables are made: two processes would break it."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=60):
        yield


FOLDER = "model"
"""Of a model's files among the artifacts of its run."""


DATA = f"{FOLDER}/data/cell"
"""Of the weights and the cell, which MLflow puts among a model's files."""


def fetch(source: str, folder: Path, only: str = "", uri: str = "") -> Path:
    """Copy the files of a model or run of MLflow to `folder`; returns where they lie together.

    `source` is `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID`; with `only`, the file
    of that name. MLflow is where MLFLOW_TRACKING_URI says, else in the working directory.

    Raises:
        UserError: if there is no such thing, or no such file in it.
    """
    where = current_place(uri)
    if where.database is not None and not where.database.exists():
        raise UserError(
            f"{source}: there is no MLflow database {where.database}; MLFLOW_TRACKING_URI names "
            "another."
        )
    with open_client(where) as client:
        run_id = _run_of(source, client)
        for parent in ("", DATA):
            paths = [a.path for a in client.list_artifacts(run_id, parent) if not a.is_dir]
            wanted = [
                path
                for path in paths
                if (Path(path).name == only if only else path.endswith(".safetensors"))
            ]
            for path in wanted:
                copied = Path(client.download_artifacts(run_id, path, str(folder)))
            if wanted:
                return copied.parent
    what = only or "weights: a search records cells, and leaves weights in studies/NAME/winner"
    raise UserError(f"{source} has no {what}.")


def _run_of(source: str, client: "MlflowClient") -> str:
    if found := re.fullmatch(r"runs:/(\w+)", source):
        return str(client.get_run(found[1]).info.run_id)
    if found := re.fullmatch(r"models:/([^/@]+)@([^/@]+)", source):
        version = client.get_model_version_by_alias(found[1], found[2])
    elif found := re.fullmatch(r"models:/([^/@]+)/(\d+)", source):
        version = client.get_model_version(found[1], found[2])
    else:
        raise UserError(
            "a cell of MLflow is models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID, "
            f'got "{source}".'
        )
    if not version.run_id:
        raise UserError(f"{source} was not registered by nas: it has no run.")
    return str(version.run_id)


def current_place(uri: str) -> Place:
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    check_tracking_uri(uri)
    return place(uri, Path.cwd())


@contextmanager
def open_client(where: Place) -> "Iterator[MlflowClient]":
    """MLflow's client, quiet; whatever MLflow refuses inside the block is one sentence.

    Raises:
        UserError: with MLflow's reason.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    # The tables of a fresh database are no news.
    for name, level in (("mlflow", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    try:
        with initialising(where.database):
            client = MlflowClient(tracking_uri=where.uri, registry_uri=where.uri)
            client.search_experiments(max_results=1)
        yield client
    except MlflowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"MLflow at {hidden(where.uri)}: {hidden(reason)}.") from None
