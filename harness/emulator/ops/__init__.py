"""The op families. Importing this package enters their definitions in the table."""

from harness.emulator.ops import (
    add,
    conv,
    fully_connected,
    mean,
    pool,
    quantize,
    shape,
    softmax,
)

__all__ = ["add", "conv", "fully_connected", "mean", "pool", "quantize", "shape", "softmax"]
