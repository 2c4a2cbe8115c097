"""What a configuration stands for: the protocol, and all that the outcomes of a study depend on."""

from dataclasses import asdict
from typing import Any

from nas.nn.settings import described
from nas.protocol.staged import Staged
from nas.spaces.base import Space
from nas.study.config import SearchConfig
from nas.tasks.base import Task
from nas.workers.cluster import device_kind


def protocol_of(config: SearchConfig) -> Staged:
    """The protocol that judges the candidates of a search."""
    tasks = tuple(config.tasks.task(name) for name in config.tasks.use)
    memorization = config.tasks.memorization if config.protocol.filters else None
    return Staged(memorization, tasks, config.protocol, config.settings, config.seed)


def definition(config: SearchConfig, space: Space) -> dict[str, Any]:
    """What the outcomes of a study depend on: another definition is another study."""
    tasks: dict[str, Task] = {name: config.tasks.task(name) for name in config.tasks.use}
    if config.protocol.filters:
        tasks["filter"] = config.tasks.memorization
    from nas.samplers.registry import SAMPLERS

    evolves = {} if config.sampler in SAMPLERS else {"evolution": described(config.evolution)}
    return {
        "space": space.version,
        "sampler": config.sampler,
        **evolves,
        "seed": config.seed,
        "in_flight": config.in_flight,
        "tasks.use": list(config.tasks.use),
        "tasks": {name: {**asdict(task), "version": task.version} for name, task in tasks.items()},
        "protocol": described(config.protocol),
        "settings": described(config.settings),
        **device_kind(config.devices, config.cluster),
    }
