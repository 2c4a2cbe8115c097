"""The number formats of C; the command reads them before torch is imported."""

from typing import Literal

NumberFormat = Literal["float32", "int8", "int16x8"]
"""float32; weights as int8, values as float32; weights as int8, values as int16 and sums as int32
(TensorFlow Lite's name for its kernels)."""
