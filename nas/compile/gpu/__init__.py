"""A plan as Triton kernels for GPUs: the whole time loop in one kernel each way.

`layout.py` says where tensors lie, `forward.py` and `backward.py` write the kernels from the plan
and the op table, `before.py` computes what they read, `run.py` starts them as an autograd function,
`fit.py` says what they cannot run. Nothing here imports triton before a kernel is started.
"""

CAPABILITY = 80
"""The first GPUs with products of tf32 and bfloat16 factors: A100, of compute capability 8.0."""
