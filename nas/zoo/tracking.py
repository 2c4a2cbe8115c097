"""Access to MLflow, which keeps runs and registered models: tracking URIs, client, files."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock

from nas.errors import UserError, hidden

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.tracking import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
ENVIRONMENT = "MLFLOW_TRACKING_URI"
"""The environment variable that names MLflow's place where no command or configuration does."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check_tracking_uri(uri: str) -> None:
    """Refuse a tracking URI that MLflow cannot use, without importing MLflow; empty is the default.

    Raises:
        UserError: with what to use instead.
    """
    match = re.match(r"([a-z0-9]+)(\+\w+)?://.", uri)
    scheme, driver = (match[1], match[2]) if match else ("", None)
    if uri in ("", "databricks") or scheme in DATABASES[1:]:
        return
    if scheme in ("http", "https", "databricks") and not driver:
        return
    if scheme == "sqlite":
        if re.match(r"[^:]+:///[^:?]", uri):
            return
        raise UserError(f'tracking_uri is sqlite:///PATH, got "{uri}".')
    if uri.startswith("file:") or ("://" not in uri and not re.fullmatch(r"\w+:.*", uri)):
        raise UserError(
            f"tracking_uri {hidden(uri)} is a file store, which MLflow 3 no longer accepts: use "
            f"{DEFAULT_URI}, or the URL of a server."
        )
    raise UserError(
        f"tracking_uri {hidden(uri)} is not a URI that MLflow knows: use {DEFAULT_URI}, "
        "postgresql://…, mysql://…, mssql://…, http://…, https://… or databricks."
    )


@dataclass(frozen=True)
class Place:
    """The place of a record."""

    uri: str
    artifacts: str | None = None
    """URI of the artifacts; None if the server decides."""
    database: Path | None = None
    """The SQLite file, if it is one."""


def effective_uri(uri: str) -> str:
    """Return the tracking URI; for an empty one MLFLOW_TRACKING_URI's, and without it the default.

    Raises:
        UserError: if MLflow cannot use what the environment says.
    """
    if uri or not (named := os.environ.get(ENVIRONMENT, "")):
        return uri or DEFAULT_URI
    try:
        check_tracking_uri(named)
    except UserError as error:
        raise UserError(f"environment variable {ENVIRONMENT}: {error}") from None
    return named


def place(uri: str, directory: Path) -> Place:
    """Resolve a tracking URI; relative paths are inside `directory`.

    An empty one is that of MLFLOW_TRACKING_URI, and without it a database in `directory`.
    Artifacts of a database go to mlartifacts beside it: MLflow would take its own default, mlruns,
    for a file store if it ever held one.
    """
    uri = effective_uri(uri)
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
LEVELS = {"mlflow": logging.WARNING, "mlflow.store": logging.CRITICAL, "alembic": logging.CRITICAL}
"""Levels of logs: MLflow and alembic would log each table of a fresh database, and a dead database
would be ten warnings with tracebacks."""
_LOCK = threading.Lock()
_INSIDE: list[ExitStack] = []
"""An entry for each block of `quiet` that runs; the first of them undoes what they share."""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block MLflow says little and gives up soon; then it is again as its user set it.

    Blocks may overlap, in threads too: the last one to end restores the process.
    """
    with _LOCK:
        _INSIDE.append(_INSIDE[0] if _INSIDE else _silence())
    try:
        yield
    finally:
        with _LOCK:
            undo = _INSIDE.pop()
            if not _INSIDE:
                undo.close()


def _silence() -> ExitStack:
    """Set `QUIET` and `LEVELS`; closing the result restores what was before."""
    undo = ExitStack()
    for name, value in QUIET.items():
        if name not in os.environ:
            os.environ[name] = value
            undo.callback(os.environ.pop, name, None)
    import mlflow.tracking  # noqa: F401  it sets levels of its own when it is imported

    for name, level in LEVELS.items():
        log = logging.getLogger(name)
        undo.callback(log.setLevel, log.level)
        log.setLevel(level)
    return undo


@contextmanager
def initialising(database: Path | None) -> Iterator[None]:
    """Lock a SQLite database while MLflow makes its tables, which two processes would break."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=60):
        yield


FOLDER = "model"
"""The folder of a model's files among the artifacts of its run."""
DATA = f"{FOLDER}/data/cell"
"""The folder of the weights and the cell among a model's files."""


def fetch(source: str, folder: Path, only: str = "", uri: str = "") -> Path:
    """Copy the weights of a model or run of MLflow into `folder`, and return their own folder.

    `source` is `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID`. With `only`, copy the
    file of that name instead. An empty `uri` means MLFLOW_TRACKING_URI, else a database in the
    working directory.

    Raises:
        UserError: if MLflow has no such model or run, or it has no such file.
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
    if run := re.fullmatch(r"runs:/(\w+)", source):
        return str(client.get_run(run[1]).info.run_id)
    if alias := re.fullmatch(r"models:/([^/@]+)@([^/@]+)", source):
        version = client.get_model_version_by_alias(alias[1], alias[2])
    elif number := re.fullmatch(r"models:/([^/@]+)/(\d+)", source):
        version = client.get_model_version(number[1], number[2])
    else:
        raise UserError(
            "a cell of MLflow is models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID, "
            f'got "{source}".'
        )
    if not version.run_id:
        raise UserError(f"{source} was not registered by nas: it has no run.")
    return str(version.run_id)


def current_place(uri: str) -> Place:
    """The place of a tracking URI in the working directory, as `place` resolves it.

    Raises:
        UserError: if MLflow cannot use it.
    """
    check_tracking_uri(uri)
    return place(uri, Path.cwd())


@contextmanager
def open_client(where: Place) -> "Iterator[MlflowClient]":
    """MLflow's client without its log; an error of MLflow inside the block becomes one sentence.

    Raises:
        UserError: with MLflow's reason.
    """
    with quiet():
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            with initialising(where.database):
                client = MlflowClient(tracking_uri=where.uri, registry_uri=where.uri)
                client.search_experiments(max_results=1)
            yield client
        except MlflowException as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"MLflow at {hidden(where.uri)}: {hidden(reason)}.") from None
