"""Makes device code of kernels without a GPU, and prints what it takes of one: a line of JSON each.

`python -m tests.compile.gpu.compile_kernels gru:64 …`. It is a process of its own, as Triton's
interpreter, which the tests use, cannot be left.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from nas.compile.gpu.device import device_code, source
from nas.compile.gpu.kernels import Kernels, kernels
from nas.zoo import ZOO

HOPPER = 90
"""The compute capability of an H100."""


def spilled_bytes(made: Kernels, code: str) -> int:
    """What CUDA's assembler says that it moves from registers to memory and back."""
    from triton import knobs

    options = (made.options.get("ptx_options") or "").split()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.ptx").write_text(code)
        assembler = knobs.nvidia.ptxas.path
        command = [assembler, "-v", *options, f"--gpu-name=sm_{HOPPER}a", "kernel.ptx"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)
    assert len(found) == 2, done.stderr
    return sum(map(int, found))


def has_key_of_a_call(made: Kernels, name: str) -> bool:
    """Whether a call would find the code in Triton's cache."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import create_function_from_signature

    function, backend = getattr(made.module, name), make_backend(GPUTarget("cuda", HOPPER, 32))
    pointers = made.forward_names if name == "forward" else made.backward_names
    numbers, counts = torch.zeros(64), torch.zeros(64, dtype=torch.int32)
    bind = create_function_from_signature(function.signature, function.params, backend)
    given = [*[numbers] * len(pointers), counts, counts, 16, 1, 3, 0, 1, 1]
    bound, kinds, options = bind(*given, RAGGED=False, debug=False, **made.options)
    _, *parts = function._pack_args(backend, dict(made.options), bound, kinds, options)
    called: bool = ASTSource(function, *parts).hash() == source(made, name, ragged=False).hash()
    return called


def main() -> None:
    for named in sys.argv[1:]:
        name, _, units = named.partition(":")
        made = kernels(ZOO[name], int(units), int(units), "tf32x3")
        for kernel in ("forward", "backward"):
            code = device_code(made, kernel, HOPPER, ragged=False)
            spilled = spilled_bytes(made, code.asm["ptx"])
            assert has_key_of_a_call(made, kernel)
            taken = {"shared": code.metadata.shared, "spilled": spilled}
            print(json.dumps({"cell": named, "kernel": kernel, **taken}), flush=True)


if __name__ == "__main__":
    main()
