"""Where a record is kept: the tracking URIs that are taken, and what each means for files."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from nas.errors import UserError, hidden

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
