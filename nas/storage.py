"""Optuna's storage behind a URL, and what is said where it does not answer."""

import re
import warnings

import optuna

from nas.errors import UserError, hidden


def load_or_create(name: str, url: str) -> optuna.Study:
    storage = open_storage(url)
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise UserError(
            f"storage {hidden(url)} does not hold studies of this Optuna: {_reason(url, error)}; "
            "choose another with --storage, or another --study name."
        ) from None


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage behind a URL, SQLite in write-ahead mode.

    Raises:
        UserError: in one sentence without the password, if it does not answer.
    """
    import sqlalchemy

    if re.fullmatch(r"sqlite(\+\w+)?:(///?)?(:memory:.*)?", url):
        raise UserError(
            f"storage {url} is in memory and would not outlive the search; give a file."
        )
    is_sqlite = url.startswith("sqlite")
    wait = {"timeout": 60} if is_sqlite else {"connect_timeout": 10}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": wait, **({} if is_sqlite else {"pool_size": 2})},
            )
        if is_sqlite:
            with storage.engine.connect() as connection:
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        raise UserError(f"storage {hidden(url)} does not answer: {_reason(url, error)}.") from None
    return storage


def _reason(url: str, error: Exception) -> str:
    """The cause in one line, with the way out where it is known."""
    if isinstance(error, ImportError):
        extra = ", pip install 'recurrent-nas[postgresql]'" if url.startswith("postgres") else ""
        return f"its database driver is not installed{extra}"
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return hidden(text).rstrip(".")
