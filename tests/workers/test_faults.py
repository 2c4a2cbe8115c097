"""Which errors inside a worker are the machine's, and so held against no cell."""

import errno
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nas.workers.worker import Fault, work
from tests.workers.worker_targets import evaluation

PICKLED = pickle.dumps(evaluation())
RAISED: dict[str, BaseException] = {
    "Python's": MemoryError(),
    "torch's": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "a library's": ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    "a thread's": RuntimeError("can't start new thread"),
    "the system's": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


def raised(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Fault:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("tests.workers.worker_targets.run", fail)
    fault = work("tests.workers.worker_targets:run", PICKLED)
    assert isinstance(fault, Fault)
    return fault


@pytest.mark.parametrize("name", RAISED)
def test_memory_that_runs_out_is_the_machines_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = raised(RAISED[name], monkeypatch)
    assert fault.machine
    assert fault.message.startswith("memory ran out, so free some or use fewer workers (")


def test_so_it_is_behind_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("the loop does not compile")
    error.__cause__ = MemoryError()
    assert raised(error, monkeypatch).machine


def test_other_errors_and_those_of_a_gpu_are_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("OutOfMemoryError", (RuntimeError,), {})  # torch's
    fault = raised(ValueError("no luck"), monkeypatch)
    assert (fault.status, fault.machine) == ("failed", False)
    fault = raised(kind("CUDA out of memory"), monkeypatch)
    assert (fault.status, fault.machine, fault.retry) == ("out of memory", False, True)
    for said in ("CUDA error: device-side assert triggered", "CUBLAS_STATUS_NOT_INITIALIZED when"):
        fault = raised(RuntimeError(said), monkeypatch)
        assert (fault.status, fault.machine, fault.retry) == ("crashed", False, True)


def test_a_gpu_that_does_not_answer_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.training.device_memory import begin

    with pytest.raises(OSError, match="cuda:0: ") as caught:
        begin("cuda:0")  # torch without CUDA
    fault = raised(caught.value, monkeypatch)
    assert fault.machine
    assert fault.message.startswith("the GPU does not answer (OSError: ")
    begin("cpu")


def test_code_that_cannot_be_imported_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    fault = work("half_installed:run", PICKLED)
    assert isinstance(fault, Fault)
    assert fault.machine
    assert "half_installed:run cannot be imported (ModuleNotFoundError: No module" in fault.message


CONFIG = """
tasks:
  use: [xml]
  xml: &small {epochs: 1, batches_per_epoch: 5, validation_batches: 2, n_params: [3000]}
  memorization: *small
protocol: {n_settings: 2, filter_accuracy: 0.01}
settings: {num_layers: [1]}
n_candidates: 1
workers: 1
tracking_uri: "off"
"""


@pytest.mark.process
def test_a_search_without_enough_memory_goes_on_with_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG)
    command = f"{sys.executable} -m nas.search small.yaml"

    def run(before: str) -> "subprocess.CompletedProcess[str]":
        shell = ["bash", "-c", before + command]
        return subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)

    short = run("ulimit -v 900000; ")
    assert short.returncode == 1
    last = short.stderr.splitlines()[-1]
    assert "nas.search: evaluations cannot be run, " in last
    assert "memory" in last
    assert "nothing is held against the cell" in last
    assert run("").returncode == 0
