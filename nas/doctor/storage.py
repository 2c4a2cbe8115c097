"""Where results are kept: the folder of studies, PostgreSQL, MLflow."""

import importlib.util
import os
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from nas.doctor.finding import Finding
from nas.errors import UserError, hidden
from nas.zoo.tracking import ENVIRONMENT, effective_uri, place

LEAST_FREE = 2**30
ANSWER_S = 5.0
"""Seconds in which a tracking server must answer."""


def check_folder() -> Iterator[Finding]:
    """Whether a SQLite database can be written here, as each search does in studies/."""
    try:
        with tempfile.TemporaryDirectory(dir=".", prefix=".nas-doctor-") as folder:
            with closing(sqlite3.connect(Path(folder) / "study.db")) as database:
                database.execute("CREATE TABLE cells (name TEXT)")
                database.execute("INSERT INTO cells VALUES ('gru')")
                database.commit()
    except (OSError, sqlite3.Error) as error:
        advice = "work in a folder that you may write to, or give --studies and --tracking-uri"
        yield Finding("SQLite", "broken", f"{Path.cwd()}: {error}", advice, needed=True)
        return
    free = shutil.disk_usage(".").free
    detail = f"{Path.cwd()} can be written, {free / 2**30:.1f} GiB are free"
    if free < LEAST_FREE:
        yield Finding("SQLite", "missing", detail, "free some of the disk")
    else:
        yield Finding("SQLite", "there", f"{detail} (sqlite {sqlite3.sqlite_version})")


def check_postgresql() -> Iterator[Finding]:
    """The driver for --storage postgresql://…"""
    if importlib.util.find_spec("psycopg") is not None:
        yield Finding("PostgreSQL", "there", "the driver is installed: --storage postgresql://…")
    else:
        advice = 'pip install "psycopg[binary]>=3.2", for --storage postgresql://…'
        yield Finding("PostgreSQL", "missing", "the driver is not installed", advice)


def check_tracking() -> Iterator[Finding]:
    """The MLflow that searches record in: a server that answers, or a database."""
    try:
        uri = effective_uri("")
        where = place("", Path.cwd())
    except UserError as error:
        yield Finding("MLflow", "broken", str(error), f"set {ENVIRONMENT} to another URI")
        return
    named = f"{ENVIRONMENT} names" if os.environ.get(ENVIRONMENT) else "searches record in"
    if where.database is not None:
        be = "is there" if where.database.is_file() else "will be made"
        yield Finding("MLflow", "there", f"{named} {where.database}, which {be}")
    elif uri.startswith("http"):
        yield _answer(uri)
    else:
        yield Finding("MLflow", "there", f"{named} {hidden(uri)}, which is not tried here")


def _answer(uri: str) -> Finding:
    """Whether a tracking server answers, whatever it says."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S):
            pass
    except urllib.error.HTTPError:  # it wants a password, or has no such page
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "MLflow",
            "broken",
            f"the server {hidden(uri)} does not answer ({reason})",
            f"start it (mlflow server), set {ENVIRONMENT} to another, or search with "
            "--tracking-uri off",
        )
    return Finding("MLflow", "there", f"the server {hidden(uri)} answers")
