"""The op families. Importing this package enters their definitions in the table."""

from harness.emulator.ops import (
    add,
    blocks,
    conv,
    fully_connected,
    indexing,
    mean,
    pool,
    quantize,
    resize,
    shape,
    softmax,
)

__all__ = [
    "add",
    "blocks",
    "conv",
    "fully_connected",
    "indexing",
    "mean",
    "pool",
    "quantize",
    "resize",
    "shape",
    "softmax",
]
