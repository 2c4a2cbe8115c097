"""The text of the kernels, and where it is shown."""

import pytest

from nas.compile.gpu import kernels as module
from nas.compile.gpu.kernels import SHARED_BYTES, kernels
from nas.compile.gpu.layout import blocks, whole
from nas.zoo import ZOO
from tests.studies import ROOT

RTX_4090 = 101_376
"""Bytes of shared memory that a program may have there."""


def test_the_page_shows_the_loop_as_it_is() -> None:
    page = (ROOT / "docs" / "compiler.md").read_text()
    shown = page.split("```py\n")[-1].partition("```")[0]
    assert "for k in range(steps):" in shown
    assert shown in kernels(ZOO["rnn"], 32, 32, "tf32x3").text


def test_blocks_cover_a_width_and_pad_it_by_less_than_32_columns() -> None:
    for width in range(1, 300):
        cut = blocks(width)
        assert all(b.first == sum(a.size for a in cut[:k]) for k, b in enumerate(cut))
        assert width <= whole(width) < width + 32 + (32 - width if width < 32 else 0)


@pytest.mark.parametrize(
    ("cell", "units", "shared", "stays"),
    [
        ("gru", 96, SHARED_BYTES, True),
        ("lstm", 64, SHARED_BYTES, True),
        ("lstm", 65, SHARED_BYTES, False),
        ("lstm", 64, RTX_4090, False),
    ],
)
def test_matrices_stay_in_shared_memory_while_they_fit(
    cell: str, units: int, shared: int, stays: bool
) -> None:
    made = kernels(ZOO[cell], units, units, "tf32x3", shared)
    before, _, loop = made.text.partition("for k in range(steps):")
    assert ("= tl.load(y" in before) == stays
    assert ("= tl.load(y" in loop.partition("def backward")[0]) != stays


def test_nas_debug_prints_the_kernels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAS_DEBUG", "source")
    module.kernels.cache_clear()
    text = kernels(ZOO["rnn"], 3, 4, "tf32x3").text
    assert text in capsys.readouterr().err
