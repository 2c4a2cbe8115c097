"""Device code of the kernels, and what it takes of a GPU; made with or without one."""

import functools
from typing import Any

import torch

from nas.compile.gpu.kernels import SHARED_BYTES, Kernels
from nas.compile.gpu.writer import NUMBERS


def shared_memory(device: torch.device) -> int:
    """The bytes of shared memory that a program may have; an H100's where there is no GPU."""
    return _of_gpu(device.index or 0) if device.type == "cuda" else SHARED_BYTES


@functools.cache
def _of_gpu(index: int) -> int:
    from triton.runtime import driver

    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


def device_code(made: Kernels, name: str, capability: int, *, ragged: bool) -> Any:
    """The code of the kernel "forward" or "backward" for a GPU of a compute capability such as 90.

    `metadata.shared` are its bytes of shared memory, `asm` is the code in all forms.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source(made, name, ragged=ragged), target=target, options=made.options)


def source(made: Kernels, name: str, *, ragged: bool) -> Any:
    """A kernel with the types of its arguments, as a call gives them: it has a call's key in
    Triton's cache, so that nothing is compiled twice."""
    from triton.compiler import ASTSource

    pointers = made.forward_names if name == "forward" else made.backward_names
    signature = dict.fromkeys(pointers, "*fp32") | dict.fromkeys(("counts", "firsts"), "*i32")
    attributes = {(k,): [["tt.divisibility", 16]] for k in range(len(signature))}
    signature |= dict.fromkeys(NUMBERS, "i32") | {"RAGGED": "constexpr"}
    last = (len(signature) - 1,)
    attributes[last] = []
    return ASTSource(getattr(made.module, name), signature, {last: ragged}, attributes)
