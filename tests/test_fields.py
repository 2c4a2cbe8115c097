"""`check_fields`: what the types of a dataclass's fields say about their values."""

import dataclasses
import importlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import nas
from nas.errors import UserError, _restricted, check_fields


@dataclass(frozen=True)
class Base:
    count: Annotated[int, "at least 1"] = 1
    note: Annotated[str, "a remark, no range"] = ""
    shape: tuple[int, int, str] = (0, 0, "")


@dataclass(frozen=True)
class Fields(Base):
    """All kinds of rules; `count` is declared again without its range."""

    count: int = field(default=2, kw_only=True)
    width: Annotated[float, "positive"] = 0.1
    share: Annotated[float, "in (0, 1]"] = 1.0
    rest: Annotated[float, "in [0, 1)"] = 0.0
    rates: tuple[Annotated[float, "in (0, inf)"], ...] = (0.1, 5.0)
    limit: Annotated[float, "at least 0"] = 1e300
    bare: float | None = 0.5
    pair: tuple[int, int] | None = (1, 2)
    seed: Annotated[int, "in [0, 9223372036854775807]"] = 2**63 - 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    choices: tuple[Literal["a", ""], ...] = ("a", "")


def test_values_at_the_ends_of_their_ranges_are_allowed() -> None:
    check_fields(Fields())
    check_fields(Fields(bare=None, pair=None, count=10**9))
    check_fields(Fields(count=1, limit=0.0, share=1e-9, rates=()), "group.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 0}, "group.count must be at least 1, got 0."),
        ({"width": 0.0}, "group.width must be positive, got 0.0."),
        ({"width": math.nan}, "group.width must be positive, got nan."),
        ({"share": 0.0}, "group.share must be in (0, 1], got 0.0."),
        ({"share": 1.5}, "group.share must be in (0, 1], got 1.5."),
        ({"share": math.nan}, "group.share must be in (0, 1], got nan."),
        ({"rest": 1.0}, "group.rest must be in [0, 1), got 1.0."),
        ({"rest": -0.5}, "group.rest must be in [0, 1), got -0.5."),
        ({"rates": (1.0, math.inf)}, "group.rates must be in (0, inf), got inf."),
        ({"limit": math.nan}, "group.limit must be at least 0, got nan."),
        ({"limit": math.inf}, "group.limit must be a finite number, got inf."),
        ({"bare": math.nan}, "group.bare must be a finite number, got nan."),
        ({"count": 10**20}, f"group.count must be at most 1,000,000,000, got {10**20:,}."),
        ({"pair": (1, -(10**10))}, f"group.pair must be at most 1,000,000,000, got {-(10**10):,}."),
        ({"shape": (10**10, 0, "")}, f"group.shape must be at most 1,000,000,000, got {10**10:,}."),
        ({"seed": 2**64}, f"group.seed must be in [0, 9223372036854775807], got {2**64}."),
        ({"optimizer": "lamb"}, 'group.optimizer must be one of sgd, adamw, got "lamb".'),
        ({"choices": ("b",)}, 'group.choices must be one of a, "", got "b".'),
    ],
    ids=str,
)
def test_other_values_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        check_fields(Fields(**changed), "group.")  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[int, "at last 1"],
        Annotated[int, "at least one"],
        Annotated[float, "in (0; 1]"],
        Annotated[float, "in (0, 1"],
        Annotated[float, "Positive"],
        tuple[Annotated[float, "above 0"], ...],
        Annotated[int, "at least 1"] | None,
        tuple[int, Annotated[int, "at least 1"]],
    ],
    ids=str,
)
def test_a_range_that_would_not_be_checked_is_an_error_of_the_class(hint: Any) -> None:
    made = dataclasses.make_dataclass("Wrong", [("field", hint, field(default=5))])
    with pytest.raises(TypeError, match=r"^Wrong\.field: "):
        check_fields(made())


def test_ranges_of_all_dataclasses_can_be_read() -> None:
    """Also of those that are made nowhere here: they would fail where a user makes one."""
    package, n_ranges = Path(nas.__file__).parent, 0
    for path in package.rglob("*.py"):
        if re.search(r"^    \w+: .*Annotated\[", path.read_text(), re.MULTILINE):
            name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            for kind in vars(importlib.import_module(name)).values():
                if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                    n_ranges += len(_restricted(kind))
    assert n_ranges > 100
