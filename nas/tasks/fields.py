"""Fields that a configuration did not have at first, and its digests without them."""

import dataclasses
from typing import Any

ADDED = {"added": True}
"""The metadata of fields that the first studies did not have; see `described`."""


def described(data: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, nested, without added ones that have their default.

    So seeds and digests of data from before a field was added do not change.
    """
    plain = dataclasses.asdict(data)
    for field in dataclasses.fields(data):
        if field.metadata.get("added") and getattr(data, field.name) == _default(field):
            del plain[field.name]
    return plain


def _default(field: "dataclasses.Field[Any]") -> Any:
    make = field.default_factory
    return field.default if make is dataclasses.MISSING else make()
