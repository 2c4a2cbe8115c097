"""The devices of this machine: whether they can be used, and how many workers share one."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from nas.errors import UserError, hidden

AT_ONCE = 4
"""Evaluations that train on one GPU at once, at most, unless `workers` says more: small models do
not fill one. Each process takes some 0.5 GB of a GPU for itself."""
TRIED = """
import sys, torch
name = sys.argv[1]
n = torch.cuda.device_count() if name.startswith("cuda") else 1
if not torch.version.cuda and not torch.version.hip and name.startswith("cuda"):
    sys.exit(f"torch {torch.__version__} here is built without CUDA")
if not n:
    sys.exit("torch sees no GPU here")
if int(name.partition(":")[2] or 0) >= n:
    sys.exit(f"torch sees {n} GPU{'s' * (n > 1)} here, the last one cuda:{n - 1}")
torch.zeros(1, device=name)
"""
"""What tries a device in another process: a coordinator does not import torch, and what a broken
driver does there is not done here."""


def check_device(device: str) -> None:
    """Try a device.

    Raises:
        UserError: if it cannot be used, with the reason.
    """
    if device == "cpu":
        return
    line = [sys.executable, "-c", TRIED, device]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
        raise UserError(
            f"--devices {device} cannot be used: {hidden(reason[0]).rstrip('.')}. Without "
            "--devices everything runs on the CPU; nas doctor says what is here."
        )


def check_backend_of(devices: Sequence[str]) -> None:
    """Raise UserError if NAS_BACKEND names what these devices cannot run: each evaluation would
    fail, and be held against its cell."""
    named, gpus = os.environ.get("NAS_BACKEND", ""), [name for name in devices if name != "cpu"]
    if named == "c" and gpus:
        raise UserError(f"NAS_BACKEND=c is for the CPU: unset it to train on {' '.join(gpus)}.")
    if named in ("triton", "graph") and not gpus:
        raise UserError(
            f"NAS_BACKEND={named} is for GPUs: name them, such as --devices cuda:0, or unset it."
        )


def workers_on(devices: Sequence[str], n_cores: int) -> int:
    """Return how many workers there are unless the user says: one for each core, on GPUs at most
    `AT_ONCE` and at least one for each."""
    gpus = sum(name != "cpu" for name in devices)
    return max(gpus, min(AT_ONCE * gpus, n_cores)) if gpus else n_cores


def dealt(devices: Sequence[str], n_workers: int) -> list[tuple[str, int]]:
    """Return the device of each worker, "" for the CPU where none is named, and how many workers
    have the same one."""
    if not devices:
        return [("", 1)] * n_workers
    each = [devices[place % len(devices)] for place in range(n_workers)]
    sharing = Counter(map(_whole, each))
    return [(name, sharing[_whole(name)]) for name in each]


def _whole(name: str) -> str:
    return "cuda:0" if name == "cuda" else name
