"""Runs plain files in an interpreter that cannot import nas: `python -I alone.py FOLDER`.

For each NAME.json: the module of NAME.py is made, filled and run on NAME.safetensors, and what it
gives, with all gradients, is written to NAME.out.safetensors; then the file's own test runs.
"""

import contextlib
import importlib.abc
import importlib.util
import io
import json
import runpy
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class NoNas(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "nas":
            raise ImportError("nas is not to be imported")
        return None


def run(case: Path) -> None:
    described = json.loads(case.read_text())
    given = load_file(case.with_suffix(".safetensors"))
    spec = importlib.util.spec_from_file_location(case.stem, case.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rnn = getattr(module, described["class"])(**described["arguments"], dtype=given["x"].dtype)
    rnn.load_state_dict({k[2:]: v for k, v in given.items() if k.startswith("w.")})
    y, state, leaves = outputs(rnn, given, described["lengths"])
    save_file({"y": y, **state, **leaves}, case.with_suffix(".out.safetensors"))


def outputs(rnn, given, lengths):
    """y, the final states, and the gradients of a weighted sum of both."""
    x = given["x"].clone().requires_grad_()
    starts = [given[k].clone().requires_grad_() for k in sorted(given) if k.startswith("s.")]
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False) if lengths else x
    y, state = rnn(packed, starts[0] if len(starts) == 1 else tuple(starts))
    y = y.data if isinstance(y, PackedSequence) else y
    finals = [state] if isinstance(state, torch.Tensor) else list(state)
    loss = sum((v * torch.linspace(-1, 1, v.numel()).view(v.shape)).sum() for v in (y, *finals))
    loss.backward()
    named = {
        "g.x": x,
        **{f"g.s{k}": s for k, s in enumerate(starts)},
        **dict(rnn.named_parameters()),
    }
    grads = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in named.items()}
    states = {f"final.{k}": s.detach().contiguous() for k, s in enumerate(finals)}
    return y.detach().contiguous(), states, grads


if __name__ == "__main__":
    sys.meta_path.insert(0, NoNas())
    torch.set_num_threads(1)
    for case in sorted(Path(sys.argv[1]).glob("*.json")):
        run(case)
        if case.stem.endswith("-64"):
            with contextlib.redirect_stdout(io.StringIO()) as said:
                runpy.run_path(str(case.with_suffix(".py")), run_name="__main__")
            assert said.getvalue().strip().endswith("are right."), said.getvalue()
    assert "nas" not in sys.modules
    print("done")
