"""Whether torch is doing more with tensors than computing with them."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

from nas.compile.loop import PLAIN


def is_transformed() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation is at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def is_recorded(x: Tensor) -> bool:
    """Whether torch records operations: compiling, exporting, make_fx, fake tensors, tracing."""
    return (
        type(x) not in PLAIN
        or _python_dispatch.is_in_torch_dispatch_mode()
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
    )
