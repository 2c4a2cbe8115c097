"""Which devices can be used, and how workers share one. There is no GPU here: torch is told so."""

import io
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
from worker_targets import evaluation

from nas.errors import UserError
from nas.protocol.device import planned_bytes
from nas.search.search import main
from nas.workers import devices
from nas.workers.config import ClusterConfig
from nas.workers.devices import AT_ONCE, check_device, dealt, workers_on
from nas.workers.local import LocalWorkers
from nas.workers.start import check_available

GIB = 1 << 30


def tried(monkeypatch: pytest.MonkeyPatch, name: str, built: str | None, n_gpus: int) -> str:
    """What the trial of a device says of a torch that is built so and sees so many GPUs."""
    monkeypatch.setattr(sys, "argv", ["-c", name])
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch, "zeros", lambda *_, device: None)
    try:
        exec(devices.TRIED, {})
    except SystemExit as end:
        return str(end.code)
    return ""


def test_a_trial_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(monkeypatch, "cuda:0", "13.0", 1) == ""
    assert tried(monkeypatch, "cuda", "13.0", 1) == ""
    assert tried(monkeypatch, "cpu", None, 0) == ""
    assert tried(monkeypatch, "cuda:0", None, 0).endswith(" here is built without CUDA")
    assert tried(monkeypatch, "cuda:0", "13.0", 0) == "torch sees no GPU here"
    assert tried(monkeypatch, "cuda:2", "13.0", 2) == "torch sees 2 GPUs here, the last one cuda:1"


@pytest.mark.process  # it starts Python
def test_what_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    check_device("cpu")
    monkeypatch.setattr(devices, "TRIED", "raise RuntimeError('no driver.')")
    with redirect_stderr(io.StringIO()) as printed, pytest.raises(UserError) as caught:
        check_device("cuda:0")
    assert not printed.getvalue()
    assert str(caught.value).startswith(
        "--devices cuda:0 cannot be used: RuntimeError: no driver. Without --devices everything"
    )


def test_a_backend_of_other_devices_is_refused_before_all_cells_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAS_BACKEND", "graph")
    assert main(["quickstart"]) == 2
    said = "NAS_BACKEND=graph is for GPUs: name them, such as --devices cuda:0, or unset it."
    assert capsys.readouterr().err == f"nas.search: {said}\n"
    monkeypatch.setattr("nas.workers.start.check_device", lambda device: None)
    check_available(0, ["cuda:0"])
    monkeypatch.setenv("NAS_BACKEND", "c")
    check_available(0)
    with pytest.raises(UserError, match=r"NAS_BACKEND=c is for the CPU: .* train on cuda:0\."):
        check_available(0, ["cuda:0"])


def test_a_gpu_has_several_workers_and_no_more_than_there_are_cores() -> None:
    assert workers_on(["cuda:0"], 16) == AT_ONCE
    assert workers_on(["cuda:0", "cuda:1"], 16) == 2 * AT_ONCE
    assert workers_on(["cuda:0"], 2) == 2
    assert workers_on(["cuda:0", "cuda:1", "cuda:2"], 2) == 3
    assert workers_on([], 16) == workers_on(["cpu"], 16) == 16


def test_each_worker_knows_how_many_share_its_gpu() -> None:
    assert dealt(["cuda:0", "cuda:1"], 3) == [("cuda:0", 2), ("cuda:1", 1), ("cuda:0", 2)]
    assert dealt(["cuda", "cuda:0"], 2) == [("cuda", 2), ("cuda:0", 2)], "one GPU by two names"
    assert dealt([], 2) == [("", 1)] * 2


@pytest.mark.parametrize("sharing", [1, 2, 4])
def test_workers_that_share_a_gpu_do_not_plan_with_more_than_it_has(sharing: int) -> None:
    free, total = 76 * GIB, 80 * GIB
    plans = 0
    for _ in range(sharing):  # one after another, or all at first: none sees what others planned
        plans += planned_bytes(free, total, sharing)
    assert plans <= 0.4 * total
    assert planned_bytes(free, total, 1) == int(0.4 * free), "alone it has what is free"
    assert planned_bytes(GIB, total, sharing) == int(0.4 * GIB), "others may have taken the rest"


@pytest.mark.process
def test_a_process_that_a_gpu_failed_is_replaced(tmp_path: Path) -> None:
    """After most errors of CUDA a process can do nothing on the GPU any more."""
    with LocalWorkers(1, "worker_targets:run", devices=("cuda:0",)) as workers:
        tries = [
            workers.submit(evaluation("lose_gpu", tmp_path / "tries", amount=n)) for n in (1, 9)
        ]
        once, always = (future.result(timeout=60).outcomes[0] for future in tries)
    assert (once.status, once.message) == ("ok", "fresh")
    assert always.status == "crashed"
    assert always.message.endswith("CUDA error: an illegal memory access (try 3 of 3)")


def test_parts_of_a_gpu_are_shared_on_a_cluster_too() -> None:
    pytest.importorskip("ray")
    from nas.workers.ray import sharing_of

    parts = {0.0: 1, 0.25: 4, 0.3: 3, 1.0: 1, 2.0: 1}
    assert {gpus: sharing_of(ClusterConfig(gpus=gpus)) for gpus in parts} == parts
