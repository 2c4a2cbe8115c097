"""What the kernels refuse, in a sentence that names it."""

from types import SimpleNamespace

import pytest
import torch

from nas.compile.backend import choose
from nas.compile.gpu import fit
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.errors import CellError
from nas.zoo import ZOO

ROWS = Rows.equal(2, 3)


def reason(units: int = 4, dtype: torch.dtype = torch.float32, rows: Rows = ROWS) -> str:
    """Why the kernels cannot run an LSTM, which has no values."""
    layer = EagerCell(ZOO["lstm"], units, units, device="meta", dtype=dtype)
    x, state = torch.empty(1, units, dtype=dtype), torch.empty(3, units, dtype=dtype)
    return fit.obstacle(layer, x, [state, state], rows)


def test_what_fits_is_not_refused() -> None:
    assert reason() == ""
    assert reason(units=128) == ""


def test_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "float32, got torch.float64" in reason(dtype=torch.float64)
    assert "its matrices have 102400 entries" in reason(units=160)
    assert "2**31 values" in reason(rows=Rows((1 << 24,)))
    with torch.autocast("cpu", torch.bfloat16):
        assert "autocast" in reason()
    monkeypatch.setattr(fit, "_has_triton", lambda: False)
    assert "pip install triton" in reason()


def test_a_gpu_that_cannot_run_the_kernels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    layer, device = EagerCell(ZOO["gru"], 4, 4), torch.device("cuda", 0)
    about = SimpleNamespace(name="a card", major=7, minor=5)
    monkeypatch.setattr(triton.knobs.runtime, "interpret", False)
    monkeypatch.setattr(fit, "shared_memory", lambda device: 65536)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(fit, "_shared", lambda *given, ragged: 70000)
    assert "GPUs of CUDA, got a tensor on cpu" in fit._no_room(
        layer, torch.device("cpu"), "tf32x3", ragged=False
    )
    assert "a card has 7.5" in fit._no_room(layer, device, "tf32x3", ragged=False)
    about.major = 8
    assert "takes 70000 bytes of shared memory, and a card has 65536" in fit._no_room(
        layer, device, "tf32x3", ragged=False
    )


def test_a_backend_that_is_asked_for_says_why_it_cannot() -> None:
    layer = EagerCell(ZOO["lstm"], 160, 160)
    x, state = torch.zeros(6, 160), torch.zeros(3, 160)
    with pytest.raises(CellError, match="backend triton cannot run cell lstm: its matrices"):
        choose("triton", layer, x, [state, state], ROWS)
