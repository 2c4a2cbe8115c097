"""Ops that are one call of torch."""

# How torch writes an op that is a function; attributes follow the arguments.
CALLS = {
    "tanh": "torch.tanh({})",
    "sigmoid": "torch.sigmoid({})",
    "relu": "torch.relu({})",
    "leaky_relu": "F.leaky_relu({}, {slope})",
    "softplus": "F.softplus({}, threshold=40.0)",
    "exp": "torch.exp({})",
    "log": "torch.log({})",
    "abs": "torch.abs({})",
    "sqrt": "torch.sqrt({})",
    "square": "torch.square({})",
    "floor": "torch.floor({})",
    "cumsum": "torch.cumsum({}, dim=-1)",
    "sin": "torch.sin({})",
    "cos": "torch.cos({})",
    "silu": "F.silu({})",
    "gelu": "F.gelu({})",
    "softmax": "torch.softmax({}, dim=-1)",
    "layer_norm": "layer_norm({}, {eps})",
    "rms_norm": "rms_norm({}, {eps})",
    "blend": "blend({}, {}, {})",
    "max": "torch.maximum({}, {})",
    "min": "torch.minimum({}, {})",
}
