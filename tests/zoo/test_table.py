"""The table of the known cells is up to date, and its numbers are within the tolerances."""

import pytest

from nas.zoo import ZOO
from nas.zoo.missing import MISSING
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64, SAME_FORMULA
from tests.zoo.table import PAGE, measured, page, sources, written

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_is_up_to_date() -> None:
    """If not: python -m tests.zoo.table. What it measured is taken as written."""
    assert page(written(TEXT)) == TEXT


@pytest.mark.parametrize("name", ZOO)
def test_written_differences_are_within_the_tolerances(name: str) -> None:
    of_paper, *of_packages = map(float, written(TEXT)[name])
    assert of_paper <= SAME_FORMULA["atol"]
    assert len(of_packages) == len(sources(name))
    single = name == "gru"  # Keras's GRU rounds to float32
    assert max(of_packages, default=0) <= (OTHER_KERNEL_32 if single else OTHER_KERNEL_64)["atol"]


@pytest.mark.parametrize("name", ["rnn", "gru", "fastgrnn", "tau_gru"])
def test_differences_are_measured(name: str) -> None:
    found = [float(one) for one in measured(name)]
    assert len(found) == 1 + len(sources(name))
    assert found[0] < 1e-14
    assert max(found) < 1e-6


def test_what_the_table_says_of_some_cells() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| [")]
    assert len(rows) == len(ZOO) >= 60
    gru = next(line for line in rows if line.startswith("| [gru]"))
    assert "[Cho et al.](https://arxiv.org/abs/1406.1078v3) | 2014 | h | 2 | 6 | no |" in gru
    qrnn = next(line for line in rows if line.startswith("| [qrnn_fo]"))
    assert "| 2016 | c, x_old | 1 | 6 | yes | equations |" in qrnn
    assert all(f"| {name} | {reason} |" in TEXT for name, reason in MISSING.items())
