"""The op families. Importing this package enters their definitions in the table."""

from harness.emulator.ops import (
    activations,
    add,
    blocks,
    conv,
    fully_connected,
    indexing,
    mean,
    pool,
    products,
    quantize,
    resize,
    shape,
    softmax,
    tables,
)

__all__ = [
    "activations",
    "add",
    "blocks",
    "conv",
    "fully_connected",
    "indexing",
    "mean",
    "pool",
    "products",
    "quantize",
    "resize",
    "shape",
    "softmax",
    "tables",
]
