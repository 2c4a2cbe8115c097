"""The configuration of a search: one tree of dataclasses, read once and passed down.

YAML sets it, the command line overrides it; `python -m nas.search --help` lists every field. Other
commands share the fields of `StudyConfig`.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from nas.errors import UserError, check_fields, refuse_credentials
from nas.protocol.config import ProtocolConfig
from nas.protocol.constraints import read as read_constraints
from nas.protocol.ladder import Ladder
from nas.protocol.objectives import SCORE
from nas.protocol.objectives import check as check_objectives
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.resources import UNPACKED
from nas.samplers.evolution import EvolutionConfig
from nas.spaces.base import Space
from nas.tasks.base import Task
from nas.tasks.config import TasksConfig
from nas.tasks.fields import described
from nas.workers.config import ClusterConfig, check_devices, check_workers, device_kind

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_NAME = 200
"""Bytes of a study's name: file systems take 255, and files beside the folder have longer names."""
LONGEST_S = 36500 * UNITS["d"]
"""A hundred years; Python waits for three times that at most."""


@dataclass(frozen=True)
class RunConfig:
    """Fields of every command that trains: on what, from which seed, for how long."""

    seed: Annotated[int, "in [0, 9223372036854775807]"] = 0
    """Seed of everything random: candidates, settings, weights, data."""
    tasks: TasksConfig = field(default_factory=TasksConfig)
    settings: SettingsGrid = field(default_factory=SettingsGrid)
    time_budget: str = ""
    """Stop after this much time in all, such as 90s, 5m, 8h or 2h30m; no limit if empty."""
    workers: int | str = 0
    """Worker processes of one thread each; 0: as many as there are cores. Or a Ray cluster, see
    docs/cluster.md: ray:auto, ray:HOST:PORT, ray://HOST:PORT."""
    evaluation_time_limit: str = "1h"
    """An evaluation that takes longer is ended and counts as timed out."""
    evaluation_memory_limit_gb: Annotated[float, "in [0, 1000000]"] = 0.0
    """An evaluation whose worker needs more counts as out of memory; 0: no limit."""

    def check(self) -> None:
        """Raise UserError for the first field that breaks a rule."""
        check_fields(self)
        check_workers(self.workers)
        seconds("time_budget", self.time_budget)
        seconds("evaluation_time_limit", self.evaluation_time_limit)
        self.settings.check()
        self.tasks.check()


@dataclass(frozen=True)
class StudyConfig(RunConfig):
    """Fields of every command that fills a study: where it is kept, and on what machines."""

    study: str = ""
    """Name of the study, a folder under `studies`; the configuration's name if empty."""
    studies: str = "studies"
    """The folder that holds the studies' folders."""
    storage: str = ""
    """URL of Optuna's storage; a SQLite file in the study's folder if empty."""
    storage_wait: str = "10m"
    """Time to wait for a database server that does not answer; finished work is kept in memory
    meanwhile. No waiting if empty."""
    tracking_uri: str = ""
    """URI of MLflow's tracking store; if empty, that of the environment variable
    MLFLOW_TRACKING_URI, else the SQLite file mlflow.db here; "off": none."""
    devices: tuple[str, ...] = ()
    """Devices to train on, such as cuda:0 cuda:1: worker n has the device n, in turn. There are as
    many workers as cores, at most four a GPU, unless `workers` says more; the CPU if empty."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return Path(self.studies) / self.study

    @property
    def code(self) -> dict[str, str]:
        """The fields that name code of the user's, which is imported."""
        return self.tasks.code

    def check(self) -> None:
        check_study_name(self.study)
        refuse_credentials("storage", self.storage)
        refuse_credentials("tracking_uri", self.tracking_uri)
        self._check_code()
        super().check()
        check_devices(self.devices)
        self.cluster.check()
        seconds("storage_wait", self.storage_wait)

    def _check_code(self) -> None:
        """Refuse a study that was begun with other code before any of it is imported."""
        if not self.code:
            return
        from nas.study.opening import stored_definition

        definition = stored_definition(self.study, url_of(self.folder, self.storage))
        for field_name, now in self.code.items():
            was: Any = definition
            for part in field_name.split("."):
                was = was.get(part, {})
            if definition and was != now and not now.startswith(UNPACKED):
                raise other_definition(self.study, field_name, was or "none", now)


@dataclass(frozen=True)
class SearchConfig(StudyConfig):
    """A search. The same configuration and seed give the same candidates and scores."""

    space: str = "gates"
    """Search space: a name that comes with nas, or the path of a YAML file."""
    sampler: str = "tpe"
    """How candidates are drawn: tpe, nsgaii, qmc, random, jozefowicz, regularized, lexicase, or
    module:Class of your own."""
    n_candidates: Annotated[int, "at least 0"] = 100
    """Candidates to draw, given cells not counted."""
    run_budget: Annotated[int, "at least 0"] = 0
    """Begin no candidate once this many training runs are spent, given cells and runs that failed
    included; 0: no limit. Candidates that are in flight by then are finished."""
    include: tuple[str, ...] = ()
    """Cells to measure on every task beside GRU and LSTM: zoo names, .cell files,
    studies/STUDY/NAME."""
    constraint: tuple[str, ...] = ()
    """Limits such as "macs <= 40000" "state_bytes <= 2048": of params, macs (multiply-adds of one
    step), state_bytes (states between steps, float32) and stages (matrix products that wait for one
    another). They hold for the largest model that a cell is trained as; a candidate that breaks one
    is not trained."""
    objectives: tuple[str, ...] = (SCORE,)
    """What is searched for: score, and then any of step_time (of one sequence in compiled C),
    params, macs, state_bytes and stages, which are minimised. With several, the result is a
    front."""
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    table: str = ""
    """For --protocol replay: the file of a recorded study, from python -m nas.replay write."""
    in_flight: Annotated[int, "at least 1"] = 4
    """Candidate n is drawn from the results of candidates 0 … n - in_flight; at least `workers`."""
    confirm: Annotated[int, "at least 0"] = 0
    """Number of best cells that are compared with GRU and LSTM when the search ends, as by
    python -m nas.compare, on seeds that it never saw and on the test split; 0: none. The time
    budget does not count this."""
    confirm_seeds: Annotated[int, "at least 1"] = 10
    """Fresh seeds of that comparison."""
    confirm_tuning: Annotated[int, "at least 0"] = 0
    """Settings a task that each of its cells is tried on; 0: protocol.n_settings."""
    confirm_tasks: tuple[str, ...] = ()
    """Its tasks, such as ones that the search did not use; those of the search if empty."""

    @property
    def code(self) -> dict[str, str]:
        return super().code | ({"sampler": self.sampler} if ":" in self.sampler else {})

    def check(self) -> None:
        super().check()
        if self.protocol.kind == "replay" and not self.table:
            raise UserError(
                "--protocol replay needs a --table: python -m nas.replay write STUDY FILE makes "
                "one of a finished study."
            )
        if self.table and self.protocol.kind != "replay":
            kind = self.protocol.kind
            raise UserError(f"table {self.table} is read by --protocol replay alone, got {kind}.")
        if read_constraints(self.constraint) and self.protocol.kind == "replay":
            raise UserError(
                "constraint is for searches that train: leave it out with --protocol replay."
            )
        check_objectives(self.objectives)
        if len(self.objectives) > 1 and self.protocol.kind == "replay":
            raise UserError("objectives must be score alone with --protocol replay.")
        self.protocol.check()
        self.evolution.check()
        if self.protocol.filters:
            self.tasks.memorization.check()


def protocol_of(config: SearchConfig) -> Staged:
    """The protocol that judges the candidates of a search."""
    tasks = tuple(config.tasks.task(name) for name in config.tasks.use)
    if config.protocol.kind == "ladder":
        top = config.protocol.ladder.n_params[-1]
        budgeted = tuple(replace(task, n_params=(top,)) for task in tasks)
        return Ladder(None, budgeted, config.protocol, config.settings, config.seed)
    memorization = config.tasks.memorization if config.protocol.filters else None
    return Staged(memorization, tasks, config.protocol, config.settings, config.seed)


def definition(config: SearchConfig, space: Space) -> dict[str, Any]:
    """All that the outcomes of a study depend on: another definition is another study."""
    used = [config.tasks.task(name) for name in config.tasks.use]
    tasks: dict[str, Task] = {task.name: task for task in used}
    if config.protocol.filters:
        tasks["filter"] = config.tasks.memorization
    from nas.samplers.registry import SAMPLERS  # it imports Optuna

    constraints = [str(constraint) for constraint in read_constraints(config.constraint)]
    evolves = {} if config.sampler in SAMPLERS else {"evolution": described(config.evolution)}
    return {
        "space": space.version,
        "sampler": config.sampler,
        **evolves,
        "seed": config.seed,
        "in_flight": config.in_flight,
        "tasks.use": list(config.tasks.use),
        "tasks": {
            name: {**described(task), "version": task.version} for name, task in tasks.items()
        },
        "protocol": described(config.protocol),
        "settings": described(config.settings),
        **({"constraint": constraints} if constraints else {}),
        **({"objectives": list(config.objectives)} if config.objectives != (SCORE,) else {}),
        **device_kind(config.devices, config.cluster),
    }


def other_definition(study: str, name: str, was: object, now: object) -> UserError:
    """The error for a study that is gone on with by another definition, in the field `name`."""
    if data := re.fullmatch(r"tasks\.(\w+)\.version", name):  # its fields are the same
        return UserError(
            f"study {study} was begun with other data of the task {data[1]} ({was}, not {now}): "
            "they have changed, or are read otherwise since then: use another --study name, or the "
            "data as they were."
        )
    return UserError(
        f"study {study} was begun with {name} = {was}, not {now}: use another --study name, or the "
        "same configuration."
    )


def url_of(folder: Path, storage: str) -> str:
    """The URL of the storage that is given, or of the one in the study's folder."""
    return storage or f"sqlite:///{folder / 'study.db'}"


def check_study_name(name: str) -> None:
    """Raise UserError unless it is a folder's name, or empty."""
    if name and not re.fullmatch(r"[\w][\w.-]*", name):
        raise UserError(
            f'study is a folder name of letters, digits, ".", "_" and "-", got "{name}".'
        )
    if len(name.encode()) > LONGEST_NAME:
        raise UserError(f"study is a name of at most {LONGEST_NAME} bytes, got {name}.")


def seconds(name: str, text: str) -> float | None:
    """A duration such as 90s, 5m, 8h, 2d or 2h16m in seconds; None if empty. A number without a
    unit is seconds, or the next smaller unit after another: 2h16, as commands print hours.

    Raises:
        UserError: if it is no positive duration.
    """
    if not text:
        return None
    found, units = 0.0, "dhms"
    part = r"(\d+(?:\.\d+)?)(?![\d.])(?:\s*([smhd]))?"
    is_duration = re.fullmatch(rf"\s*(?:{part}\s*)+", text)
    for amount, unit in re.findall(part, text) if is_duration else ():
        unit = unit or ("s" if units == "dhms" else units[:1])
        if not unit or unit not in units:  # no larger one comes after it
            found = 0.0
            break
        found += float(amount) * UNITS[unit]
        units = units[units.index(unit) + 1 :]
    if found <= 0:
        raise UserError(f'{name} must be a positive time such as 90s, 5m or 2h30m, got "{text}".')
    if found > LONGEST_S:
        raise UserError(f'{name} must be at most 36500d, a hundred years, got "{text}".')
    return found
